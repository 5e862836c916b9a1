"""Streams cases to standard output: clusters, and what the model makes of them.

    cases.py TARGET --seeds A..B [--damage | --interrupted]     random clusters, B not included
    cases.py TARGET --file FILE --root ROOT                     the keys under a meta root in a file of JSON lines

TARGET is the version to migrate to, or `any`: each seed another one. A case is a name, the target version, the keys and
values of a cluster, those of the result, and the keys that a report must name (of a damaged cluster; then there is no
result). Each string of bytes is preceded by its length, each list by the number of its entries, as 4 bytes, little
endian. The values of the tripwires but that among the statslogs are free (README.md), and the history key is in no
result.
"""
import argparse
import struct
import sys

from damage import damage
from generate import CONTESTED, cluster
from interrupted import interrupted
from judge import judge
from oracle import read_dump
from source import COLLECTION

TARGETS = ["2.2.0", "2.2.2", "2.2.3", "2.2.8", "2.2.9", "2.2.16", "2.3.0", "2.3.5", "2.3.22", "2.4.0", "2.4.23"]


def main():
    options = parse_options()
    for name, target, kvs, judgement, must_name in cases(options):
        named = {key for key, _ in judgement.problems}
        if judgement.state == "refused" or named != must_name:
            sys.exit(f"{name} for {target}: {judgement.why}, the model itself reports {judgement.problems}, "
                     f"it should name {sorted(must_name)}")
        write_case(name, target, kvs, {} if must_name else judgement.result, must_name)


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", metavar="A..B", type=lambda text: range(*map(int, text.split(".."))))
    which.add_argument("--file")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--damage", action="store_true")
    how.add_argument("--interrupted", action="store_true")
    parser.add_argument("--root", default="")
    parser.add_argument("--contested", metavar="SHAPE", nargs="*", choices=CONTESTED, default=[])
    return parser.parse_args()


def cases(options):
    if options.file:
        root = options.root.encode()
        kvs = {key[len(root):]: value for key, value in read_dump([options.file]).items() if key.startswith(root)}
        yield "the file", options.target, kvs, judge(kvs, options.target), set()
        return
    for seed in options.seeds:
        target = TARGETS[seed % len(TARGETS)] if options.target == "any" else options.target
        kvs, keys, name = cluster(seed, options.contested), set(), f"seed {seed}"
        if options.damage:
            another = 0
            while not any(key.startswith(COLLECTION) for key in kvs):
                another += 1
                kvs = cluster(f"{seed}, {another}", options.contested)
            kvs, keys, kind = damage(kvs, seed)
            name += f", damage {kind}"
        whole = judge(kvs, target)
        if options.interrupted and whole.state == "converted":
            kvs, where = interrupted(kvs, whole.result, target, seed)
            name += f", interrupted {where}"
            check_resumed(name, judge(kvs, target), whole)
        yield name, target, kvs, whole, keys


def check_resumed(name, resumed, whole):
    """Going on must lead to what a run without interruption would have made."""
    if resumed.state != "converted" or resumed.problems or resumed.result != whole.result:
        differing = sorted(key for key in {*resumed.result, *whole.result}
                           if resumed.result.get(key) != whole.result.get(key))
        sys.exit(f"{name}: {resumed.state} {resumed.why} {resumed.problems}, differing: {differing}")


def write_case(name, target, kvs, result, must_name):
    write_blob(name.encode())
    write_blob(target.encode())
    for pairs in (kvs, result):
        write_number(len(pairs))
        for key, value in sorted(pairs.items()):
            write_blob(key)
            write_blob(value)
    write_number(len(must_name))
    for key in sorted(must_name):
        write_blob(key)


def write_blob(blob):
    write_number(len(blob))
    sys.stdout.buffer.write(blob)


def write_number(number):
    sys.stdout.buffer.write(struct.pack("<I", number))


if __name__ == "__main__":
    main()
