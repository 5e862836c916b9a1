"""Leads the collections of lived.py through one stage of their lives, on a running Milvus 2.1. Needs pymilvus 2.1.

live.py STAGE; live.py settle: waits until everything that is loaded answers; live.py flush NAME: asks for the flush within which the server is to be stopped."""

import sys
import time

from pymilvus import Collection, utility

from case import Case, Step, key_of
from client import connect
from data import BY_NAME
from fixture import create, flush, insert_rows, make_indexes, wait_for_index
from lived import ALIAS_STEPS, LIVED, STAGES
from observe import search, wait_loaded

PATIENCE = 90
CALL_ROWS = 500
"""by one insert: large vectors would not fit otherwise"""


def ask_for_replicas(name: str) -> str:
    """One query node cannot hold two replicas: what 2.1 says to that. Leaves the collection released."""
    collection = Collection(name)
    try:
        collection.load(replica_number=2, timeout=60)
        return "accepted"
    except Exception as error:  # noqa: BLE001 the answer is what is wanted
        return str(error)[:200]
    finally:
        collection.release()


def insert(case: Case, collection: Collection, step: Step) -> None:
    for first in range(step.first, step.end, CALL_ROWS):
        end = min(first + CALL_ROWS, step.end)
        insert_rows(case, collection, step, range(first, end))


def delete(case: Case, collection: Collection, step: Step) -> None:
    keys = [key_of(case, row) for row in range(step.first, step.end)]
    collection.delete(f"pk in {keys}".replace("'", '"'))


def compact(collection: Collection) -> None:
    """2.1 leaves out segments that it is still building an index for: asked until it does have something to do."""
    end = time.monotonic() + PATIENCE
    while True:
        collection.compact(timeout=60)
        collection.wait_for_compaction_completed(timeout=300)
        if collection.get_compaction_plans(timeout=60).plans:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{collection.name}: 2.1 finds nothing to compact")
        time.sleep(1)


def do(case: Case, step: Step) -> None:
    collection = Collection(case.name)
    match step.what:
        case "insert":
            insert(case, collection, step)
        case "delete":
            delete(case, collection, step)
        case "compact":
            compact(collection)
        case "index":
            make_indexes(case, collection)
            wait_for_index(case, case.index_name)
        case "load":
            collection.load(list(step.partitions) or None, timeout=120)
        case "release":
            collection.release()
        case "release partition":
            collection.partition(step.partition).release()
        case "add partition":
            collection.create_partition(step.partition)
        case "drop partition":
            collection.drop_partition(step.partition)
        case "remake":
            collection.drop()
            create(case)
        case what:
            raise ValueError(f"{case.name}: unknown step '{what}'")


def stage(number: int) -> None:
    """In step, with one flush for all collections: a flush of 2.1 takes seconds."""
    for at in range(max(len(case.life[number]) for case in LIVED)):
        to_flush = []
        for case in LIVED:
            steps = case.life[number]
            if at >= len(steps):
                continue
            if steps[at].what == "flush":
                to_flush.append(case.name)
            else:
                do(case, steps[at])
        flush(to_flush)


def aliases(number: int) -> None:
    for what, alias, name in ALIAS_STEPS[number]:
        match what:
            case "create":
                utility.create_alias(name, alias)
            case "alter":
                utility.alter_alias(name, alias)
            case "drop":
                utility.drop_alias(alias)


def settle() -> None:
    """A query coordinator of 2.1.0 that is stopped while it distributes what is loaded does not find its way later."""
    for name in wait_loaded():
        case = BY_NAME[name]
        found = search(case, name)
        if isinstance(found, str):
            raise TimeoutError(f"{name} does not serve: {found}")


def main() -> None:
    connect()
    if sys.argv[1] == "flush":
        flush(sys.argv[2:])
        return
    if sys.argv[1] == "settle":
        settle()
        return
    number = STAGES.index(sys.argv[1])
    begun = time.monotonic()
    if number == 0:
        for case in LIVED:
            create(case)
    stage(number)
    aliases(number)
    if number == 0:
        print(f"two replicas on one query node: {ask_for_replicas('l_remade')}")
    print(f"{sys.argv[1]}: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
