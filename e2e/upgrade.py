"""The way of one newer version: migration, use, restart, rollback."""

import os
from pathlib import Path
from typing import Any

from compare import Comparison, compare, compare_after_use
from data import NEW_NAMES, TO_MIGRATE
from records import META, listed_twice, save
from server_config import hasty
from servers import Etcd, ServerError, copy_site, etcdctl, run_client, wait_for
from settings import CLUSTER, SMALL, TO_DROP
from tool import meta_migration
from topology import LOG_FOLDERS, Around, Server, storage
from tripwire import changes, metadata, old_does_not_start
from versions import SOURCE, Version

from target import Target, read, say

MOST_LINES = 20


def migrate(site: Path, version: str, names: tuple[str, ...] = TO_MIGRATE) -> None:
    """`names`: options that give other names."""
    output = meta_migration(site, version, "plan", *names)
    output += meta_migration(site, version, "backup")
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


def state_of(twice: list[str]) -> str:
    """2.2, where calls time out on a busy machine, repeats those that have come through: then nothing else can be judged."""
    if not twice:
        return "ok"
    say(f"FAILED {len(twice)} segments list a file more than once: the machine is too busy")
    return f"{len(twice)} segments list a file more than once: {twice[:5]}"


def keys_of(collection: int) -> list[str]:
    """Those of its segments. The root coordinator waits 20 minutes more before it forgets a dropped collection, and
    index records go a few minutes later."""
    keys = etcdctl("get", "--prefix", f"{META}datacoord-meta/", "--keys-only").split()
    return [key for key in keys if f"/{collection}/" in key]


def files_of(site: Path, collection: int) -> list[Path]:
    """Folders go while one looks: os.walk passes over those that are gone."""
    return [Path(folder) / name for folder, _, names in os.walk(storage(site)) if f"_log/{collection}/" in f"{folder}/"
            for name in names]


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


def upgrade(source: Path, work: Path, version: Version, old: dict[str, Any]) -> dict[str, Any]:
    site = copy_site(source, work / f"site-{version.text}")
    wanted = with_new_names(old)
    wanted["listed"].sort()
    with Etcd(site):
        before = metadata()
        migrate(site, version.text)
        save(site / "before.json", before)
        save(site / "migrated.json", metadata())
    steps = old_does_not_start(site, version.tripwires)
    for name, state in steps.items():
        say(f"{version.text}: {name}: {state}")
    with Around(site):
        with Target(version, site) as target:
            result = {"areas": compared(compare(wanted, target.observe("first"))), "panics": target.panics}
            say(f"{version.text}: compared with {SOURCE}")
            steps["every file is listed once"] = state_of(listed_twice())
            if SMALL and not CLUSTER:
                return result | {"steps": steps, "rollback": {}}
            steps |= target.use("use_lived.py", "again")
            if not SMALL:
                steps |= target.use("use.py", "change")
                steps |= target.use("use_lived.py", "delete")
            say(f"{version.text}: used")
    # As it is now: later, garbage collection is hasty.
    back = copy_site(site, work / f"site-{version.text}-back")
    if SMALL:
        steps |= restarted(site, version, wanted)
    else:
        steps |= cleaned_and_restarted(site, back, version, old, wanted)
    rolled_back, same = roll_back(source, back, version, old, before)
    return result | {"steps": steps | same, "rollback": rolled_back}


def restarted(site: Path, version: Version, wanted: dict[str, Any]) -> dict[str, str]:
    with Around(site), Target(version, site) as target:
        again = compare(wanted, target.observe("last"))
        compared(again)
        steps = target.use("use_lived.py", "replicas", "after a restart: ")
    say(f"{version.text}: restarted, and compared again")
    return steps | {"after a restart: everything as before": "; ".join(again.wrong) or "ok"}


def cleaned_and_restarted(
    site: Path, back: Path, version: Version, old: dict[str, Any], wanted: dict[str, Any]
) -> dict[str, str]:
    steps = {}
    with Around(site):
        with Target(version, site, hasty(version)) as target:
            steps |= drops_are_collected(target, back, old)
        with Target(version, site) as target:
            steps |= target.use("use.py", "check", "after a restart: ")
            steps |= target.use("use_lived.py", "check", "after a restart: ")
            unchanged = compare_after_use(wanted, target.observe("last"))
            compared(unchanged)
            steps["after a restart: all other collections as before"] = "; ".join(unchanged.wrong) or "ok"
    say(f"{version.text}: cleaned up, restarted, and compared again")
    return steps


def roll_back(
    source: Path, site: Path, version: Version, old: dict[str, Any], before: dict[str, bytes]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The metadata by our tool, the message log from before: what 2.2 wrote there, 2.1.0 would carry out again."""
    for folder in LOG_FOLDERS:
        copy_site(source / folder, site / folder)
    with Around(site):
        meta_migration(site, version.text, "rollback")
        changed = changes(before, metadata())
        with Server(SOURCE, site) as milvus:
            run_client(milvus, "observe.py", f"{site}/observed-again.json")
    say(f"{version.text}: rolled back, and compared again")
    result = compared(compare(old, read(site / "observed-again.json"), back=True))
    return result, {"rolled back: etcd key for key as before": f"{len(changed)} keys: {changed[:10]}" if changed else "ok"}
