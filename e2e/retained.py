"""Makes collections on a running 2.1 cluster whose message log then loses its beginning (cluster/retention.py), and looks
what is left of them later. retained.py PHASE; retained.py look FILE; retained.py flush-all."""

import json
import sys

from pymilvus import Collection

from case import key_of
from client import connect
from fixture import create, flush, insert_rows, load, make_indexes, wait_for_index
from observe import describe, every_row, wait_loaded
from stories import BATCHES, DELETED, STORIES


def insert(number: str) -> None:
    for story in STORIES:
        collection = Collection(story.case.name)
        step = BATCHES[number]
        insert_rows(story.case, collection, step, range(step.first, step.end))
        if number in DELETED:
            collection.delete(f"pk in {[key_of(story.case, row) for row in DELETED[number]]}")


def make() -> None:
    for story in STORIES:
        collection = create(story.case)
        make_indexes(story.case, collection)
        load(story.case, collection)
    insert("first")
    print(json.dumps({story.case.name: describe(story.case.name)["channels"] for story in STORIES}))


def flush_some() -> None:
    flush([story.case.name for story in STORIES if story.flushed])
    for story in STORIES:
        wait_for_index(story.case, "")


def look(file: str) -> None:
    wait_loaded()
    found = {story.case.name: every_row(story.case, story.case.name) for story in STORIES}
    with open(file, "w", encoding="utf-8") as out:
        json.dump(found, out)


def flush_all() -> None:
    for story in STORIES:
        Collection(story.case.name).flush(timeout=120)


def main() -> None:
    connect()
    match sys.argv[1]:
        case "first":
            make()
        case "second" | "third":
            insert(sys.argv[1])
        case "flush":
            flush_some()
        case "look":
            look(sys.argv[2])
        case "flush-all":
            flush_all()


if __name__ == "__main__":
    main()
