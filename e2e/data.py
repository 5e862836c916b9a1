"""What the collections hold: declared once, used by the script that makes them and by those that look at them later."""

import os
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
    delete: tuple[int, int] | None = None
    """rows from .. up to (without) are deleted after the last flush, and stay in the log only"""
    flush_deletes: bool = False

    @property
    def binary(self) -> bool:
        return self.index is not None and self.index[0].startswith("BIN")


def alone(kind: str, metric: str, **params: int) -> tuple[str, str, dict[str, int]]:
    return kind, metric, params


MANY = tuple(f"p{number:02}" for number in range(60))

CASES: tuple[Case, ...] = (
    Case("c_ivfflat", "плоский индекс ✓ 描述 \"quoted\" \\ back", shards=2, consistency="Bounded",
         partitions=("p_one", "p_two_ts3"),
         rows=(("_default", 2500, True), ("p_one", 1500, True), ("p_two_ts3", ROWS_TOO_FEW, True))),
    Case("c_hnsw_varchar", "VARCHAR key", key="varchar", dim=16, index=alone("HNSW", "IP", M=8, efConstruction=64)),
    Case("c_sq8_partload", "one of two partitions loaded", dim=32, index=alone("IVF_SQ8", "L2", nlist=16),
         partitions=("p_loaded", "p_not"), load=("p_loaded",),
         rows=(("p_loaded", ROWS_FOR_INDEX, True), ("p_not", ROWS_FOR_INDEX, True))),
    Case("c_pq_released", "loaded, then released", dim=16, index=alone("IVF_PQ", "L2", nlist=16, m=4, nbits=8), load=False),
    Case("c_flat", "FLAT", index=alone("FLAT", "L2")),
    Case("c_rhnsw", "RHNSW_FLAT, not loaded", index=alone("RHNSW_FLAT", "L2", M=8, efConstruction=64), load=False),
    Case("c_annoy", "auto ID, ANNOY, not loaded", key="auto", index=alone("ANNOY", "L2", n_trees=8), load=False),
    Case("c_binary", "BIN_IVF_FLAT", dim=64, index=alone("BIN_IVF_FLAT", "HAMMING", nlist=16)),
    Case("c_binary_flat", "BIN_FLAT", dim=64, index=alone("BIN_FLAT", "JACCARD")),
    Case("c_binary_jaccard", "BIN_IVF_FLAT with JACCARD", dim=64, index=alone("BIN_IVF_FLAT", "JACCARD", nlist=16)),
    Case("c_scalars", "an index on every kind of scalar", all_scalars=True, index_name="vector_idx",
         scalar_indexes={kind.lower(): f"idx_{kind.lower()}" for kind in SCALARS}),
    Case("c_scalars_small", "the same below the threshold", all_scalars=True, index_name="_default_idx_999",
         scalar_indexes={kind.lower(): f"idx_{kind.lower()}" for kind in SCALARS},
         rows=(("_default", ROWS_TOO_FEW, True),)),
    Case("c_small", "segments below the threshold only", key="auto", shards=2, partitions=("p_a",),
         rows=(("_default", ROWS_TOO_FEW, True), ("p_a", 50, True))),
    Case("c_mixed", "a large segment and a small one",
         rows=(("_default", 2000, True), ("_default", 200, True))),
    Case("c_many_partitions", "60 partitions", partitions=MANY,
         rows=tuple((name, 30, name == MANY[-1]) for name in MANY)),
    Case("c_growing", "flushed rows, and rows that are only in the log", shards=2,
         rows=(("_default", 3000, True), ("_default", 700, False))),
    Case("c_growing_only", "rows that are only in the log", rows=(("_default", 400, False),)),
    Case("c_deletes", "deleted rows, on disk", key="varchar", delete=(100, 400), flush_deletes=True,
         rows=(("_default", 2000, True),)),
    Case("c_deletes_log", "deleted rows, only in the log", delete=(0, 250), rows=(("_default", 2000, True),)),
    Case("c_empty", "index, no rows, loaded", rows=(), shards=2),
    Case("c_bare", "neither index nor rows", index=None, load=False, rows=()),
    Case("c_noidx", "no index, not loaded", index=None, load=False),
    Case("c_noidx_loaded", "no index, loaded", index=None),
    Case("c_reindexed", "index dropped, made again as another type", dim=16, index=alone("HNSW", "L2", M=8, efConstruction=64)),
    Case("c_index_dropped", "index dropped", index=None, load=False),
    # Not loaded on 2.1.0, which may go on answering the rows of a dropped partition from its log.
    Case("c_partition_dropped", "a dropped partition", partitions=("p_keep",), rows=(("p_keep", ROWS_FOR_INDEX, True),),
         load=False),
    Case("c_my_ts_1", "_ts and digits in the name"),
    Case("_underscore", "a leading underscore", load=False),
    Case("c_" + "x" * 253, "a name of 255 characters"),
    Case("c_$pecial__name$", "dollar signs"),
    Case("c_eight_shards", "eight channels", shards=8, rows=(("_default", 4000, True),), load=False),
)

SMALL = bool(os.environ.get("E2E_SMALL"))
FEW = (
    "c_ivfflat", "c_hnsw_varchar", "c_binary_flat", "c_scalars", "c_small", "c_mixed", "c_growing", "c_noidx_loaded",
    "c_partition_dropped",
)
"""What `--small` makes of these."""
if SMALL:
    CASES = tuple(case for case in CASES if case.name in FEW)

NAMES = tuple(case.name for case in CASES)
BY_NAME = {case.name: case for case in CASES}

ALIASES = {
    "a_main": "c_ivfflat",
    "a_second": "c_ivfflat",
    "v_ts2022": "c_empty",
    "my_tshirts": "c_small",
    "a_altered": "c_hnsw_varchar",
    "a_recreated": "c_mixed",
    "a_" + "y" * 253: "c_binary",
    "a_$pecial": "c_noidx",
}
ALIASES = {alias: name for alias, name in ALIASES.items() if name in NAMES}
RENAMED = {name: new for name, new in {"c_$pecial__name$": "c_special_name"}.items() if name in NAMES}
RENAMED_ALIASES = {alias: new for alias, new in {"a_$pecial": "a_special"}.items() if alias in ALIASES}
"""Old and new names: newer servers refuse `$`, so the migration gives other names."""
NEW_NAMES = RENAMED | RENAMED_ALIASES
DROPPED_ALIASES = ("a_dropped",)
DROPPED = ("c_dropped", "c_dropped_alias")
USERS = {"alice": "secret-1", "bob_ts2": "secret-2"}


def case_of(name: str) -> Case | None:
    """By its name on 2.1.0 or after the migration."""
    return BY_NAME.get({new: old for old, new in RENAMED.items()}.get(name, name))


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
    if case.binary:
        return [source.randbytes(case.dim // 8) for _ in range(count)]
    return [[round(source.random(), 6) for _ in range(case.dim)] for _ in range(count)]


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
