"""Until when there is a way back: the newer Milvus collects files that the metadata of 2.1 names. With the settings that
keep the way open, 2.1.0 finds every row again however often garbage collection ran; without them it does not."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_config import hasty, keeping
from servers import copy_site, wait_for
from topology import Around
from tripwire import files, metadata
from upgrade import migrate, roll_back
from versions import Version

from target import Target, say

PATIENCE = 240
LINGER = 60
"""That nothing goes can only be seen by waiting: garbage collection, where it runs, does so every 5 seconds."""
TAKEN = {"files of an index that is built again": "/index_files/", "rows of a compacted segment": "/insert_log/"}


@dataclass
class Used:
    """How the newer Milvus left a site, with the metadata of before the migration."""

    before: dict[str, bytes]
    lost: list[str]
    steps: dict[str, str]
    panics: list[str]


def way_back(source: Path, work: Path, version: Version, old: dict[str, Any]) -> dict[str, Any]:
    text = version.text
    open_site = copy_site(source, work / f"site-{text}-without-settings")
    without = use(open_site, version, hasty(version), taking=True)
    steps = {f"without the settings, the newer Milvus takes {what}": "ok" if having(without.lost, part) else "it does not"
             for what, part in TAKEN.items()}
    say(f"{text}, without the settings: {len(without.lost)} files of 2.1 are gone; 2.1.0 has to differ after a rollback")
    rows, _ = roll_back(source, open_site, version, old, without.before)
    lacking = sum(len(area["wrong"]) for area in rows.values())
    steps["without the settings, 2.1.0 lacks something after a rollback"] = "ok" if lacking else "it finds everything"

    kept_site = copy_site(source, work / f"site-{text}-with-settings")
    kept = use(kept_site, version, hasty(version) | keeping(version), taking=False)
    steps |= kept.steps
    steps["with the settings, every file of 2.1 stays"] = f"{len(kept.lost)} gone: {kept.lost[:10]}" if kept.lost else "ok"
    say(f"{text}, with the settings: {len(kept.lost)} files of 2.1 are gone")
    rolled_back, same = roll_back(source, kept_site, version, old, kept.before)
    return {"areas": {}, "steps": steps | same, "rollback": rolled_back, "panics": without.panics + kept.panics}


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
            target.observe("first")
            steps = target.use("use_lived.py", "compact", "before the way back: ")
            if taking:
                wait_for("garbage collection to take files that 2.1 needs",
                         lambda: all(having(lost(), part) for part in TAKEN.values()), PATIENCE, 1)
            else:
                time.sleep(LINGER)
            return Used(before, lost(), steps, target.panics)
