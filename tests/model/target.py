"""The layouts that the versions write themselves, and which version has which."""
import re
from dataclasses import dataclass

VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)")
# etcd keys that keep a 2.1 from starting on the new layout. Of the first two only this is settled: that no reader of 2.1
# can decode them. The sentence is free.
SENTENCE = b"This metadata was migrated: Milvus 2.1 must not start on it."
FREE_TRIPWIRES = (b"root-coord/index/0/0", b"indexes/0", b"queryCoord-dmChannelWatchInfo/0/0")
STATSLOG_TRIPWIRE = b"datacoord-meta/statslog/0/0/0/0"
TRIPWIRES = (*FREE_TRIPWIRES, STATSLOG_TRIPWIRE)
HISTORY = b"meta-migration/history"


class Refused(Exception):
    """Nothing is migrated at all."""


@dataclass(frozen=True)
class Layout:
    version: tuple
    has_databases: bool             # from 2.2.9 on
    has_load_type: bool             # from 2.3.0 on
    has_statslog_tripwire: bool     # from 2.2.3 on
    pads_statslogs: str             # "all", "uncompacted", "none"

    def form(self):
        """What tells the metadata of two targets apart."""
        return self.has_databases, self.has_load_type, self.has_statslog_tripwire, self.pads_statslogs

    def collection(self, cid):
        return f"root-coord/database/collection-info/1/{cid}" if self.has_databases else f"root-coord/collection/{cid}"

    def alias(self, alias):
        return f"root-coord/database/aliases/1/{alias}" if self.has_databases else f"root-coord/aliases/{alias}"

    def tripwires(self):
        wires = dict.fromkeys(FREE_TRIPWIRES, SENTENCE)
        if self.has_statslog_tripwire:
            wires[STATSLOG_TRIPWIRE] = b"\x4a\x01\xff"
        return wires


def layout_of(text):
    match = VERSION.fullmatch(text)
    if not match:
        raise Refused(f"{text!r} is not a version")
    version = tuple(map(int, match.groups()))
    if version < (2, 2, 0):
        raise Refused(f"{text} needs no migration")
    if version >= (2, 5, 0):
        raise Refused(f"{text} is too new: migrate to 2.4.24 first, then upgrade Milvus")
    pads = "none"
    if (2, 2, 3) <= version < (2, 3, 0):
        pads = "all"
    elif (2, 3, 0) <= version < (2, 4, 0):
        pads = "uncompacted"
    return Layout(version, version >= (2, 2, 9), version >= (2, 3, 0), version >= (2, 2, 3), pads)


def warnings_of(version):
    """What is to be said of a target whose metadata does not stay right."""
    line_end = {2: "2.2.16", 3: "2.3.22", 4: "2.4.24"}[version[1]]
    faults = {
        "builds STL_SORT files that 2.2.3 cannot read": [((2, 2, 0), (2, 2, 2))],
        "row counts of compacted segments": [((2, 2, 2), (2, 2, 5))],
        "dropped collections of no database come back (not in the database form)":
            [((2, 3, 12), (2, 3, 17)), ((2, 4, 0), (2, 4, 4))],
        "wipes the binlog lists of flushed segments that are in the record": [((2, 4, 0), (2, 4, 0))],
    }
    return [f"{what}; take {line_end}" for what, ranges in faults.items()
            if any(first <= version <= last for first, last in ranges)]
