"""A second, naive implementation of the conversion from the 2.1 layout to the 2.2 layout, rule by rule.

    result, problems = convert(kvs)        # {key: value}, [(key, what is wrong)]; keys are relative to the meta root

Written for clarity only, from the layouts and not from the tool. README.md has what it does where the layouts leave a
choice. With problems, the result is what is left without the things reported: only a hint.
"""
from params import unfold_params
from source import TOMBSTONE, UNREADABLE, Source
from wire import Bad, decode, f_int, f_map, f_packed, f_pairs, f_raw, f_str, f_strs, pairs_of, scan, without

FINISHED, UNISSUED = 3, 1                           # common.IndexState
BOOL, INT8, INT16, INT32, FLOAT = 1, 2, 3, 4, 10    # schema.DataType
LOAD_PARTITION, LOAD_COLLECTION, LOADED = 1, 2, 2   # query.LoadType, query.LoadStatus
FULLY = 100
EMBEDDED = {4, 5, 6, 9}                             # etcd.CollectionInfo: partitions and field indexes
FIELD_INDEXES = {6}
SCHEMA, SCHEMA_FIELDS = 2, 4


def convert(kvs):
    conversion = Conversion(kvs)
    conversion.convert_collections()
    conversion.convert_aliases()
    conversion.convert_indexes()
    conversion.convert_segment_indexes()
    conversion.convert_loads()
    return conversion.result, sorted(conversion.problems)


class Conversion:
    def __init__(self, kvs):
        self.kvs = kvs
        self.source = Source(kvs)
        self.result = dict(self.source.untouched)
        self.problems = list(self.source.problems)
        self.live = {}                  # collection ID -> Collection, of those that can be used
        self.indexes = {}               # (collection ID, index ID) -> Index, of those that can be used
        self.unusable_indexes = set()   # (collection ID, index ID) of those that were reported

    def put(self, key, value):
        self.result[key.encode("utf-8")] = value

    def put_versioned(self, key, timestamp, value):
        """A plain key and, if there is a timestamp, its snapshot."""
        self.put(key, value)
        if timestamp is not None:
            self.put(f"snapshots/{key}_ts{timestamp}", value)

    def problem(self, key, what):
        key = key.encode("utf-8")
        if (key, what) not in self.problems:
            self.problems.append((key, what))

    def is_gone(self, cid):
        """Whether there is no such collection. One that is there but cannot be used is not gone."""
        return self.source.collections.get(cid) is None

    # ------------------------------------------------------------------------------------------------ 1. collections

    def convert_collections(self):
        for cid in sorted({*self.source.collections, *self.source.collection_snapshots}):
            snapshots = self.source.collection_snapshots.get(cid, {})
            record = self.source.collections.get(cid)
            newest = max(snapshots, default=None) if record is not None else None
            if record is None:
                self.convert_dropped_collection(cid, snapshots)
            elif record is not UNREADABLE:
                self.convert_live_collection(cid, record, newest, snapshots.get(newest))
            for timestamp, value in snapshots.items():
                # Older snapshots stay self-contained.
                stripped = strip_collection(value) if timestamp == newest else without_field_indexes(value)
                self.put(f"snapshots/root-coord/collection/{cid}_ts{timestamp}", stripped)

    def convert_dropped_collection(self, cid, snapshots):
        if cid in self.source.collections and snapshots:
            self.put(f"root-coord/collection/{cid}", TOMBSTONE)

    def convert_live_collection(self, cid, record, newest, newest_value):
        key = f"root-coord/collection/{cid}"
        try:
            if newest_value == TOMBSTONE:
                raise Bad("the newest snapshot of the live collection is a tombstone")
            collection = Collection(record)
        except Bad as bad:
            self.problem(key, str(bad))
            return
        self.live[cid] = collection
        self.put(key, strip_collection(record["_raw"]))
        for pid, (name, created) in collection.partitions.items():
            partition = f_int(1, pid) + f_str(2, name) + f_int(3, created) + f_int(4, cid)
            self.put_versioned(f"root-coord/partitions/{cid}/{pid}", newest, partition)
        for fid, field in collection.fields.items():
            self.put_versioned(f"root-coord/fields/{cid}/{fid}", newest, field["_raw"])
        self.put_checkpoints(record)

    def put_checkpoints(self, record):
        """Each virtual channel is read from where the collection begins in its physical channel."""
        starts = {}
        for position in record["start_positions"]:
            starts.setdefault(position["key"], position["data"])
        for virtual, physical in zip(record["virtual_channel_names"], record["physical_channel_names"]):
            if virtual and starts.get(physical):
                self.put(f"datacoord-meta/channel-cp/{virtual}",
                         f_str(1, virtual) + f_raw(2, starts[physical]) + f_int(4, record["create_time"]))

    # ---------------------------------------------------------------------------------------------------- 2. aliases

    def convert_aliases(self):
        for alias in {*self.source.aliases, *self.source.alias_snapshots}:
            snapshots = self.source.alias_snapshots.get(alias, {})
            for timestamp, cid in snapshots.items():
                self.put(f"snapshots/root-coord/aliases/{alias}_ts{timestamp}", alias_info(alias, cid, timestamp))
            if alias in self.source.aliases:
                cid = self.source.aliases[alias]
                if cid is not None:     # a tombstone would take a later alias of that name with it
                    self.put(f"root-coord/aliases/{alias}", alias_info(alias, cid, 0))

    # ---------------------------------------------------------------------------------------------------- 3. indexes

    def convert_indexes(self):
        for cid, collection in self.live.items():
            entries = self.index_entries(cid, collection)
            names = index_names(entries)
            for index in entries:
                self.convert_index(cid, index, names[index.id])
        for cid, iid in self.source.indexes:
            if self.is_gone(cid) and self.source.indexes[cid, iid] is not UNREADABLE:
                self.problem(f"root-coord/index/{cid}/{iid}", f"its collection {cid} is gone")

    def index_entries(self, cid, collection):
        """The indexes that the collection names and that can be used."""
        entries = []
        for entry in collection.field_indexes:
            fid, iid = entry["fieldID"], entry["indexID"]
            record = self.source.indexes.get((cid, iid))
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
            self.unusable_indexes.add((cid, iid))
            if wrong is not None:
                self.problem(f"root-coord/collection/{cid}", wrong)
        return entries

    def convert_index(self, cid, index, name):
        user_params = pairs_of(index.record["index_params"])
        try:
            params = unfold_params(user_params)
        except Bad as bad:
            self.unusable_indexes.add((cid, index.id))
            self.problem(f"root-coord/index/{cid}/{index.id}", str(bad))
            return
        self.indexes[cid, index.id] = index
        info = (f_int(1, cid) + f_int(2, index.field["fieldID"]) + f_str(3, name) + f_int(4, index.id)
                + f_pairs(5, pairs_of(index.field["type_params"])) + f_pairs(6, params) + f_pairs(12, user_params))
        self.put(f"field-index/{cid}/{index.id}",
                 f_raw(1, info) + f_int(2, index.deleted) + f_int(3, index.record["create_time"]))

    # -------------------------------------------------------------------------------------------- 4. segment indexes

    def convert_segment_indexes(self):
        in_order = sorted(self.source.segment_indexes, key=segment_index_order)
        own_ids = own_build_ids(in_order, self.source.builds)
        used_builds = set()
        for record in in_order:
            bid = next(own_ids) if is_buildless(record) else record["buildID"]
            try:
                if self.is_gone(record["collectionID"]):
                    raise Bad(f"its collection {record['collectionID']} is gone")
                if bid in used_builds:
                    raise Bad(f"build {bid} is that of another segment index too")
                self.convert_segment_index(record, bid)
            except Bad as bad:
                self.problem(segment_index_key(record), str(bad))
            used_builds.add(bid)

    def convert_segment_index(self, record, bid):
        cid, pid, sid = record["collectionID"], record["partitionID"], record["segmentID"]
        iid = record["indexID"]
        if cid not in self.live or (cid, iid) in self.unusable_indexes:
            return                      # reported already
        if (cid, iid) not in self.indexes:
            raise Bad(f"its index {iid} is none of the collection's indexes")
        if is_buildless(record):
            rows, rest = self.without_build(record)
        else:
            rows, rest = self.with_build(record, self.indexes[cid, iid])
        if rows is not None:
            self.put(f"segment-index/{cid}/{pid}/{sid}/{bid}",
                     f_int(1, cid) + f_int(2, pid) + f_int(3, sid) + f_int(4, rows) + f_int(5, iid) + f_int(6, bid)
                     + rest)

    def without_build(self, record):
        """The number of rows, and the fields from nodeID on: a finished index without files."""
        segment = "datacoord-meta/s/{collectionID}/{partitionID}/{segmentID}".format_map(record)
        rows = 0
        if segment.encode() in self.kvs:
            try:
                rows = decode("SegmentInfo", self.kvs[segment.encode()])["num_of_rows"]
            except Bad as bad:
                return self.unusable(segment, bad)
        return rows, f_int(8, 1) + f_int(9, FINISHED) + f_int(13, record["create_time"]) + f_int(15, True)

    def with_build(self, record, index):
        """The number of rows, and the fields from nodeID on, of an index that was built or is to be built."""
        bid = record["buildID"]
        build = self.source.builds.get(bid)
        if bid == 0:
            raise Bad("enabled, but without a build ID")
        if build is None:
            raise Bad(f"build record indexes/{bid} is missing")
        if build is UNREADABLE:
            return None, None
        try:
            return build_info(record, build, index)
        except Bad as bad:
            return self.unusable(f"indexes/{bid}", bad)

    def unusable(self, key, bad):
        self.problem(key, str(bad))
        return None, None

    # ------------------------------------------------------------------------------------------------ 5. load states

    def convert_loads(self):
        for cid, load in self.source.loads.items():
            live_indexes = self.live_indexes(cid)
            if not live_indexes:
                continue                # the collection is gone, or 2.2 could not load it: released
            rest = f_int(3, load["replica_number"] or 1) + f_int(4, LOADED) + f_map(5, live_indexes)
            if load["load_type"] == LOAD_COLLECTION and load["inMemory_percentage"] == FULLY:
                released = f_packed(2, load["released_partitionIDs"])
                self.put(f"querycoord-collection-loadinfo/{cid}", f_int(1, cid) + released + rest)
            if load["load_type"] == LOAD_PARTITION:
                for pid in loaded_partitions(load):
                    if pid in self.live[cid].partitions:
                        self.put(f"querycoord-partition-loadinfo/{cid}/{pid}", f_int(1, cid) + f_int(2, pid) + rest)

    def live_indexes(self, cid):
        """{field ID: index ID} of a collection; of two live indexes on one field the one with the higher ID."""
        live = {}
        for (collection, iid), index in sorted(self.indexes.items(), key=lambda item: item[0]):
            if collection == cid and not index.deleted:
                live[index.field["fieldID"]] = iid
        return live


class Collection:
    """What is embedded in the record of a live collection. Raises Bad where it does not fit together."""

    def __init__(self, record):
        ids, names = record["partitionIDs"], record["partitionNames"]
        created = record["partition_created_timestamps"]
        if not len(ids) == len(names) == len(created):
            raise Bad(f"{len(ids)} partition IDs, {len(names)} names, {len(created)} timestamps")
        self.partitions = unique("partition", ids, zip(names, created))
        fields = record["schema"]["fields"] if record["schema"] else []
        self.fields = unique("field", [field["fieldID"] for field in fields], fields)
        self.field_indexes = record["field_indexes"]


class Index:
    """An index that its collection names: its ID, its field, its own record."""

    def __init__(self, iid, field, record):
        self.id = iid
        self.field = field
        self.record = record
        self.deleted = record["deleted"]


def unique(what, ids, values):
    if not ids:
        raise Bad(f"no {what}s")
    if len(set(ids)) < len(ids):
        raise Bad(f"a {what} twice")
    return dict(zip(ids, values))


def strip_collection(raw):
    """The record without partitions, field indexes and schema fields; all other bytes as they are."""
    if raw == TOMBSTONE:
        return raw
    stripped = b""
    for number, _, value, start, end in scan(raw):
        if number == SCHEMA:
            stripped += f_raw(SCHEMA, without(value, {SCHEMA_FIELDS}))
        elif number not in EMBEDDED:
            stripped += raw[start:end]
    return stripped


def without_field_indexes(raw):
    return raw if raw == TOMBSTONE else without(raw, FIELD_INDEXES)


def alias_info(alias, cid, created):
    return TOMBSTONE if cid is None else f_str(1, alias) + f_int(2, cid) + f_int(3, created)


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


def loaded_partitions(load):
    """The partitions that are fully loaded; one without a state of its own is as far as the collection."""
    percentages = {state["partitionID"]: state["inMemory_percentage"] for state in load["partition_states"]}
    return [pid for pid in load["partitionIDs"] if percentages.get(pid, load["inMemory_percentage"]) == FULLY]
