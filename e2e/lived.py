"""Collections that have lived on 2.1.0: compacted, cleaned up, partly dropped, deleted from, stopped within a flush.

Each life has three stages. After the first one, garbage collection removes what was dropped, and 2.1.0 is restarted;
in the second and third one the data node has a small buffer, and so writes growing segments in parts and moves positions
on; after that it is stopped, started once more, and killed within a flush."""

from case import Case, Step, alone, batches, living, loaded_partitions_of
from settings import CLUSTER, NOT_IN_A_CLUSTER

OLD_ROWS = 4
"""of each batch: enough to meet both channels"""
STAGES = ("early", "aged", "late")
MANY = tuple(f"p_{number:02}" for number in range(40))

flush = Step("flush")
compact = Step("compact")
index = Step("index")
release = Step("release")
remake = Step("remake")


def insert(first: int, end: int, partition: str = "_default") -> Step:
    return Step("insert", partition, first, end)


def delete(first: int, end: int) -> Step:
    return Step("delete", first=first, end=end)


def add(partition: str) -> Step:
    return Step("add partition", partition)


def drop(partition: str) -> Step:
    return Step("drop partition", partition)


def load(*partitions: str) -> Step:
    return Step("load", partitions=partitions)


def release_partition(partition: str) -> Step:
    return Step("release partition", partition)


def life(name: str, early: tuple[Step, ...], aged: tuple[Step, ...] = (), late: tuple[Step, ...] = (), **more: object) -> Case:
    case: dict[str, object] = {"rows": (), "load": False} | more
    return Case(name, life=(early, aged, late), **case)  # type: ignore[arg-type]


def flushed(*steps: Step) -> tuple[Step, ...]:
    """Each of them, and a flush after it."""
    return tuple(part for step in steps for part in (step, flush))


ALL: tuple[Case, ...] = (
    life(
        "l_compacted",
        (*flushed(*(insert(first, first + 400) for first in range(0, 2000, 400))), index, load(),
         *flushed(delete(10, 60)), compact),
        (*flushed(insert(2000, 2500), delete(400, 420)),),
        (delete(800, 810), delete(2000, 2010)),
    ),
    # 16 MiB / (4 · dim) is 2048 rows: compaction cuts its binlogs there.
    life(
        "l_large",
        (*flushed(*(insert(first, first + 1500) for first in range(0, 6000, 1500))), compact, index, load()),
        (), (delete(3000, 3010),), dim=2048, sparse=True, index=alone("IVF_FLAT", "L2", nlist=4),
    ),
    # Compacted while the data node's buffer is small: its binlogs are cut elsewhere.
    life(
        "l_cut", (*flushed(*(insert(first, first + 800) for first in range(0, 2400, 800))), index, load()),
        (compact, *flushed(insert(2400, 2700))), (delete(1000, 1010),),
    ),
    # What is kept is inserted after the drops: 2.1.0 does not survive a restart if it has to begin before a DropPartition
    # whose segments are collected.
    life(
        "l_partitions",
        (*flushed(insert(0, 1200, "p_gone"), insert(1200, 1500, "p_again")), index, drop("p_gone"), drop("p_again"),
         add("p_again"), *flushed(insert(1500, 2700, "p_keep"), insert(2700, 3000, "p_again"))),
        (insert(3000, 3200, "p_again"), add("p_brief"), insert(3200, 3300, "p_brief"), drop("p_brief")),
        (insert(3300, 3400, "p_keep"), load()),
        partitions=("p_keep", "p_gone", "p_again"),
    ),
    # Nothing lives on its channel, but the message log holds two DropPartitions. Their segments are still on record: once
    # they are collected, 2.1.0 itself does not survive a restart.
    life(
        "l_only_dropped",
        (*flushed(insert(0, 1100, "p_gone")), index),
        (drop("p_gone"), add("p_more"), *flushed(insert(1100, 1400, "p_more")), drop("p_more")),
        (load(),), partitions=("p_gone",),
    ),
    life(
        "l_deletes",
        (insert(0, 1200), *flushed(delete(0, 50)), index, load(), *flushed(delete(100, 150)), insert(1200, 1800),
         delete(1250, 1280)),
        (delete(200, 220),),
        (insert(1800, 1900), delete(1700, 1720), delete(1810, 1820), delete(300, 310)),
    ),
    life(
        "l_growing",
        (*flushed(insert(0, 1300)), index, load(), insert(1300, 1800)), (insert(1800, 1900),),
        (insert(1900, 2100), delete(1400, 1410)), shards=2,
    ),
    life(
        "l_never_flushed", (index, load(), insert(0, 500)), (insert(500, 600), delete(20, 30)), (insert(600, 650),), shards=2,
    ),
    life(
        "l_flushing",
        (*(insert(at * 50, at * 50 + 50, name) for at, name in enumerate(MANY)), flush, index, load()), (),
        (*(insert(2000 + at * 60, 2060 + at * 60, name) for at, name in enumerate(MANY)), delete(0, 5)),
        partitions=MANY,
    ),
    life(
        "l_released_part",
        (*flushed(insert(0, 1100, "p_loaded"), insert(1100, 2200, "p_released"), insert(2200, 2500, "p_never")), index,
         load("p_loaded", "p_released"), release_partition("p_released")),
        (), (insert(2500, 2550, "p_loaded"),), partitions=("p_loaded", "p_released", "p_never"),
    ),
    life(
        "l_reloaded",
        (*flushed(insert(0, 1200)), index, load(), release, load()), (release, load()), (delete(30, 40),),
        index=alone("HNSW", "L2", M=8, efConstruction=64), index_name="graph",
    ),
    life(
        "l_remade", (*flushed(insert(0, 1100)), index, load(), remake, *flushed(insert(1100, 2300)), index),
        (*flushed(delete(1100, 1150)),), (load(),),
    ),
    life(
        "l_varchar",
        (insert(0, 1200), *flushed(delete(5, 25)), *flushed(insert(1200, 2400)), index, load(), *flushed(delete(1200, 1230)),
         compact),
        (insert(2400, 2500),), (delete(700, 720),), key="varchar", dim=16, shards=2,
        index=alone("HNSW", "L2", M=8, efConstruction=64),
    ),
)

LIVED = tuple(case for case in ALL if not (CLUSTER and case.name in NOT_IN_A_CLUSTER))

LIVED_ALIASES = {
    "l_altered": "l_compacted",
    "l_made_again": "l_deletes",
    "l_of_remade": "l_remade",
    "l_swapped_ts_1": "l_growing",
    "l_swapped_ts_2": "l_varchar",
}
"""Where they lead to in the end."""

ALIAS_STEPS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (
        ("create", "l_altered", "l_deletes"), ("alter", "l_altered", "l_growing"),
        ("create", "l_made_again", "l_deletes"), ("drop", "l_made_again", ""), ("create", "l_made_again", "l_growing"),
        ("create", "l_swapped_ts_1", "l_varchar"), ("create", "l_swapped_ts_2", "l_growing"),
        ("create", "l_gone", "l_deletes"), ("create", "l_of_remade", "l_remade"),
    ),
    (
        ("alter", "l_altered", "l_deletes"), ("alter", "l_altered", "l_compacted"),
        ("drop", "l_made_again", ""), ("create", "l_made_again", "l_deletes"),
        ("drop", "l_gone", ""),
    ),
    (("alter", "l_swapped_ts_1", "l_growing"), ("alter", "l_swapped_ts_2", "l_varchar")),
)
"""What is done to aliases at the end of each stage."""


def old_rows(case: Case) -> list[int]:
    """Some rows of every batch that was inserted, so some of every segment: to be deleted after the migration."""
    partition, loaded = living(case), loaded_partitions_of(case)
    found = []
    for batch in batches(case):
        rows = [row for row in range(batch.first, batch.end)
                if row in partition and (loaded is None or partition[row] in loaded)]
        found += rows[:OLD_ROWS]
    return found
