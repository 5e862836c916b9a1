"""Kafka's retention has taken the beginning of the message log: what is on disk or still in the log must be there."""

import json
import shutil
from pathlib import Path
from typing import Any

from servers import Etcd, copy_site, run_client
from stories import STORIES, Story
from upgrade import migrate
from versions import SOURCE, Version

from cluster.around import Around, Kafka
from cluster.parts import Cluster
from target import Target, read, say

EARLIEST = {"kafka.consumer.auto.offset.reset": "earliest"}
WAYS = {"as it comes": {}, "with auto.offset.reset: earliest": EARLIEST}


def make(site: Path) -> None:
    """The data, and a log whose beginning is gone."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    ends = {}
    with Around(site) as around:
        with Cluster(SOURCE, site) as cluster:
            channels = json.loads(run_client(cluster, "retained.py", "first").splitlines()[-1])
            ends["flush"] = around.log.ends("by-dev-rootcoord-dml")
            run_client(cluster, "retained.py", "flush")
            ends["second"] = around.log.ends("by-dev-rootcoord-dml")
            run_client(cluster, "retained.py", "second")
            ends["third"] = around.log.ends("by-dev-rootcoord-dml")
            run_client(cluster, "retained.py", "third")
        cut(around.log, channels, ends)
    (site / "made").touch()


def cut(kafka: Kafka, channels: dict[str, list[str]], ends: dict[str, dict[str, int]]) -> None:
    before = {}
    for story in STORIES:
        (channel,) = channels[story.case.name]
        topic = channel.rpartition("_")[0]
        assert topic not in before, "each collection has a channel of its own"
        before[topic] = ends[story.cut][topic]
    kafka.forget(before)
    say(f"gone from the log: {', '.join(f'{topic} before {offset}' for topic, offset in before.items())}")


def retention(kept: Path, work: Path, version: Version) -> dict[str, Any]:
    site = kept / f"{SOURCE}-retention"
    if not (site / "made").exists():
        make(site)
    steps: dict[str, str] = {}
    panics: list[str] = []
    for way, settings in WAYS.items():
        used = copy_site(site, work / f"site-{version.text}-{'-'.join(way.split()[:2])}")
        with Etcd(used):
            migrate(used, version.text, ())
        with Around(used):
            for when in ("first start", "restart"):
                with Target(version, used, settings) as target:
                    steps |= {f"{way}, {when}: {name}": state for name, state in judged(looked(target), settings).items()}
                    run_client(target.milvus, "retained.py", "flush-all")
                    panics += target.panics
    return {"areas": {}, "steps": steps, "rollback": {}, "panics": panics}


def looked(target: Target) -> dict[str, str]:
    file = target.site / "left.json"
    run_client(target.milvus, "retained.py", "look", str(file))
    found = read(file)
    states = {story.case.name: state_of(story, found[story.case.name]) for story in STORIES}
    for name, state in states.items():
        say(f"{name}: {state}")
    return states


def judged(states: dict[str, str], settings: dict[str, str]) -> dict[str, str]:
    """Without the setting, newer versions lose what is left in the log where the channel's position is gone from it."""
    found = {}
    for story in STORIES:
        name, state = story.case.name, states[story.case.name]
        if story.position_gone and not settings:
            found[f"{name} loses what is left in the log, as is known"] = "nothing is lost" if state == "ok" else "ok"
        else:
            found[name] = state
    return found


def state_of(story: Story, found: Any) -> str:
    if isinstance(found, str):
        return found
    wanted, rows = set(story.rows()), [row for row, _ in found]
    missing, more, twice = wanted - set(rows), set(rows) - wanted, len(rows) - len(set(rows))
    if not (missing or more or twice):
        return "ok"
    return f"{len(rows)} rows for {len(wanted)}: {len(missing)} missing, {len(more)} that were deleted, {twice} twice"
