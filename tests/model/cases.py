"""Streams cases to standard output: clusters, and what the model makes of them.

    cases.py --seeds A..B [--damage]        random clusters, B not included
    cases.py --file FILE --root ROOT        the keys under a meta root in a file of JSON lines (key_b64, value_b64)

A case is a name, the keys and values of a cluster, those of the result, and the keys that a report must name (of a
damaged cluster; then there is no result). Each string of bytes is preceded by its length, each list by the number of
its entries, as 4 bytes, little endian.
"""
import argparse
import base64
import json
import struct
import sys

from damage import damage
from generate import CONTESTED, cluster
from model import convert


def main():
    options = parse_options()
    if options.file:
        cases = [("the file", read_file(options.file, options.root.encode()), set())]
    else:
        cases = generated(options)
    for name, kvs, must_name in cases:
        result, problems = convert(kvs)
        named = {key for key, _ in problems}
        if named != must_name:
            sys.exit(f"{name}: the model itself reports {problems}, it should name {sorted(must_name)}")
        write_case(name, kvs, {} if must_name else result, must_name)


def parse_options():
    parser = argparse.ArgumentParser()
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", metavar="A..B", type=lambda text: range(*map(int, text.split(".."))))
    which.add_argument("--file")
    parser.add_argument("--damage", action="store_true")
    parser.add_argument("--root", default="")
    parser.add_argument("--contested", metavar="SHAPE", nargs="*", choices=CONTESTED, default=[])
    return parser.parse_args()


def generated(options):
    for seed in options.seeds:
        kvs = cluster(seed, options.contested)
        if options.damage:
            damaged, keys, kind = damage(kvs, seed)
            yield f"seed {seed}, damage {kind}", damaged, keys
        else:
            yield f"seed {seed}", kvs, set()


def read_file(path, root):
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    kvs = {base64.b64decode(record["key_b64"]): base64.b64decode(record["value_b64"])
           for record in records if "key_b64" in record}
    return {key[len(root):]: value for key, value in kvs.items() if key.startswith(root)}


def write_case(name, kvs, result, must_name):
    write_blob(name.encode())
    for pairs in (kvs, result):
        write_number(len(pairs))
        for key, value in pairs.items():
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
