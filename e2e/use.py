"""Uses a Milvus 2.2 or later that came up on migrated metadata: changes all kinds of things (`change`), and after a
restart of the server looks whether all of it is there (`check`). Needs pymilvus 2.2 or later.

Prints one line for each step: `ok <step>` or `FAILED <step>: <why>`."""

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from pymilvus import Collection, connections, utility

from data import BY_NAME, Case, key_of, questions, search_params, vectors

TIMEOUT = 180
RENAMED = "c_mixed_renamed"
TTL = "315360000"
NEW_ROWS = range(100_000, 101_200)

failed = False


def step(name: str, what: Callable[[], None]) -> None:
    global failed
    try:
        what()
        print(f"ok {name}", flush=True)
    except Exception as error:  # noqa: BLE001 every step is tried
        failed = True
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(f"FAILED {name}: {type(error).__name__}: {str(error)[:400]} (line {where.lineno})", flush=True)


def expect(what: str, wanted: Any, found: Any) -> None:
    if wanted != found:
        raise AssertionError(f"{what}: expected {wanted}, found {found}")


def eventually(what: str, wanted: Any, look: Callable[[], Any]) -> None:
    end = time.monotonic() + TIMEOUT
    while (found := look()) != wanted:
        if time.monotonic() > end:
            expect(what, wanted, found)
        time.sleep(0.5)


def new_rows(case: Case) -> list[Any]:
    return [[key_of(case, row) for row in NEW_ROWS], list(NEW_ROWS), vectors(case, NEW_ROWS[0], len(NEW_ROWS))]


def keys(name: str, expression: str, **more: Any) -> list[Any]:
    found = Collection(name).query(expression, output_fields=["pk"], consistency_level="Strong", timeout=TIMEOUT, **more)
    return sorted(row["pk"] for row in found)


def search(name: str, case: Case, **more: Any) -> list[int]:
    found = Collection(name).search(questions(case), "vec", search_params(case), 10, consistency_level="Strong",
                                    timeout=TIMEOUT, **more)
    return [len(question) for question in found]


def insert_and_flush() -> None:
    case = BY_NAME["c_ivfflat"]
    collection = Collection("c_ivfflat")
    before = collection.num_entities
    collection.insert(new_rows(case), partition_name="p_one")
    collection.flush(timeout=TIMEOUT)
    eventually("rows", before + len(NEW_ROWS), lambda: collection.num_entities)
    expect("new rows", len(NEW_ROWS), len(keys("c_ivfflat", f"pk >= {NEW_ROWS[0]}")))


def index_on_migrated() -> None:
    """The index of a new segment of an old index gets built, too."""
    def done() -> bool:
        progress = utility.index_building_progress("c_ivfflat")
        return progress["indexed_rows"] == progress["total_rows"]

    eventually("all rows indexed", True, done)


def create_and_drop_index() -> None:
    case = BY_NAME["c_noidx"]
    collection = Collection("c_noidx")
    collection.create_index("vec", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}})
    utility.wait_for_index_building_complete("c_noidx", timeout=TIMEOUT)
    collection.load(timeout=TIMEOUT)
    expect("hits", [10] * 3, [
        len(hits) for hits in collection.search(questions(case), "vec", {"metric_type": "L2", "params": {"ef": 64}}, 10)
    ])
    collection.release()
    collection.drop_index(timeout=TIMEOUT)
    expect("indexes", [], [index.index_name for index in collection.indexes])


def drop_migrated_index() -> None:
    collection = Collection("c_pq_released")
    collection.drop_index(timeout=TIMEOUT)
    collection.create_index("vec", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}})
    utility.wait_for_index_building_complete("c_pq_released", timeout=TIMEOUT)
    collection.load(timeout=TIMEOUT)
    expect("hits", [10] * 3, search("c_pq_released", BY_NAME["c_pq_released"]))


def load_and_release_partition() -> None:
    case = BY_NAME["c_sq8_partload"]
    collection = Collection("c_sq8_partload")
    collection.load(["p_loaded", "p_not"], timeout=TIMEOUT)
    expect("hits", [10] * 3, search("c_sq8_partload", case, partition_names=["p_not"]))
    collection.partition("p_not").release()
    expect("hits", [10] * 3, search("c_sq8_partload", case, partition_names=["p_loaded"]))


def load_released() -> None:
    for name in ("c_rhnsw", "c_eight_shards", "_underscore"):
        Collection(name).load(timeout=TIMEOUT)
        expect(name, [10] * 3, search(name, BY_NAME[name]))
        Collection(name).release()


def aliases() -> None:
    utility.create_alias("c_ivfflat", "a_new")
    utility.alter_alias("c_mixed", "a_altered")
    utility.drop_alias("a_second")
    check_aliases("c_mixed")


def check_aliases(mixed: str) -> None:
    expect("aliases of c_ivfflat", ["a_main", "a_new"], sorted(utility.list_aliases("c_ivfflat")))
    expect("aliases of c_mixed", ["a_altered", "a_recreated"], sorted(utility.list_aliases(mixed)))


def partitions() -> None:
    collection = Collection("c_eight_shards")
    collection.create_partition("p_new")
    collection = Collection("c_many_partitions")
    collection.create_partition("p_new_ts9")
    collection.release()
    collection.drop_partition("p07")
    collection.load(timeout=TIMEOUT)
    check_partitions()


def check_partitions() -> None:
    collection = Collection("c_many_partitions")
    expect("partitions", [False, True, True], [collection.has_partition(name) for name in ("p07", "p08", "p_new_ts9")])
    expect("partitions", 61, len(collection.partitions))
    expect("readable rows", 59 * 30, len(keys("c_many_partitions", "pk >= 0")))


def rename() -> None:
    utility.rename_collection("c_mixed", RENAMED)
    expect("old name", False, utility.has_collection("c_mixed"))


def properties() -> None:
    for name in ("c_ivfflat", "c_scalars"):
        Collection(name).set_properties({"collection.ttl.seconds": TTL})


def delete() -> None:
    for name, expression in {"c_binary": "pk in [1, 2, 3]", "c_hnsw_varchar": 'pk in ["k000001", "k000002"]'}.items():
        before = keys(name, expression)
        expect(f"{name}: rows to delete", len(expression.split(",")), len(before))
        Collection(name).delete(expression)
        Collection(name).flush(timeout=TIMEOUT)
    check_delete()


def check_delete() -> None:
    expect("c_binary", [], keys("c_binary", "pk in [1, 2, 3]"))
    expect("c_hnsw_varchar", ["k000003"], keys("c_hnsw_varchar", 'pk in ["k000001", "k000002", "k000003"]'))


def compact() -> None:
    collection = Collection("c_ivfflat")
    collection.compact(timeout=TIMEOUT)
    collection.wait_for_compaction_completed(timeout=TIMEOUT)
    expect("new rows", len(NEW_ROWS), len(keys("c_ivfflat", f"pk >= {NEW_ROWS[0]}")))


def create() -> None:
    """A new collection beside the migrated ones."""
    source = Collection("c_ivfflat")
    collection = Collection("c_brand_new", source.schema, shards_num=2)
    collection.insert(new_rows(BY_NAME["c_ivfflat"]))
    collection.flush(timeout=TIMEOUT)
    collection.create_index("vec", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}})
    collection.load(timeout=TIMEOUT)
    expect("hits", [10] * 3, search("c_brand_new", BY_NAME["c_ivfflat"]))


def drop() -> None:
    for name in ("c_flat", "c_scalars_small"):
        Collection(name).release()
        utility.drop_collection(name)
        expect(f"{name} is there", False, utility.has_collection(name))


def check_renamed() -> None:
    case = BY_NAME["c_mixed"]
    collection = Collection(RENAMED)
    expect("fields", ["pk", "num", "vec"], [field.name for field in collection.schema.fields])
    expect("partitions", ["_default"], [partition.name for partition in collection.partitions])
    expect("rows", 2200, collection.num_entities)
    eventually("hits", [10] * 3, lambda: search(RENAMED, case))


def check_properties() -> None:
    for name in ("c_ivfflat", "c_scalars"):
        case = BY_NAME[name]
        described = Collection(name).describe()
        ttl = [entry["value"] if isinstance(entry, dict) else entry.value for entry in listed(described["properties"])
               if (entry["key"] if isinstance(entry, dict) else entry.key) == "collection.ttl.seconds"]
        expect(f"{name}: TTL", [TTL], ttl)
        expect(f"{name}: vector field", True, "vec" in [field.name for field in Collection(name).schema.fields])
        expect(f"{name}: partitions", len(case.partitions) + 1, len(Collection(name).partitions))
        expect(f"{name}: hits", [10] * 3, search(name, case))


def listed(properties: Any) -> list[Any]:
    if isinstance(properties, dict):
        return [{"key": key, "value": value} for key, value in properties.items()]
    return list(properties)


def check_new() -> None:
    expect("new rows", len(NEW_ROWS), len(keys("c_ivfflat", f"pk >= {NEW_ROWS[0]}")))
    expect("hits in the new collection", [10] * 3, search("c_brand_new", BY_NAME["c_ivfflat"]))
    expect("dropped ones", [False, False], [utility.has_collection(name) for name in ("c_flat", "c_scalars_small")])


CHANGES = {
    "insert and flush": insert_and_flush,
    "index new rows": index_on_migrated,
    "create, use and drop an index": create_and_drop_index,
    "replace a migrated index": drop_migrated_index,
    "load and release a partition": load_and_release_partition,
    "load what was released": load_released,
    "create, alter and drop aliases": aliases,
    "create and drop partitions": partitions,
    "delete by key": delete,
    "compact": compact,
    "create a collection": create,
    "rename a collection": rename,
    "alter properties": properties,
    "drop collections": drop,
}
CHECKS = {
    "renamed collection": check_renamed,
    "altered properties": check_properties,
    "aliases": lambda: check_aliases(RENAMED),
    "partitions": check_partitions,
    "deleted rows": check_delete,
    "new rows": check_new,
}


def main() -> None:
    connections.connect(host="127.0.0.1", port="19530")
    for name, what in (CHANGES if sys.argv[1] == "change" else CHECKS).items():
        step(name, what)
    sys.exit(failed)


if __name__ == "__main__":
    main()
