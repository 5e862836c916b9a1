"""What should be under the meta root after `run --target-version V`, by the model.

    oracle.py --target V [--root by-dev/meta/] DUMP.jsonl [EDITS.jsonl …]

The dump and the edits are JSON lines: {"key_b64" or "key" or "put": …, "value_b64": …} puts a key, {"delete": …} deletes
one, anything else is skipped. Keys are absolute. First comes a line with what a report must say, then one line for each
key, in their order: {"key": …, "key_b64": …, "value_b64": …}, absolute. "free": true marks a value of which only this is
settled: no 2.1 can decode it. The history key and sessions are left out.

Exit code 0: converted, or nothing to do; 1: refused, or there are problems (the keys are then what is left without).
"""
import argparse
import base64
import json
import sys

from judge import judge
from target import FREE_TRIPWIRES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--root", default="by-dev/meta/")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    root = options.root.encode()
    judgement = judge(under(read_dump(options.files), root), options.target)
    print(json.dumps(report(judgement, options.target)))
    for key in sorted(judgement.result):
        line = {"key": (root + key).decode("utf-8", "backslashreplace"), "key_b64": encode(root + key),
                "value_b64": encode(judgement.result[key])}
        if key in FREE_TRIPWIRES:
            line["free"] = True
        print(json.dumps(line))
    return 1 if judgement.state == "refused" or judgement.problems else 0


def read_dump(paths):
    kvs = {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                apply(kvs, json.loads(line))
    return kvs


def apply(kvs, record):
    if "delete" in record:
        kvs.pop(record["delete"].encode(), None)
    elif "value_b64" in record:
        name = record.get("put", record.get("key", "")).encode()
        key = base64.b64decode(record["key_b64"]) if "key_b64" in record else name
        kvs[key] = base64.b64decode(record["value_b64"])


def under(kvs, root):
    below = {key[len(root):]: value for key, value in kvs.items() if key.startswith(root)}
    return {key: value for key, value in below.items() if not is_session(key)}


def is_session(key):
    """Whether a key is a living component's; `session/id` is a counter."""
    return key.startswith(b"session/") and key != b"session/id"


def report(judgement, target):
    counts = {}
    for kind, _, _ in judgement.notes:
        counts[kind] = counts.get(kind, 0) + 1
    return {
        "target": target, "state": judgement.state, "why": judgement.why, "keys": len(judgement.result),
        "problems": [{"key": key.decode("utf-8", "backslashreplace"), "what": what} for key, what in judgement.problems],
        "warnings": judgement.warnings, "counts": counts,
        "notes": [{"kind": kind, "what": f"{subject}: {what}"} for kind, subject, what in judgement.notes],
    }


def encode(blob):
    return base64.b64encode(blob).decode()


if __name__ == "__main__":
    sys.exit(main())
