"""Random but valid Milvus 2.1 metadata: cluster(seed) -> {key: value}, keys relative to the meta root."""
import random
from dataclasses import dataclass

from cluster import Cluster
from indexes import put_indexes, put_orphaned_builds
from segments import message_id, put_segments
from shapes import make_fields, sprinkle, unknown_field
from source import TOMBSTONE
from wire import f_int, f_packed, f_raw, f_str, f_strs, f_unpacked, scan

# Shapes that come only when asked for by name, because it is not settled what becomes of them (README.md).
CONTESTED = [
    "small-build-ids", "params-key-twice", "loaded-partition-twice", "partition-state-twice", "all-dropped",
    "dml-without-message", "uneven-shares", "sizes-differ-by-field",
]

NOT_LOADED, LOADED_BY_PARTITION, LOADED_AS_A_WHOLE = None, 1, 2
ALIASES = [
    "a_main", "my_tshirts", "v_ts2022", "v_ts2022_ts7", "_ts", "_ts1", "a", "a_ts5", "a_$pecial", "псевдоним_ts3",
    "x_tsx", *(f"a_{number}" for number in range(9)),
]
# Keys that are nobody's business here; many of them look like one that is.
STRAYS = [
    "root-coord/credential/users/root", "root-coord/credential/users/a_ts5", "root-coord/index-foo/1",
    "root-coord/indexes", "root-coord/collection", "root-coord/collection-other/12", "root-coord/collections/x",
    "root-coord/коллекция", "root-coord/segment-index-old/1/2", "root-coord/segment-index2",
    "root-coord/dd-operation-more", "indexesfoo/1", "index/1", "queryCoord-collectionMetaX/1",
    "queryCoord-collectionMeta", "queryCoord-segmentMeta/1/2/3",
    "queryCoord-dmChannelWatchInfo/1/by-dev-rootcoord-dml_0_1v0", "queryCoord-queryNodeInfo/10",
    "queryCoord-taskInfo/0", "queryCoord-sealedSegmentChangeInfo/0", "queryCoord-unsubscribeChannelInfo/1",
    "channelwatch/14/by-dev-rootcoord-dml_0_1v0",
    "session/id", "something else", "zz", "A", "snapshots/root-coord/collection-other/1_ts5",
    "snapshots/root-coord/index-foo/1_ts5", "snapshots/other", "snapshots/root-coord/credential/x_ts1", b"not\xffutf8",
    b"root-coord/\xfe",
]


def cluster(seed, contested=()):
    made = Cluster(seed, contested)
    r = made.r
    number = r.choice([0, 1, 1, 2, 3, 3, 5, 8])
    if number == 0:                 # a 2.1 that was never used
        made.put("session/id", b"7")
        made.put("root-coord/credential/users/root", b'{"username":"root"}')
        return made.kvs
    for _ in range(number):
        put_collection(made)
    if not made.live and not made.wants("all-dropped"):
        put_collection(made, "live")
    for name in r.sample(ALIASES, r.choice([0, 0, 1, 2, 4, 7])):
        put_alias(made, name)
    put_orphaned_builds(made)
    if made.chance(0.8):
        put_ddl(made)
    for key in r.sample(STRAYS, r.choice([0, 1, 5, 12, len(STRAYS)])):
        made.put(key, r.choice([b"", b"1", TOMBSTONE, r.randbytes(r.randrange(1, 60)), b'{"a":1}']))
    return dict(sorted(made.kvs.items()))


# -------------------------------------------------------------------------------------------------------- collections

@dataclass
class Partition:
    id: int
    name: str
    created: int


class Collection:
    """A collection, which writes its record as it was at any time."""

    def __init__(self, cluster):
        self.id = cluster.id()
        self.fields = make_fields(cluster.r, cluster.with_unknown)
        self.name = cluster.r.choice(["c", "коллекция", "c_$pecial", "a_ts1_ts2"]) + f"_{self.id}"
        self.created = cluster.number()
        self.consistency = cluster.r.choice([0, 2])
        self.description = cluster.r.choice(["", "описание"])
        self.auto_id = cluster.chance(0.3)
        self.unknown_in_schema = unknown_field(cluster.r) if cluster.with_unknown and cluster.chance(0.3) else b""
        self.schema = self.make_schema(self.name)
        self.numbers = f_packed if cluster.chance(0.8) else f_unpacked
        self.has_unknown = cluster.with_unknown and cluster.chance(0.5)
        first = cluster.r.randrange(200)
        physical = [f"by-dev-rootcoord-dml_{first + shard}" for shard in range(cluster.r.choice([1, 2, 2, 3]))]
        self.channels = [(f"{name}_{self.id}v{shard}", name) for shard, name in enumerate(physical)]
        self.starts = self.make_starts(cluster)

    def make_schema(self, name):
        return (f_str(1, name) + f_str(2, self.description) + f_int(3, self.auto_id)
                + b"".join(f_raw(4, field.raw) for field in self.fields) + self.unknown_in_schema)

    def make_starts(self, cluster):
        starts = [(physical, message_id(cluster)) for _, physical in self.channels]
        if cluster.chance(0.1):
            starts.pop()
        if starts and cluster.chance(0.05):
            starts[0] = (starts[0][0], b"")
        if cluster.chance(0.2):
            cluster.r.shuffle(starts)
        return starts

    def record(self, partitions, field_indexes, name=None):
        raw = (f_int(1, self.id) + f_raw(2, self.make_schema(name) if name else self.schema) + f_int(3, self.created)
               + self.numbers(4, [partition.id for partition in partitions])
               + f_strs(5, [partition.name for partition in partitions])
               + f_strs(7, [virtual for virtual, _ in self.channels])
               + f_strs(8, [physical for _, physical in self.channels])
               + self.numbers(9, [partition.created for partition in partitions])
               + f_int(10, len(self.channels))
               + b"".join(f_raw(11, f_str(1, physical) + f_raw(2, message)) for physical, message in self.starts)
               + f_int(12, self.consistency))
        indexes = b"".join(f_raw(6, f_int(1, field) + f_int(2, index)) for field, index in field_indexes)
        # Without its indexes, a record is the same before and after they are made.
        same_every_time = random.Random(self.id)
        if self.has_unknown:
            raw = sprinkle(same_every_time, raw)
        at = same_every_time.choice([end for _, _, _, _, end in scan(raw)])
        return raw[:at] + indexes + raw[at:]


def put_collection(cluster, kind=None):
    collection = Collection(cluster)
    key = f"root-coord/collection/{collection.id}"
    history = partition_history(cluster)
    timestamps = make_timestamps(cluster, len(history) + 1)
    kinds = {"live": 6, "no snapshots": 2, "dropped": 1, "dropped, no snapshots": 1, "only snapshots": 0.5}
    if kind is None:
        kind, = cluster.r.choices([*kinds], kinds.values())
    is_live = kind in ("live", "no snapshots")
    gone = [partition for partitions in history for partition in partitions if partition not in history[-1]]
    living = history[-1] if is_live else []
    segments = put_segments(cluster, collection, living, gone if is_live else gone + history[-1])
    if is_live:
        field_indexes = put_indexes(cluster, collection, segments)
    else:
        field_indexes = [(100, collection.id + 5)] if cluster.chance(0.5) else []
    if kind in ("live", "dropped", "only snapshots"):
        put_collection_history(cluster, collection, history, timestamps, field_indexes)
    if kind in ("dropped", "only snapshots"):
        cluster.put_history(key, timestamps[-1:], [TOMBSTONE])
    if kind != "only snapshots":
        cluster.put(key, collection.record(history[-1], field_indexes) if is_live else TOMBSTONE)
    (cluster.live if is_live else cluster.gone).append(collection.id)
    if is_live or cluster.chance(0.3):
        put_load_state(cluster, collection, history[-1])


def put_collection_history(cluster, collection, history, timestamps, field_indexes):
    """Making an index makes no snapshot; but one that comes later names the index, too. The old name may be another."""
    indexed_since = cluster.r.choice([len(history), len(history), len(history) - 1, 0])
    renamed_at = cluster.r.randrange(len(history)) if cluster.chance(0.1) else 0
    cluster.put_history(f"root-coord/collection/{collection.id}", timestamps, [
        collection.record(partitions, field_indexes if at >= indexed_since else [],
                          "an_old_name" if at < renamed_at else None)
        for at, partitions in enumerate(history)])


def partition_history(cluster):
    """Partitions come and go, and each change makes a snapshot: the partitions after each."""
    partitions = [Partition(cluster.id(), "_default", cluster.number())]
    history = [list(partitions)]
    dropped = []
    for number in range(cluster.r.choice([0, 0, 1, 2, 4, 6])):
        if len(partitions) > 1 and cluster.chance(0.3):
            dropped.append(partitions.pop(cluster.r.randrange(1, len(partitions))).name)
        else:
            name = cluster.r.choice(["p", "p$_", "_ts", "раздел"]) + str(number)
            if dropped and cluster.chance(0.5):
                name = dropped.pop()            # made anew
            partitions.append(Partition(cluster.id(), name, cluster.r.choice([cluster.number(), cluster.number(), 0])))
        history.append(list(partitions))
    return history


def make_timestamps(cluster, count):
    if cluster.chance(0.15):                # of different length: 9, 10, 2000
        return sorted(cluster.r.sample([1, 9, 10, 99, 100, 2000, 30000, cluster.number()], count))
    if cluster.chance(0.05):
        return [(1 << 64) - 20 + number for number in range(count)]
    return [cluster.number() for _ in range(count)]


def put_load_state(cluster, collection, partitions):
    r = cluster.r
    load_type = r.choice([NOT_LOADED, LOADED_BY_PARTITION, LOADED_BY_PARTITION, LOADED_AS_A_WHOLE, LOADED_AS_A_WHOLE])
    if load_type == NOT_LOADED:
        return
    ids = [partition.id for partition in partitions]
    loaded, released = loaded_and_released(cluster, ids, load_type)
    percentage = r.choice([100, 100, 100, 0, 1, 50, 99])
    replicas = [cluster.id() for _ in range(r.choice([0, 1, 1, 1, 2]))]
    cluster.put(f"queryCoord-collectionMeta/{collection.id}",
                f_int(1, collection.id) + f_packed(2, loaded) + partition_states(cluster, loaded, percentage)
                + f_int(4, 0 if cluster.chance(0.05) else load_type) + f_raw(5, collection.schema)
                + f_packed(6, released) + f_int(7, percentage) + f_packed(8, replicas)
                + f_int(9, r.choice([0, 1, 1, 2])))
    for replica in replicas:
        cluster.put(f"queryCoord-ReplicaMeta/{replica}",
                    f_int(1, replica) + f_int(2, collection.id) + f_packed(3, loaded)
                    + b"".join(f_raw(4, f_int(1, 9) + f_str(3, virtual)) for virtual, _ in collection.channels)
                    + f_packed(5, [9, 12][:r.randrange(3)]))


def loaded_and_released(cluster, ids, load_type):
    r = cluster.r
    loaded = r.sample(ids, r.randrange(1, len(ids) + 1)) if load_type == LOADED_BY_PARTITION else ids
    released = []
    if cluster.chance(0.1):
        released = [cluster.id()]               # of a partition that was dropped
    if cluster.chance(0.5):
        released += [pid for pid in ids if pid not in loaded or cluster.chance(0.1)]
        loaded = [pid for pid in loaded if pid not in released]
    if cluster.chance(0.1):
        loaded = loaded + [cluster.id()]        # a partition that was dropped
    if loaded and cluster.wants("loaded-partition-twice"):
        loaded = loaded + loaded[:1]
    return loaded, released


def partition_states(cluster, loaded, percentage):
    states = b""
    for pid in loaded:
        if cluster.chance(0.05):
            continue                            # it has none
        for _ in range(2 if cluster.wants("partition-state-twice") else 1):
            own = cluster.r.choice([0, 50, 100]) if cluster.chance(0.2) else percentage
            states += f_raw(3, f_int(1, pid) + f_int(2, 4 if own == 100 else 3) + f_int(3, own))
    return states


# ------------------------------------------------------------------------------------------------------------- others

def put_alias(cluster, name):
    r = cluster.r
    key = f"root-coord/collection-alias/{name}"
    anything = cluster.live + cluster.gone + [cluster.id()]

    def record(collections):
        return f_int(1, r.choice(collections)) + f_raw(2, f_str(1, name))

    kind = r.choice(["live", "live", "no snapshots", "dropped", "dropped, no snapshots", "only snapshots"])
    history = [record(anything)] + [r.choice([TOMBSTONE, record(anything)]) for _ in range(r.randrange(3))]
    if kind in ("live", "no snapshots"):
        history.append(record(anything if cluster.chance(0.2) or not cluster.live else cluster.live))
    else:
        history.append(TOMBSTONE)
    if kind in ("live", "dropped", "only snapshots"):
        cluster.put_history(key, make_timestamps(cluster, len(history)), history)
    if kind != "only snapshots":
        cluster.put(key, history[-1])


def put_ddl(cluster):
    timestamps = [cluster.number() for _ in range(cluster.r.randrange(5))]
    for key, value in [("root-coord/dd-operation", b'{"body":"ChgIZ"}'), ("root-coord/dd-msg-send", b"true")]:
        cluster.put(key, value)
        cluster.put_history(key, timestamps, [value] * len(timestamps))
