"""Uses a Milvus 2.2 or later that came up on migrated metadata in the ways that old records do not always survive:
the same calls once more (`again`), and a delete from each old segment (`delete`). What the collections hold after that,
compare.py works out. Needs pymilvus 2.2 or later. Prints lines like use.py."""

import sys

from case import Case, key_of
from data import CASES, RENAMED
from lived import LIVED, LIVED_ALIASES, old_rows
from observe import describe, every_row, indexes, loaded_collections, loaded_partitions, replicas, wait_loaded
from pymilvus import Collection, connections, utility
from records import META, dump, number_in
from use import TIMEOUT, eventually, expect, keys, lacking, step

NEW_ALIASES = LIVED_ALIASES | {
    "l_altered": "l_varchar", "l_swapped_ts_1": "l_varchar", "l_swapped_ts_2": "l_growing", "l_gone": "l_large",
}
"""Where aliases lead to after this."""


def new_name(name: str) -> str:
    return RENAMED.get(name, name)


def indexes_again() -> None:
    """Every create_index that was called on 2.1 is called again: nothing is to be refused, nothing to be made."""
    for case in CASES:
        if case.index is None or case.name in lacking():
            continue
        name = new_name(case.name)
        before = indexes(name)
        kind, metric, params = case.index
        named = {"index_name": case.index_name} if case.index_name else {}
        collection = Collection(name)
        collection.create_index("vec", {"index_type": kind, "metric_type": metric, "params": params}, timeout=TIMEOUT, **named)
        for field, index_name in case.scalar_indexes.items():
            collection.create_index(field, {}, index_name=index_name, timeout=TIMEOUT)
        expect(f"{name}: indexes", before, indexes(name))


def release_and_load() -> None:
    """Every loaded collection; the same rows, by one replica, after that."""
    for name in sorted(loaded_collections()):
        release_and_load_one(name)


def release_and_load_one(name: str) -> None:
    case = next((case for case in CASES if new_name(case.name) == name), None)
    if case is None or case.name in lacking():
        return
    collection = Collection(name)
    partitions = loaded_partitions(name)
    rows, serving = every_row(case, name), replicas(name)
    collection.release(timeout=TIMEOUT)
    expect(f"{name}: loaded after its release", None, loaded_collections().get(name))
    collection.load(sorted(partitions) if partly(case, partitions) else None, timeout=TIMEOUT)
    expect(f"{name}: loaded", 100, loaded_collections().get(name))
    expect(f"{name}: loaded partitions", partitions, loaded_partitions(name))
    expect(f"{name}: replicas", serving, replicas(name))
    expect(f"{name}: rows", rows, every_row(case, name))


def partly(case: Case, partitions: dict[str, int]) -> bool:
    everything = {partition.name for partition in Collection(new_name(case.name)).partitions}
    return bool(case.partitions) and set(partitions) != everything


def replicas_asked() -> None:
    """One replica of each loaded collection, with a node, for each of its channels."""
    for name in sorted(loaded_collections()):
        expect(f"{name}: replicas", [[True, describe(name)["channels"]]], replicas(name))


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
            Collection(case.name).delete(expression)
            expect(f"{case.name}: rows after the delete", [], keys(case.name, expression))
    for case in LIVED:
        Collection(case.name).flush(timeout=TIMEOUT)


def deletes_kept() -> None:
    """All that was deleted has got to the segments: then the data node holds the channels' positions after it."""
    since = max(checkpoints().values())

    def behind() -> list[str]:
        wanted = {channel for case in LIVED for channel in describe(case.name)["channels"]}
        return sorted(channel for channel, time in checkpoints().items() if channel in wanted and time <= since)

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
        "deletes kept": deletes_kept,
    },
    "compact": {
        "a delete from every old segment": delete_old_rows,
        "deletes kept": deletes_kept,
        "compacted": compact_old,
    },
    "check": {
        "aliases altered and made anew": check_aliases,
        "replicas asked for": replicas_asked,
    },
}


def main() -> None:
    connections.connect(host="127.0.0.1", port="19530", timeout=TIMEOUT)
    wait_loaded()
    for name, what in STEPS[sys.argv[1]].items():
        step(name, what)


if __name__ == "__main__":
    main()
