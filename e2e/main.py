"""The upgrade with real servers: Milvus 2.1.0 makes data, meta-migration migrates the metadata, a newer Milvus uses
them, meta-migration rolls back, and 2.1.0 comes up again. Started by scripts/e2e.sh, in namespaces of its own."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from compare import Comparison, compare
from servers import Etcd, Milvus, ServerDied, ServerError, copy_site, enter_namespace, etcdctl, run_client, wait_for
from settings import REBUILD, SOURCE, TO_DROP
from tool import meta_migration

MOST_RESTARTS = 1
LOG_FOLDERS = ("rocksmq", "rocksmq_meta_kv")


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def make_fixture(site: Path) -> dict[str, Any]:
    """Collections by a real 2.1.0, and what it says of them; both servers are stopped again."""
    site.mkdir(parents=True)
    etcd = Etcd(site)
    try:
        milvus = Milvus(SOURCE, site)
        try:
            say(run_client(milvus, "fixture.py").strip())
            run_client(milvus, "observe.py", f"{site}/observed.json")
        finally:
            milvus.stop()
    finally:
        etcd.stop()
    return read(site / "observed.json")


class Target:
    """A newer Milvus on migrated metadata. 2.2 sometimes panics at its first start: then it is started again, once."""

    def __init__(self, version: str, site: Path):
        self.version = version
        self.site = site
        self.panics: list[str] = []
        self.start()

    def start(self, hasty: bool = False) -> None:
        self.milvus = Milvus(self.version, self.site, hasty)

    def observe(self) -> dict[str, Any]:
        """What it says, once everything is loaded."""
        file = self.site / f"observed-{self.version}.json"
        while True:
            try:
                run_client(self.milvus, "observe.py", str(file))
                return read(file)
            except ServerDied as error:
                say(str(error))
                self.panics.append(str(error))
                if len(self.panics) > MOST_RESTARTS:
                    raise
                self.start()

    def use(self, what: str) -> dict[str, str]:
        return steps_of(run_client(self.milvus, "use.py", what))

    def stop(self) -> None:
        self.milvus.stop()


def migrate(site: Path, version: str) -> None:
    output = meta_migration(site, version, "backup")
    output += meta_migration(site, version, "run", *REBUILD)
    output += meta_migration(site, version, "verify")
    (site / "logs").mkdir(exist_ok=True)
    (site / "logs/meta-migration.log").write_text(output)


def compared(result: Comparison) -> dict[str, Any]:
    for line in result.wrong:
        say(f"DIFFERENT: {line}")
    return {
        name: {"checked": area.checked, "same": area.same, "known": area.known, "wrong": area.wrong}
        for name, area in result.areas.items()
    }


def steps_of(output: str) -> dict[str, str]:
    steps = {}
    for line in output.splitlines():
        state, _, rest = line.partition(" ")
        if state == "ok":
            steps[rest.rpartition(" [")[0]] = "ok"
        elif state == "FAILED":
            name, _, why = rest.partition(": ")
            steps[name] = why
            say(line)
    return steps


def keys_of(collection: int) -> list[str]:
    keys = etcdctl("get", "--prefix", "by-dev/meta/", "--keys-only").split()
    # Snapshots are the root coordinator's history, and 2.1's own records are nobody's any more.
    return [key for key in keys if f"/{collection}" in key and "/snapshots/" not in key and "/queryCoord-" not in key]


def files_of(site: Path, collection: int) -> list[Path]:
    return [path for path in (site / "storage").rglob(f"*_log/{collection}/**/*") if path.is_file()]


def drops_are_collected(target: Target, observed: dict[str, Any]) -> dict[str, str]:
    """With hasty garbage collection: keys and files of dropped collections go."""
    numbers = {name: observed["collections"][name]["describe"]["id"] for name in TO_DROP if name in observed["collections"]}
    state = "ok"
    for name, number in numbers.items():
        try:
            wait_for(f"keys of {name} to go", lambda number=number: not keys_of(number), 120, 1)
            wait_for(f"files of {name} to go", lambda number=number: not files_of(target.site, number), 120, 1)
        except ServerError as error:
            state = f"{error}: {keys_of(number)[:5]} {[str(path) for path in files_of(target.site, number)[:5]]}"
            say(f"FAILED {state}")
    return {"keys and files of dropped collections go": state}


def upgrade(fixture: Path, work: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    site = copy_site(fixture, work / f"site-{version}")
    back = work / f"site-{version}-back"
    etcd = Etcd(site)
    try:
        migrate(site, version)
        target = Target(version, site)
        try:
            areas = compared(compare(old, target.observe()))
            say(f"{version}: compared with {SOURCE}")
            steps = target.use("change")
        finally:
            target.stop()
            etcd.stop()
        say(f"{version}: used")
        copy_site(site, back)
        etcd = Etcd(site)
        # Garbage collection is hasty only after the copy was made for the rollback.
        target.start(hasty=True)
        try:
            for name, state in target.use("check").items():
                steps[f"after a restart: {name}"] = state
            steps |= drops_are_collected(target, old)
            for name, state in target.use("check").items():
                steps[f"after garbage collection: {name}"] = state
        finally:
            target.stop()
    finally:
        etcd.stop()
    return {"areas": areas, "steps": steps, "panics": target.panics, "rollback": roll_back(fixture, back, version, old)}


def roll_back(fixture: Path, site: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    """The metadata by our tool, the message log from before: what 2.2 wrote there, 2.1.0 would carry out again."""
    for folder in LOG_FOLDERS:
        shutil.rmtree(site / folder)
        copy_site(fixture / folder, site / folder)
    etcd = Etcd(site)
    try:
        meta_migration(site, version, "rollback")
        milvus = Milvus(SOURCE, site)
        try:
            run_client(milvus, "observe.py", f"{site}/observed-again.json")
        finally:
            milvus.stop()
    finally:
        etcd.stop()
    say(f"{version}: rolled back, and compared again")
    return compared(compare(old, read(site / "observed-again.json"), back=True))


def bad(result: dict[str, Any]) -> list[str]:
    found = [line for area in [*result["areas"].values(), *result["rollback"].values()] for line in area["wrong"]]
    return found + [f"{name}: {state}" for name, state in result["steps"].items() if state != "ok"]


def main() -> None:
    work, results_file, versions = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    enter_namespace()
    started = time.monotonic()
    fixture = work / f"site-{SOURCE}"
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
