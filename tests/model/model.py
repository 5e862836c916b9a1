"""A second, naive implementation of the conversion from the 2.1 layout to that of a target version, rule by rule.

    result, problems, notes = convert(kvs, layout_of("2.2.16"))
    # {key: value}, [(key, what is wrong)], [(kind, key, what)]; keys are relative to the meta root

Written for clarity only, from the layouts and not from the tool. README.md has what it does where the layouts leave a
choice. With problems, the result is what is left without the things reported: only a hint.
"""
from collections import Counter

from model_indexes import convert_indexes, convert_segment_indexes
from model_loads import convert_loads
from model_segments import convert_checkpoints, convert_segments
from source import TOMBSTONE, UNREADABLE, Source
from wire import Bad, f_int, f_raw, f_str, scan, without

EMBEDDED = {4, 5, 6, 9}                             # etcd.CollectionInfo: partitions and field indexes
FIELD_INDEXES, DATABASE = 6, 15
SCHEMA, SCHEMA_FIELDS = 2, 4
DEFAULT_DATABASE = 1


def convert(kvs, layout):
    """Of a cluster with collections; judge.py has what is refused before."""
    conversion = Conversion(kvs, layout)
    convert_collections(conversion)
    convert_aliases(conversion)
    convert_indexes(conversion)
    convert_segment_indexes(conversion)
    convert_loads(conversion)
    convert_segments(conversion)
    convert_checkpoints(conversion)
    conversion.result.update(layout.tripwires())
    return conversion.result, sorted(conversion.problems), conversion.notes


class Conversion:
    def __init__(self, kvs, layout):
        self.layout = layout
        self.source = Source(kvs)
        self.result = dict(self.source.untouched)
        self.problems = list(self.source.problems)
        self.notes = []
        self.live = {}                  # collection ID -> Collection, of those that can be used
        self.indexes = {}               # (collection ID, index ID) -> Index, of those that can be used
        self.unusable_indexes = set()   # (collection ID, index ID) of those that were reported

    def put(self, key, value):
        self.result[key.encode("utf-8")] = value

    def problem(self, key, what):
        key = key.encode("utf-8")
        if (key, what) not in self.problems:
            self.problems.append((key, what))

    def note(self, kind, key, what):
        self.notes.append((kind, key, what))

    def is_gone(self, cid):
        """Whether there is no such collection. One that is there but cannot be used is not gone."""
        return self.source.collections.get(cid) is None


# ---------------------------------------------------------------------------------------------------- 1. collections

def convert_collections(conversion):
    source = conversion.source
    for cid in sorted({*source.collections, *source.collection_snapshots}):
        snapshots = source.collection_snapshots.get(cid, {})
        record = source.collections.get(cid)
        newest = max(snapshots, default=None)
        if record is None:
            convert_dropped_collection(conversion, cid, snapshots, newest)
        elif record is not UNREADABLE:
            newest = convert_live_collection(conversion, cid, record, newest, snapshots.get(newest))
        for timestamp, value in snapshots.items():
            if value is not UNREADABLE:
                is_newest = record is not None and timestamp == newest
                put_collection_snapshot(conversion, cid, timestamp, value, is_newest)
    check_collection_names(conversion)


def put_collection_snapshot(conversion, cid, timestamp, value, is_newest):
    """Older snapshots stay self-contained."""
    stripped = value
    if value != TOMBSTONE:
        stripped = strip_collection(value) if is_newest else without(value, {FIELD_INDEXES})
    conversion.put(f"snapshots/{conversion.layout.collection(cid)}_ts{timestamp}", moved(conversion, stripped))


def convert_dropped_collection(conversion, cid, snapshots, newest):
    if snapshots and snapshots[newest] not in (TOMBSTONE, UNREADABLE):
        if cid in conversion.source.collections:
            conversion.problem(f"snapshots/root-coord/collection/{cid}_ts{newest}",
                               "the newest snapshot of a collection that was dropped is no tombstone: it would come back")
        else:
            conversion.problem(f"root-coord/collection/{cid}", "it is gone without a tombstone, and its newest snapshot is live: lost")
    elif cid in conversion.source.collections and snapshots:
        conversion.put(conversion.layout.collection(cid), TOMBSTONE)


def convert_live_collection(conversion, cid, record, newest, newest_value):
    """Returns the timestamp of the newest snapshot."""
    try:
        if newest_value == TOMBSTONE:
            raise Bad("the newest snapshot of the live collection is a tombstone")
        collection = Collection(record)
    except Bad as bad:
        conversion.problem(f"root-coord/collection/{cid}", str(bad))
        return newest
    conversion.live[cid] = collection
    key = conversion.layout.collection(cid)
    stripped = moved(conversion, strip_collection(record["_raw"]))
    conversion.put(key, stripped)
    if newest is None:
        newest = record["create_time"]
        conversion.put(f"snapshots/{key}_ts{newest}", stripped)
        conversion.note("snapshot added", key, f"at {newest}")
    for pid, (name, created) in collection.partitions.items():
        partition = f_int(1, pid) + f_str(2, name) + f_int(3, created) + f_int(4, cid)
        put_versioned(conversion, f"root-coord/partitions/{cid}/{pid}", newest, partition)
    for fid, field in collection.fields.items():
        put_versioned(conversion, f"root-coord/fields/{cid}/{fid}", newest, field["_raw"])
    return newest


def put_versioned(conversion, key, timestamp, value):
    conversion.put(key, value)
    conversion.put(f"snapshots/{key}_ts{timestamp}", value)


def check_collection_names(conversion):
    """2.1 allows names that clash, in some order of calls."""
    names = Counter(collection.name for collection in conversion.live.values())
    for cid, collection in conversion.live.items():
        if names[collection.name] > 1:
            conversion.problem(f"root-coord/collection/{cid}", f"another collection is named {collection.name!r}, too")
        partitions = Counter(name for name, _ in collection.partitions.values())
        twice = sorted(name for name, count in partitions.items() if count > 1)
        if twice:
            conversion.problem(f"root-coord/collection/{cid}", f"several partitions are named {twice}")


class Collection:
    """What is embedded in the record of a live collection. Raises Bad where it does not fit together."""

    def __init__(self, record):
        self.record = record
        self.name = record["schema"]["name"] if record["schema"] else ""
        ids, names = record["partitionIDs"], record["partitionNames"]
        created = record["partition_created_timestamps"]
        if not len(ids) == len(names) == len(created):
            raise Bad(f"{len(ids)} partition IDs, {len(names)} names, {len(created)} timestamps")
        self.partitions = unique("partition", ids, zip(names, created))
        fields = record["schema"]["fields"] if record["schema"] else []
        self.fields = unique("field", [field["fieldID"] for field in fields], fields)
        self.field_indexes = record["field_indexes"]


def unique(what, ids, values):
    if not ids:
        raise Bad(f"no {what}s")
    if len(set(ids)) < len(ids):
        raise Bad(f"a {what} twice")
    return dict(zip(ids, values))


def strip_collection(raw):
    """The record without partitions, field indexes and schema fields; all other bytes as they are."""
    stripped = b""
    for number, _, value, start, end in scan(raw):
        if number == SCHEMA:
            stripped += f_raw(SCHEMA, without(value, {SCHEMA_FIELDS}))
        elif number not in EMBEDDED:
            stripped += raw[start:end]
    return stripped


def moved(conversion, raw):
    """The record in its database, where the target has one."""
    if raw == TOMBSTONE or not conversion.layout.has_databases:
        return raw
    return without(raw, {DATABASE}) + f_int(DATABASE, DEFAULT_DATABASE)


# -------------------------------------------------------------------------------------------------------- 2. aliases

def convert_aliases(conversion):
    source = conversion.source
    for alias in sorted({*source.aliases, *source.alias_snapshots}):
        snapshots = dict(source.alias_snapshots.get(alias, {}))
        cid = source.aliases.get(alias)
        newest = snapshots[max(snapshots)] if snapshots else cid
        if cid is not None and cid is not UNREADABLE:
            if conversion.is_gone(cid):
                conversion.note("alias left out", alias, f"its collection {cid} is gone")
                continue
            check_alias(conversion, alias, cid, newest)
            if cid in conversion.live:      # or it was reported
                put_live_alias(conversion, alias, cid, snapshots)
        elif cid is None and newest not in (None, UNREADABLE):
            conversion.problem(f"snapshots/root-coord/collection-alias/{alias}_ts{max(snapshots)}",
                               "the newest snapshot of an alias that is gone is no tombstone: it would come back")
            continue
        for timestamp, target in snapshots.items():
            if target is not UNREADABLE:
                put_alias_snapshot(conversion, alias, target, timestamp)


def check_alias(conversion, alias, cid, newest):
    key = f"root-coord/collection-alias/{alias}"
    if newest not in (cid, UNREADABLE):
        conversion.problem(key, f"it leads to {cid}, its newest snapshot to {newest}")
    if alias in [collection.name for collection in conversion.live.values()]:
        conversion.problem(key, "a collection has this name, too")


def put_live_alias(conversion, alias, cid, snapshots):
    conversion.put(conversion.layout.alias(alias), alias_info(conversion, alias, cid, 0))
    if not snapshots:
        snapshots[conversion.live[cid].record["create_time"]] = cid
        conversion.note("snapshot added", conversion.layout.alias(alias), "at the create time of its collection")


def put_alias_snapshot(conversion, alias, cid, timestamp):
    conversion.put(f"snapshots/{conversion.layout.alias(alias)}_ts{timestamp}",
                   alias_info(conversion, alias, cid, timestamp))


def alias_info(conversion, alias, cid, created):
    if cid is None:
        return TOMBSTONE
    info = f_str(1, alias) + f_int(2, cid) + f_int(3, created)
    return info + f_int(5, DEFAULT_DATABASE) if conversion.layout.has_databases else info
