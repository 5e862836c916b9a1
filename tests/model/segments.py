"""Random segments as 2.1.0 to 2.1.4 keep them: positions, lists of binlogs, statslogs and deltalogs, compaction."""
from dataclasses import dataclass

from shapes import sprinkle
from wire import f_int, f_packed, f_raw, f_str

NOT_EXIST, GROWING, SEALED, FLUSHED, FLUSHING, DROPPED, IMPORTING = range(1, 8)
VECTORS = ("float vector", "binary vector")
# (state, weight) of the segments of a living collection.
STATES = {FLUSHED: 10, FLUSHING: 1, GROWING: 2, SEALED: 1, DROPPED: 2, IMPORTING: 0.5, NOT_EXIST: 0.3}
BUFFER = 16 << 20


@dataclass
class Segment:
    collection: int
    partition: int
    id: int
    rows: int
    state: int = FLUSHED


def put_segments(cluster, collection, partitions, dropped_partitions=()):
    """Returns the segments that indexes may hang on."""
    segments = []
    for partition in partitions:
        for _ in range(cluster.r.choice([0, 1, 1, 2, 3])):
            state, = cluster.r.choices([*STATES], STATES.values())
            segments.append(make_segment(cluster, collection.id, partition.id, state))
    for segment in segments:
        put_segment(cluster, collection, segment)
    for partition in dropped_partitions:        # their records stay until 2.1 collects the garbage
        if cluster.chance(0.5):
            put_segment(cluster, collection, make_segment(cluster, collection.id, partition.id, DROPPED))
    return segments


def make_segment(cluster, collection, partition, state):
    rows = cluster.r.choice([1, 57, 1023, 5000, 100000])
    if state in (GROWING, IMPORTING, NOT_EXIST) and cluster.chance(0.5):
        rows = 0
    return Segment(collection, partition, cluster.id(), rows, state)


def put_segment(cluster, collection, segment):
    r = cluster.r
    channel = r.choice(collection.channels)[0]
    lists, compacted_from = make_lists(cluster, collection, segment)
    raw = (f_int(1, segment.id) + f_int(2, segment.collection) + f_int(3, segment.partition) + f_str(4, channel)
           + f_int(5, segment.rows) + f_int(6, segment.state) + f_int(7, 5315553) + f_int(8, cluster.number())
           + make_positions(cluster, channel, segment) + lists
           + f_int(14, bool(compacted_from)) + f_packed(15, compacted_from)
           + f_int(16, segment.state == DROPPED and cluster.number()))
    if cluster.with_unknown and cluster.chance(0.2):
        raw = sprinkle(r, raw)
    cluster.put(f"datacoord-meta/s/{segment.collection}/{segment.partition}/{segment.id}", raw)


# ---------------------------------------------------------------------------------------------------------- positions

def make_positions(cluster, channel, segment):
    """Old ones, and those that 2.1 renewed; one that was never written to has none, and imported ones neither."""
    r = cluster.r
    if segment.state in (IMPORTING, NOT_EXIST) or segment.rows == 0 and cluster.chance(0.5):
        return b""
    named = channel if cluster.chance(0.7) else channel.rpartition("_")[0]
    start = position(cluster, named, cluster.number())
    dml = position(cluster, named, cluster.number()) if segment.state != GROWING or cluster.chance(0.3) else None
    if cluster.chance(0.05):
        start = None
    if cluster.wants("dml-without-message") and dml is not None:
        dml = f_str(1, named)
    if cluster.chance(0.03):        # of a message queue nobody got an ID of
        start, dml = f_str(1, named) + f_int(4, cluster.number()), None
    if cluster.chance(0.02) and start is not None:
        start, dml = f_str(1, named) + f_raw(2, message_id(cluster)), None      # timestamp 0
    if cluster.with_unknown and dml is not None and cluster.chance(0.2):
        dml = sprinkle(r, dml)
    return b"".join(f_raw(number, raw) for number, raw in ((9, start), (10, dml)) if raw is not None)


def position(cluster, named, timestamp):
    group = cluster.r.choice(["", f"by-dev-dataNode-6-{named}"])
    return f_str(1, named) + f_raw(2, message_id(cluster)) + f_str(3, group) + f_int(4, timestamp)


def message_id(cluster):
    if cluster.queue == "kafka":
        return cluster.r.randrange(1 << cluster.r.choice([4, 20, 47])).to_bytes(8, "little")
    if cluster.queue == "rocksmq":
        return (470605839000000000 + cluster.r.randrange(1 << 40)).to_bytes(8, "little")
    return cluster.r.randbytes(cluster.r.choice([12, 14, 20]))


# -------------------------------------------------------------------------------------------------------------- lists

def make_lists(cluster, collection, segment):
    """The lists of logs, and what the segment was compacted from."""
    r = cluster.r
    if segment.rows == 0 or segment.state in (NOT_EXIST, IMPORTING) or segment.state == GROWING and cluster.chance(0.6):
        return b"", []
    count = r.choice([1, 1, 1, 2, 3, 6])
    is_compacted = segment.state in (FLUSHED, DROPPED) and cluster.chance(0.3)
    if is_compacted:
        count, entries, sizes = compacted(cluster, collection, segment, count)
    else:
        entries, sizes = shares(cluster, segment.rows, count), None
        count = len(entries)
    binlogs = b"".join(
        field_binlog(cluster, 11, "insert_log", segment, field.id, entries, sizes)
        for field in sorted(collection.fields, key=lambda field: str(field.id)))
    statslogs = make_statslogs(cluster, segment, 1 if is_compacted or cluster.keeps_one_statslog else count, count)
    deltalogs = b""
    if cluster.chance(0.3):
        entries = [r.randrange(1, 50) for _ in range(r.choice([1, 2]))]
        deltalogs = field_binlog(cluster, 13, "delta_log", segment, 0, entries)
        if cluster.chance(0.3):     # a list of its own for each of them
            deltalogs += field_binlog(cluster, 13, "delta_log", segment, 0, [3])
    if cluster.chance(0.1):
        deltalogs += f_raw(13, b"")         # without any log: no key
    compacted_from = [cluster.id() for _ in range(r.choice([1, 2]))] if is_compacted and cluster.chance(0.8) else []
    return binlogs + statslogs + deltalogs, compacted_from


def make_statslogs(cluster, segment, wanted, count):
    if cluster.chance(0.05):
        return b""
    return field_binlog(cluster, 12, "stats_log", segment, 100, [0] * min(wanted, count))


def shares(cluster, rows, count):
    count = min(rows, count)
    return [rows // count] * (count - 1) + [rows - rows // count * (count - 1)]


def compacted(cluster, collection, segment, count):
    """2.1 wrote no number of rows: (number of binlogs, entries, log sizes)"""
    r = cluster.r
    dim = next(int(dict(field.params)["dim"]) for field in reversed(collection.fields) if field.data_type in VECTORS)
    full = BUFFER // (4 * dim)
    if cluster.chance(0.5):         # cut where 2.1's buffer was full
        segment.rows = full * r.choice([0, 1, 2]) + r.choice([1, full // 2, full])
        count = -(-segment.rows // full)
        return count, [0] * count, None
    if cluster.wants("uneven-shares"):
        count = min(count, segment.rows)
        return count, [0] * count, [r.randrange(1, 100000) for _ in range(count)]
    # Not so cut, and the sizes share out the rows without a remainder.
    weights = [r.choice([1, 2, 3, 10]) for _ in range(count)]
    segment.rows = sum(weights) * r.choice([1, 7, 100])
    return count, [0] * count, [weight * 1000 for weight in weights]


def field_binlog(cluster, number, directory, segment, fid, entries, sizes=None):
    place = [directory, segment.collection, segment.partition, segment.id] + ([fid] if directory != "delta_log" else [])
    path = cluster.bucket + "/".join(map(str, place))
    logs = b""
    for at, rows in enumerate(entries):
        size = sizes[at] if sizes else cluster.r.randrange(1, 1 << 30)
        if sizes and cluster.wants("sizes-differ-by-field"):
            size = cluster.r.randrange(1, 100000)
        log = (f_int(1, rows) + f_int(2, cluster.number()) + f_int(3, cluster.number())
               + f_str(4, f"{path}/{cluster.number()}") + f_int(5, size))
        if cluster.with_unknown and cluster.chance(0.02):
            log = sprinkle(cluster.r, log)
        logs += f_raw(2, log)
    return f_raw(number, f_int(1, fid) + logs)
