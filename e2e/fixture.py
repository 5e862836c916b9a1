"""Makes the collections of data.py on a running Milvus 2.1. Needs pymilvus 2.1."""

import json

import numpy
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility
from pymilvus.grpc_gen import common_pb2 as common
from pymilvus.grpc_gen import milvus_pb2 as api

from case import SCALARS, Case, Step, key_of, scalar, vectors
from client import connect, service
from data import ALIASES, CASES, DROPPED, DROPPED_ALIASES, USERS
from lived import LIVED_ALIASES

YOUNG = tuple(case for case in CASES if not case.life)

NUMPY = {
    "INT8": numpy.int8, "INT16": numpy.int16, "INT32": numpy.int32, "INT64": numpy.int64,
    "FLOAT": numpy.float32, "DOUBLE": numpy.float64,
}
NOT_FLUSHED = {case.name for case in YOUNG if case.rows and not case.rows[-1][2]}
OTHER_INDEX = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 4}}


def schema(case: Case) -> CollectionSchema:
    if case.key == "varchar":
        key = FieldSchema("pk", DataType.VARCHAR, is_primary=True, max_length=64)
    else:
        key = FieldSchema("pk", DataType.INT64, is_primary=True, auto_id=case.key == "auto", description="the key")
    fields = [key, FieldSchema("num", DataType.INT64)]
    if case.all_scalars:
        for kind in SCALARS:
            params = {"max_length": 200} if kind == "VARCHAR" else {}
            fields.append(FieldSchema(kind.lower(), DataType[kind], **params))
    vector = DataType.BINARY_VECTOR if case.binary else DataType.FLOAT_VECTOR
    fields.append(FieldSchema("vec", vector, dim=case.dim))
    return CollectionSchema(fields, description=case.description)


def rows(case: Case, first: int, count: int) -> list[object]:
    numbers = range(first, first + count)
    columns: list[object] = [] if case.key == "auto" else [[key_of(case, row) for row in numbers]]
    columns.append(list(numbers))
    if case.all_scalars:
        for kind in SCALARS:
            values = [scalar(kind, row) for row in numbers]
            columns.append(numpy.array(values, dtype=NUMPY[kind]) if kind in NUMPY else values)
    columns.append(vectors(case, first, count))
    return columns


def insert_rows(case: Case, collection: Collection, step: Step, numbers: range) -> None:
    """Some rows of a batch."""
    within = slice(numbers.start - step.first, numbers.stop - step.first)
    columns = [[key_of(case, row) for row in numbers], list(numbers), vectors(case, step.first, step.count)[within]]
    collection.insert(columns, partition_name=step.partition)


def insert(case: Case, collection: Collection, number: int) -> bool:
    """Inserts the rows of one round; tells whether they are to be flushed."""
    partition, count, flush_it = case.rows[number]
    first = sum(rows for _, rows, _ in case.rows[:number])
    collection.insert(rows(case, first, count), partition_name=partition)
    return flush_it


def insert_flushed(collections: list[tuple[Case, Collection]]) -> None:
    """Round by round, with one flush for all collections: a flush of 2.1 takes seconds."""
    for number in range(max(len(case.rows) for case, _ in collections)):
        names = []
        for case, collection in collections:
            if number < len(case.rows) and case.name not in NOT_FLUSHED and insert(case, collection, number):
                names.append(case.name)
        flush(names)


def insert_unflushed(case: Case, collection: Collection) -> None:
    """To be done last: pymilvus 2.1 flushes when an index is created."""
    if case.name in NOT_FLUSHED:
        for number in range(len(case.rows)):
            if insert(case, collection, number):
                flush([case.name])


def flush(names: list[str]) -> None:
    if names:
        # pymilvus 2.1's collections have no flush(), only the handler below them has.
        connections._fetch_handler("default").flush(names, timeout=300)


def make_indexes(case: Case, collection: Collection) -> None:
    if case.index is None:
        return
    kind, metric, params = case.index
    name = {"index_name": case.index_name} if case.index_name else {}
    if kind == "FLAT":
        create_index_raw(case.name, "vec", {"index_type": kind, "metric_type": metric, "params": params})
        return
    collection.create_index("vec", {"index_type": kind, "metric_type": metric, "params": params}, **name)
    for field, index_name in case.scalar_indexes.items():
        collection.create_index(field, {}, index_name=index_name)


def create_index_raw(name: str, field: str, params: dict[str, object]) -> None:
    """pymilvus 2.1 drops the index when FLAT is asked for; clients for other languages do create it."""
    entries = [
        common.KeyValuePair(key=key, value=value if isinstance(value, str) else json.dumps(value))
        for key, value in params.items()
    ]
    reply = service().CreateIndex(api.CreateIndexRequest(collection_name=name, field_name=field, extra_params=entries))
    if reply.error_code != 0:
        raise RuntimeError(f"{name}: {reply.reason}")


def create(case: Case) -> Collection:
    collection = Collection(case.name, schema(case), shards_num=case.shards, consistency_level=case.consistency)
    for partition in case.partitions:
        collection.create_partition(partition, description="")
    if case.name in ("c_reindexed", "c_index_dropped"):
        collection.create_index("vec", OTHER_INDEX)
    if case.name == "c_partition_dropped":
        collection.create_partition("p_dropped")
        collection.insert(rows(case, 5000, 1200), partition_name="p_dropped")
        # Of unflushed rows 2.1 goes on answering after the partition is gone.
        flush([case.name])
    return collection


def drop_what_is_dropped(case: Case, collection: Collection) -> None:
    if case.name in ("c_reindexed", "c_index_dropped"):
        wait_for_index(case, "")
        collection.drop_index()
    if case.name == "c_partition_dropped":
        collection.drop_partition("p_dropped")
    if case.name in DROPPED:
        utility.create_alias(case.name, f"a_of_{case.name}")
        if case.name == "c_dropped_alias":
            utility.drop_alias(f"a_of_{case.name}")
        collection.drop()


def wait_for_index(case: Case, index_name: str) -> None:
    # Not by the progress: 2.1 never counts segments below the threshold as indexed.
    utility.wait_for_index_building_complete(case.name, index_name=index_name, timeout=120)


def load(case: Case, collection: Collection) -> None:
    if case.name == "c_pq_released":
        collection.load(timeout=120)
        collection.release()
    elif case.load is True:
        collection.load(replica_number=case.replicas, timeout=120)
    elif case.load:
        collection.load(list(case.load), replica_number=case.replicas, timeout=120)


def delete(case: Case, collection: Collection) -> None:
    if case.delete is None:
        return
    keys = [key_of(case, row) for row in range(*case.delete)]
    collection.delete(f"pk in {keys}".replace("'", '"'))
    if case.flush_deletes:
        flush([case.name])


def make_aliases() -> None:
    for alias, name in ALIASES.items():
        if alias in LIVED_ALIASES:
            continue
        utility.create_alias("c_small" if alias == "a_altered" else name, alias)
    for alias in DROPPED_ALIASES:
        utility.create_alias("c_small", alias)
        utility.drop_alias(alias)
    utility.alter_alias(ALIASES["a_altered"], "a_altered")
    utility.drop_alias("a_recreated")
    utility.create_alias(ALIASES["a_recreated"], "a_recreated")


def main() -> None:
    connect()
    to_drop = [Case(name, "to be dropped") for name in DROPPED]
    collections = [(case, create(case)) for case in (*YOUNG, *to_drop)]
    insert_flushed(collections)
    for case, collection in collections:
        drop_what_is_dropped(case, collection)
    del collections[len(YOUNG):]
    for case, collection in collections:
        make_indexes(case, collection)
    make_aliases()
    for user, password in USERS.items():
        utility.create_credential(user, password)
    for case, collection in collections:
        if case.index is not None:
            for name in (case.index_name, *case.scalar_indexes.values()):
                wait_for_index(case, name)
        load(case, collection)
        insert_unflushed(case, collection)
        delete(case, collection)
    print(f"made {len(YOUNG)} collections, {len(USERS)} users")


if __name__ == "__main__":
    main()
