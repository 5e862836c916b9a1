"""The upgrade with real servers: Milvus 2.1.0 makes data, meta-migration migrates the metadata, a newer Milvus uses
them, meta-migration rolls back, and 2.1.0 comes up again. Started by scripts/e2e.sh, in namespaces of its own."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Self

from compare import Comparison, compare, compare_unchanged
from data import NEW_NAMES, RENAMED, RENAMED_ALIASES, SMALL
from servers import Etcd, Milvus, ServerDied, ServerError, copy_site, enter_namespace, etcdctl, run_client, wait_for
from settings import FAULTS, SOURCE, TO_DROP
from tool import meta_migration

MOST_RESTARTS = 1
MOST_LINES = 20
LOG_FOLDERS = ("rocksmq", "rocksmq_meta_kv")


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def make_fixture(site: Path) -> dict[str, Any]:
    """Collections by a real 2.1.0, and what it says of them; both servers are stopped again."""
    site.mkdir(parents=True)
    with Etcd(site), Milvus(SOURCE, site) as milvus:
        say(run_client(milvus, "fixture.py").strip())
        run_client(milvus, "observe.py", f"{site}/observed.json")
    return read(site / "observed.json")


class Target:
    """A newer Milvus on migrated metadata. 2.2 sometimes panics at its first start: then it is started again, once."""

    def __init__(self, version: str, site: Path, hasty: bool = False):
        self.version = version
        self.site = site
        self.hasty = hasty
        self.panics: list[str] = []
        self.milvus = self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.milvus.stop()

    def start(self) -> Milvus:
        while True:
            try:
                return Milvus(self.version, self.site, self.hasty)
            except ServerDied as error:
                self.note(error)

    def note(self, error: ServerDied) -> None:
        say(str(error))
        self.panics.append(str(error))
        if len(self.panics) > MOST_RESTARTS:
            raise error

    def observe(self) -> dict[str, Any]:
        """What it says, once everything is loaded."""
        file = self.site / f"observed-{self.version}.json"
        while True:
            try:
                run_client(self.milvus, "observe.py", str(file), "renamed")
                return read(file)
            except ServerDied as error:
                self.note(error)
                self.milvus = self.start()

    def use(self, what: str, when: str = "") -> dict[str, str]:
        steps = steps_of(run_client(self.milvus, "use.py", what), FAULTS.get(self.version, {}))
        return {f"{when}{name}": state for name, state in steps.items()}


def migrate(site: Path, version: str) -> None:
    names = [f"--rename-collection={old}={new}" for old, new in RENAMED.items()]
    names += [f"--rename-alias={old}={new}" for old, new in RENAMED_ALIASES.items()]
    output = meta_migration(site, version, "backup")
    output += meta_migration(site, version, "run", *names)
    output += meta_migration(site, version, "verify", f"--backup={site}/migration.bak", *names)
    (site / "logs").mkdir(exist_ok=True)
    (site / "logs/meta-migration.log").write_text(output)


def with_new_names(observed: Any) -> Any:
    """What 2.1.0 said, with the names that the migration gave."""
    match observed:
        case dict():
            return {NEW_NAMES.get(key, key): with_new_names(value) for key, value in observed.items()}
        case list():
            return [with_new_names(value) for value in observed]
        case str():
            return NEW_NAMES.get(observed, observed)
    return observed


def compared(result: Comparison) -> dict[str, Any]:
    for line in result.wrong[:MOST_LINES]:
        say(f"DIFFERENT: {line}")
    if len(result.wrong) > MOST_LINES:
        say(f"DIFFERENT: and {len(result.wrong) - MOST_LINES} more things")
    return {
        name: {"checked": area.checked, "same": area.same, "known": area.known, "wrong": area.wrong}
        for name, area in result.areas.items()
    }


def steps_of(output: str, faults: dict[str, str]) -> dict[str, str]:
    """`ok`, `fault: …` where the server is known to be at fault, or what is wrong."""
    steps = {}
    for line in output.splitlines():
        state, _, rest = line.partition(" ")
        if state == "ok":
            steps[rest.rpartition(" [")[0]] = "ok"
        elif state == "FAILED":
            name, _, why = rest.partition(": ")
            steps[name] = f"fault: {faults[name]}" if name in faults else why
            say(f"a known fault of Milvus: {line}" if name in faults else line)
    return steps


def keys_of(collection: int) -> list[str]:
    """Those of its segments. The root coordinator waits 20 minutes more before it forgets a dropped collection, and
    index records go a few minutes later."""
    keys = etcdctl("get", "--prefix", "by-dev/meta/datacoord-meta/", "--keys-only").split()
    return [key for key in keys if f"/{collection}/" in key]


def files_of(site: Path, collection: int) -> list[Path]:
    return [path for path in (site / "storage").rglob(f"*_log/{collection}/**/*") if path.is_file()]


def drops_are_collected(target: Target, before: Path, observed: dict[str, Any]) -> dict[str, str]:
    """With hasty garbage collection: segments and files of dropped collections go."""
    numbers = [observed["collections"][name]["describe"]["id"] for name in TO_DROP]
    if not all(files_of(before, number) for number in numbers):
        raise ServerError(f"not all of {TO_DROP} had files: there is nothing to watch")

    def left() -> list[str]:
        return [key for number in numbers for key in [*keys_of(number), *map(str, files_of(target.site, number))]]

    state = "ok"
    try:
        wait_for("segments and files of dropped collections to go", lambda: not left(), 120, 1)
    except ServerError as error:
        state = f"{error}: {left()[:10]}"
        say(f"FAILED {state}")
    return {"segments and files of dropped collections go": state}


def upgrade(fixture: Path, work: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    site = copy_site(fixture, work / f"site-{version}")
    wanted = with_new_names(old)
    wanted["listed"].sort()
    with Etcd(site):
        migrate(site, version)
        with Target(version, site) as target:
            result = {"areas": compared(compare(wanted, target.observe())), "panics": target.panics}
            say(f"{version}: compared with {SOURCE}")
            if SMALL:
                return result | {"steps": {}, "rollback": {}}
            steps = target.use("change")
            say(f"{version}: used")
    # As it is now: later, garbage collection is hasty.
    back = copy_site(site, work / f"site-{version}-back")
    with Etcd(site):
        with Target(version, site, hasty=True) as target:
            steps |= drops_are_collected(target, back, old)
        with Target(version, site) as target:
            steps |= target.use("check", "after a restart: ")
            unchanged = compare_unchanged(wanted, target.observe())
            compared(unchanged)
            steps["after a restart: all other collections as before"] = "; ".join(unchanged.wrong) or "ok"
    say(f"{version}: cleaned up, restarted, and compared again")
    return result | {"steps": steps, "rollback": roll_back(fixture, back, version, old)}


def roll_back(fixture: Path, site: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    """The metadata by our tool, the message log from before: what 2.2 wrote there, 2.1.0 would carry out again."""
    for folder in LOG_FOLDERS:
        copy_site(fixture / folder, site / folder)
    with Etcd(site):
        meta_migration(site, version, "rollback")
        with Milvus(SOURCE, site) as milvus:
            run_client(milvus, "observe.py", f"{site}/observed-again.json")
    say(f"{version}: rolled back, and compared again")
    return compared(compare(old, read(site / "observed-again.json"), back=True))


def bad(result: dict[str, Any]) -> list[str]:
    found = [line for area in [*result["areas"].values(), *result["rollback"].values()] for line in area["wrong"]]
    return found + [f"{name}: {state}" for name, state in result["steps"].items()
                    if state != "ok" and not state.startswith("fault: ")]


def main() -> None:
    work, results_file, versions = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    enter_namespace()
    started = time.monotonic()
    fixture = work / f"site-{SOURCE}{'-small' if SMALL else ''}"
    if (fixture / "observed.json").exists():
        say(f"taking the data that {SOURCE} made in an earlier run")
        old = read(fixture / "observed.json")
    else:
        old = make_fixture(fixture)
        say(f"{SOURCE} made the data in {time.monotonic() - started:.0f} s")
    results = read(results_file) if results_file.exists() else {}
    failed = False
    for version in versions:
        begun = time.monotonic()
        results[version] = result = upgrade(fixture, work, version, old)
        wrong = bad(result)
        failed = failed or bool(wrong)
        say(f"{version}: {len(wrong)} thing(s) wrong, {len(result['panics'])} panic(s), {time.monotonic() - begun:.0f} s")
        results_file.write_text(json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
