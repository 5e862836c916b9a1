"""What an interrupted run leaves: the history key says that it is running, and some of its changes are made.

    kvs, where = interrupted(kvs, result, target, seed)

The order of the changes is one that keeps each collection whole at every moment. A tool may have another one; what the
result must be does not depend on it.
"""
import json
import random

from source import ALIAS, BUILD, COLLECTION, INDEX, REPLICA, SEGMENT, SEGMENT_INDEX, SNAPSHOTS
from target import HISTORY, TRIPWIRES, layout_of

LISTS = (b"datacoord-meta/binlog/", b"datacoord-meta/statslog/", b"datacoord-meta/deltalog/")
# What hangs on others goes first.
DELETED_IN_ORDER = (SEGMENT_INDEX, INDEX, BUILD, ALIAS, REPLICA, b"")


def interrupted(kvs, result, target, seed):
    r = random.Random(f"interrupted {seed}")
    changes = transactions(kvs, result, target, r.random() < 0.5)
    at = r.choice([1, len(changes), *[r.randint(1, len(changes)) for _ in range(4)]])
    left = dict(kvs)
    for _, puts, deletes in changes[:at]:
        left.update(puts)
        for key in deletes:
            left.pop(key, None)
    return dict(sorted(left.items())), f"after {at} of {len(changes)} transactions, {changes[at - 1][0]}"


def transactions(kvs, result, target, snapshots_first):
    """[(phase, keys put, keys deleted)]; old keys go plain ones first, or their snapshots."""
    added = {key: value for key, value in result.items() if kvs.get(key) != value}
    gone = [key for key in kvs if key not in result]
    changes = [("history and tripwires", {key: added.pop(key) for key in TRIPWIRES if key in added}, [])]
    changes[0][1][HISTORY] = history(target)
    collections = collection_transactions(layout_of(target), kvs, added, gone)
    segments = segment_transactions(added)
    changes += [("new keys", {key: added[key]}, []) for key in sorted(added)]
    changes += collections + segments
    for prefix in DELETED_IN_ORDER:
        of_kind = sorted((key for key in gone if key.removeprefix(SNAPSHOTS).startswith(prefix)), reverse=snapshots_first)
        gone = [key for key in gone if key not in of_kind]
        changes += [("old keys", {}, [key]) for key in of_kind]
    return changes


def history(target):
    return json.dumps({"format": 1, "operation": "run", "state": "running", "from": "2.1.4", "to": target}).encode()


def collection_transactions(layout, kvs, added, gone):
    """Each collection with its snapshots changes its form in one transaction."""
    changes = []
    for cid in sorted(collection_of(key) for key in kvs if key.startswith(COLLECTION)):
        new = layout.collection(cid.decode()).encode()
        puts = {key: added.pop(key) for key in list(added) if is_of(key, new)}
        deletes = [key for key in gone if is_of(key, COLLECTION + cid)]
        gone[:] = [key for key in gone if key not in deletes]
        changes.append(("collections", puts, deletes))
    return changes


def collection_of(key):
    return key[len(COLLECTION):]


def is_of(key, plain):
    return key == plain or key.startswith(SNAPSHOTS + plain + b"_ts")


def segment_transactions(added):
    """Each segment loses its lists when they get keys of their own."""
    changes = []
    for record in sorted(key for key in list(added) if key.startswith(SEGMENT)):
        below = [prefix + record[len(SEGMENT):] + b"/" for prefix in LISTS]
        keys = [record] + [key for key in added if key.startswith(tuple(below))]
        changes.append(("segments", {key: added.pop(key) for key in keys}, []))
    return changes
