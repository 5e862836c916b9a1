"""What the collections hold: declared once, used by the script that makes them and by those that look at them later."""

from case import ROWS_FOR_INDEX, ROWS_TOO_FEW, SCALARS, Case, alone
from clustered import CLUSTERED
from lived import LIVED, LIVED_ALIASES
from settings import CLUSTER, NOT_IN_A_CLUSTER, SMALL

MANY = tuple(f"p{number:02}" for number in range(60))

YOUNG: tuple[Case, ...] = (
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

FEW = (
    "c_ivfflat", "c_hnsw_varchar", "c_binary_flat", "c_scalars", "c_small", "c_mixed", "c_growing", "c_noidx_loaded",
    "c_partition_dropped",
)
"""What `--small` makes of these."""
YOUNG_HERE = (*(case for case in YOUNG if case.name not in NOT_IN_A_CLUSTER), *CLUSTERED) if CLUSTER else YOUNG
CASES = tuple(case for case in YOUNG_HERE if case.name in FEW or case in CLUSTERED) if SMALL else (*YOUNG_HERE, *LIVED)

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
    **LIVED_ALIASES,
}
ALIASES = {alias: name for alias, name in ALIASES.items() if name in NAMES}
RENAMED = {name: new for name, new in {"c_$pecial__name$": "c_special_name"}.items() if name in NAMES}
RENAMED_ALIASES = {alias: new for alias, new in {"a_$pecial": "a_special"}.items() if alias in ALIASES}
"""Old and new names: newer servers refuse `$`, so the migration gives other names."""
NEW_NAMES = RENAMED | RENAMED_ALIASES
TO_MIGRATE = tuple(
    [f"--rename-collection={old}={new}" for old, new in RENAMED.items()]
    + [f"--rename-alias={old}={new}" for old, new in RENAMED_ALIASES.items()]
)
"""What `run` and `verify` are given for that."""
DROPPED_ALIASES = ("a_dropped",)
DROPPED = ("c_dropped", "c_dropped_alias")
USERS = {"alice": "secret-1", "bob_ts2": "secret-2"}


def case_of(name: str) -> Case | None:
    """By its name on 2.1.0 or after the migration."""
    return BY_NAME.get({new: old for old, new in RENAMED.items()}.get(name, name))
