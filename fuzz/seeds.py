#!/usr/bin/env python3
"""Seeds for the fuzz targets, made from metadata of a real Milvus 2.1.0 and from the random clusters of tests/model.

    seeds.py FOLDER        writes FOLDER/<target>/seed-<n>

The same seeds every time: they need not be kept.
"""
import base64
import json
import random
import struct
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(REPOSITORY / "tests" / "model"))

from damage import damage  # noqa: E402  (the path must be set first)
from generate import cluster  # noqa: E402

Keys = dict[bytes, bytes]
ROOT = b"by-dev/meta/"
VALID, DAMAGED = range(150), range(100)
# Larger inputs make every execution slow.
LARGEST = 6 << 10


def main() -> None:
    folder = Path(sys.argv[1])
    sample = read_sample()
    clusters = [cluster(seed) for seed in VALID]
    damaged = [damage(cluster(seed), seed)[0] for seed in DAMAGED]
    every = [*by_collection(sample), *clusters, *damaged]
    chance = random.Random(1)
    write(folder / "convert", (encode(keys, number % 4) for number, keys in enumerate(every)))
    write(folder / "restore", (encode(keys, number % 4, chance) for number, keys in enumerate(every)))
    write(folder / "backup", backups(every))
    write(folder / "keys", lines([sample, *clusters[:40]]))
    write(folder / "config", configurations())


def read_sample() -> Keys:
    lines = (REPOSITORY / "testdata" / "milvus-2.1.0" / "keys.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if "key_b64" in record]
    keys = {base64.b64decode(record["key_b64"]): base64.b64decode(record["value_b64"]) for record in records}
    return {key.removeprefix(ROOT): value for key, value in keys.items() if key.startswith(ROOT)}


def by_collection(keys: Keys) -> list[Keys]:
    """The metadata in small pieces: each with one collection and everything that names its ID in the key, and all builds."""
    prefix = b"root-coord/collection/"
    ids = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    shared = (b"indexes/", b"root-coord/collection-alias/", b"root-coord/dd-")
    return [
        {key: value for key, value in keys.items()
         if key.startswith(shared) or collection in key.replace(b"_ts", b"/").split(b"/")}
        for collection in ids
    ]


def encode(keys: Keys, choices: int, chance: random.Random | None = None) -> bytes:
    """As fuzz/src/pairs.rs reads it; with `chance`, some keys are not everywhere."""
    parts = [bytes([choices])]
    for key, value in keys.items():
        flags = chance.choice([0, 0, 0, 1, 2, 4]) if chance else 0
        parts.append(bytes([flags]) + struct.pack("<H", len(key)) + key + struct.pack("<H", len(value)) + value)
    return b"".join(parts)


def backups(clusters: list[Keys]) -> list[bytes]:
    """First the form (fuzz/targets/backup.rs), then what it is made of."""
    made = []
    for number, keys in enumerate(clusters):
        made.append(bytes([4 + number % 2]) + encode(keys, 0))
        if number % 10 == 0:
            made.append(bytes([number // 10 % 4]) + stream(keys))
            made.append(b"\x01" + birdwatcher(keys, 1 + number // 10 % 2))
    return made


def stream(keys: Keys) -> bytes:
    header = field(2, b"by-dev") + field(3, b"meta") + b"\x20" + varint(len(keys))
    header += field(6, b'{"entry_include_root_path":true}')
    return record(header) + entries(keys)


def birdwatcher(keys: Keys, version: int) -> bytes:
    if version == 1:
        header = b"\x08\x01" + field(2, b"by-dev") + field(3, b"meta") + b"\x20" + varint(len(keys))
        return record(header) + entries(keys)
    extra = json.dumps({"instance": "by-dev", "metaPath": "meta", "cnt": str(len(keys))}).encode()
    return record(b"\x08\x02") + record(b"\x08\x01" + field(3, extra)) + entries(keys) + record(b"") + record(b"\x08\x02")


def entries(keys: Keys) -> bytes:
    return b"".join(record(field(1, ROOT + key) + field(2, value)) for key, value in keys.items())


def record(message: bytes) -> bytes:
    return struct.pack("<Q", len(message)) + message


def field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def varint(number: int) -> bytes:
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def lines(clusters: list[Keys]) -> list[bytes]:
    return [key + b"\n" + value for keys in clusters for key, value in keys.items()]


def configurations() -> list[bytes]:
    files = [*REPOSITORY.glob("examples/*.yaml"), *REPOSITORY.glob("src/config/testdata/*.yaml")]
    snippets = [
        "etcd:\n  endpoints:\n    - a:2379\n    - https://[::1]:2379\n  ssl: {enabled: true, tlsMinVersion: 1.2}\n",
        "etcd:\n  endpoints: a:1\n  endpoints: b:2,c:3\n  rootPath: &root by-dev\n  metaSubPath: *root\n",
        "cmd: {type: RUN, runWithBackup: 'true', skipInvalid: no}\nconfig: {sourceVersion: v2.1.4, targetVersion: 2.2}\n",
        "etcd: {auth: {enabled: true, userName: u, password: p}, requestTimeout: 10000, use: {embed: true}}\n",
        "metastore: {type: mysql}\n---\n",
        "",
    ]
    return [path.read_bytes() for path in files] + [text.encode() for text in snippets]


def write(folder: Path, seeds) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        if len(seed) <= LARGEST:
            (folder / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
