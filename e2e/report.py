"""Shows the result of a run as a table, also inside docs/compatibility.md."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data import RENAMED, RENAMED_ALIASES
from settings import UNKNOWN_INDEXES

BEGIN = "<!-- e2e begin -->"
END = "<!-- e2e end -->"


def cell(area: dict[str, Any] | None) -> str:
    if area is None:
        return "not tried"
    text = f"{area['same']} of {area['checked']}"
    if area["known"]:
        text += f", {sum(len(names) for names in area['known'].values())} known"
    return text + (f", **{len(area['wrong'])} wrong**" if area["wrong"] else "")


def step_cell(state: str | None) -> str:
    if state is None:
        return "not tried"
    return "yes" if state == "ok" else "**no**"


def table(results: dict[str, dict[str, Any]]) -> str:
    versions = list(results)
    lines = [f"| 2.1.0 → | {' | '.join(versions)} |", "|---" * (len(versions) + 1) + "|"]

    def section(title: str, kind: str, show: Callable[[Any], str]) -> None:
        names = dict.fromkeys(name for result in results.values() for name in result[kind])
        if names:
            lines.append(f"| **{title}** |{' |' * len(versions)}")
        for name in names:
            lines.append(f"| {name} | {' | '.join(show(results[version][kind].get(name)) for version in versions)} |")

    section("the same as on 2.1.0", "areas", cell)
    section("works afterwards", "steps", step_cell)
    section("rolled back after that, the same again on 2.1.0", "rollback", cell)
    return "\n".join(lines + known(results)) + "\n"


def known(results: dict[str, dict[str, Any]]) -> list[str]:
    """Below the table: the known differences by name."""
    reasons: dict[str, dict[str, set[str]]] = {}
    for version, result in results.items():
        for area in result["areas"].values():
            for reason, names in area["known"].items():
                reasons.setdefault(reason, {}).setdefault(version, set()).update(names)
    lines = ["", "Known differences:", ""]
    for reason, versions in reasons.items():
        where = [f"{version}: {', '.join(f'`{name}`' for name in sorted(names))}" for version, names in versions.items()]
        lines.append(f"- {reason}. {'; '.join(where)}")
    # An older result may come from a run that gave no names.
    renamed = ", ".join(version for version, result in results.items() if "names that the migration gave" in result["steps"])
    for option, names in {"--rename-collection": RENAMED, "--rename-alias": RENAMED_ALIASES}.items():
        lines += [f"- {renamed}, `$` in a name, which newer servers refuse: `run` had `{option} '{old}={new}'`."
                  for old, new in names.items() if renamed]
    for series, kinds in UNKNOWN_INDEXES.items():
        if any(version.startswith(f"{series}.") for version in results):
            lines.append(f"- {series} cannot load {' and '.join(kinds)} indexes: the collection needs another index.")
    return lines


def write_document(results: dict[str, dict[str, Any]], document: Path) -> None:
    text = document.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.S)
    if not pattern.search(text):
        raise ValueError(f"{document} has no lines '{BEGIN}' and '{END}'")
    inside = f"{BEGIN}\n{table(results)}{END}"
    document.write_text(pattern.sub(lambda _: inside, text))


def main() -> None:
    """report.py RESULTS [DOCUMENT]: to standard output, or between the markers of the document."""
    results = json.loads(Path(sys.argv[1]).read_text())
    if len(sys.argv) > 2:
        write_document(results, Path(sys.argv[2]))
    else:
        print(table(results))


if __name__ == "__main__":
    main()
