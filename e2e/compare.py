"""Holds what a newer Milvus says against what 2.1 said (both from observe.py).

Every difference is either known, with its reason, or wrong."""

from dataclasses import dataclass, field
from typing import Any

from data import case_of
from settings import CHANGED, COUNTS_UNFLUSHED, NO_INDEX, NOT_ANSWERED

TOLERANCE = 2e-4


@dataclass
class Area:
    checked: int = 0
    known: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def same(self) -> int:
        return self.checked - len(self.wrong) - sum(len(names) for names in self.known.values())


class Comparison:
    def __init__(self, old: dict[str, Any], new: dict[str, Any], back: bool):
        self.old = old
        self.new = new
        self.back = back
        self.areas: dict[str, Area] = {}

    def check(self, area: str, name: str, same: bool, old: Any, new: Any, reason: str | None = None) -> None:
        """Counts one thing; a difference with a reason is a known one."""
        found = self.areas.setdefault(area, Area())
        found.checked += 1
        if same:
            return
        if reason and not self.back:
            found.known.setdefault(reason, []).append(name)
        else:
            found.wrong.append(f"{area}: {name}: was {short(old)}, is {short(new)}")

    def equal(self, area: str, name: str, old: Any, new: Any, reason: str | None = None) -> None:
        self.check(area, name, old == new, old, new, reason)

    @property
    def wrong(self) -> list[str]:
        return [line for area in self.areas.values() for line in area.wrong]


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def close(old: list[list[Any]], new: list[list[Any]]) -> bool:
    """The same distances, and the same rows, whatever the order of rows that are equally far."""
    if len(old) != len(new):
        return False
    if any(abs(a[1] - b[1]) > TOLERANCE * max(1.0, abs(a[1])) for a, b in zip(old, new)):
        return False
    if not old:
        return True
    # Among those as far as the last one, either server may pick.
    edge = old[-1][1]

    def inside(found: list[list[Any]]) -> set[Any]:
        return {hit[0] for hit in found if abs(hit[1] - edge) > TOLERANCE * max(1.0, abs(edge))}

    return inside(old) == inside(new)


def same_hits(old: Any, new: Any) -> bool:
    if not isinstance(old, list) or not isinstance(new, list):
        return bool(old == new)
    return len(old) == len(new) and all(close(a, b) for a, b in zip(old, new))


def expected_index(old: dict[str, Any], fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Default names get the field's ID, as 2.2 does it."""
    ids = {entry["name"]: entry["id"] for entry in fields}
    return {
        name: index | {"name": f"_default_idx_{ids[name]}" if index["name"] == "_default_idx" else index["name"]}
        for name, index in old.items()
    }


def without_aliases(described: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "aliases"}


def compare_collection(result: Comparison, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    if "error" in new:
        result.equal("schema", name, old["describe"], new["error"])
        return
    before, after = old["describe"], new["describe"]
    result.equal("schema", name, without_aliases(before), without_aliases(after))
    result.equal("aliases of a collection", name, before["aliases"], after["aliases"])
    result.equal("partitions", name, {key: part["id"] for key, part in old["partitions"].items()},
                 {key: part["id"] for key, part in new["partitions"].items()})
    compare_rows(result, name, old, new)
    wanted = old["indexes"] if result.back else expected_index(old["indexes"], before["fields"])
    result.equal("indexes and their parameters", name, wanted, new["indexes"])
    # 2.1 itself never counts segments below the threshold as indexed.
    for index, (indexed, total) in ({} if result.back else new["progress"]).items():
        result.equal("index progress 100 %", f"{name}/{index}", total, indexed)
    result.equal("load state", name, (old["loaded"], old["loaded_partitions"]),
                 (new["loaded"], new["loaded_partitions"]), None if old["indexes"] else NO_INDEX)
    if old["loaded"] and new["loaded"]:
        compare_answers(result, name, old, new)


def compare_rows(result: Comparison, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    # 2.1 counts what was flushed. Nothing may be missing later; the unflushed may have come along.
    case = case_of(name)
    all_rows = sum(count for _, count, _ in case.rows) if case else old["rows"]
    grown = old["rows"] < new["rows"] <= all_rows
    result.equal("row counts", name, old["rows"], new["rows"], COUNTS_UNFLUSHED if grown else None)


def compare_answers(result: Comparison, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    result.check("searches", name, same_hits(old["search"], new["search"]), old["search"], new["search"])
    if old.get("search_partition"):
        result.check("searches", f"{name} (one partition)", same_hits(old["search_partition"], new["search_partition"]),
                     old["search_partition"], new["search_partition"])
    result.equal("rows that a query reads", name, old["readable"], new["readable"])
    for expression, rows in old["query"].items():
        again = new["query"][expression]
        refused = isinstance(rows, str)
        same = isinstance(again, str) if refused else rows == again
        result.check("queries", f"{name}: {expression}", same, rows, again, NOT_ANSWERED if refused else None)


def compare_unchanged(old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Only the collections that use.py leaves alone, apart from their aliases."""
    result = Comparison(old, new, back=False)
    for name, collection in old["collections"].items():
        if name not in CHANGED:
            compare_collection(result, name, collection, new["collections"][name])
    result.areas.pop("aliases of a collection", None)
    return result


def compare(old: dict[str, Any], new: dict[str, Any], back: bool = False) -> Comparison:
    """`back`: the newer answers come from 2.1 again, after a rollback, and nothing may differ."""
    result = Comparison(old, new, back)
    result.equal("names listed", "collections", old["listed"], new["listed"])
    result.equal("users", "users", old["users"], new["users"])
    for name, collection in old["collections"].items():
        compare_collection(result, name, collection, new["collections"][name])
    for alias, target in old["aliases"].items():
        result.equal("aliases", alias, target, new["aliases"][alias])
    for alias, found in old["alias_search"].items():
        result.check("searches by alias", alias, same_hits(found, new["alias_search"].get(alias)), found,
                     new["alias_search"].get(alias))
    return result
