"""Fills in the configuration templates that come with the Milvus wheels."""

import re
from pathlib import Path

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

HASTY = {
    # Garbage collection after seconds instead of hours: what is dropped goes, what nothing refers to goes.
    "dataCoord.gc.interval": "5",
    "dataCoord.gc.missingTolerance": "5",
    "dataCoord.gc.dropTolerance": "5",
}
HASTY_2_2 = HASTY | {"indexCoord.gc.interval": "5"}


def for_2_1(template: Path, site: Path) -> str:
    values = COMMON | {
        "rootCoord.dmlChannelNum": "64",
        "queryNode.cacheSize": "4",
        "localStorage.path": f"{site}/storage/",
        "rocksmq.path": f"{site}/rocksmq",
        "etcd.data.dir": f"{site}/unused-etcd",
        "log.file.rootPath": f"{site}/logs",
        "etcd.log.path": f"{site}/logs/etcd.log",
    }
    return set_values(template.read_text(), values)


def for_later(version: str, template: Path, site: Path, hasty: bool) -> str:
    placeholders = PORTS | {
        "local_storage_dir": "files",
        "rocketmq_data_dir": f"{site}/rocksmq",
        "rocksmq_data_dir": f"{site}/rocksmq",
        "etcd_data_dir": f"{site}/unused-etcd",
        "etcd_log_path": f"{site}/logs/etcd.log",
        "system_log_path": f"{site}/logs",
    }
    # rootCoord.dmlChannelNum stays at its default of 16 on purpose, though 2.1.0 had 64: so it is for those who upgrade.
    more = (HASTY_2_2 if version.startswith("2.2.") else HASTY) if hasty else {}
    return set_values(fill_placeholders(template.read_text(), placeholders), COMMON | more)
