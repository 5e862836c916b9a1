"""Rules 6 and 7: segments and channel checkpoints."""
import re

from source import UNREADABLE
from wire import Bad, f_int, f_raw, f_str, without

NOT_EXIST, DROPPED, IMPORTING = 1, 6, 7             # common.SegmentState
LISTS = {11: ("binlogs", "binlog", "insert_log"), 12: ("statslogs", "statslog", "stats_log"),
         13: ("deltalogs", "deltalog", "delta_log")}
LOG_PATH, LOG_ID = 4, 6
BINLOG_FIELDS = {1, 2, 3, 4, 5, 6}
VECTORS = (100, 101)
COMPACTION_BUFFER = 16 << 20
FIRST_ONE_LEFT = b"\xfe" + b"\xff" * 7              # librdkafka's offset -2


# ------------------------------------------------------------------------------------------------------- 7. segments

def convert_segments(conversion):
    for ids, segment in conversion.source.segments.items():
        if segment is UNREADABLE:
            continue
        key = "datacoord-meta/s/%d/%d/%d" % ids
        try:
            keys = lists_in_keys(conversion, ids, segment)
        except Bad as bad:
            conversion.problem(key, str(bad))
            continue
        for list_key, value in keys.items():
            conversion.put(list_key, value)
        conversion.put(key, without(segment["_raw"], set(LISTS)))


def lists_in_keys(conversion, ids, segment):
    """{key: FieldBinlog} of a segment"""
    keys = {}
    first_count = 0
    for number, (name, kind, directory) in LISTS.items():
        fields = merged(segment[name])
        if kind == "binlog":
            first_count = len(next(iter(fields.values()), []))
            fill_in_rows(conversion, segment, fields)
        elif kind == "statslog":
            pad(conversion, segment, fields, first_count)
        for fid, logs in fields.items():
            place = [directory, *map(str, ids)] + ([] if kind == "deltalog" else [str(fid)])
            entries = [f_raw(2, binlog(log, place)) for log in logs]
            keys[f"datacoord-meta/{kind}/%d/%d/%d/{fid}" % ids] = f_int(1, fid) + b"".join(entries)
    return keys


def merged(field_binlogs):
    """{field ID: [Binlog]} in the order of the record, without fields that have no log"""
    fields = {}
    for field in field_binlogs:
        if field["binlogs"]:
            fields.setdefault(field["fieldID"], []).extend(map(dict, field["binlogs"]))
    return fields


def binlog(log, place):
    """The path goes, for the number that it ends in. What is not known here stays, behind the rest."""
    return (f_int(1, log["entries_num"]) + f_int(2, log["timestamp_from"]) + f_int(3, log["timestamp_to"])
            + f_int(5, log["log_size"]) + f_int(LOG_ID, log_id(log, place)) + without(log["_raw"], BINLOG_FIELDS))


def log_id(log, place):
    if not log["log_path"] and log["logID"]:
        return log["logID"]
    elements = log["log_path"].split("/")
    if not re.fullmatch(r"[1-9][0-9]*", elements[-1]) or int(elements[-1]) >= 1 << 63:
        raise Bad(f"log {log['log_path']!r} does not end in a number")
    if elements[-1 - len(place):-1] != place:
        raise Bad(f"log {log['log_path']!r} does not end in {'/'.join(place)}/<number>")
    return int(elements[-1])


def pad(conversion, segment, statslogs, count):
    """Where the target counts them: as many statslogs as binlogs, by repeating the last one."""
    pads = conversion.layout.pads_statslogs
    if pads == "none" or pads == "uncompacted" and segment["compactionFrom"]:
        return
    for fid, logs in statslogs.items():
        missing = count - len(logs)
        if missing > 0:
            conversion.note("statslogs repeated", segment["ID"], f"{missing} of field {fid}, "
                                                                  f"{missing * logs[-1]['log_size']} bytes")
            logs += [logs[-1]] * missing


# ----------------------------------------------------------------------------------------- rows of compacted binlogs

def fill_in_rows(conversion, segment, fields):
    """2.1 wrote no number of rows into the binlogs that it compacted."""
    if not fields:
        return
    first, shared_out = next(iter(fields.values())), None
    for logs in fields.values():
        unknown = [at for at, log in enumerate(logs) if not log["entries_num"]]
        left = segment["num_of_rows"] - sum(log["entries_num"] for log in logs)
        if not unknown:
            continue
        if left < len(unknown):
            conversion.note("rows unknown", segment["ID"], f"{left} rows for {len(unknown)} binlogs: they stay empty")
            continue
        # One binlog holds the same rows of all fields: the first field's sizes share them out.
        sizes = first if len(first) == len(logs) else logs
        is_known = rows_of_compaction(conversion, segment, logs)
        rows = is_known or share_out(left, [sizes[at] for at in unknown])
        for at, number in zip(unknown, rows):
            logs[at]["entries_num"] = number
        if not is_known:
            shared_out = rows
    if shared_out:
        conversion.note("rows shared out", segment["ID"], f"{shared_out}")


def rows_of_compaction(conversion, segment, logs):
    """The rows of each binlog where 2.1 compacted the segment and cut it where its buffer was full, else None."""
    rows, count = segment["num_of_rows"], len(logs)
    if any(log["entries_num"] for log in logs):
        return None
    if count == 1:
        return [rows]
    full = full_binlog(conversion, segment["collectionID"])
    if not full or -(-rows // full) != count:
        return None
    return [full] * (count - 1) + [rows - full * (count - 1)]


def full_binlog(conversion, cid):
    """How many rows 2.1's compaction writes into one binlog."""
    dim = None
    for field in conversion.live[cid].fields.values() if cid in conversion.live else []:
        if field["data_type"] in VECTORS:
            dim = next((pair["value"] for pair in field["type_params"] if pair["key"] == "dim"), dim)
    if dim is None or not re.fullmatch(r"[1-9][0-9]{0,8}", dim):
        return None
    return COMPACTION_BUFFER // (4 * int(dim))


def share_out(rows, logs):
    """In proportion to the size of the logs, at least one each, the sum exact: largest remainders first."""
    sizes = [max(log["log_size"], 0) for log in logs]
    if not sum(sizes):
        sizes = [1] * len(logs)
    total = sum(sizes)
    shares = [max(1, rows * size // total) for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda at: (-(rows * sizes[at] % total), at))
    while sum(shares) < rows:
        shares[by_remainder.pop(0)] += 1
    while sum(shares) > rows:       # too many got their one row for nothing
        shares[shares.index(max(shares))] -= 1
    return shares


# -------------------------------------------------------------------------------------------- 6. channel checkpoints

def convert_checkpoints(conversion):
    kafka = is_kafka(conversion)
    of_channel = {}
    for (cid, _, _), segment in sorted(conversion.source.segments.items()):
        if segment is not UNREADABLE and segment["state"] not in (NOT_EXIST, DROPPED, IMPORTING):
            of_channel.setdefault((cid, segment["insert_channel"]), []).append(segment)
    for cid, collection in conversion.live.items():
        record = collection.record
        physical = dict(zip(record["virtual_channel_names"], record["physical_channel_names"]))
        for channel in record["virtual_channel_names"]:
            if channel:
                position = (earliest(of_channel.get((cid, channel), []))
                            or collection_start(record, channel, physical.get(channel), kafka))
                put_checkpoint(conversion, channel, position)


def put_checkpoint(conversion, channel, position):
    if position is None:
        conversion.note("no checkpoint", channel, "no segment and no start position")
    else:
        where, raw = position
        conversion.put(f"datacoord-meta/channel-cp/{channel}", raw)
        conversion.note("checkpoint", channel, where)


def earliest(segments):
    """The position from which 2.1 itself would go on, as it stands."""
    positions = [position for position in map(position_of, segments) if position is not None]
    first = min(positions, key=lambda position: position["timestamp"], default=None)
    return ("segments", first["_raw"]) if first and first["timestamp"] else None


def position_of(segment):
    for position in (segment["dml_position"], segment["start_position"]):
        if position is not None and position["msgID"]:
            return position
    return None


def collection_start(record, channel, physical, kafka):
    if physical is None:
        physical = channel.rpartition("_")[0]
    for start in record["start_positions"]:
        if start["key"] == physical and start["data"]:
            message = FIRST_ONE_LEFT if kafka else start["data"]
            return ("first message left" if kafka else "collection start",
                    f_str(1, channel) + f_raw(2, message) + f_int(4, record["create_time"]))
    return None


def is_kafka(conversion):
    """Whether all message IDs are those of Kafka: offsets, 8 bytes, little endian."""
    ids = [start["data"] for collection in conversion.live.values() for start in collection.record["start_positions"]]
    for segment in conversion.source.segments.values():
        if segment is not UNREADABLE:
            positions = segment["start_position"], segment["dml_position"]
            ids += [position["msgID"] for position in positions if position is not None]
    ids = [message for message in ids if message]
    return bool(ids) and all(len(message) == 8 and int.from_bytes(message, "little") < 1 << 48 for message in ids)
