"""Rules 3 and 4: indexes and segment indexes."""
from params import unfold_params, user_params
from source import UNREADABLE
from wire import Bad, f_int, f_pairs, f_raw, f_str, f_strs, pairs_of

FINISHED, UNISSUED = 3, 1                           # common.IndexState
BOOL, INT8, INT16, INT32, FLOAT = 1, 2, 3, 4, 10    # schema.DataType
VECTORS = (100, 101)


def convert_indexes(conversion):
    for cid, collection in conversion.live.items():
        entries = index_entries(conversion, cid, collection)
        names = index_names(entries)
        for index in entries:
            convert_index(conversion, cid, index, names[index.id])
    for (cid, iid), record in conversion.source.indexes.items():
        if record is UNREADABLE:
            continue
        if conversion.is_gone(cid):
            conversion.problem(f"root-coord/index/{cid}/{iid}", f"its collection {cid} is gone")
        elif cid in conversion.live and iid not in [entry["indexID"] for entry in conversion.live[cid].field_indexes]:
            conversion.problem(f"root-coord/index/{cid}/{iid}", f"its collection {cid} does not list it")


def index_entries(conversion, cid, collection):
    """The indexes that the collection names and that can be used."""
    entries = []
    for entry in collection.field_indexes:
        fid, iid = entry["fieldID"], entry["indexID"]
        record = conversion.source.indexes.get((cid, iid))
        wrong = None
        if fid not in collection.fields:
            wrong = f"index {iid} is on field {fid}, which the schema lacks"
        elif record is None:
            wrong = f"index {iid} on field {fid} has no record root-coord/index/{cid}/{iid}"
        elif iid in [index.id for index in entries]:
            wrong = f"index {iid} twice"
        if wrong is None and record is not UNREADABLE:
            entries.append(Index(iid, collection.fields[fid], record))
            continue
        conversion.unusable_indexes.add((cid, iid))
        if wrong is not None:
            conversion.problem(f"root-coord/collection/{cid}", wrong)
    return entries


def convert_index(conversion, cid, index, name):
    source_params = pairs_of(index.record["index_params"])
    try:
        params = unfold_params(source_params)
    except Bad as bad:
        conversion.unusable_indexes.add((cid, index.id))
        conversion.problem(f"root-coord/index/{cid}/{index.id}", str(bad))
        return
    conversion.indexes[cid, index.id] = index
    info = (f_int(1, cid) + f_int(2, index.field["fieldID"]) + f_str(3, name) + f_int(4, index.id)
            + f_pairs(5, pairs_of(index.field["type_params"])) + f_pairs(6, params)
            + f_pairs(12, user_params(source_params, index.field["data_type"] in VECTORS)))
    conversion.put(f"field-index/{cid}/{index.id}",
                   f_raw(1, info) + f_int(2, index.deleted) + f_int(3, index.record["create_time"]))


def convert_segment_indexes(conversion):
    in_order = sorted(conversion.source.segment_indexes, key=segment_index_order)
    own_ids = own_build_ids(in_order, conversion.source.builds)
    used_builds = set()
    for record in in_order:
        bid = next(own_ids) if is_buildless(record) else record["buildID"]
        try:
            if conversion.is_gone(record["collectionID"]):
                raise Bad(f"its collection {record['collectionID']} is gone")
            if bid in used_builds:
                raise Bad(f"build {bid} is that of another segment index too")
            convert_segment_index(conversion, record, bid)
        except Bad as bad:
            conversion.problem(segment_index_key(record), str(bad))
        used_builds.add(bid)


def convert_segment_index(conversion, record, bid):
    cid, pid, sid = record["collectionID"], record["partitionID"], record["segmentID"]
    iid = record["indexID"]
    if cid not in conversion.live or (cid, iid) in conversion.unusable_indexes:
        return                      # reported already
    if (cid, iid) not in conversion.indexes:
        raise Bad(f"its index {iid} is none of the collection's indexes")
    if is_buildless(record):
        rows, rest = without_build(conversion, record)
    else:
        rows, rest = with_build(conversion, record, conversion.indexes[cid, iid])
    if rows is not None:
        conversion.put(f"segment-index/{cid}/{pid}/{sid}/{bid}",
                       f_int(1, cid) + f_int(2, pid) + f_int(3, sid) + f_int(4, rows) + f_int(5, iid) + f_int(6, bid)
                       + rest)


def without_build(conversion, record):
    """The number of rows, and the fields from nodeID on: a finished index without files."""
    segment = conversion.source.segments.get((record["collectionID"], record["partitionID"], record["segmentID"]))
    if segment is UNREADABLE:
        return None, None
    rows = segment["num_of_rows"] if segment else 0
    return rows, f_int(8, 1) + f_int(9, FINISHED) + f_int(13, record["create_time"]) + f_int(15, True)


def with_build(conversion, record, index):
    """The number of rows, and the fields from nodeID on, of an index that was built or is to be built."""
    bid = record["buildID"]
    build = conversion.source.builds.get(bid)
    if bid == 0:
        raise Bad("enabled, but without a build ID")
    if build is None:
        raise Bad(f"build record indexes/{bid} is missing")
    if build is UNREADABLE:
        return None, None
    try:
        return build_info(record, build, index)
    except Bad as bad:
        return unusable(conversion, f"indexes/{bid}", bad)


def unusable(conversion, key, bad):
    conversion.problem(key, str(bad))
    return None, None


class Index:
    """An index that its collection names: its ID, its field, its own record."""

    def __init__(self, iid, field, record):
        self.id = iid
        self.field = field
        self.record = record
        self.deleted = record["deleted"]


def index_names(entries):
    """{index ID: name} for the indexes of one collection, no two live ones with the same name."""
    entries = sorted(entries, key=lambda index: (index.field["fieldID"], index.id))
    given = [index for index in entries if index.record["index_name"] != "_default_idx"]
    generated = [index for index in entries if index.record["index_name"] == "_default_idx"]
    names = {index.id: index.record["index_name"] for index in given}
    names.update({index.id: f"_default_idx_{index.field['fieldID']}" for index in generated})
    # What users gave comes first. Deleted indexes are in nobody's way.
    taken, colliding = set(), []
    for index in given + generated:
        if index.deleted:
            continue
        if names[index.id] in taken:
            colliding.append(index)
        taken.add(names[index.id])
    for index in colliding:
        while names[index.id] in taken:
            names[index.id] += f"_{index.field['fieldID']}"
        taken.add(names[index.id])
    return names


def segment_index_order(record):
    return record["collectionID"], record["segmentID"], record["indexID"], record["partitionID"]


def segment_index_key(record):
    return "root-coord/segment-index/{collectionID}/{indexID}/{partitionID}/{segmentID}".format_map(record)


def is_buildless(record):
    return record["buildID"] == 0 and not record["enable_index"]


def own_build_ids(segment_indexes, builds):
    """Build IDs for the records that have none, in their order."""
    count = sum(map(is_buildless, segment_indexes))
    in_use = {record["buildID"] for record in segment_indexes} - {0} | set(builds)
    if not in_use:
        return iter(range(1, count + 1))
    if min(in_use) > count:
        return iter(range(min(in_use) - 1, min(in_use) - 1 - count, -1))
    return iter(range(max(in_use) + 1, max(in_use) + 1 + count))        # there is no room below


def is_handed_over(build, index):
    """Whether 2.2 is to build the index anew: it misreads some finished files."""
    params = dict(pairs_of(index.record["index_params"]))
    index_type = params.get("index_type")
    return (build["state"] == FINISHED and not build["mark_deleted"] and not index.deleted
            and (index_type in ("FLAT", "BIN_FLAT") or params.get("metric_type") == "TANIMOTO"
                 or index_type == "STL_SORT" and index.field["data_type"] in (BOOL, INT8, INT16, INT32, FLOAT)))


def build_info(record, build, index):
    if build["req"] is None:
        raise Bad("the build request is missing")
    rows = build["req"]["num_rows"]
    created = f_int(13, record["create_time"])
    if is_handed_over(build, index):
        return rows, f_int(8, 1) + f_int(9, UNISSUED) + created
    files = [file_key(path, record, build) for path in build["index_file_paths"]]
    return rows, (f_int(7, build["nodeID"]) + f_int(8, build["index_version"]) + f_int(9, build["state"])
                  + f_str(10, build["fail_reason"]) + f_strs(11, files) + f_int(12, build["mark_deleted"]) + created
                  + f_int(14, build["serialize_size"]) + f_int(15, build["state"] == FINISHED))


def file_key(path, record, build):
    """The last element of the path of an index file, if the file is where 2.2 looks for it."""
    numbers = build["indexBuildID"], build["index_version"], record["partitionID"], record["segmentID"]
    place = ["index_files", *map(str, numbers)]
    elements = path.split("/")
    if elements[-6:-1] != place or elements[-1] == "":
        raise Bad(f"index file {path!r} does not end in {'/'.join(place)}/<file>")
    return elements[-1]
