"""Random indexes: index records, segments, segment indexes, build records."""
from dataclasses import dataclass

from segments import FLUSHED, Segment
from shapes import Field, make_field, make_index_params, make_index_type
from source import TOMBSTONE
from wire import f_int, f_pairs, f_raw, f_str, f_strs

DEFAULT = "_default_idx"
FINISHED, FAILED = 3, 4
FILES = {
    "IVF_FLAT": ["indexParams", "IVF", "RAW_DATA"], "HNSW": ["indexParams", "HNSW"],
    "STL_SORT": ["indexParams", "index_data", "index_length"],
    "Trie": ["indexParams", "marisa_trie_index", "marisa_trie_str_ids"],
    "ANNOY": ["indexParams", "annoy_dim", "annoy_index_data"], "BIN_IVF_FLAT": ["indexParams", "BinaryIVF"],
    "FLAT": ["indexParams", "IVF"], "BIN_FLAT": ["indexParams", "BinaryIVF"],
    "OTHER": ["indexParams", "a file", "файл"],
}


@dataclass
class Index:
    id: int
    field: Field
    name: str
    deleted: bool
    type: str
    params: list

    def is_misread(self):
        return (self.type in ("FLAT", "BIN_FLAT")
                or self.type == "STL_SORT" and self.field.data_type not in ("int64", "double"))


def put_indexes(cluster, collection, segments):
    """Indexes of a collection with all that hangs on them. Returns its field_indexes: [(field ID, index ID)]."""
    listed = []
    for field, name, deleted in choose_indexes(cluster, [field for field in collection.fields if field.id >= 100]):
        index = make_index(cluster, field, name, deleted)
        put_index(cluster, collection.id, index)
        listed.append((field.id, index.id))
        for segment in segments:
            if segment.rows and (segment.state == FLUSHED or cluster.chance(0.1)):
                put_segment_index(cluster, index, segment)
    if cluster.came_from_2_0:
        put_traces_of_2_0(cluster, collection.id, listed, segments)
    return listed


def choose_indexes(cluster, fields):
    """[(field, name, deleted)]"""
    r = cluster.r
    chosen = r.sample(fields, r.choice([0, 1, 1, 2, len(fields)]) % (len(fields) + 1))
    # 2.1 lets a field have one live index, and one that is being dropped; the rest should not exist.
    chosen += [field for field in chosen if cluster.chance(0.15)]
    names = choose_names(cluster, chosen)
    plan = [(field, name, cluster.chance(0.15)) for field, name in zip(chosen, names)]
    if cluster.chance(0.5):
        r.shuffle(plan)
    return plan


def choose_names(cluster, fields):
    if len(fields) >= 3 and cluster.chance(0.15):
        # The generated name is taken, and the one that it would get instead is taken, too.
        fid = fields[0].id
        forced = [DEFAULT, f"{DEFAULT}_{fid}", f"{DEFAULT}_{fid}_{fid}"]
        return forced + [f"idx_{number}" for number in range(3, len(fields))]
    unique = cluster.chance(0.8)
    names = []
    for field in fields:
        other = cluster.r.choice(fields)
        name = cluster.r.choice([DEFAULT, DEFAULT, f"idx_{field.id}", f"i$x_{field.id}", f"{DEFAULT}_{other.id}"])
        names.append(f"own_{len(names)}" if unique and name in names else name)
    return names


def make_index(cluster, field, name, deleted):
    index_type = make_index_type(cluster.r, field.data_type)
    params = make_index_params(cluster.r, index_type, cluster.wants("params-key-twice"))
    return Index(cluster.id(), field, name, deleted, index_type, params)


def put_index(cluster, collection, index):
    cluster.put(f"root-coord/index/{collection}/{index.id}",
                f_str(1, index.name) + f_int(2, index.id) + f_pairs(3, index.params) + f_int(4, index.deleted)
                + f_int(5, cluster.number()))


def put_segment_index(cluster, index, segment):
    key = f"root-coord/segment-index/{segment.collection}/{index.id}/{segment.partition}/{segment.id}"
    head = (f_int(1, segment.collection) + f_int(2, segment.partition) + f_int(3, segment.id)
            + f_int(4, index.field.id) + f_int(5, index.id))
    weights = [6, 2, 1, 1 if cluster.came_from_2_0 else 0]
    how, = cluster.r.choices(["built", "below the threshold", "not indexed", "deleted"], weights)
    if how == "built":
        build = build_id(cluster)
        cluster.put(key, head + f_int(6, build) + f_int(7, True) + f_int(8, cluster.number()))
        marked = (index.deleted and cluster.chance(0.7)) or cluster.chance(0.08)
        put_build(cluster, build, index, segment, marked)
    elif how == "below the threshold":
        cluster.put(key, head + f_int(8, cluster.r.choice([cluster.number(), 0])))
        if cluster.chance(0.1):
            cluster.kvs.pop(f"datacoord-meta/s/{segment.collection}/{segment.partition}/{segment.id}".encode(), None)
    elif how == "deleted":
        cluster.put(key, TOMBSTONE)


def build_id(cluster):
    if cluster.wants("small-build-ids"):
        small = cluster.r.randrange(1, 5)
        if f"indexes/{small}".encode() not in cluster.kvs:
            return small
    return cluster.number()


def put_build(cluster, build, index, segment, marked):
    r = cluster.r
    state, = r.choices([FINISHED, 2, 1, FAILED, 0], [10, 1, 1, 1, 0.3])
    finished = state == FINISHED
    version = r.choice([1, 1, 1, 2, 7]) if state > 1 else r.choice([0, 1])
    fail_reason = 'fail: "причина"' if state == FAILED else ""
    files = []
    if finished or (state > 1 and cluster.chance(0.1)):
        directory = f"{cluster.bucket}index_files/{build}/{version}/{segment.partition}/{segment.id}"
        if finished and index.is_misread() and not (marked or index.deleted) and cluster.chance(0.3):
            directory = "elsewhere"         # they are built anew, so nobody looks for them
        files = [f"{directory}/{name}" for name in FILES[index.type]]
    request = make_request(cluster, build, index, segment)
    size = r.choice([0, 1000000, 1 << 40]) if finished else 0
    cluster.put(f"indexes/{build}",
                f_int(1, build) + f_int(2, state) + f_str(3, fail_reason) + f_raw(4, request) + f_strs(5, files)
                + f_int(6, marked) + f_int(7, r.choice([0, 0, 11])) + f_int(8, version)
                + f_int(9, marked and cluster.chance(0.3)) + f_int(10, size))


def make_request(cluster, build, index, segment):
    if cluster.chance(0.03):
        return b""
    data = f"{cluster.bucket}insert_log/{segment.collection}/{segment.partition}/{segment.id}/{index.field.id}/1"
    params, schema = f_pairs(7, index.params), f_raw(9, index.field.raw)
    if cluster.chance(0.1):         # the index record and the collection have them as well
        params = schema = b""
    return (f_int(1, build) + f_str(2, index.name) + f_int(3, index.id) + f_strs(5, [data])
            + f_pairs(6, index.field.params) + params + f_int(8, segment.rows) + schema + f_int(10, segment.id))


def put_traces_of_2_0(cluster, collection, listed, segments):
    """2.0 kept indexes in snapshots: what it left behind of dropped ones are tombstones."""
    for _ in range(cluster.r.choice([0, 0, 0, 1, 2])):
        iid = cluster.id()
        cluster.put_tombstones(f"root-coord/index/{collection}/{iid}", f_str(1, "old") + f_int(2, iid))
        if segments and cluster.chance(0.7):
            segment = segments[0]
            cluster.put_tombstones(
                f"root-coord/segment-index/{collection}/{iid}/{segment.partition}/{segment.id}", f_int(1, collection))
    if listed and cluster.chance(0.5):
        iid = listed[0][1]
        old_value = f_str(1, DEFAULT) + f_int(2, iid)
        cluster.put_history(f"root-coord/index/{collection}/{iid}", [cluster.number()], [old_value])


def put_orphaned_builds(cluster):
    """Builds of dropped segments. They may have the smallest build ID."""
    for _ in range(cluster.r.choice([0, 0, 1, 1, 3])):
        build = 50000 + cluster.r.randrange(1000) if cluster.chance(0.2) else cluster.number()
        if f"indexes/{build}".encode() in cluster.kvs:
            continue
        field = make_field(cluster.r, 104, "vec", "float vector")
        index = make_index(cluster, field, DEFAULT, False)
        put_build(cluster, build, index, Segment(cluster.id(), cluster.id(), cluster.id(), 7), cluster.chance(0.7))
