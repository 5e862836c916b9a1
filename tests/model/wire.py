"""Protobuf on the wire: reading whole messages of the 2.1 layout, writing messages field by field."""

U64_MAX = (1 << 64) - 1
FIELD_NUMBER_MAX = (1 << 29) - 1

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


class Bad(Exception):
    """Something does not decode, does not parse or does not fit together."""


# Messages of the 2.1 layout: {field number: (name, kind)}. A kind is a scalar or the name of a message; a star stands
# for "repeated".
MESSAGES = {
    "KeyValuePair": {1: ("key", "str"), 2: ("value", "str")},
    "KeyDataPair": {1: ("key", "str"), 2: ("data", "bytes")},
    "FieldIndexInfo": {1: ("fieldID", "i64"), 2: ("indexID", "i64")},
    "FieldSchema": {
        1: ("fieldID", "i64"), 2: ("name", "str"), 3: ("is_primary_key", "bool"), 4: ("description", "str"),
        5: ("data_type", "i32"), 6: ("type_params", "*KeyValuePair"), 7: ("index_params", "*KeyValuePair"),
        8: ("autoID", "bool"),
    },
    "CollectionSchema": {
        1: ("name", "str"), 2: ("description", "str"), 3: ("autoID", "bool"), 4: ("fields", "*FieldSchema"),
    },
    "CollectionInfo": {
        1: ("ID", "i64"), 2: ("schema", "CollectionSchema"), 3: ("create_time", "u64"), 4: ("partitionIDs", "*i64"),
        5: ("partitionNames", "*str"), 6: ("field_indexes", "*FieldIndexInfo"), 7: ("virtual_channel_names", "*str"),
        8: ("physical_channel_names", "*str"), 9: ("partition_created_timestamps", "*u64"), 10: ("shards_num", "i32"),
        11: ("start_positions", "*KeyDataPair"), 12: ("consistency_level", "i32"), 15: ("db_id", "i64"),
    },
    "IndexInfo": {
        1: ("index_name", "str"), 2: ("indexID", "i64"), 3: ("index_params", "*KeyValuePair"), 4: ("deleted", "bool"),
        5: ("create_time", "u64"),
    },
    "SegmentIndexInfo": {
        1: ("collectionID", "i64"), 2: ("partitionID", "i64"), 3: ("segmentID", "i64"), 4: ("fieldID", "i64"),
        5: ("indexID", "i64"), 6: ("buildID", "i64"), 7: ("enable_index", "bool"), 8: ("create_time", "u64"),
    },
    "BuildIndexRequest": {
        1: ("indexBuildID", "i64"), 2: ("index_name", "str"), 3: ("indexID", "i64"), 5: ("data_paths", "*str"),
        6: ("type_params", "*KeyValuePair"), 7: ("index_params", "*KeyValuePair"), 8: ("num_rows", "i64"),
        9: ("field_schema", "FieldSchema"), 10: ("segmentID", "i64"),
    },
    "IndexMeta": {
        1: ("indexBuildID", "i64"), 2: ("state", "i32"), 3: ("fail_reason", "str"), 4: ("req", "BuildIndexRequest"),
        5: ("index_file_paths", "*str"), 6: ("mark_deleted", "bool"), 7: ("nodeID", "i64"), 8: ("index_version", "i64"),
        9: ("recycled", "bool"), 10: ("serialize_size", "u64"),
    },
    "PartitionStates": {1: ("partitionID", "i64"), 2: ("state", "i32"), 3: ("inMemory_percentage", "i64")},
    "LoadState": {
        1: ("collectionID", "i64"), 2: ("partitionIDs", "*i64"), 3: ("partition_states", "*PartitionStates"),
        4: ("load_type", "i32"), 5: ("schema", "CollectionSchema"), 6: ("released_partitionIDs", "*i64"),
        7: ("inMemory_percentage", "i64"), 8: ("replica_ids", "*i64"), 9: ("replica_number", "i32"),
    },
    "ReplicaInfo": {
        1: ("replicaID", "i64"), 2: ("collectionID", "i64"), 3: ("partition_ids", "*i64"), 5: ("node_ids", "*i64"),
        6: ("resource_group_name", "str"),
    },
    "MsgPosition": {1: ("channel_name", "str"), 2: ("msgID", "bytes"), 3: ("msgGroup", "str"), 4: ("timestamp", "u64")},
    "Binlog": {
        1: ("entries_num", "i64"), 2: ("timestamp_from", "u64"), 3: ("timestamp_to", "u64"), 4: ("log_path", "str"),
        5: ("log_size", "i64"), 6: ("logID", "i64"),
    },
    "FieldBinlog": {1: ("fieldID", "i64"), 2: ("binlogs", "*Binlog")},
    "SegmentInfo": {
        1: ("ID", "i64"), 2: ("collectionID", "i64"), 3: ("partitionID", "i64"), 4: ("insert_channel", "str"),
        5: ("num_of_rows", "i64"), 6: ("state", "i32"), 7: ("max_row_num", "i64"), 8: ("last_expire_time", "u64"),
        9: ("start_position", "MsgPosition"), 10: ("dml_position", "MsgPosition"), 11: ("binlogs", "*FieldBinlog"),
        12: ("statslogs", "*FieldBinlog"), 13: ("deltalogs", "*FieldBinlog"), 14: ("createdByCompaction", "bool"),
        15: ("compactionFrom", "*i64"), 16: ("dropped_at", "u64"),
    },
    # Of the target, what going on with an interrupted run needs.
    "PartitionInfo": {1: ("partitionID", "i64"), 2: ("partitionName", "str"), 3: ("created", "u64")},
    "FieldIndex": {1: ("index_info", "bytes")},
    "IndexInfo2": {2: ("fieldID", "i64"), 4: ("indexID", "i64")},
    "SegmentIndex": {5: ("indexID", "i64")},
}
NUMBERS = ("i64", "u64", "i32", "bool")
DEFAULTS = {"i64": 0, "u64": 0, "i32": 0, "bool": False, "str": "", "bytes": b""}


# ------------------------------------------------------------------------------------------------------------ reading

def read_varint(message, at):
    """The number at `at`, and where it ends."""
    value = 0
    for count in range(10):
        if at >= len(message):
            raise Bad("a varint is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            if value > U64_MAX:
                raise Bad("a varint is too large")
            return value, at
    raise Bad("a varint is too long")


def scan(message):
    """[(field number, wire type, value, start, end)]; the value is a number for varints, bytes for all else."""
    fields = []
    at = 0
    while at < len(message):
        start = at
        tag, at = read_varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number <= FIELD_NUMBER_MAX:
            raise Bad(f"field number {number}")
        if wire_type == VARINT:
            value, at = read_varint(message, at)
        elif wire_type in (FIXED64, DELIMITED, FIXED32):
            size = {FIXED64: 8, FIXED32: 4}.get(wire_type)
            if size is None:
                size, at = read_varint(message, at)
            if at + size > len(message):
                raise Bad(f"field {number} is cut off")
            value, at = message[at:at + size], at + size
        else:
            raise Bad(f"field {number} has wire type {wire_type}")
        fields.append((number, wire_type, value, start, at))
    return fields


def decode(message, raw):
    """A dict with all known fields; what is absent has its default, an absent message None. `_raw` holds the bytes."""
    fields = MESSAGES[message]
    decoded = {"_raw": raw}
    for name, kind in fields.values():
        decoded[name] = [] if kind.startswith("*") else DEFAULTS.get(kind)
    pieces = {}
    for number, wire_type, value, _, _ in scan(raw):
        if number not in fields:
            continue
        name, kind = fields[number]
        if kind.startswith("*"):
            decoded[name] += decode_values(kind[1:], wire_type, value, f"{message}.{name}")
            continue
        if kind in MESSAGES and wire_type == DELIMITED:
            # A message that comes in several pieces is all of them together.
            value = pieces[number] = pieces.get(number, b"") + value
        decoded[name], = decode_values(kind, wire_type, value, f"{message}.{name}", packed=False)
    return decoded


def decode_values(kind, wire_type, value, what, packed=True):
    """The values that one field holds: one, or any number of packed numbers."""
    if kind in NUMBERS:
        if wire_type == VARINT:
            return [number_of(kind, value)]
        if wire_type == DELIMITED and packed:
            return [number_of(kind, number) for number in unpack(value)]
    elif wire_type == DELIMITED:
        if kind in MESSAGES:
            return [decode(kind, value)]
        return [text_of(value, what) if kind == "str" else value]
    raise Bad(f"{what} has wire type {wire_type}")


def unpack(value):
    numbers = []
    at = 0
    while at < len(value):
        number, at = read_varint(value, at)
        numbers.append(number)
    return numbers


def number_of(kind, number):
    if kind == "bool":
        return number != 0
    if kind == "u64":
        return number
    bits = 64 if kind == "i64" else 32
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def text_of(value, what):
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad(f"{what} is not UTF-8") from None


def pairs_of(key_value_pairs):
    return [(pair["key"], pair["value"]) for pair in key_value_pairs]


# ------------------------------------------------------------------------------------------------------------ writing
# Fields must be given in the order of their numbers. Defaults are left out, as proto3 does.

def varint(number):
    number &= U64_MAX
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def f_int(number, value):
    return varint(number << 3 | VARINT) + varint(int(value)) if value else b""


def f_raw(number, value):
    return varint(number << 3 | DELIMITED) + varint(len(value)) + value


def f_str(number, text):
    return f_raw(number, text.encode("utf-8")) if text else b""


def f_strs(number, texts):
    return b"".join(f_raw(number, text.encode("utf-8")) for text in texts)


def f_packed(number, values):
    return f_raw(number, b"".join(map(varint, values))) if values else b""


def f_unpacked(number, values):
    return b"".join(varint(number << 3 | VARINT) + varint(value) for value in values)


def f_pairs(number, pairs):
    return b"".join(f_raw(number, f_str(1, key) + f_str(2, value)) for key, value in pairs)


def f_map(number, values):
    return b"".join(f_raw(number, f_int(1, key) + f_int(2, values[key])) for key in sorted(values))


def without(message, numbers):
    """The message without the fields of these numbers; all other bytes as they are."""
    return b"".join(message[start:end] for number, _, _, start, end in scan(message) if number not in numbers)
