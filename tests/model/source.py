"""What a 2.1 cluster holds: its keys sorted by kind, its values decoded."""
import re

from wire import U64_MAX, Bad, decode, text_of

TOMBSTONE = b"\xe2\x9b\xbc"
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1

COLLECTION = b"root-coord/collection/"
ALIAS = b"root-coord/collection-alias/"
INDEX = b"root-coord/index/"
SEGMENT_INDEX = b"root-coord/segment-index/"
BUILD = b"indexes/"
LOAD = b"queryCoord-collectionMeta/"
REPLICA = b"queryCoord-ReplicaMeta/"
SEGMENT = b"datacoord-meta/s/"
SNAPSHOTS = b"snapshots/"
GONE_UNREAD = re.compile(
    rb"root-coord/(dd-operation|dd-msg-send)"
    rb"|snapshots/root-coord/((dd-operation|dd-msg-send)_ts[0-9]+|(index|segment-index)/.*)", re.S)

NUMBER = re.compile(r"0|-?[1-9][0-9]*")
# Stands for a value that was reported because it cannot be read: what needs it says nothing more.
UNREADABLE = "unreadable"


class Source:
    """The records of a cluster. None stands for a tombstone, UNREADABLE for a value that was reported."""

    def __init__(self, kvs):
        self.untouched = {}
        self.problems = []
        self.collections = {}               # collection ID -> decoded
        self.collection_snapshots = {}      # collection ID -> {timestamp: bytes}
        self.aliases = {}                   # alias -> collection ID
        self.alias_snapshots = {}           # alias -> {timestamp: collection ID}
        self.indexes = {}                   # (collection ID, index ID) -> decoded; no tombstones
        self.segment_indexes = []           # decoded; no tombstones
        self.builds = {}                    # build ID -> decoded
        self.loads = {}                     # collection ID -> decoded
        self.replicas = {}                  # replica ID -> decoded
        self.segments = {}                  # (collection ID, partition ID, segment ID) -> decoded
        for key in sorted(kvs):
            self.read(key, kvs[key])

    def read(self, key, value):
        readers = {
            COLLECTION: self.read_collection, SNAPSHOTS + COLLECTION: self.read_collection_snapshot,
            ALIAS: self.read_alias, SNAPSHOTS + ALIAS: self.read_alias_snapshot,
            INDEX: self.read_index, SEGMENT_INDEX: self.read_segment_index,
            BUILD: self.read_build, LOAD: self.read_load, REPLICA: self.read_replica, SEGMENT: self.read_segment,
        }
        prefix = next((prefix for prefix in readers if key.startswith(prefix)), None)
        if prefix in (None, LOAD) and not GONE_UNREAD.fullmatch(key):
            self.untouched[key] = value
        if prefix is None:
            return
        try:
            readers[prefix](text_of(key[len(prefix):], "the key"), value)
        except Bad as bad:
            self.problems.append((key, str(bad)))

    def read_collection(self, rest, value):
        cid, = parse_ids(rest, 1)
        self.collections[cid] = UNREADABLE
        self.collections[cid] = None if value == TOMBSTONE else decode_collection(value, cid)

    def read_collection_snapshot(self, rest, value):
        name, timestamp = split_snapshot(rest)
        cid, = parse_ids(name, 1)
        snapshots = self.collection_snapshots.setdefault(cid, {})
        snapshots[timestamp] = UNREADABLE
        if value != TOMBSTONE:
            decode_collection(value, cid)
        snapshots[timestamp] = value

    def read_alias(self, rest, value):
        alias = parse_alias(rest)
        self.aliases[alias] = UNREADABLE
        self.aliases[alias] = None if value == TOMBSTONE else decode_alias(value, alias)

    def read_alias_snapshot(self, rest, value):
        name, timestamp = split_snapshot(rest)
        alias = parse_alias(name)
        snapshots = self.alias_snapshots.setdefault(alias, {})
        snapshots[timestamp] = UNREADABLE
        snapshots[timestamp] = None if value == TOMBSTONE else decode_alias(value, alias)

    def read_index(self, rest, value):
        cid, iid = parse_ids(rest, 2)
        if value == TOMBSTONE:
            return
        self.indexes[cid, iid] = UNREADABLE
        index = decode("IndexInfo", value)
        same("index ID", index["indexID"], iid)
        self.indexes[cid, iid] = index

    def read_segment_index(self, rest, value):
        ids = parse_ids(rest, 4)
        if value == TOMBSTONE:
            return
        record = decode("SegmentIndexInfo", value)
        for name, in_key in zip(("collectionID", "indexID", "partitionID", "segmentID"), ids):
            same(name, record[name], in_key)
        self.segment_indexes.append(record)

    def read_build(self, rest, value):
        bid, = parse_ids(rest, 1)
        self.builds[bid] = UNREADABLE
        build = decode("IndexMeta", value)
        same("build ID", build["indexBuildID"], bid)
        self.builds[bid] = build

    def read_load(self, rest, value):
        cid, = parse_ids(rest, 1)
        load = decode("LoadState", value)
        same("collection ID", load["collectionID"], cid)
        self.loads[cid] = load

    def read_replica(self, rest, value):
        rid, = parse_ids(rest, 1)
        replica = decode("ReplicaInfo", value)
        same("replica ID", replica["replicaID"], rid)
        self.replicas[rid] = replica

    def read_segment(self, rest, value):
        ids = parse_ids(rest, 3)
        self.segments[ids] = UNREADABLE
        segment = decode("SegmentInfo", value)
        for name, in_key in zip(("collectionID", "partitionID", "ID"), ids):
            same(name, segment[name], in_key)
        self.segments[ids] = segment


def parse_id(text):
    if not NUMBER.fullmatch(text) or not I64_MIN <= int(text) <= I64_MAX:
        raise Bad(f"{text!r} is not an ID")
    return int(text)


def parse_ids(text, count):
    parts = text.split("/")
    if len(parts) != count:
        raise Bad(f"the key should have {count} IDs behind its prefix, not {len(parts)}")
    return tuple(map(parse_id, parts))


def split_snapshot(text):
    """'v_ts2022_ts47' -> ('v_ts2022', 47)"""
    name, mark, timestamp = text.rpartition("_ts")
    if not mark or not re.fullmatch(r"[0-9]+", timestamp) or int(timestamp) > U64_MAX:
        raise Bad("no timestamp behind the last _ts of a snapshot key")
    return name, int(timestamp)


def parse_alias(text):
    if text == "" or "/" in text:
        raise Bad(f"{text!r} is not an alias")
    return text


def same(what, in_value, in_key):
    if in_value != in_key:
        raise Bad(f"{what} is {in_value!r} in the value and {in_key!r} in the key")


def decode_collection(value, cid):
    collection = decode("CollectionInfo", value)
    same("collection ID", collection["ID"], cid)
    return collection


def decode_alias(value, alias):
    """The ID of the collection that the alias stands for."""
    record = decode("CollectionInfo", value)
    if record["schema"] is not None:
        same("alias", record["schema"]["name"], alias)
    return record["ID"]
