"""What is known, and decided: versions, how our tool is called, and the differences that are expected, each with its
reason. Whatever differs and is not named here fails the run."""

import os

SMALL = bool(os.environ.get("E2E_SMALL"))
"""Few and young collections, compared only."""
CLUSTER = bool(os.environ.get("E2E_CLUSTER"))
"""A process for each component, instead of one server."""
LOG = os.environ.get("E2E_LOG") or "kafka"
"""The message log of a cluster: kafka or pulsar."""

NOT_IN_A_CLUSTER = (
    "c_bare", "c_reindexed", "c_index_dropped", "_underscore", "c_" + "x" * 253, "c_partition_dropped", "c_deletes_log",
    "l_large", "l_cut", "l_flushing", "l_released_part", "l_reloaded",
)
"""Collections that a cluster is spared: what they are for does not depend on where components run, and ten processes
take their time."""

UNKNOWN_INDEXES = {
    "2.2": ("RHNSW_FLAT",),
    "2.3": ("RHNSW_FLAT", "ANNOY"),
}
"""Types of indexes of 2.1 that these servers cannot load: the collection has to get another index."""

NOT_INDEXED = {"2.2": (), "2.3": ("bool",)}
"""Fields on which these servers refuse to make an index, even one that is there."""

TO_DROP = ("c_flat", "c_scalars_small")
"""Collections that are dropped on the newer server, to see their keys and files go."""

CHANGED = (
    *TO_DROP, "c_ivfflat", "c_pq_released", "c_rhnsw", "c_annoy", "c_sq8_partload", "c_many_partitions", "c_binary",
    "c_hnsw_varchar", "c_my_ts_1", "c_eight_shards", "l_only_dropped",
)
"""Collections that use.py and use_lived.py change: all others must still be the same after garbage collection and a restart."""

# Expected differences, by their reason. compare.py says where each of them applies.
NO_INDEX = "no index: newer servers cannot load it, so it is released"
COUNTS_UNFLUSHED = "rows that were not flushed are counted once the newer server has flushed them"
COUNTS_NO_DELETED = "deleted rows are no longer counted once the newer server has compacted the segment"
NOT_ANSWERED = "`in` on an indexed scalar: 2.1.0 itself refuses it, the newer server answers"
NOT_THE_TRUTH = "2.1.0 itself answers other rows than were inserted and deleted; the newer server answers the right ones"
TYPE_NOT_SHOWN = "the type of a scalar index is not shown, as for those that the newer server makes itself"
