"""Until when there is a way back: the newer Milvus collects files that the metadata of 2.1 names. With the settings that
keep the way open, 2.1.0 finds every row again however often garbage collection ran; without them it does not."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_config import hasty, keeping
from servers import copy_site, wait_for
from settings import CLUSTER
from tool import ask, meta_migration
from topology import LOG_FOLDERS, STORAGE, Around, Server, storage
from tripwire import changes, files, metadata, starts
from upgrade import migrate, roll_back
from versions import SOURCE, Version

from target import Target, say

PATIENCE = 240
LINGER = 60
"""That nothing goes can only be seen by waiting: garbage collection, where it runs, does so every 5 seconds."""
CANNOT_OPEN = "Column families not opened"
TAKEN = {"files of an index that is built again": "/index_files/", "rows of a compacted segment": "/insert_log/"}


@dataclass
class Used:
    """How the newer Milvus left a site, with the metadata of before the migration."""

    before: dict[str, bytes]
    lost: list[str]
    steps: dict[str, str]
    panics: list[str]


def way_back(source: Path, work: Path, version: Version, old: dict[str, Any]) -> dict[str, Any]:
    """First what is promised: the other half ends in a 2.1.0 that waits for files that are gone, which takes its time."""
    kept, closed = with_settings(source, work, version, old), without_settings(source, work, version, old)
    return {"areas": {}, "steps": kept["steps"] | closed["steps"], "rollback": kept["rollback"],
            "panics": kept["panics"] + closed["panics"]}


def with_settings(source: Path, work: Path, version: Version, old: dict[str, Any]) -> dict[str, Any]:
    text = version.text
    site = copy_site(source, work / f"site-{text}-with-settings")
    kept = use(site, version, hasty(version) | keeping(version), taking=False)
    steps = kept.steps
    steps["with the settings, every file of 2.1 stays"] = f"{len(kept.lost)} gone: {kept.lost[:10]}" if kept.lost else "ok"
    say(f"{text}, with the settings: {len(kept.lost)} files of 2.1 are gone")
    rolled_back, same = roll_back(source, site, version, old, kept.before)
    return {"areas": {}, "steps": steps | same, "rollback": rolled_back, "panics": kept.panics}


def without_settings(source: Path, work: Path, version: Version, old: dict[str, Any]) -> dict[str, Any]:
    text = version.text
    open_site = copy_site(source, work / f"site-{text}-without-settings")
    without = use(open_site, version, hasty(version), taking=True)
    steps = {f"without the settings, the newer Milvus takes {what}": "ok" if having(without.lost, part) else "it does not"
             for what, part in TAKEN.items()}
    say(f"{text}, without the settings: {len(without.lost)} files of 2.1 are gone; 2.1.0 has to differ after a rollback")
    again_site = copy_site(open_site, work / f"site-{text}-built-again")
    if not CLUSTER:
        steps |= log_is_left_as_it_is(copy_site(open_site, work / f"site-{text}-log-left"), version)
    steps |= what_is_missing_is_told(open_site, version, without)
    steps |= handed_over_is_built_again(source, again_site, version)
    rows, _ = roll_back(source, open_site, version, old, without.before)
    lacking = sum(len(area["wrong"]) for area in rows.values())
    steps["without the settings, 2.1.0 lacks something after a rollback"] = "ok" if lacking else "it finds everything"
    return {"areas": {}, "steps": steps, "rollback": {}, "panics": without.panics}


def check_files(site: Path, version: Version, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = ask(site, version.text, "check-files", f"--storage-dir={storage(site)}", "--output=json", *arguments)
    return code, json.loads(out)["files"]


def what_is_missing_is_told(site: Path, version: Version, used: Used) -> dict[str, str]:
    """Every file that is gone and that the backup names, and no other; and no rollback that was told to look first."""
    with Around(site):
        there = metadata()
        code, found = check_files(site, version, f"--from-backup={site}/migration.bak")
        told = {f"{STORAGE}/{file['path']}" for one in found["collections"] for file in one["files"]}
        kinds = {file["kind"] for one in found["collections"] for file in one["files"]}
        rollback, _, _ = ask(site, version.text, "rollback", "--check-files", f"--storage-dir={storage(site)}")
        changed = changes(there, metadata())
    foreign = sorted(told - set(used.lost))
    say(f"{version.text}, without the settings: check-files misses {len(told)} of {len(used.lost)} files that are gone")
    return {
        "check-files misses rows and index files": "ok" if code == 1 and {"binlog", "index"} <= kinds else f"{code}: {kinds}",
        "check-files misses nothing that is there": "ok" if not foreign else f"{len(foreign)}: {foreign[:10]}",
        "rollback --check-files refuses": "ok" if rollback == 1 and not changed else f"{rollback}, {len(changed)} keys",
    }


def log_is_left_as_it_is(site: Path, version: Version) -> dict[str, str]:
    """Rolled back without the message log of before: whether 2.1.0 opens what the newer server has opened."""
    with Around(site):
        meta_migration(site, version.text, "rollback")
        outcome = starts(site)
    say(f"{SOURCE} on the message log of {version.text}: {outcome}")
    if version.changes_rocksmq:
        return {f"{SOURCE} does not open the message log of this version": "ok" if CANNOT_OPEN in outcome else outcome}
    return {f"{SOURCE} opens the message log of this version": "ok" if outcome == "up" else outcome}


def handed_over_is_built_again(source: Path, site: Path, version: Version) -> dict[str, str]:
    for folder in LOG_FOLDERS:
        copy_site(source / folder, site / folder)
    with Around(site):
        named = check_files(site, version, f"--from-backup={site}/migration.bak")[1]["named"]
        meta_migration(site, version.text, "rollback", "--rebuild-handed-over")
        waiting = check_files(site, version)[1]["named"]

        def missing() -> list[str]:
            found = check_files(site, version)[1]
            return [f"{one['name']} / {index['index']}" for one in found["collections"] for index in one["indexes"]]

        before = missing()
        with Server(SOURCE, site):
            wait_for("2.1.0 to build again what was handed over",
                     lambda: check_files(site, version)[1]["named"] >= named, PATIENCE, 2)
        after = missing()
    say(f"{version.text}: {named - waiting} index files were named again by {SOURCE}; indexes without files: {after}")
    return {
        "--rebuild-handed-over leaves builds to be done": "ok" if waiting < named else f"{waiting} of {named} files named",
        "--rebuild-handed-over: 2.1.0 builds them again": "ok" if set(after) <= set(before) else f"without files: {after}",
    }


def having(names: list[str], part: str) -> list[str]:
    return [name for name in names if part in f"/{name}"]


def use(site: Path, version: Version, settings: dict[str, str], taking: bool) -> Used:
    """Migrates, has the newer Milvus build, delete and compact, and gives garbage collection its time."""
    there = files(site)

    def lost() -> list[str]:
        return sorted(there.keys() - files(site).keys())

    with Around(site):
        before = metadata()
        migrate(site, version.text)
        with Target(version, site, settings) as target:
            steps = target.use("use_lived.py", "compact", "before the way back: ")
            if taking:
                wait_for("garbage collection to take files that 2.1 needs",
                         lambda: all(having(lost(), part) for part in TAKEN.values()), PATIENCE, 1)
            else:
                time.sleep(LINGER)
            return Used(before, lost(), steps, target.panics)
