"""Going on with an interrupted run: what stands in the target's form was written by it, and stays.

Where a collection has its new form already, its old one is put together again from its parts; then all is converted as
ever, and what was written already takes precedence.
"""
from model import convert
from source import ALIAS, COLLECTION, INDEX, SEGMENT_INDEX, SNAPSHOTS, TOMBSTONE
from target import STATSLOG_TRIPWIRE, TRIPWIRES
from wire import decode, f_int, f_packed, f_raw, f_strs, scan, without

PARTITIONS, FIELDS = b"root-coord/partitions/", b"root-coord/fields/"
FIELD_INDEX, NEW_SEGMENT_INDEX = b"field-index/", b"segment-index/"
SCHEMA, DATABASE = 2, 15


def resume(kvs, layout, target_prefixes):
    written = {key: value for key, value in kvs.items() if key.startswith(target_prefixes) or key in TRIPWIRES}
    source = {key: value for key, value in kvs.items() if key not in written}
    written.pop(STATSLOG_TRIPWIRE, None)
    put_together(source, written, layout)
    drop_aliases_done(source, written, layout)
    result, problems, notes = convert(source, layout)
    # An alias that is left out may have lost its plain key only.
    problems = [(key, what) for key, what in problems if not key.startswith(SNAPSHOTS + ALIAS)]
    drop_computed_twice(result, written)
    result.update(written)
    result.update(layout.tripwires())
    return result, problems, notes


def put_together(source, written, layout):
    """The collections' old form, of those that have the new one."""
    moved = layout.collection("").encode()
    for old, new in ((COLLECTION, moved), (SNAPSHOTS + COLLECTION, SNAPSHOTS + moved)):
        found = {**source, **written}
        for key in [key for key in found if key.startswith(new)]:
            source.setdefault(old + key[len(new):], without_database(found[key]))
    for key in [key for key in source if key.startswith(COLLECTION) and source[key] != TOMBSTONE]:
        if not decode("CollectionInfo", source[key])["partitionIDs"]:
            source[key] = embedded(source, written, key[len(COLLECTION):] + b"/", source[key])


def without_database(raw):
    return raw if raw == TOMBSTONE else without(raw, {DATABASE})


def embedded(source, written, of_collection, raw):
    partitions = [decode("PartitionInfo", value) for key, value in written.items()
                  if key.startswith(PARTITIONS + of_collection)]
    fields = [written[key] for key in written if key.startswith(FIELDS + of_collection)]
    indexes = [decode("IndexInfo2", decode("FieldIndex", written[key])["index_info"])
               for key in written if key.startswith(FIELD_INDEX + of_collection)]
    kept = [index for index in indexes if INDEX + of_collection + str(index["indexID"]).encode() in source]
    return (b"".join(
                f_raw(SCHEMA, value + b"".join(f_raw(4, field) for field in fields)) if number == SCHEMA
                else raw[start:end] for number, _, value, start, end in scan(raw))
            + f_packed(4, [partition["partitionID"] for partition in partitions])
            + f_strs(5, [partition["partitionName"] for partition in partitions])
            + b"".join(f_raw(6, f_int(1, index["fieldID"]) + f_int(2, index["indexID"])) for index in kept)
            + f_packed(9, [partition["created"] for partition in partitions]))


def drop_aliases_done(source, written, layout):
    """The old keys of aliases of which all new ones are there: some of the old ones may be gone already."""
    old_snapshots = SNAPSHOTS + ALIAS
    names = {key[len(ALIAS):] for key in source if key.startswith(ALIAS)}
    names |= {key[len(old_snapshots):].rpartition(b"_ts")[0] for key in source if key.startswith(old_snapshots)}
    for name in names:
        plain, new = ALIAS + name, layout.alias("").encode() + name
        snapshots = [key for key in source if key.rpartition(b"_ts")[0] == SNAPSHOTS + plain]
        is_live = source.get(plain, TOMBSTONE) != TOMBSTONE
        all_there = all(SNAPSHOTS + new + key[len(SNAPSHOTS + plain):] in written for key in snapshots)
        some_there = any(key.rpartition(b"_ts")[0] == SNAPSHOTS + new for key in written)
        if all_there and (some_there and new in written or not is_live):
            for key in [plain, *snapshots]:
                source.pop(key, None)


def drop_computed_twice(result, written):
    """A segment index that was written keeps its build ID; that of those left is another one when some are gone."""
    def identity(key, value):
        return key.rpartition(b"/")[0], decode("SegmentIndex", value)["indexID"]
    there = {identity(key, value) for key, value in written.items() if key.startswith(NEW_SEGMENT_INDEX)}
    for key in [key for key in result if key.startswith(NEW_SEGMENT_INDEX)]:
        if identity(key, result[key]) in there:
            del result[key]
