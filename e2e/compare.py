"""Holds what a newer Milvus says against what 2.1 said (both from observe.py).

Every difference is either known, with its reason, or wrong."""

from dataclasses import dataclass, field
from typing import Any

from case import Case, batches, key_of, living, loaded_partitions_of
from data import case_of
from lived import old_rows
from settings import CHANGED, COUNTS_NO_DELETED, COUNTS_UNFLUSHED, NO_INDEX, NOT_ANSWERED, NOT_THE_TRUTH, TYPE_NOT_SHOWN

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
            found.wrong.append(f"{area}: {name}: was {short(old)}, is {short(new, 400)}")

    def equal(self, area: str, name: str, old: Any, new: Any, reason: str | None = None) -> None:
        self.check(area, name, old == new, old, new, reason)

    @property
    def wrong(self) -> list[str]:
        return [line for area in self.areas.values() for line in area.wrong]


def short(value: Any, most: int = 160) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most - 3]}..."


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


def without_types(indexes: dict[str, Any]) -> dict[str, Any]:
    """Of scalar fields, for which a client gives no type."""
    return {name: index | {"params": {}} if index["params"].keys() == {"index_type"} else index
            for name, index in indexes.items()}


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
    result.equal("indexes and their parameters", name, wanted, new["indexes"],
                 TYPE_NOT_SHOWN if new["indexes"] == without_types(wanted) else None)
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
    all_rows = sum(batch.end - batch.first for batch in batches(case)) if case else old["rows"]
    reason = None
    if old["rows"] < new["rows"] <= all_rows:
        reason = COUNTS_UNFLUSHED
    elif case and len(living(case)) - len(old_rows(case)) <= new["rows"] < old["rows"]:
        reason = COUNTS_NO_DELETED
    result.equal("row counts", name, old["rows"], new["rows"], reason)


def compare_answers(result: Comparison, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    reason = compare_every_row(result, name, old, new)
    if old["search"] is not None:
        result.check("searches", name, same_hits(old["search"], new["search"]), old["search"], new["search"], reason)
    if old.get("search_partition"):
        result.check("searches", f"{name} (one partition)", same_hits(old["search_partition"], new["search_partition"]),
                     old["search_partition"], new["search_partition"], reason)
    result.equal("replicas", name, old["replicas"], new["replicas"])
    if "lost_vectors" in old:
        result.equal("every vector", name, old["lost_vectors"], new["lost_vectors"], reason)
    for expression, rows in old["query"].items():
        again = new["query"][expression]
        refused = isinstance(rows, str)
        same = isinstance(again, str) if refused else rows == again
        result.check("queries", f"{name}: {expression}", same, rows, again, NOT_ANSWERED if refused else reason)


def truth(case: Case, deleted: list[Any]) -> list[Any]:
    """The rows that every_row() of observe.py must find, by what was inserted and deleted."""
    loaded = loaded_partitions_of(case)
    rows = sorted(row for row, partition in living(case).items() if loaded is None or partition in loaded)
    if case.key == "auto":
        return rows
    found: list[Any] = [[key_of(case, row), None if case.scalar_indexes else row] for row in rows]
    return [row for row in found if row[0] not in deleted]


def difference(old: list[Any], new: list[Any]) -> str:
    before, after = ({repr(row) for row in rows} for rows in (old, new))
    missing, more = sorted(before - after), sorted(after - before)
    twice = len(new) - len(after)
    return (f"{len(new)} rows for {len(old)}: {len(missing)} missing {short(missing[:5])}, {len(more)} that should not be there"
            f" {short(more[:5])}, {twice} more than once")


def compare_every_row(result: Comparison, name: str, old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What 2.1.0 answers counts, or, where that is wrong by itself, what was inserted and deleted: then with the reason
    why other answers differ, too."""
    case = case_of(name)
    wanted, found, counted = old["every_row"], new["every_row"], new["counted"]
    right = truth(case, old.get("deleted", [])) if case else wanted
    reason = NOT_THE_TRUTH if found == right else None
    shown = difference(wanted, found) if isinstance(wanted, list) and isinstance(found, list) else found
    result.check("every row", name, wanted == found, short(wanted), shown, reason)
    if counted is not None:
        rows = len(right) if found == right else len(wanted)
        result.equal("count(*)", name, rows, counted)
    return reason if found != wanted else None


def compare_after_use(old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """The collections that use.py leaves alone, and those that have lived, without what use_lived.py deleted; without
    aliases, which use.py looks at itself."""
    result = Comparison(old, new, back=False)
    for name, collection in old["collections"].items():
        case = case_of(name)
        if name not in CHANGED:
            wanted = without_deleted(case, collection) if case and case.life else collection
            compare_collection(result, name, wanted, new["collections"][name])
    result.areas.pop("aliases of a collection", None)
    return result


def without_deleted(case: Case, old: dict[str, Any]) -> dict[str, Any]:
    """What a collection of lived.py must be after use_lived.py. The best hits are others when the best are deleted."""
    gone = [key_of(case, row) for row in old_rows(case)]
    changed: dict[str, Any] = {"search": None, "search_partition": None, "query": {}}
    if isinstance(old.get("every_row"), list):
        changed["every_row"] = [row for row in old["every_row"] if row[0] not in gone]
        changed["deleted"] = gone
    if isinstance(old.get("lost_vectors"), list):
        changed["lost_vectors"] = sorted({*old["lost_vectors"], *old_rows(case)})
    return old | changed


def compare(old: dict[str, Any], new: dict[str, Any], back: bool = False) -> Comparison:
    """`back`: the newer answers come from 2.1 again, after a rollback, and nothing may differ."""
    result = Comparison(old, new, back)
    result.equal("names listed", "collections", old["listed"], new["listed"])
    result.equal("users", "users", old["users"], new["users"])
    result.equal("users", "with their passwords and with others", old["logins"], new["logins"])
    for name, collection in old["collections"].items():
        compare_collection(result, name, collection, new["collections"][name])
    for alias, target in old["aliases"].items():
        result.equal("aliases", alias, target, new["aliases"][alias])
    for alias, found in old["alias_search"].items():
        result.check("searches by alias", alias, same_hits(found, new["alias_search"].get(alias)), found,
                     new["alias_search"].get(alias))
    return result
