"""What becomes of a dump of etcd when `run` is called: nothing, a refusal, a conversion, or the rest of one.

    judgement = judge(kvs, "2.2.16")        # keys relative to the meta root
"""
import json
from dataclasses import dataclass, field

from model import convert
from resume import resume
from source import ALIAS, BUILD, COLLECTION, INDEX, SEGMENT, SEGMENT_INDEX, SNAPSHOTS
from target import HISTORY, TRIPWIRES, Refused, layout_of, warnings_of

TARGET_PREFIXES = tuple(
    snapshots + prefix for snapshots in (b"", SNAPSHOTS)
    for prefix in (b"root-coord/partitions/", b"root-coord/fields/", b"root-coord/aliases/", b"root-coord/database/",
                   b"field-index/", b"segment-index/", b"querycoord-collection-loadinfo/",
                   b"querycoord-partition-loadinfo/", b"querycoord-replica/", b"datacoord-meta/binlog/",
                   b"datacoord-meta/statslog/", b"datacoord-meta/deltalog/", b"datacoord-meta/channel-cp/"))
SOURCE_PREFIXES = (COLLECTION, SNAPSHOTS + COLLECTION)
LEFT_BEHIND = (SEGMENT, BUILD, INDEX, SEGMENT_INDEX, ALIAS)


@dataclass
class Judgement:
    """`state`: converted, nothing (all stays), refused (all stays). With problems, `result` is what is left without."""
    state: str
    why: str
    result: dict
    problems: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    warnings: list = field(default_factory=list)


def judge(kvs, version):
    try:
        layout = layout_of(version)
        history = read_history(kvs)
        return judge_state(kvs, layout, history)
    except Refused as refused:
        return Judgement("refused", str(refused), kvs)


def read_history(kvs):
    if HISTORY not in kvs:
        return None
    try:
        history = json.loads(kvs[HISTORY])
        return history["operation"], history["state"], history
    except (ValueError, KeyError, TypeError):
        raise Refused("the history key cannot be read") from None


def judge_state(kvs, layout, history):
    kvs = {key: value for key, value in kvs.items() if key != HISTORY}
    if history is not None:
        operation, state, document = history
        if operation != "run":
            raise Refused("a rollback was interrupted: only it can go on")
        check_target(document, layout)
        if state == "done":
            return Judgement("nothing", "migrated already", kvs)
        return judgement_of(resume(kvs, layout, TARGET_PREFIXES), layout)
    ours = sorted(key for key in kvs if key.startswith(TARGET_PREFIXES) or key in TRIPWIRES)
    if ours:
        raise Refused(f"{len(ours)} keys of a newer layout without a record of a run, the first {ours[0]!r}: "
                      "a newer Milvus was started on this, or another tool's work")
    if not any(key.startswith(SOURCE_PREFIXES) for key in kvs):
        if any(key.startswith(LEFT_BEHIND) for key in kvs):
            raise Refused("segments or indexes, but no collection: is the root coordinator's metadata in MySQL?")
        if not kvs:
            raise Refused("no key under this root: no Milvus here")
        return Judgement("nothing", "no collections: nothing to migrate", kvs)
    return judgement_of(convert(kvs, layout), layout)


def check_target(document, layout):
    """The layout that it was begun for is not that of this target: nothing to go on with."""
    for name in ("to", "to_version", "toVersion", "target", "target_version", "targetVersion"):
        if isinstance(document.get(name), str) and layout_of(document[name]).form() != layout.form():
            raise Refused(f"it was begun for {document[name]}, whose layout is another: roll back, then run again")


def judgement_of(converted, layout):
    result, problems, notes = converted
    return Judgement("converted", "", result, problems, notes, warnings_of(layout.version))
