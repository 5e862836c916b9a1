"""Damage to the metadata of a cluster.

    damaged_kvs, keys, kind = damage(kvs, seed)

`keys` are those that a report must name: all of them, and no other one.
"""
import random

from model_indexes import Index, is_handed_over, segment_index_key, segment_index_order
from model_segments import LISTS
from source import ALIAS, BUILD, COLLECTION, INDEX, LOAD, REPLICA, SEGMENT, SEGMENT_INDEX, SNAPSHOTS, TOMBSTONE
from wire import Bad, decode, f_int, f_packed, f_pairs, f_raw, f_str, f_strs, scan, without

U64_MAX = (1 << 64) - 1


def damage(kvs, seed):
    """Exactly one kind of damage."""
    r = random.Random(f"damage {seed}")
    kinds = list(KINDS)
    r.shuffle(kinds)
    for kind in kinds:
        damaged = dict(kvs)
        keys = kind(damaged, r)
        if keys:
            return dict(sorted(damaged.items())), keys, kind.__name__
    raise AssertionError("a bad key is always possible")


# --------------------------------------------------------------------------------------------------- what there is

def live(kvs, prefix):
    """[(key, value)] of the keys with this prefix that are not tombstones"""
    return [(key, value) for key, value in kvs.items() if key.startswith(prefix) and value != TOMBSTONE]


def collections(kvs):
    """{collection ID: decoded}"""
    decoded = [decode("CollectionInfo", value) for _, value in live(kvs, COLLECTION)]
    return {collection["ID"]: collection for collection in decoded}


def collection_key(cid):
    return COLLECTION + str(cid).encode()


def index_key(cid, iid):
    return INDEX + f"{cid}/{iid}".encode()


def build_key(record):
    return BUILD + str(record["buildID"]).encode()


def segment_indexes(kvs):
    return [decode("SegmentIndexInfo", value) for _, value in live(kvs, SEGMENT_INDEX)]


def built(kvs):
    """The segment indexes that have a build."""
    return [record for record in segment_indexes(kvs) if record["buildID"]]


def listed_indexes(kvs):
    """[(collection ID, index ID)] of all that collections name"""
    return [(cid, entry["indexID"])
            for cid, collection in collections(kvs).items() for entry in collection["field_indexes"]]


def fresh_id(kvs, r):
    while True:
        number = r.randrange(1 << 61, 1 << 62)
        if not any(str(number).encode() in key for key in kvs):
            return number


def pick(r, found):
    return r.choice(found) if found else None


# ----------------------------------------------------------------------------------------------------- collections

def collection_contents(kvs, r):
    """Partitions and fields of a collection that do not fit together."""
    cid = pick(r, list(collections(kvs)))
    if cid is None:
        return None
    key = collection_key(cid)
    collection = decode("CollectionInfo", kvs[key])
    pid, first_field = collection["partitionIDs"][0], collection["schema"]["fields"][0]["_raw"]
    new_id, another = f_packed(4, [fresh_id(kvs, r)]), f_strs(5, ["another"])
    schema = without(collection["schema"]["_raw"], {4})
    kvs[key] = r.choice([
        kvs[key] + new_id, kvs[key] + another, kvs[key] + f_packed(9, [5]), kvs[key] + new_id + another,
        kvs[key] + f_packed(4, [pid]) + another + f_packed(9, [5]), kvs[key] + f_raw(2, f_raw(4, first_field)),
        without(kvs[key], {4, 5, 9}), without(kvs[key], {2}) + f_raw(2, schema), without(kvs[key], {2})])
    return {key}


def newest_snapshot_dropped(kvs, r):
    """The plain key has a live collection, its newest snapshot is a tombstone."""
    cid = pick(r, list(collections(kvs)))
    if cid is None:
        return None
    snapshot = SNAPSHOTS + collection_key(cid) + b"_ts"
    newest = max([int(key[len(snapshot):]) for key in kvs if key.startswith(snapshot)], default=4)
    if newest == U64_MAX:
        return None
    kvs[snapshot + str(newest + 1).encode()] = TOMBSTONE
    return {collection_key(cid)}


def collection_gone(kvs, r):
    """Indexes of a collection that does not exist."""
    cid = pick(r, [cid for cid in collections(kvs) if live(kvs, index_key(cid, ""))])
    if cid is None:
        cid, iid = fresh_id(kvs, r), fresh_id(kvs, r)
        kvs[index_key(cid, iid)] = f_str(1, "_default_idx") + f_int(2, iid) + f_pairs(3, [("index_type", "HNSW")])
        return {index_key(cid, iid)}
    snapshots = [key for key in kvs if key.startswith(SNAPSHOTS + collection_key(cid) + b"_ts")]
    if r.random() < 0.5 and len(collections(kvs)) > 1:
        for key in [collection_key(cid), *snapshots]:
            del kvs[key]
    else:
        newest = SNAPSHOTS + collection_key(cid) + b"_ts%d" % U64_MAX
        kvs[newest] = kvs[collection_key(cid)] = TOMBSTONE
    of_collection = f"{cid}/".encode()
    return {key for key, _ in live(kvs, INDEX + of_collection) + live(kvs, SEGMENT_INDEX + of_collection)}


# --------------------------------------------------------------------------------------------------------- indexes

def missing_index(kvs, r):
    found = pick(r, listed_indexes(kvs))
    if found is None:
        return None
    if r.random() < 0.5:
        del kvs[index_key(*found)]
    else:
        kvs[index_key(*found)] = TOMBSTONE
    return {collection_key(found[0])}


def index_on_missing_field(kvs, r):
    cid = pick(r, list(collections(kvs)))
    if cid is None:
        return None
    iid = fresh_id(kvs, r)
    kvs[collection_key(cid)] += f_raw(6, f_int(1, r.choice([99, 9999])) + f_int(2, iid))
    kvs[index_key(cid, iid)] = f_str(1, "idx_of_no_field") + f_int(2, iid) + f_pairs(3, [("index_type", "IVF_FLAT")])
    return {collection_key(cid)}


def bad_params(kvs, r):
    found = pick(r, listed_indexes(kvs))
    if found is None:
        return None
    no_object = ["", " ", "[]", "null", "7", '"text"', "nlist", "{", '{"a":}', '{"a":1}}', '{"a":NaN}', '{"a":01}']
    kvs[index_key(*found)] += f_pairs(3, [("params", r.choice(no_object))])
    return {index_key(*found)}


def unlisted_index(kvs, r):
    """An index that its collection does not name, and its segment indexes: 2.1 did not finish a drop."""
    found = pick(r, listed_indexes(kvs))
    if found is None:
        return None
    cid, iid = found
    collection = collections(kvs)[cid]
    kept = [entry["_raw"] for entry in collection["field_indexes"] if entry["indexID"] != iid]
    kvs[collection_key(cid)] = without(collection["_raw"], {6}) + b"".join(f_raw(6, entry) for entry in kept)
    return {index_key(cid, iid)} | {key for key, _ in live(kvs, SEGMENT_INDEX + f"{cid}/{iid}/".encode())}


# ------------------------------------------------------------------------------------------------- segment indexes

def missing_build(kvs, r):
    record = pick(r, built(kvs))
    if record is None:
        return None
    del kvs[build_key(record)]
    return {segment_index_key(record).encode()}


def missing_request(kvs, r):
    record = pick(r, built(kvs))
    if record is None:
        return None
    kvs[build_key(record)] = without(kvs[build_key(record)], {4})
    return {build_key(record)}


def enabled_without_build(kvs, r):
    record = pick(r, segment_indexes(kvs))
    if record is None:
        return None
    key = segment_index_key(record).encode()
    kvs[key] = without(kvs[key], {6, 7}) + f_int(7, True)
    return {key}


def build_twice(kvs, r):
    """Two segment indexes with one build ID: the later one is at fault. The files are not those of a new first one."""
    record = pick(r, built(kvs))
    if record is None:
        return None
    copy = record["_raw"] + f_int(3, fresh_id(kvs, r))
    twin = decode("SegmentIndexInfo", copy)
    kvs[segment_index_key(twin).encode()] = copy
    first, later = sorted([record, twin], key=segment_index_order)
    is_elsewhere = first is twin and has_checked_files(kvs, record)
    return {segment_index_key(later).encode()} | ({build_key(record)} if is_elsewhere else set())


def has_checked_files(kvs, record):
    build = decode("IndexMeta", kvs[build_key(record)])
    return build["index_file_paths"] and not is_handed_over(build, index_of(kvs, record))


def index_of(kvs, record):
    collection = collections(kvs)[record["collectionID"]]
    fields = {field["fieldID"]: field for field in collection["schema"]["fields"]}
    info = decode("IndexInfo", kvs[index_key(record["collectionID"], record["indexID"])])
    return Index(record["indexID"], fields[record["fieldID"]], info)


def file_path(kvs, r):
    record = pick(r, [record for record in built(kvs) if has_checked_files(kvs, record)])
    if record is None:
        return None
    key = build_key(record)
    paths = decode("IndexMeta", kvs[key])["index_file_paths"]
    which = r.randrange(len(paths))
    paths[which] = spoil_path(paths[which], r)
    kvs[key] = without(kvs[key], {5}) + f_strs(5, paths)
    return {key}


def spoil_path(path, r):
    *_, directory, build, version, partition, segment, name = path.split("/")
    place = r.choice([
        [directory, build + "1", version, partition, segment, name],
        [directory, build, version + "1", partition, segment, name],
        [directory, build, version, partition + "1", segment, name],
        [directory, build, version, partition, segment + "1", name],
        ["index_file", build, version, partition, segment, name], [directory, build, version, partition, segment, ""],
        [directory, build, version, partition, segment, "deeper", name],
        [directory, segment, version, partition, build, name], [build, version, partition, segment, name], [name],
    ])
    return "/".join(place)


# --------------------------------------------------------------------------------------------------- names and history

def collections_of_one_name(kvs, r):
    """Two living collections have one name."""
    found = [cid for cid, collection in collections(kvs).items()]
    if len(found) < 2:
        return None
    first, second = r.sample(found, 2)
    name = collections(kvs)[second]["schema"]["name"]
    rename(kvs, first, name)
    return {collection_key(first), collection_key(second)}


def rename(kvs, cid, name):
    record = SNAPSHOTS + collection_key(cid) + b"_ts"
    newest = max((key for key in kvs if key.startswith(record)), key=lambda key: int(key[len(record):]), default=None)
    for key in [collection_key(cid)] + [newest] * (newest is not None):
        kvs[key] += f_raw(2, f_str(1, name))        # the pieces of a message count together


def partitions_of_one_name(kvs, r):
    found = {cid: collection["partitionNames"] for cid, collection in collections(kvs).items()}
    cid = pick(r, [cid for cid, names in found.items() if len(names) > 1])
    if cid is None:
        return None
    names = found[cid]
    names[r.randrange(1, len(names))] = names[0]
    kvs[collection_key(cid)] = without(kvs[collection_key(cid)], {5}) + f_strs(5, names)
    return {collection_key(cid)}


def alias_named_like_a_collection(kvs, r):
    cid = pick(r, list(collections(kvs)))
    if cid is None:
        return None
    name = collections(kvs)[cid]["schema"]["name"]
    key = ALIAS + name.encode()
    kvs[key] = f_int(1, cid) + f_raw(2, f_str(1, name))
    return {key}


def alias_newest_snapshot_differs(kvs, r):
    """It leads elsewhere, or is a tombstone: most targets read snapshots only."""
    cids = list(collections(kvs))
    leading = {key: decode("CollectionInfo", value)["ID"] for key, value in live(kvs, ALIAS)}
    key = pick(r, [key for key, cid in leading.items() if cid in cids])
    if key is None:
        return None
    record = SNAPSHOTS + key + b"_ts"
    newest = max([int(other[len(record):]) for other in kvs if is_snapshot_of(other, record)], default=4)
    if newest == U64_MAX:
        return None
    kvs[record + str(newest + 1).encode()] = r.choice([TOMBSTONE, f_int(1, fresh_id(kvs, r))])
    return {key}


def gone_without_tombstone(kvs, r):
    """A plain key is gone, its newest snapshot is there: it was not dropped, which leaves a tombstone, but lost."""
    cid = pick(r, [cid for cid in collections(kvs) if any(key.startswith(SNAPSHOTS + collection_key(cid) + b"_ts")
                                                          for key in kvs) and not mentioned(kvs, cid)])
    if cid is None:
        return None
    kvs.pop(collection_key(cid))
    return {collection_key(cid)}


def mentioned(kvs, cid):
    return live(kvs, index_key(cid, "")) or live(kvs, SEGMENT_INDEX + f"{cid}/".encode()) or len(collections(kvs)) < 2


def is_snapshot_of(key, record):
    return key.startswith(record) and key[len(record):].isdigit()


# ----------------------------------------------------------------------------------------------------------- segments

def log_path(kvs, r):
    """A log whose path does not end in a number."""
    return log_at(kvs, r, ["{place}/", "{place}/x", "{place}/12x", "{place}/-5", "{place}/99999999999999999999", ""])


def log_elsewhere(kvs, r):
    """A log whose path ends in a number, but not in the place where newer versions look for it."""
    return log_at(kvs, r, ["{place}/1/2", "files/{ids}/5", "5"])


def log_at(kvs, r, paths):
    found = [(key, number) for key, value in live(kvs, SEGMENT) for number in (11, 12, 13)
             if any(field["binlogs"] for field in decode("SegmentInfo", value)[LISTS[number][0]])]
    chosen = pick(r, found)
    if chosen is None:
        return None
    key, number = chosen
    ids = key[len(SEGMENT):].decode()
    place = f"files/{LISTS[number][2]}/{ids}" + ("" if number == 13 else "/100")
    path = r.choice(paths).format(place=place, ids=ids)
    field = f_int(1, 0 if number == 13 else 100) + f_raw(2, f_int(1, 5) + f_str(4, path))
    kvs[key] += f_raw(number, field)
    return {key}


# ------------------------------------------------------------------------------------------------------ any record

# What does not decode although its fields can be told apart.
WRONG_FIELDS = {
    COLLECTION: [f_raw(1, b"7"), f_raw(4, b"\x80"), f_raw(2, f_raw(1, b"\xff")), f_raw(2, f_raw(4, b"\x0a\x05a"))],
    ALIAS: [f_raw(1, b"7"), f_raw(2, f_raw(1, b"\xff"))],
    INDEX: [f_raw(1, b"\xff"), f_raw(2, b"7"), f_raw(3, b"\x0a\x05a"), f_raw(3, f_raw(2, b"\xff"))],
    SEGMENT_INDEX: [f_raw(6, b"7"), f_int(6, 5)[:-1] + b"\x80"],
    BUILD: [f_raw(2, b"7"), f_raw(3, b"\xff"), f_raw(4, f_raw(8, b"7")), f_raw(5, b"\xff")],
    LOAD: [f_raw(4, b"7"), f_raw(3, b"\x08"), f_raw(2, b"\x80")],
    REPLICA: [f_raw(2, b"7"), f_raw(1, b"\xff")],
    SEGMENT: [f_raw(5, b"7"), f_raw(9, f_raw(4, b"7")), f_raw(11, f_raw(2, f_raw(4, b"\xff"))),
              f_raw(12, b"\x0a\x05a")],
}
WRONG_FIELDS[SNAPSHOTS + COLLECTION] = WRONG_FIELDS[COLLECTION]
WRONG_FIELDS[SNAPSHOTS + ALIAS] = WRONG_FIELDS[ALIAS]


def wrong_field(kvs, r):
    prefix = pick(r, [prefix for prefix in WRONG_FIELDS if live(kvs, prefix)])
    if prefix is None:
        return None
    key, _ = r.choice(live(kvs, prefix))
    kvs[key] += r.choice(WRONG_FIELDS[prefix])
    return {key}


def undecodable(kvs, r):
    """A value that is no protobuf message, or is cut off."""
    kinds = [[key for key, _ in live(kvs, prefix)] for prefix in WRONG_FIELDS]
    keys = pick(r, [keys for keys in kinds if keys])
    if keys is None:
        return None
    key = r.choice(keys)
    value = kvs[key]
    ways = [b"\xff\xff\xff", b"\xff" * 11, b"\xe2\x9b", b"\x12\x7f" + value[:20]]
    ways += [value + end for end in (b"\x12\xff\x01", b"\x0a", b"\x08" + b"\x80" * 10 + b"\x01", b"\x00\x00")]
    ways += [value[:r.randrange(len(value))] for _ in range(3)]
    kvs[key] = r.choice([way for way in ways if not decodes(way)])
    return {key}


def decodes(value):
    try:
        scan(value)
        return True
    except Bad:
        return False


def wrong_id(kvs, r):
    """A value that is not that of its key."""
    id_fields = {
        COLLECTION: [1], SNAPSHOTS + COLLECTION: [1], INDEX: [2], SEGMENT_INDEX: [1, 2, 3, 5], BUILD: [1], LOAD: [1],
        REPLICA: [1], SEGMENT: [1, 2, 3]}
    prefixes = [*id_fields, ALIAS, SNAPSHOTS + ALIAS]
    prefix = pick(r, [prefix for prefix in prefixes if live(kvs, prefix)])
    if prefix is None:
        return None
    key, _ = r.choice(live(kvs, prefix))
    # Of two values for one field the last one counts.
    if prefix in id_fields:
        kvs[key] += f_int(r.choice(id_fields[prefix]), fresh_id(kvs, r))
    else:
        kvs[key] += f_raw(2, f_str(1, "another"))
    return {key}


def bad_key(kvs, r):
    number = fresh_id(kvs, r)
    key = r.choice([
        "root-coord/collection/abc", "root-coord/collection/", "root-coord/collection/12/34",
        "root-coord/collection/007", "root-coord/collection/99999999999999999999",
        "root-coord/collection/-9223372036854775809", "root-coord/collection/-0", f"root-coord/index/{number}",
        f"root-coord/index/{number}/x", f"root-coord/index/{number}/{number}/{number}", f"root-coord/index/{number}/+7",
        f"root-coord/segment-index/{number}/2/3", f"root-coord/segment-index/{number}/2/3/4x",
        f"root-coord/segment-index/{number}/2/3/4/5", f"indexes/x{number}", f"indexes/{number}/1", "indexes/",
        "indexes/ 1", f"queryCoord-collectionMeta/c{number}", f"queryCoord-ReplicaMeta/{number}/1",
        "datacoord-meta/s/not/parsed", f"datacoord-meta/s/{number}/2/3/4", f"datacoord-meta/s/{number}",
        "root-coord/collection-alias/",
        "snapshots/root-coord/collection-alias/_ts5", f"snapshots/root-coord/collection/{number}",
        f"snapshots/root-coord/collection/{number}_ts12x",
        f"snapshots/root-coord/collection/{number}_ts99999999999999999999", "snapshots/root-coord/collection/abc_ts12",
        "snapshots/root-coord/collection-alias/some_alias", "snapshots/root-coord/collection-alias/a_ts",
        "snapshots/root-coord/collection-alias/a_ts12b",
    ]).encode()
    kvs[key] = r.choice([b"", f_int(1, number)])
    return {key}


KINDS = [
    collection_contents, newest_snapshot_dropped, collection_gone, missing_index, index_on_missing_field, bad_params,
    unlisted_index, missing_build, missing_request, enabled_without_build, build_twice, file_path,
    collections_of_one_name, partitions_of_one_name, alias_named_like_a_collection, alias_newest_snapshot_differs,
    gone_without_tombstone, log_path, log_elsewhere, wrong_field, undecodable, wrong_id, bad_key,
]
