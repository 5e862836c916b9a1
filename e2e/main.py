"""The upgrade with real servers: Milvus 2.1.0 makes data, meta-migration migrates the metadata, a newer Milvus uses
them, meta-migration rolls back, and 2.1.0 comes up again. Started by scripts/e2e.sh, in namespaces of its own."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compare import Comparison, compare
from servers import Etcd, Milvus, ServerError, client, copy_site, enter_namespace, etcdctl, wait_for
from tool import meta_migration

OLD = "2.1.0"
GONE = ("c_flat", "c_scalars_small")
MOST_RESTARTS = 1


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def must(done: subprocess.CompletedProcess[str], what: str) -> str:
    if done.returncode != 0:
        raise ServerError(f"{what}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def make_fixture(site: Path) -> dict[str, Any]:
    """Collections by a real 2.1.0, and what it says of them; both servers are stopped again."""
    site.mkdir(parents=True)
    etcd = Etcd(site)
    try:
        milvus = Milvus(OLD, site)
        try:
            say(must(client(OLD, "fixture.py"), "making the collections").strip())
            must(client(OLD, "observe.py", f"{site}/observed.json"), "observing")
        finally:
            milvus.stop()
    finally:
        etcd.stop()
    return read(site / "observed.json")


class Target:
    """A newer Milvus on migrated metadata, restarted when it panics at its first start as 2.2 sometimes does."""

    def __init__(self, version: str, site: Path):
        self.version = version
        self.site = site
        self.hasty = False
        self.panics: list[str] = []
        self.milvus = self.start()

    def start(self) -> Milvus:
        while True:
            try:
                return Milvus(self.version, self.site, self.hasty)
            except ServerError as error:
                self.note_panic(str(error))

    def note_panic(self, why: str) -> None:
        self.panics.append(why)
        say(f"Milvus {self.version} ended by itself: {why}")
        if len(self.panics) > MOST_RESTARTS:
            raise ServerError(f"Milvus {self.version} ended by itself {len(self.panics)} times")

    def client(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a client; again, if the server panicked meanwhile."""
        while True:
            done = client(self.version, script, *arguments)
            if self.milvus.alive():
                return done
            self.note_panic(self.milvus.reason())
            self.milvus = self.start()

    def restart(self) -> None:
        self.milvus.stop()
        self.milvus = self.start()

    def stop(self) -> None:
        self.milvus.stop()


def migrate(site: Path, version: str) -> None:
    output = meta_migration(site, version, "backup")
    output += meta_migration(site, version, "run")
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
            steps[rest] = "ok"
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


def drops_are_collected(target: Target, observed: dict[str, Any], steps: dict[str, str]) -> None:
    """With hasty garbage collection: keys and files of dropped collections go, others stay."""
    ids = {name: observed["collections"][name]["describe"]["id"] for name in GONE}
    for name, number in ids.items():
        if not files_of(target.site, number):
            raise ServerError(f"{name} has no files: there is nothing to watch")
    target.hasty = True
    target.restart()
    try:
        for number in ids.values():
            wait_for(f"keys of {number} to go", lambda number=number: not keys_of(number), 240, 1)
            wait_for(f"files of {number} to go", lambda number=number: not files_of(target.site, number), 240, 1)
        steps["keys and files of dropped collections go"] = "ok"
    except ServerError as error:
        left = {name: keys_of(number)[:5] + [str(path) for path in files_of(target.site, number)[:3]]
                for name, number in ids.items()}
        steps["keys and files of dropped collections go"] = f"{error}: {left}"
        say(f"FAILED {error}: {left}")
    target_says = target.client("use.py", "check")
    steps["all of it after garbage collection"] = "ok" if target_says.returncode == 0 else target_says.stdout


def upgrade(fixture: Path, work: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    site = copy_site(fixture, work / f"site-{version}")
    etcd = Etcd(site)
    try:
        migrate(site, version)
        target = Target(version, site)
        try:
            must(target.client("observe.py", f"{site}/observed-{version}.json"), "observing")
            new = read(site / f"observed-{version}.json")
            areas = compared(compare(old, new))
            say(f"{version}: compared with {OLD}")
            steps = steps_of(target.client("use.py", "change").stdout)
            target.restart()
            steps |= {f"after a restart: {name}": state
                      for name, state in steps_of(target.client("use.py", "check").stdout).items()}
            say(f"{version}: used")
            target.stop()
            etcd.stop()
            rollback = roll_back(site, work / f"site-{version}-back", version, old)
            etcd = Etcd(site)
            target.milvus = target.start()
            drops_are_collected(target, old, steps)
        finally:
            target.stop()
    finally:
        etcd.stop()
    return {"areas": areas, "steps": steps, "panics": target.panics, "rollback": rollback}


def roll_back(source: Path, site: Path, version: str, old: dict[str, Any]) -> dict[str, Any]:
    copy_site(source, site)
    backup = site / "migration.bak"
    assert backup.exists()
    etcd = Etcd(site)
    try:
        meta_migration(site, version, "rollback", "--yes")
        milvus = Milvus(OLD, site)
        try:
            must(client(OLD, "observe.py", f"{site}/observed-again.json"), "observing 2.1.0 again")
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
    old = make_fixture(work / "site-2.1.0")
    say(f"{OLD} made the data in {time.monotonic() - started:.0f} s")
    results = read(results_file) if results_file.exists() else {}
    failed = False
    for version in versions:
        begun = time.monotonic()
        results[version] = result = upgrade(work / "site-2.1.0", work, version, old)
        wrong = bad(result)
        failed = failed or bool(wrong)
        say(f"{version}: {len(wrong)} thing(s) wrong, {len(result['panics'])} panic(s), {time.monotonic() - begun:.0f} s")
        results_file.write_text(json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False))
        shutil.rmtree(work / f"site-{version}-back")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
