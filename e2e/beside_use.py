"""What a user does while components of 2.1.0 run beside those of a newer Milvus (cluster/beside.py). What must be there is
kept in a file. Runs with pymilvus 2.1 and 2.2 alike. Prints `ok <step>` or `FAILED <step>: <why>` for each step.

beside_use.py FILE make; beside_use.py FILE check; beside_use.py FILE work NUMBER; beside_use.py FILE load; beside_use.py FILE
loaded"""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymilvus import Collection, connections, utility

from case import Case, alone, search_params, vectors
from client import connect
from fixture import create, make_indexes, wait_for_index
from use import expect, step

PATIENCE = 45
AT_ONCE = 500
CASES = (
    Case("b_loaded", "flushed, growing, deleted", shards=2),
    Case("b_released", "not loaded", index=alone("HNSW", "L2", M=8, efConstruction=64)),
    Case("b_replicas", "loaded twice", replicas=2),
)
NEW = "b_new_"
LEFT_RELEASED = "b_released"


def case_of(name: str) -> Case:
    known = {case.name: case for case in CASES}
    return known.get(name) or Case(name, "made beside components of 2.1.0", shards=4)


class Held:
    """Batches of rows, and the rows that were deleted again, by collection."""

    def __init__(self, file: Path):
        self.file = file
        self.all: dict[str, dict[str, list[Any]]] = json.loads(file.read_text()) if file.exists() else {}

    def insert(self, name: str, first: int, count: int) -> None:
        Collection(name).insert(
            [list(range(first, first + count)), list(range(first, first + count)), vectors(case_of(name), first, count)],
            timeout=PATIENCE,
        )
        self.all.setdefault(name, {"batches": [], "gone": []})["batches"].append([first, count])
        self.save()

    def delete(self, name: str, first: int, count: int) -> None:
        rows = list(range(first, first + count))
        Collection(name).delete(f"pk in {rows}", timeout=PATIENCE)
        self.all[name]["gone"] += rows
        self.save()

    def save(self) -> None:
        self.file.write_text(json.dumps(self.all))

    def rows(self, name: str) -> set[int]:
        found = {row for first, count in self.all[name]["batches"] for row in range(first, first + count)}
        return found - set(self.all[name]["gone"])

    def vectors(self, name: str) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for first, count in self.all[name]["batches"]:
            found |= zip(range(first, first + count), vectors(case_of(name), first, count))
        return {row: found[row] for row in self.rows(name)}


def patiently(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return what()
        except Exception:  # noqa: BLE001 whatever it is, it may pass
            if time.monotonic() > end:
                raise
            time.sleep(2)


def too_late(*_: object) -> None:
    raise TimeoutError(f"not done in {PATIENCE} s")


def flush(name: str) -> None:
    # pymilvus 2.1 waits for ever for a segment to be flushed.
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(PATIENCE)
    try:
        # By the handler, as pymilvus 2.1's collections have no flush().
        connections._fetch_handler("default").flush([name], timeout=PATIENCE)
    finally:
        signal.alarm(0)


def keys(name: str) -> list[int]:
    return [row["pk"] for row in patiently(lambda: Collection(name).query(
        "pk >= 0", output_fields=["pk"], consistency_level="Strong", timeout=20))]


def nearest(name: str, wanted: list[Any]) -> list[int | None]:
    found = patiently(lambda: Collection(name).search(
        wanted, "vec", search_params(case_of(name)), 1, consistency_level="Strong", timeout=20))
    return [hits[0].id if len(hits) else None for hits in found]


def rows_are_there(held: Held, name: str) -> None:
    """By a query of all rows, and by a search for each row's vector, which is nearest to itself."""
    found, wanted = keys(name), held.rows(name)
    missing, more = wanted - set(found), set(found) - wanted
    expect("rows missing, too many, twice", (0, 0, 0), (len(missing), len(more), len(found) - len(set(found))))
    rows = list(held.vectors(name).items())
    lost = []
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first:first + AT_ONCE]
        lost += [row for (row, _), hit in zip(part, nearest(name, [vector for _, vector in part])) if row != hit]
    expect("rows that do not find themselves", 0, len(lost))


def make(held: Held) -> None:
    for case in CASES:
        make_indexes(case, create(case))
        held.insert(case.name, 0, 1500)
        flush(case.name)
        wait_for_index(case, "")
        if case.name != LEFT_RELEASED:
            Collection(case.name).load(replica_number=case.replicas, timeout=PATIENCE)
    held.insert("b_loaded", 1500, 300)
    held.delete("b_loaded", 0, 20)
    held.delete("b_loaded", 1500, 10)


def replicas_are_there(name: str) -> None:
    groups = patiently(lambda: Collection(name).get_replicas(timeout=20).groups)
    expect("replicas", case_of(name).replicas, len(groups))


def check(held: Held, when: str = "") -> None:
    for name in held.all:
        if name != LEFT_RELEASED:
            step(f"{when}{name}", lambda name=name: rows_are_there(held, name))
            step(f"{when}replicas of {name}", lambda name=name: replicas_are_there(name))


def load(held: Held) -> None:
    """As an application does it whenever it starts, or to have what is new."""
    for case in CASES:
        step(f"load {case.name}", lambda case=case: Collection(case.name).load(replica_number=case.replicas, timeout=PATIENCE))
        step(f"rows of {case.name}", lambda case=case: rows_are_there(held, case.name))
    step("release and load b_loaded", lambda: reload(held, "b_loaded"))


def reload(held: Held, name: str, replicas: int = 1) -> None:
    Collection(name).release(timeout=PATIENCE)
    Collection(name).load(replica_number=replicas, timeout=PATIENCE)
    rows_are_there(held, name)


def loaded(held: Held) -> None:
    """After `load`."""
    for case in CASES:
        step(f"rows of {case.name}", lambda case=case: rows_are_there(held, case.name))
        step(f"replicas of {case.name}", lambda case=case: replicas_are_there(case.name))


def work(held: Held, number: int) -> None:
    first, new = 10_000 * number, f"{NEW}{number}"

    def insert_and_flush() -> None:
        held.insert("b_loaded", first, 400)
        held.delete("b_loaded", 20 * number, 20)
        flush("b_loaded")
        held.insert("b_loaded", first + 400, 100)
        rows_are_there(held, "b_loaded")

    def make_new() -> None:
        make_indexes(case_of(new), create(case_of(new)))
        for batch in range(2):
            held.insert(new, 2500 * batch, 2500)
        flush(new)

    def index_new() -> None:
        end = time.monotonic() + PATIENCE
        while True:
            progress = utility.index_building_progress(new)
            if progress["total_rows"] == progress["indexed_rows"] == 5000 or time.monotonic() > end:
                break
            time.sleep(1)
        expect("indexed", (5000, 5000), (progress["total_rows"], progress["indexed_rows"]))

    def load_new() -> None:
        Collection(new).load(timeout=PATIENCE)
        rows_are_there(held, new)
        held.insert(new, 20_000, 200)
        held.delete(new, 0, 50)
        rows_are_there(held, new)

    def load_and_release() -> None:
        Collection(LEFT_RELEASED).load(timeout=PATIENCE)
        rows_are_there(held, LEFT_RELEASED)
        Collection(LEFT_RELEASED).release(timeout=PATIENCE)

    step("insert, delete and flush", insert_and_flush)
    step("make a collection", make_new)
    step("index it", index_new)
    step("load it, insert and delete", load_new)
    step("release and load", lambda: reload(held, "b_loaded"))
    step("release and load two replicas", lambda: reload(held, "b_replicas", 2))
    step("load and release", load_and_release)
    check(held, "again, ")


def main() -> None:
    connect()
    held = Held(Path(sys.argv[1]))
    match sys.argv[2]:
        case "make":
            make(held)
        case "check":
            check(held)
        case "load":
            load(held)
        case "loaded":
            loaded(held)
        case "work":
            work(held, int(sys.argv[3]))


if __name__ == "__main__":
    main()
