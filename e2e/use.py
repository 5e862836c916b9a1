"""Uses a Milvus 2.2 or later that came up on migrated metadata: changes all kinds of things (`change`), and after a
restart of the server looks whether all of it is there (`check`). Needs pymilvus 2.2 or later.

Prints one line for each step: `ok <step>` or `FAILED <step>: <why>`."""

import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from pymilvus import Collection, utility

from case import ROWS_FOR_INDEX, Case, key_of, questions, search_params, vectors
from client import connect
from data import ALIASES, BY_NAME, CASES, RENAMED, RENAMED_ALIASES
from observe import indexes, loaded_partitions, patiently, wait_loaded
from settings import TO_DROP, UNKNOWN_INDEXES
from versions import Version

TIMEOUT = 400
"""2.3.5 may lose the watch on its channels when it starts, and tries again only after 5 minutes: nothing is flushed meanwhile"""
OLD_NAME, NEW_NAME = "c_my_ts_1", "c_renamed_ts_2"
"""no alias leads to it: Milvus would refuse"""
TTL = "315360000"
NEW_ROWS = range(100_000, 101_200)


def step(name: str, what: Callable[[], None]) -> None:
    begun = time.monotonic()
    try:
        what()
        print(f"ok {name} [{time.monotonic() - begun:.1f} s]", flush=True)
    except Exception as error:  # noqa: BLE001 every step is tried
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
    found = patiently(lambda: Collection(name).query(
        expression, output_fields=["pk"], consistency_level="Strong", timeout=TIMEOUT, **more
    ))
    return sorted(row["pk"] for row in found)


def search(name: str, case: Case, questions_for: Case | None = None, **more: Any) -> list[int]:
    found = patiently(lambda: Collection(name).search(
        questions(questions_for or case), "vec", search_params(case), 10, consistency_level="Strong", timeout=TIMEOUT, **more
    ))
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
        return bool(progress["indexed_rows"] == progress["total_rows"])

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


def replace_index(name: str) -> None:
    collection = Collection(name)
    collection.drop_index(timeout=TIMEOUT)
    collection.create_index("vec", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}})
    utility.wait_for_index_building_complete(name, timeout=TIMEOUT)
    collection.load(timeout=TIMEOUT)
    expect("hits", [10] * 3, search(name, BY_NAME["c_ivfflat"], questions_for=BY_NAME[name]))


def replace_unreadable_indexes() -> None:
    """Types of indexes that the newer server knows no more."""
    for name in lacking():
        replace_index(name)


def of_this_server(by_series: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return by_series[Version(os.environ["MILVUS_VERSION"]).series]


def lacking() -> list[str]:
    kinds = of_this_server(UNKNOWN_INDEXES)
    return [case.name for case in CASES if case.index and case.index[0] in kinds]


def load_and_release_partition() -> None:
    case = BY_NAME["c_sq8_partload"]
    collection = Collection("c_sq8_partload")
    # 2.2 does not load one more partition beside a loaded one: first release.
    collection.partition("p_loaded").release()
    collection.load(["p_loaded", "p_not"], timeout=TIMEOUT)
    expect("hits", [10] * 3, search("c_sq8_partload", case, partition_names=["p_not"]))
    collection.partition("p_not").release()
    check_partition_load()


def check_partition_load() -> None:
    case = BY_NAME["c_sq8_partload"]
    expect("loaded", {"p_loaded": 100}, loaded_partitions("c_sq8_partload"))
    expect("hits", [10] * 3, search("c_sq8_partload", case, partition_names=["p_loaded"]))


def load_released() -> None:
    for case in CASES:
        if case.life or case.load or case.index is None or case.name in RENAMED or case.name in lacking():
            continue
        Collection(case.name).load(timeout=TIMEOUT)
        expect(case.name, [10] * 3, search(case.name, case))
        expect(f"{case.name}: rows", sum(rows for _, rows, _ in case.rows), len(keys(case.name, "num >= 0")))
        Collection(case.name).release()


def aliases() -> None:
    utility.create_alias("c_ivfflat", "a_new")
    utility.drop_alias("a_second")
    check_aliases()


def alter_alias() -> None:
    utility.alter_alias("c_growing", "a_altered")
    check_altered_alias()


def make_aliases_anew() -> None:
    utility.drop_alias("a_recreated")
    utility.create_alias("c_mixed", "a_recreated")
    utility.create_alias("c_deletes", "a_dropped")
    check_alias_made_anew()
    check_alias_dropped_on_2_1()


def check_aliases() -> None:
    expect("aliases", ["a_main", "a_new"], sorted(utility.list_aliases("c_ivfflat")))
    expect("hits by alias", [10] * 3, search("a_new", BY_NAME["c_ivfflat"]))


def check_altered_alias() -> None:
    expect("aliases", ["a_altered"], sorted(utility.list_aliases("c_growing")))
    expect("hits by alias", [10] * 3, search("a_altered", BY_NAME["c_growing"]))


def check_alias_made_anew() -> None:
    expect("aliases", ["a_recreated"], sorted(utility.list_aliases("c_mixed")))


def check_alias_dropped_on_2_1() -> None:
    expect("aliases", ["a_dropped"], sorted(utility.list_aliases("c_deletes")))


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
    utility.rename_collection(OLD_NAME, NEW_NAME)
    expect("old name", False, utility.has_collection(OLD_NAME))


def properties() -> None:
    # Twice, as 2.2.16 and 2.3.5 forget the last change when they restart (github.com/milvus-io/milvus/issues/30144).
    for name in ("c_ivfflat", "c_scalars") * 2:
        Collection(name).set_properties(properties={"collection.ttl.seconds": TTL})


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


def scalar_index() -> None:
    """One that the server makes is shown as those that were migrated."""
    Collection("c_brand_new").create_index("num", {}, index_name="idx_num")
    expect("parameters", indexes("c_scalars")["int64"]["params"], indexes("c_brand_new")["num"]["params"])


def drop() -> None:
    for name in TO_DROP:
        Collection(name).release()
        utility.drop_collection(name)
        expect(f"{name} is there", False, utility.has_collection(name))


def check_renamed() -> None:
    case = BY_NAME[OLD_NAME]
    collection = Collection(NEW_NAME)
    expect("old name", False, utility.has_collection(OLD_NAME))
    expect("fields", ["pk", "num", "vec"], [field.name for field in collection.schema.fields])
    expect("partitions", ["_default"], [partition.name for partition in collection.partitions])
    expect("rows", ROWS_FOR_INDEX, collection.num_entities)
    expect("hits", [10] * 3, search(NEW_NAME, case))


def check_properties() -> None:
    for name in ("c_ivfflat", "c_scalars"):
        case = BY_NAME[name]
        collection = Collection(name)
        expect(f"{name}: TTL", TTL, collection.describe()["properties"].get("collection.ttl.seconds"))
        expect(f"{name}: fields", 11 if case.all_scalars else 3, len(collection.schema.fields))
        expect(f"{name}: partitions", len(case.partitions) + 1, len(collection.partitions))
        expect(f"{name}: hits", [10] * 3, search(name, case))


def check_new() -> None:
    expect("new rows", len(NEW_ROWS), len(keys("c_ivfflat", f"pk >= {NEW_ROWS[0]}")))
    expect("hits in the new collection", [10] * 3, search("c_brand_new", BY_NAME["c_ivfflat"]))
    expect("dropped ones", [False, False], [utility.has_collection(name) for name in TO_DROP])


def check_renamed_by_migration() -> None:
    for old, new in RENAMED.items():
        expect(f"hits in {new}", [10] * 3, search(new, BY_NAME[old]))
    for old, new in RENAMED_ALIASES.items():
        expect(f"aliases of {ALIASES[old]}", [new], list(utility.list_aliases(ALIASES[old])))


CHANGES = {
    "names that the migration gave": check_renamed_by_migration,
    "insert and flush": insert_and_flush,
    "index new rows": index_on_migrated,
    "create, use and drop an index": create_and_drop_index,
    "replace a migrated index": lambda: replace_index("c_pq_released"),
    "replace an index that the newer server lacks": replace_unreadable_indexes,
    "load and release a partition": load_and_release_partition,
    "load what was released": load_released,
    "create and drop aliases": aliases,
    "alter an alias": alter_alias,
    "make dropped aliases anew": make_aliases_anew,
    "create and drop partitions": partitions,
    "delete by key": delete,
    "compact": compact,
    "create a collection": create,
    "create a scalar index": scalar_index,
    "rename a collection": rename,
    "alter properties": properties,
    "drop collections": drop,
}
CHECKS = {
    "names that the migration gave": check_renamed_by_migration,
    "renamed collection": check_renamed,
    "altered properties": check_properties,
    "created and dropped aliases": check_aliases,
    "altered alias": check_altered_alias,
    "alias dropped and made anew": check_alias_made_anew,
    "alias dropped on 2.1.0 and made anew": check_alias_dropped_on_2_1,
    "loaded partition": check_partition_load,
    "partitions": check_partitions,
    "deleted rows": check_delete,
    "new rows": check_new,
}


def main() -> None:
    connect()
    wait_loaded()
    for name, what in (CHANGES if sys.argv[1] == "change" else CHECKS).items():
        step(name, what)


if __name__ == "__main__":
    main()
