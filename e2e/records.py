"""What etcd holds, read without any generated code: keys with their values, and the few fields that the test looks at."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from servers import etcdctl

META = "by-dev/meta/"
SEGMENTS = f"{META}datacoord-meta/s/"

# SegmentState
GROWING, SEALED, FLUSHED, FLUSHING, DROPPED = 2, 3, 4, 5, 6

Value = int | bytes


def pairs_of(answer: str) -> dict[str, bytes]:
    """Of etcdctl's JSON."""
    found = json.loads(answer).get("kvs", [])
    return {base64.b64decode(pair["key"]).decode(): base64.b64decode(pair.get("value", "")) for pair in found}


def dump(prefix: str = "by-dev/") -> dict[str, bytes]:
    return pairs_of(etcdctl("get", "--prefix", prefix, "--write-out=json"))


def save(file: Path, pairs: dict[str, bytes]) -> None:
    """As JSON, for whoever looks for the cause of a difference."""
    file.write_text(json.dumps({key: base64.b64encode(value).decode() for key, value in pairs.items()}, indent=1))


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def wire(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message, in order, nothing inside them decoded."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        match tag & 7:
            case 0:
                value, at = varint(data, at)
                yield tag >> 3, value
            case 2:
                length, at = varint(data, at)
                yield tag >> 3, data[at:at + length]
                at += length
            case kind:
                size = {1: 8, 5: 4}[kind]
                yield tag >> 3, data[at:at + size]
                at += size


def first(data: bytes, field: int) -> Value | None:
    return next((value for number, value in wire(data) if number == field), None)


def number_in(data: bytes, *path: int) -> int:
    """The number at a path of fields; 0 where it is absent, as in the message."""
    for field in path[:-1]:
        inner = first(data, field)
        if not isinstance(inner, bytes):
            return 0
        data = inner
    value = first(data, path[-1])
    return value if isinstance(value, int) else 0


def segments() -> dict[str, bytes]:
    """By `<collection>/<partition>/<segment>`."""
    return {key.removeprefix(SEGMENTS): value for key, value in dump(SEGMENTS).items()}


def state(segment: bytes) -> int:
    return number_in(segment, 6)


def in_state(wanted: int) -> list[str]:
    return [key for key, value in segments().items() if state(value) == wanted]


def positions() -> dict[str, tuple[int, int]]:
    """Of growing segments: the timestamps of the start and of the newest position."""
    return {key: (number_in(value, 9, 4), number_in(value, 10, 4)) for key, value in segments().items()
            if state(value) == GROWING}


def listed_twice() -> list[str]:
    """Segments that name a file of rows or of deletes more than once: its rows are read as often."""
    found = set()
    for kind in ("binlog", "deltalog"):
        prefix = f"{META}datacoord-meta/{kind}/"
        for key, value in dump(prefix).items():
            logs = [number_in(log, 6) for field, log in wire(value) if field == 2 and isinstance(log, bytes)]
            if len(logs) != len(set(logs)):
                found.add(key.removeprefix(prefix).rpartition("/")[0])
    return sorted(found)


def sessions() -> dict[str, bytes]:
    """Of components that are up, or died a moment ago."""
    return {key: value for key, value in dump(f"{META}session/").items() if key != f"{META}session/id"}
