"""Uses a Milvus 2.2 or later that came up on migrated metadata in the ways that old records do not always survive:
the same calls once more (`again`), and a delete from each old segment (`delete`). What the collections hold after that,
compare.py works out. Needs pymilvus 2.2 or later. Prints lines like use.py."""

import sys
from typing import Any

from pymilvus import Collection, MilvusException, utility

from case import Case, key_of, vectors
from client import connect
from compare import difference
from data import CASES, RENAMED
from lived import LIVED, LIVED_ALIASES, old_rows
from observe import describe, every_row, indexes, loaded_collections, loaded_partitions, replicas, wait_loaded
from records import META, dump, number_in
from settings import NOT_INDEXED
from use import TIMEOUT, eventually, expect, keys, lacking, of_this_server, step

NEW_ALIASES = LIVED_ALIASES | {
    "l_altered": "l_varchar", "l_swapped_ts_1": "l_varchar", "l_swapped_ts_2": "l_growing", "l_gone": "l_partitions",
}
"""Where aliases lead to after this."""
ROWS_AFTER_DROPS = range(5000, 5060)
CASE_OF = {RENAMED.get(case.name, case.name): case for case in CASES}


def new_name(name: str) -> str:
    return RENAMED.get(name, name)


def indexes_again() -> None:
    """Every create_index that was called on 2.1 is called again: nothing is to be refused, nothing to be made."""
    for case in CASES:
        if case.index is None or case.name in lacking():
            continue
        name = new_name(case.name)
        before, partitions = indexes(name), loaded_partitions(name) if name in loaded_collections() else {}
        try:
            index_again(case, name)
        except MilvusException as error:
            # Early 2.2 makes no index while a collection is loaded.
            if "please release it first" not in str(error):
                raise
            again = partly(case, partitions)
            Collection(name).release(timeout=TIMEOUT)
            index_again(case, name)
            Collection(name).load(again, replica_number=case.replicas, timeout=TIMEOUT)
        expect(f"{name}: indexes", before, indexes(name))


def index_again(case: Case, name: str) -> None:
    assert case.index is not None
    kind, metric, params = case.index
    named = {"index_name": case.index_name} if case.index_name else {}
    collection = Collection(name)
    collection.create_index("vec", {"index_type": kind, "metric_type": metric, "params": params}, timeout=TIMEOUT, **named)
    refused = of_this_server(NOT_INDEXED)
    for field, index_name in case.scalar_indexes.items():
        if field not in refused:
            collection.create_index(field, {}, index_name=index_name, timeout=TIMEOUT)


def release_and_load() -> None:
    """Every loaded collection: the same partitions and rows, by one replica, after that."""
    names = [name for name in sorted(loaded_collections()) if tested(name)]
    before = {name: state_of(name) for name in names}
    rows_before = {name: every_row(CASE_OF[name], name) for name in names}
    partial = {name: partly(CASE_OF[name], before[name]["partitions"]) for name in names}
    for name in names:
        Collection(name).release(timeout=TIMEOUT)
    expect("loaded after the release", [], [name for name in loaded_collections() if name in names])
    # Whole collections all at once: each takes some seconds.
    for name in names:
        Collection(name).load(
            partial[name], replica_number=CASE_OF[name].replicas, _async=partial[name] is None, timeout=TIMEOUT)
    eventually("loaded", dict.fromkeys(names, 100), lambda: {name: loaded_collections().get(name) for name in names})
    for name in names:
        rows, found = every_row(CASE_OF[name], name), state_of(name)
        expect(f"{name}: after release and load", before[name], found)
        expect(f"{name}: rows after release and load", "the same", "the same" if rows == rows_before[name] else
               difference(rows_before[name], rows))


def state_of(name: str) -> dict[str, Any]:
    return {
        "loaded": loaded_collections().get(name), "partitions": loaded_partitions(name), "replicas": replicas(name),
    }


def tested(name: str) -> bool:
    return name in CASE_OF and name not in lacking()


def partly(case: Case, partitions: dict[str, int]) -> list[str] | None:
    """What to ask for when it is to be loaded again: those partitions, or everything."""
    everything = {partition.name for partition in Collection(new_name(case.name)).partitions}
    return sorted(partitions) if case.partitions and set(partitions) != everything else None


def replicas_asked() -> None:
    """As many replicas of each loaded collection as it had, on nodes of their own, with all of its channels and segments."""
    for name in sorted(loaded_collections()):
        number = CASE_OF[name].replicas if name in CASE_OF else 1
        expect(f"{name}: replicas", [[True, describe(name)["channels"]]] * number, replicas(name))
        groups = [set(group.group_nodes) for group in Collection(name).get_replicas(timeout=TIMEOUT).groups]
        expect(f"{name}: nodes of several replicas", set(), {node for node in set().union(*groups)
                                                             if sum(node in group for group in groups) > 1})
        for segment in utility.get_query_segment_info(name, timeout=TIMEOUT):
            nodes = list(segment.nodeIds)
            expect(f"{name}: nodes with segment {segment.segmentID}", [1] * number,
                   [sum(node in group for node in nodes) for group in groups])


def aliases_changed() -> None:
    for alias, name in NEW_ALIASES.items():
        if alias == "l_gone":
            utility.create_alias(name, alias)
        elif name != LIVED_ALIASES[alias]:
            utility.alter_alias(name, alias)
    utility.drop_alias("l_made_again")
    utility.create_alias(NEW_ALIASES["l_made_again"], "l_made_again")
    check_aliases()


def check_aliases() -> None:
    expect("where aliases lead to", NEW_ALIASES, {alias: describe(alias)["name"] for alias in NEW_ALIASES})


def delete_old_rows() -> None:
    for case in LIVED:
        gone = [key_of(case, row) for row in old_rows(case)]
        if gone:
            expression = f"pk in {gone}".replace("'", '"')
            expect(f"{case.name}: rows to delete", gone, keys(case.name, expression))
            # A query node of 2.2 drops a delete that names no partition, where the collection is loaded by partition.
            for partition in partly(case, loaded_partitions(case.name)) or [None]:
                Collection(case.name).delete(expression, partition_name=partition)
            expect(f"{case.name}: rows after the delete", [], keys(case.name, expression))
    for case in LIVED:
        Collection(case.name).flush(timeout=TIMEOUT)


def rows_where_all_was_dropped() -> None:
    """Without them 2.2.16, by a fault of its own, forgets the channel's position when it collects the last dropped
    segment, begins where the collection does, and does not survive the DropPartition that it meets there."""
    case = CASE_OF["l_only_dropped"]
    numbers = list(ROWS_AFTER_DROPS)
    Collection(case.name).insert([numbers, numbers, vectors(case, numbers[0], len(numbers))])
    Collection(case.name).flush(timeout=TIMEOUT)
    check_rows_where_all_was_dropped()


def check_rows_where_all_was_dropped() -> None:
    expect("rows", [[row, row] for row in ROWS_AFTER_DROPS], every_row(CASE_OF["l_only_dropped"], "l_only_dropped"))


def deletes_kept() -> None:
    """All that was deleted has got to the segments: then the data node holds the channels' positions after it."""
    since = max(checkpoints().values())

    def behind() -> list[str]:
        found = checkpoints()
        return sorted(channel for case in LIVED for channel in describe(case.name)["channels"]
                      if found.get(channel, 0) <= since)

    eventually("channels whose position does not get past the deletes", [], behind)


def compact_old() -> None:
    """Segments that 2.1 wrote are put together to new ones."""
    for name in ("l_compacted", "l_deletes", "l_varchar", "l_flushing"):
        collection = Collection(name)
        collection.compact(timeout=TIMEOUT)
        collection.wait_for_compaction_completed(timeout=TIMEOUT)


def checkpoints() -> dict[str, int]:
    prefix = f"{META}datacoord-meta/channel-cp/"
    return {key.removeprefix(prefix): number_in(value, 4) for key, value in dump(prefix).items()}


STEPS = {
    "again": {
        "every index asked for again": indexes_again,
        "replicas asked for": replicas_asked,
        "released and loaded, everything": release_and_load,
        "replicas asked for after that": replicas_asked,
    },
    "delete": {
        "aliases altered and made anew": aliases_changed,
        "a delete from every old segment": delete_old_rows,
        "rows where all was dropped": rows_where_all_was_dropped,
        "deletes kept": deletes_kept,
    },
    "compact": {
        "a delete from every old segment": delete_old_rows,
        "rows where all was dropped": rows_where_all_was_dropped,
        "deletes kept": deletes_kept,
        "compacted": compact_old,
    },
    "replicas": {"replicas asked for": replicas_asked},
    "check": {
        "aliases altered and made anew": check_aliases,
        "rows where all was dropped": check_rows_where_all_was_dropped,
        "replicas asked for": replicas_asked,
    },
}


def main() -> None:
    connect()
    unloaded = [name for name, percent in wait_loaded().items() if percent != 100]
    step("everything loads", lambda: expect("collections that do not load", [], unloaded))
    for name, what in STEPS[sys.argv[1]].items():
        step(name, what)


if __name__ == "__main__":
    main()
