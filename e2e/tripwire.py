"""A real 2.1.0 is started on migrated metadata: it must not get up, and must change nothing."""

import shutil
from pathlib import Path

from records import META, dump
from servers import ServerError, copy_site
from topology import Around, Server, storage
from versions import SOURCE

from target import say

STARTS = 2
"""Helm and Kubernetes start it again and again."""
PATIENCE = 45
"""Without tripwires it is up after 2 seconds."""
SESSIONS = f"{META}session/"


def files(site: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in storage(site).rglob("*"):
        if path.is_file():
            at = path.stat()
            found[str(path.relative_to(site))] = (at.st_size, at.st_mtime_ns)
    return found


def metadata() -> dict[str, bytes]:
    """Without sessions, which every start changes."""
    return {key: value for key, value in dump(META).items() if not key.startswith(SESSIONS)}


def changes(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """The names that came, went or changed."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def starts(site: Path) -> str:
    """How 2.1.0 took it: `up`, or why it is not."""
    try:
        with Server(SOURCE, site, seconds=PATIENCE):
            return "up"
    except ServerError as error:
        return str(error)


def old_does_not_start(migrated: Path, tripwires: tuple[str, ...]) -> dict[str, str]:
    """Steps, as those of use.py. Works on a copy."""
    site = copy_site(migrated, migrated.with_name(f"{migrated.name}-old"))
    steps = {}
    with Around(site):
        before, files_before = metadata(), files(site)
        missing = [key for key in tripwires if META + key not in before]
        steps["tripwires are there"] = f"missing: {missing}" if missing else "ok"
        outcomes = [starts(site) for _ in range(STARTS)]
        for outcome in outcomes:
            say(f"{SOURCE} on migrated metadata: {outcome}")
        changed = changes(before, metadata())
        steps[f"{SOURCE} does not get up on it"] = f"it is up: {outcomes}" if "up" in outcomes else "ok"
        steps[f"{SOURCE} changes nothing but sessions"] = f"{len(changed)} keys: {changed[:10]}" if changed else "ok"
        files_after = files(site)
        names = files_before.keys() | files_after.keys()
        touched = sorted(name for name in names if files_before.get(name) != files_after.get(name))
        steps[f"{SOURCE} touches no file"] = f"{len(touched)} files: {touched[:10]}" if touched else "ok"
    shutil.rmtree(site)
    return steps
