"""Rule 5: what is loaded, and its replicas."""
from wire import f_int, f_map

LOAD_PARTITION, LOAD_COLLECTION, LOADED = 1, 2, 2   # query.LoadType, query.LoadStatus
FULLY = 100


def convert_loads(conversion):
    for cid, load in conversion.source.loads.items():
        load_type, partitions = what_is_loaded(conversion, cid, load)
        if load_type is None:
            continue
        live_indexes = live_indexes_of(conversion, cid)
        replicas = sorted(rid for rid, replica in conversion.source.replicas.items() if replica["collectionID"] == cid)
        if not live_indexes:
            conversion.note("released", cid, "no index")
        elif not replicas:
            conversion.note("released", cid, "no replica")
        elif not partitions:
            conversion.note("released", cid, "all of its partitions were released")
        else:
            rest = f_int(3, load["replica_number"] or 1) + f_int(4, LOADED) + f_map(5, live_indexes)
            put_load_state(conversion, cid, load_type, partitions, rest)
            for rid in replicas:
                conversion.put(f"querycoord-replica/{cid}/{rid}", f_int(1, rid) + f_int(2, cid))


def what_is_loaded(conversion, cid, load):
    """The load type (None: nothing) and the IDs of the partitions, of which only living ones count."""
    if cid not in conversion.live:
        return None, []
    living = list(conversion.live[cid].partitions)
    if load["load_type"] == LOAD_COLLECTION and load["inMemory_percentage"] == FULLY:
        released = [pid for pid in living if pid in load["released_partitionIDs"]]
        if not released:
            return LOAD_COLLECTION, living
        conversion.note("partitions stay released", cid, f"{released}: a partition load of the rest")
        return LOAD_PARTITION, [pid for pid in living if pid not in released]
    if load["load_type"] == LOAD_PARTITION:
        partitions = [pid for pid in loaded_partitions(load) if pid in living]
        return (LOAD_PARTITION, partitions) if partitions else (None, [])
    return None, []


def loaded_partitions(load):
    """The partitions that are fully loaded; one without a state of its own is as far as the collection."""
    percentages = {state["partitionID"]: state["inMemory_percentage"] for state in load["partition_states"]}
    return [pid for pid in load["partitionIDs"] if percentages.get(pid, load["inMemory_percentage"]) == FULLY]


def put_load_state(conversion, cid, load_type, partitions, rest):
    has_load_type = conversion.layout.has_load_type
    if load_type == LOAD_COLLECTION or has_load_type:
        conversion.put(f"querycoord-collection-loadinfo/{cid}",
                       f_int(1, cid) + rest + (f_int(6, load_type) if has_load_type else b""))
    if load_type == LOAD_PARTITION or has_load_type:
        for pid in partitions:
            conversion.put(f"querycoord-partition-loadinfo/{cid}/{pid}", f_int(1, cid) + f_int(2, pid) + rest)


def live_indexes_of(conversion, cid):
    """{field ID: index ID} of a collection; of two live indexes on one field the one with the higher ID."""
    live = {}
    for (collection, iid), index in sorted(conversion.indexes.items(), key=lambda item: item[0]):
        if collection == cid and not index.deleted:
            live[index.field["fieldID"]] = iid
    return live
