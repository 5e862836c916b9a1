"""Collections for which a server of its own is not enough: loaded twice, on two query nodes, or stopped by killing some
of the components."""

from case import ROWS_FOR_INDEX, Case, alone

FLUSHING_ONE = "k_flushing"
SEALED_ONE = "k_sealed"

CLUSTERED: tuple[Case, ...] = (
    Case("k_replicas", "two replicas", shards=2, replicas=2, delete=(2900, 3100),
         rows=(("_default", 3000, True), ("_default", 400, False))),
    Case("k_replicas_part", "one of two partitions loaded, twice", dim=16, replicas=2, load=("p_loaded",),
         index=alone("HNSW", "L2", M=8, efConstruction=64), partitions=("p_loaded", "p_not"),
         rows=(("p_loaded", 1500, True), ("p_not", 1500, True))),
    Case("k_replicas_log", "two replicas of what is only in the log", replicas=2, delete=(0, 20),
         rows=(("_default", 300, False),)),
    Case(FLUSHING_ONE, "the index coordinator is killed, then a flush is asked for", delete=(1100, 1120),
         rows=(("_default", 1200, True), ("_default", ROWS_FOR_INDEX, False))),
    Case(SEALED_ONE, "both data nodes are killed, then a flush is asked for",
         rows=(("_default", 1200, True), ("_default", 300, False))),
)
