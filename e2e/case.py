"""What a collection of the test is, and what its rows hold."""

import random
from dataclasses import dataclass, field

ROWS_FOR_INDEX = 1500
"""Above rootCoord.minSegmentSizeToEnableIndex (1024): such a segment gets a real index."""
ROWS_TOO_FEW = 300

SCALARS = ("INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "BOOL", "VARCHAR")

SEARCH_PARAMS = {
    # Wide enough that approximate indexes look everywhere: the answers do not depend on luck.
    "IVF_FLAT": {"nprobe": 16},
    "IVF_SQ8": {"nprobe": 16},
    "IVF_PQ": {"nprobe": 16},
    "BIN_IVF_FLAT": {"nprobe": 16},
    "HNSW": {"ef": 512},
    "RHNSW_FLAT": {"ef": 512},
    "ANNOY": {"search_k": 100_000},
}

Rows = tuple[str, int, bool]
"""partition, number of rows, flushed"""


@dataclass(frozen=True)
class Step:
    """One thing that is done to a collection during its life."""

    what: str
    partition: str = "_default"
    first: int = 0
    """of rows that are deleted; the first after them is `end`"""
    end: int = 0
    partitions: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Batch:
    """Rows that were inserted by one call."""

    partition: str
    first: int
    end: int


@dataclass(frozen=True)
class Case:
    name: str
    description: str = ""
    key: str = "int64"  # int64, auto, varchar
    dim: int = 8
    index: tuple[str, str, dict[str, int]] | None = ("IVF_FLAT", "L2", {"nlist": 16})
    index_name: str = ""
    scalar_indexes: dict[str, str] = field(default_factory=dict)
    """field: index name"""
    all_scalars: bool = False
    partitions: tuple[str, ...] = ()
    rows: tuple[Rows, ...] = (("_default", ROWS_FOR_INDEX, True),)
    shards: int = 1
    consistency: str = "Strong"
    load: bool | tuple[str, ...] = True
    replicas: int = 1
    delete: tuple[int, int] | None = None
    """rows from .. up to (without) are deleted after the last flush, and stay in the log only"""
    flush_deletes: bool = False
    life: tuple[tuple[Step, ...], ...] = ()
    """what is done to it in each stage of its life (STAGES), instead of `rows`, `load` and `delete`"""
    sparse: bool = False
    """its vectors are mostly zeros, so that many of them take little room"""

    @property
    def binary(self) -> bool:
        return self.index is not None and self.index[0].startswith("BIN")

    @property
    def finds_itself(self) -> bool:
        """Its index keeps vectors as they are: nothing is nearer to a row than the row itself."""
        return self.key != "auto" and self.index is not None and self.index[1] == "L2" and self.index[0] in (
            "IVF_FLAT", "HNSW", "FLAT",
        )


def alone(kind: str, metric: str, **params: int) -> tuple[str, str, dict[str, int]]:
    return kind, metric, params


def key_of(case: Case, row: int) -> int | str:
    return f"k{row:06}" if case.key == "varchar" else row


def scalar(kind: str, row: int) -> int | float | bool | str:
    match kind:
        case "INT8":
            return row % 100 - 50
        case "INT16":
            return row % 1000 - 500
        case "INT32" | "INT64":
            return row * 3 - 1000
        case "FLOAT":
            return row * 0.5
        case "DOUBLE":
            return row * 0.25
        case "BOOL":
            return row % 3 == 0
        case _:
            return f"text {row % 250:04}"


def vectors(case: Case, first: int, count: int) -> list[list[float]] | list[bytes]:
    source = random.Random(f"{case.name} {first}")
    if case.sparse:
        return [sparse_vector(case, source) for _ in range(count)]
    if case.binary:
        return [source.randbytes(case.dim // 8) for _ in range(count)]
    return [[round(source.random(), 6) for _ in range(case.dim)] for _ in range(count)]


def sparse_vector(case: Case, source: random.Random) -> list[float]:
    vector = [0.0] * case.dim
    for _ in range(8):
        vector[source.randrange(case.dim)] = round(source.random(), 6)
    return vector


def batches(case: Case) -> list[Batch]:
    """What was inserted, in the order of the rows' numbers."""
    if case.life:
        return [Batch(step.partition, step.first, step.end) for stage in case.life for step in stage if step.what == "insert"]
    found, first = [], 0
    for partition, count, _ in case.rows:
        found.append(Batch(partition, first, first + count))
        first += count
    return found


def living(case: Case) -> dict[int, str]:
    """The rows that a reader must find, with their partitions: worked out from what was done, not asked for."""
    if not case.life:
        gone = range(*case.delete) if case.delete else range(0)
        return {row: batch.partition for batch in batches(case) for row in range(batch.first, batch.end) if row not in gone}
    rows: dict[int, str] = {}
    for step in (step for stage in case.life for step in stage):
        match step.what:
            case "insert":
                rows |= dict.fromkeys(range(step.first, step.end), step.partition)
            case "delete":
                rows = {row: partition for row, partition in rows.items() if not step.first <= row < step.end}
            case "drop partition":
                rows = {row: partition for row, partition in rows.items() if partition != step.partition}
            case "remake":
                rows = {}
    return rows


def loaded_partitions_of(case: Case) -> set[str] | None:
    """The partitions that are loaded at the end; None: all."""
    loaded = None if case.load is True else set(case.load or ())
    for step in (step for stage in case.life for step in stage):
        if step.what == "load":
            loaded = set(step.partitions) or None
        elif step.what == "release partition" and loaded:
            loaded.discard(step.partition)
    return loaded


def questions(case: Case) -> list[list[float]] | list[bytes]:
    return vectors(case, -1, 3)


def search_params(case: Case) -> dict[str, object]:
    if case.index is None:
        return {"metric_type": "L2", "params": {}}
    kind, metric, _ = case.index
    return {"metric_type": metric, "params": SEARCH_PARAMS.get(kind, {})}


def expressions(case: Case) -> list[str]:
    """Filters whose answer is compared."""
    if case.key == "varchar":
        found = ['pk in ["k000005", "k000150", "k000777"]', 'pk > "k000990"']
    elif case.key == "auto":
        found = ["num in [5, 150, 777]"]
    else:
        found = ["pk in [5, 150, 777]", "pk > 1400"]
    found.append("num < 40")
    if case.all_scalars:
        found += [
            "int8 == 7", "int16 in [-499, 7]", "int32 > 3400", "int64 <= -970", "float < 20.5", "float == 100.5",
            "double >= 370.0", "double in [1.25, 7.5]", "bool == true", 'varchar == "text 0007"', 'varchar > "text 0247"',
        ]
    return found
