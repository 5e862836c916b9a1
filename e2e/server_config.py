"""Fills in the configuration templates that come with the Milvus wheels."""

import re
from pathlib import Path

from versions import Version

PLACEHOLDER = re.compile(r"{{\s*(\w+)[^:}]*(?::\s*([^}]*?))?\s*}}")
LINE = re.compile(r"^( *)([\w.]+):(\s*)([^#\n]*?)(\s*#.*)?$")

PORTS = {
    "root_coord_port": "53100",
    "query_coord_port": "19531",
    "query_node_port": "21123",
    "index_coord_port": "31000",
    "index_node_port": "21121",
    "data_coord_port": "13333",
    "data_node_port": "21124",
}


def fill_placeholders(text: str, values: dict[str, str]) -> str:
    """Replaces every `{{ name(type): default }}`: by our value, else by the default, else by nothing."""

    def value(match: re.Match[str]) -> str:
        return values.get(match[1], match[2] or "")

    return PLACEHOLDER.sub(value, text)


def set_values(text: str, values: dict[str, str]) -> str:
    """Sets scalars by their path (`dataCoord.gc.interval`); one that the text lacks is an error."""
    left = dict(values)
    path: list[tuple[int, str]] = []
    lines = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match and not line.lstrip().startswith("#"):
            indent = len(match[1])
            while path and path[-1][0] >= indent:
                path.pop()
            path.append((indent, match[2]))
            name = ".".join(key for _, key in path)
            if name in left:
                line = f"{match[1]}{match[2]}: {left.pop(name)}"
        lines.append(line)
    if left:
        raise ValueError(f"the configuration template has no {', '.join(sorted(left))}")
    return "\n".join(lines) + "\n"


COMMON = {
    "etcd.use.embed": "false",
    "log.level": "info",
}

CALM = {
    # A tick for each of many channels is most of what an idle server does: on few cores nothing else gets its turn.
    "proxy.timeTickInterval": "600",
    # By default 0.2 s: late calls are taken for failed ones and made again.
    "grpc.client.dialTimeout": "5000",
}
LATER = CALM | {
    # What is deleted gets to the segments within seconds: a change of each of them.
    "dataNode.segment.syncPeriod": "10",
}
MANY_LOADS = {"common.threadCoreCoefficient.highPriority": "100"}
"""2.3 refuses to load more than so many files per core at a time, and tries the segment again later: on two busy cores a
collection of many partitions does not get ready within the time that 2.3 gives it."""
HASTY_SOURCE = {
    "dataCoord.gc.interval": "10",
    "dataCoord.gc.dropTolerance": "10",
}
"""What was dropped on 2.1.0 is collected after seconds; files that are being written stay."""
SMALL_BUFFER = {"dataNode.flush.insertBufSize": "8192"}
"""A few hundred rows: what is growing is written in parts, and channels' positions move on."""
LESS_BUFFER = {"dataNode.flush.insertBufSize": "16384"}
"""The same, but some hundred rows are in the log only."""


def hasty(version: Version) -> dict[str, str]:
    """Garbage collection after seconds instead of hours: what is dropped goes. Not so what nothing refers to yet: on a busy
    machine files wait longer than seconds for the record that names them, and the segment could never be loaded again."""
    settings = {"dataCoord.gc.interval": "5", "dataCoord.gc.dropTolerance": "5"}
    return settings | ({"indexCoord.gc.interval": "5"} if version.has_index_coordinator else {})


def keeping(version: Version) -> dict[str, str]:
    """What keeps the way back open: nothing that the old metadata names is collected or replaced."""
    settings = {"dataCoord.enableGarbageCollection": "false", "dataCoord.compaction.enableAutoCompaction": "false"}
    # The index coordinator of 2.2 has no switch for its garbage collection: it is put off, by a week.
    return settings | ({"indexCoord.gc.interval": "604800"} if version.has_index_coordinator else {})


def for_2_1(template: Path, site: Path, settings: dict[str, str]) -> str:
    values = COMMON | {
        "rootCoord.dmlChannelNum": "64",
        "queryNode.cacheSize": "4",
        "localStorage.path": f"{site}/storage/",
        "rocksmq.path": f"{site}/rocksmq",
        "etcd.data.dir": f"{site}/unused-etcd",
        "log.file.rootPath": f"{site}/logs",
        "etcd.log.path": f"{site}/logs/etcd.log",
    }
    return set_values(template.read_text(), values | settings)


def for_later(version: Version, template: Path, site: Path, settings: dict[str, str]) -> str:
    placeholders = PORTS | {
        # 2.1 recorded paths relative to its storage folder, in which the newer servers are started.
        "local_storage_dir": f"{site}/storage/files" if version.wants_absolute_paths else "files",
        "rocketmq_data_dir": f"{site}/rocksmq",
        "rocksmq_data_dir": f"{site}/rocksmq",
        "etcd_data_dir": f"{site}/unused-etcd",
        "etcd_log_path": f"{site}/logs/etcd.log",
        "system_log_path": f"{site}/logs",
    }
    # rootCoord.dmlChannelNum stays at its default of 16 on purpose, though 2.1.0 had 64: so it is for those who upgrade.
    values = COMMON | LATER | (MANY_LOADS if version.limits_loads else {}) | settings
    return set_values(fill_placeholders(template.read_text(), placeholders), values)
