"""What is known, and decided: versions, how our tool is called, and the differences that are expected, each with its
reason. Whatever differs and is not named here fails the run."""

SOURCE = "2.1.0"

REBUILD = ("--rebuild-index", "STL_SORT")
"""2.2.16 crashes when it loads the scalar indexes that 2.1 built for BOOL, INT8, INT16, INT32 and FLOAT fields: it has
to build them anew. To be emptied once `run` sees to all of these by itself."""

UNKNOWN_INDEXES = {
    "2.2": ("RHNSW_FLAT",),
    "2.3": ("RHNSW_FLAT", "ANNOY"),
}
"""Types of indexes of 2.1 that these servers cannot load: the collection has to get another index."""

TO_DROP = ("c_flat", "c_scalars_small")
"""Collections that are dropped on the newer server, to see their keys and files go."""

# Expected differences, by their reason. compare.py says where each of them applies.
NO_DOLLAR = "`$` in a name: the newer server refuses the name"
NO_INDEX = "no index: newer servers cannot load it, so it is released"
JACCARD = "JACCARD on BIN_FLAT: the same rows, but 2.2.16 gives Tanimoto distances, -log2(1 - distance)"
COUNTS_UNFLUSHED = "rows that were not flushed are counted once the newer server has flushed them"
NOT_ANSWERED = "`in` on an indexed scalar: 2.1.0 itself refuses it, the newer server answers"
