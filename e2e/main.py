"""The upgrade with real servers: Milvus 2.1.0 makes data, meta-migration migrates the metadata, a newer Milvus uses
them, meta-migration rolls back, and 2.1.0 comes up again. Started by scripts/e2e.sh, in namespaces of its own."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from making import source_data
from servers import ServerError, enter_namespace
from tool import ToolError
from upgrade import upgrade
from versions import Version
from way_back import way_back

from cluster.beside import beside
from cluster.faults import faults
from cluster.retention import retention
from target import read, say


def bad(result: dict[str, Any]) -> list[str]:
    found = [line for area in [*result["areas"].values(), *result["rollback"].values()] for line in area["wrong"]]
    return found + [f"{name}: {state}" for name, state in result["steps"].items() if state != "ok"]


Way = Callable[[Path, Version], dict[str, Any]]
"""What is done for each version, in a working folder."""


def tried(go: Way, work: Path, version: Version) -> dict[str, Any]:
    """One version that cannot go on does not keep the others from their turn."""
    try:
        return go(work, version)
    except (ServerError, ToolError) as error:
        say(f"{version.text}: FAILED {error}")
        return {"areas": {}, "steps": {"goes through": str(error)}, "rollback": {}, "panics": []}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--way", choices=("there", "way-back", "retention", "faults", "beside"), default="there")
    parser.add_argument("versions", nargs="+", type=Version)
    return parser.parse_args()


def way(given: argparse.Namespace) -> Way:
    if given.way == "retention":
        return lambda work, version: retention(given.kept, work, version)
    if given.way == "beside":
        return lambda work, version: beside(given.kept, work, version)
    source, old = source_data(given.kept, given.again)
    if given.way == "faults":
        return lambda work, version: faults(source, work, version)
    go = way_back if given.way == "way-back" else upgrade
    return lambda work, version: go(source, work, version, old)


def main() -> None:
    given = arguments()
    enter_namespace()
    go = way(given)
    results = read(given.results) if given.results.exists() else {}
    failed = False
    for version in given.versions:
        begun = time.monotonic()
        results[version.text] = result = tried(go, given.work, version)
        wrong = bad(result)
        failed = failed or bool(wrong)
        say(f"{version.text}: things that are wrong: {len(wrong)}, panics: {len(result['panics'])},"
            f" {time.monotonic() - begun:.0f} s")
        given.results.write_text(json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
