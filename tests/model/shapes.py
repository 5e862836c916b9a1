"""The shapes that random metadata is made of: fields, index parameters, unknown protobuf fields."""
from dataclasses import dataclass

from source import TOMBSTONE
from wire import DELIMITED, FIXED32, FIXED64, VARINT, f_int, f_pairs, f_raw, f_str, scan, varint

DATA_TYPES = {
    "bool": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "float": 10, "double": 11, "varchar": 21,
    "binary vector": 100, "float vector": 101,
}
SCALARS = ["bool", "int8", "int16", "int32", "int64", "float", "double", "float", "double", "varchar"]
VECTORS = ["float vector", "float vector", "binary vector"]
JSON_KEYS = [
    "nlist", "M", "efConstruction", "n_trees", "search_length", "Z", "a", "ключ", "with space", 'quo\\"te', "_",
    "metric_type",
]
JSON_VALUES = [
    "128", "1000000", "1e6", "1E+6", "1.50", "-0", "0.1e-7", "12345678901234567890123", "true", "false", "null",
    '"text"', '""', '"1000000"', r'"with \"quotes\" and \\ \u00e9 \ud83d\ude00"', '"ünïcode ✓"',
    '{"a": [1,  2.0, {"b":"c"}], "z":1e3}', "[ 1, 2 ]", "{}", "[]",
]


@dataclass
class Field:
    """A field of a collection, encoded as schema.FieldSchema."""
    id: int
    data_type: str
    params: list
    raw: bytes


def make_fields(r, with_unknown):
    """The fields of a collection, system fields included."""
    fields = [make_field(r, 100, "pk", r.choice(["int64", "varchar"]), with_unknown, f_int(3, True))]
    for _ in range(r.randrange(0, 5)):
        fid = 100 + len(fields)
        fields.append(make_field(r, fid, f"f{fid}", r.choice(SCALARS), with_unknown))
    for _ in range(r.choice([1, 1, 1, 2])):
        fid = 100 + len(fields)
        fields.append(make_field(r, fid, f"vec{fid}", r.choice(VECTORS), with_unknown))
    system = [make_field(r, 0, "RowID", "int64"), make_field(r, 1, "Timestamp", "int64")]
    return system + fields if r.random() < 0.2 else fields + system


def make_field(r, fid, name, data_type, with_unknown=False, primary=b""):
    params = []
    if data_type in VECTORS:
        params.append(("dim", str(r.choice([8, 16, 768]))))
    if data_type == "varchar":
        params.append(("max_length", str(r.choice([64, 65535]))))
    if r.random() < 0.1:
        params.append((r.choice(["zz", "a", "dim2"]), r.choice(["", "1000000", "é"])))
    description = r.choice(["", "", "primary key", 'описание "q" \\'])
    index_params = [("index_type", "FLAT")] if r.random() < 0.05 else []
    raw = (f_int(1, fid) + f_str(2, name) + primary + f_str(4, description) + f_int(5, DATA_TYPES[data_type])
           + f_pairs(6, params) + f_pairs(7, index_params) + f_int(8, primary and r.random() < 0.3))
    if with_unknown and r.random() < 0.3:
        raw = sprinkle(r, raw)
    return Field(fid, data_type, params, raw)


def make_index_type(r, data_type):
    if data_type == "float vector":
        return r.choice(["IVF_FLAT", "HNSW", "ANNOY", "FLAT"])
    if data_type == "binary vector":
        return r.choice(["BIN_IVF_FLAT", "BIN_FLAT"])
    if data_type == "varchar":
        return "Trie"
    return "STL_SORT" if r.random() < 0.9 else "OTHER"


def make_index_params(r, index_type, key_twice):
    """[(key, value)] as 2.1 writes them: what goes to the index library is a JSON object under `params`."""
    pairs = [("index_type", index_type)]
    if index_type not in ("STL_SORT", "Trie") or r.random() < 0.1:
        pairs += [("params", make_json(r, key_twice)), ("metric_type", r.choice(["L2", "IP", "HAMMING"]))]
    if r.random() < 0.2:
        pairs.append((r.choice(["extra", "A", "zzz", "ü"]), r.choice(["", "1000000", '{"not": "unfolded"}'])))
    if r.random() < 0.5:
        r.shuffle(pairs)
    return pairs


def make_json(r, key_twice):
    def blank():
        return r.choice(["", "", " ", "  ", "\n\t"])

    keys = r.sample(JSON_KEYS, r.choice([0, 1, 1, 2, 3]))
    if not key_twice and r.random() < 0.5:      # pymilvus 2.1: json.dumps
        names = [key.encode("unicode_escape").decode() if not key.isascii() else key for key in keys]
        return "{" + ", ".join(f'"{name}": {r.choice(JSON_VALUES)}' for name in names) + "}"
    if key_twice:
        keys += keys[:1]
    body = ",".join(f'{blank()}"{key}"{blank()}:{blank()}{r.choice(JSON_VALUES)}{blank()}' for key in keys)
    return f"{blank()}{{{body or blank()}}}{blank()}"


def unknown_field(r, first=20):
    """A field that no message of 2.1 has, of any wire type."""
    number = r.choice([first, first + 1, 99, 2047, 100000])
    wire_type = r.choice([VARINT, FIXED64, DELIMITED, FIXED32])
    if wire_type == VARINT:
        return varint(number << 3 | VARINT) + varint(r.choice([0, 1, 127, 128, (1 << 64) - 1]))
    if wire_type == DELIMITED:
        pair = f_str(1, "key") + f_str(2, "value")
        return f_raw(number, r.choice([b"", r.randbytes(r.randrange(40)), pair, TOMBSTONE]))
    return varint(number << 3 | wire_type) + r.randbytes(8 if wire_type == FIXED64 else 4)


def sprinkle(r, message, first=20):
    """The message with unknown fields anywhere between its fields."""
    for _ in range(r.choice([1, 1, 2, 4])):
        at = r.choice([0] + [end for _, _, _, _, end in scan(message)])
        message = message[:at] + unknown_field(r, first) + message[at:]
    return message
