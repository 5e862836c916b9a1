"""A rolling upgrade starts the newer Milvus's components one by one, while some of 2.1.0 still run or come up again: what
those do, and what comes of it. All old components ask etcd at an address of their own, by which its log knows them."""

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from records import META, sessions
from servers import Etcd, ServerDied, ServerError, copy_site, etcdctl, run_client, wait_for
from tripwire import changes, metadata
from upgrade import migrate
from versions import SOURCE, Version

from cluster.around import Around
from cluster.cluster_config import ADDRESS
from cluster.parts import PARTS, Cluster, Component, Part, parts_of
from target import say

SCRIPT = "beside_use.py"
HELD = "beside.json"
OLD_ETCD = f"{ADDRESS}:2379"
KEY = f"{META}queryCoord-dmChannelWatchInfo/0/0"
"""The tripwire of 2.1's query coordinator, which reads everything below queryCoord-dmChannelWatchInfo when it starts; no newer version
does."""
COORDINATORS = ("rootcoord", "datacoord", "indexcoord", "querycoord")
WORKERS = ("indexnode", "proxy", "querynode", "datanode")
ASIDE = 20
"""added to the ports of old components"""
PATIENCE = 60
LINGER = 20


class Watched(Etcd):
    """Writes down every request, with who made it."""

    CLIENTS = f"{Etcd.CLIENTS},http://{OLD_ETCD}"
    LOG_LEVEL = "debug"

    def writes(self) -> Counter[str]:
        """Of old components, since it was started: numbers in keys as N."""
        found: Counter[str] = Counter()
        for line in self.output().splitlines():
            if '"request stats"' not in line or f'"remote":"{ADDRESS}:' not in line:
                continue
            request = json.loads(line)
            content, kind = request["request content"], request["response type"].rpartition("/")[2]
            match kind:
                case "Put" | "DeleteRange":
                    names = [(kind, name) for name in re.findall(r'^key:"((?:[^"\\]|\\.)*)"', content)]
                case "Txn":
                    names = re.findall(r'request_(put|delete_range):<key:"((?:[^"\\]|\\.)*)"', content)
                case _:
                    continue
            found.update(f"{what.lower()} {re.sub(r'[0-9]+', 'N', name)}" for what, name in names)
        return found


def part_of(role: str) -> Part:
    return next(part for part in PARTS if part.role == role)


def own_port(role: str) -> dict[str, str]:
    """Components ask a proxy at a port of its own, beside that of clients."""
    return {"internal_port": "19549"} if role == "proxy" else {}


class Old:
    """One component of 2.1.0; `with` ends it."""

    def __init__(self, role: str, site: Path, etcd: Watched, aside: int = ASIDE):
        part = part_of(role)
        self.role, self.etcd, self.before, self.sessions = role, etcd, etcd.writes(), sessions().items()
        self.port = part.port + aside
        self.part = replace(part, name=f"old-{role}-{aside}", port=self.port, metrics=part.metrics + aside)
        self.component = Component(self.part, Version(SOURCE), site, {"etcd": OLD_ETCD} | own_port(role))

    def __enter__(self) -> "Old":
        return self

    def __exit__(self, *_: object) -> None:
        self.component.stop(20)

    def session(self) -> str:
        """A proxy tells the port that components ask it at, not that of clients."""
        found = (key.removeprefix(META) for key, value in sessions().items() - self.sessions
                 if key.startswith(f"{META}session/{self.role}") and (self.role == "proxy" or f":{self.port}\"".encode() in value))
        return next(found, "")

    def outcome(self, seconds: float = PATIENCE) -> str:
        """`up`, or how it failed."""
        try:
            wait_for("it", lambda: not self.component.alive() or bool(self.session() and self.component.healthy()), seconds)
        except ServerError:
            return f"not up: session '{self.session()}', healthy: {self.component.healthy()}"
        if not self.component.alive():
            return f"ended with {self.component.process.returncode}: {self.component.reason()}"
        return f"up, {self.session()}"

    def writes(self) -> list[str]:
        return [f"{count} x {name}" for name, count in sorted((self.etcd.writes() - self.before).items())]

    def told(self, when: str = "") -> None:
        say(f"old {self.role}{when}: alive {self.component.alive()}, session '{self.session()}'; it wrote: {self.writes()}")


class Tried:
    """One thing that is tried, on a migrated site of its own."""

    def __init__(self, name: str, migrated: Path, work: Path, version: Version):
        self.name, self.version = name, version
        self.site = copy_site(migrated, work / f"site-{version.text}-{name}")
        self.steps: dict[str, str] = {}
        self.numbers = iter(range(1, 100))
        self.parts = {part.name: part for part in parts_of(version)}

    def note(self, what: str, state: str) -> None:
        say(f"{self.name}: {what}: {state}")
        self.steps[f"{self.name}: {what}"] = state

    def use(self, server: Any, what: str, when: str, port: int = 0, judged: bool = True) -> None:
        """`judged`: whether it has to work; otherwise it is only told how it went."""
        arguments = ["work", str(next(self.numbers))] if what == "work" else [what]
        os.environ["MILVUS_PORT"] = str(port or part_of("proxy").port)
        try:
            output = run_client(server, SCRIPT, str(self.site / HELD), *arguments, seconds=900)
        except ServerError as error:
            if judged:
                self.note(f"{when}: {what}", str(error))
            else:
                say(f"{self.name}: {when}: {what}: {error}")
            if isinstance(error, ServerDied):
                raise
            return
        for line in output.splitlines():
            state, _, rest = line.partition(" ")
            if state in ("ok", "FAILED"):
                name, _, why = (rest.rpartition(" [")[0], "", "ok") if state == "ok" else rest.partition(": ")
                say(f"{self.name}: {when}: {line}")
                if judged:
                    self.steps[f"{self.name}: {when}: {what}: {name}"] = why

    def some(self, *roles: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts.values() if part.role in roles)

    def cluster(self, *roles: str) -> Cluster:
        return Cluster(self.version.text, self.site, parts=self.some(*roles) if roles else None)

    def restarted(self) -> None:
        with self.cluster() as cluster:
            self.use(cluster, "check", "after a restart")
            self.use(cluster, "work", "after a restart")


def without_key() -> None:
    """What would be if the migration had not put it."""
    etcdctl("del", KEY)


def gone(old: Old) -> None:
    wait_for("its session to end", lambda: not old.session(), 120)


def coordinator_first(tried: Tried, with_key: bool) -> None:
    """2.1.0's query coordinator comes up before the newer one."""
    with Around(tried.site, Watched) as around, ExitStack() as stack:
        if not with_key:
            without_key()
        cluster = stack.enter_context(tried.cluster(*(role for role in COORDINATORS[:3] if tried.some(role))))
        before = metadata()
        with Old("querycoord", tried.site, around.etcd) as old:
            say(f"{tried.name}: old query coordinator: {(outcome := old.outcome())}")
            time.sleep(LINGER)
            old.told()
            say(f"{tried.name}: keys that came, went or changed: {changes(before, metadata())}")
            if with_key:
                tried.note("2.1.0's query coordinator does not get up", "ok" if outcome.startswith("ended") else outcome)
            else:
                newer = Component(tried.some("querycoord")[0], tried.version, tried.site, {})
                try:
                    wait_for("it", lambda: not newer.alive() or newer.healthy(), 2 * PATIENCE)
                    time.sleep(LINGER)
                except ServerError:
                    pass
                registered = [key.removeprefix(META) for key, value in sessions().items() if b":19531\"" in value]
                say(f"{tried.name}: new query coordinator beside it: alive {newer.alive()}, healthy {newer.healthy()},"
                    f" registered {registered}; {newer.reason() if not newer.alive() else ''}")
                old.told(" beside the new one")
                newer.kill()
        gone(old)
        wait_for("the newer one's session to end", lambda: f"{META}session/querycoord" not in sessions(), 120)
        say(f"{tried.name}: keys after both have gone: {changes(before, metadata())}")
        cluster.start(tuple(part for part in tried.parts.values() if part.name not in cluster.components))
        tried.use(cluster, "check", "the new one alone")
        tried.use(cluster, "work", "the new one alone")
        if with_key:
            with Old("querycoord", tried.site, around.etcd) as old:
                outcome = old.outcome()
                tried.note("nor beside the whole cluster", "ok" if outcome.startswith("ended") else outcome)
                old.told()
        stack.close()
        tried.restarted()
        if with_key:
            tried.note("the key stays", "ok" if KEY in metadata() else "it is gone")


def coordinators_beside(tried: Tried) -> None:
    """All of 2.1.0's coordinators, one by one, beside the whole newer cluster."""
    with Around(tried.site, Watched) as around:
        with tried.cluster() as cluster:
            tried.use(cluster, "check", "before")
            for role in COORDINATORS:
                before = metadata()
                with Old(role, tried.site, around.etcd) as old:
                    say(f"{tried.name}: old {role}: {old.outcome()}")
                    time.sleep(LINGER)
                    old.told()
                    say(f"{tried.name}: keys that came, went or changed: {changes(before, metadata())[:40]}")
                    tried.use(cluster, "check", f"beside {role}")
                gone(old)
            tried.use(cluster, "work", "afterwards")
        tried.restarted()


def worker_beside(role: str) -> Callable[[Tried], None]:
    def go(tried: Tried) -> None:
        with Around(tried.site, Watched) as around:
            with tried.cluster() as cluster:
                tried.use(cluster, "check", "before")
                with Old(role, tried.site, around.etcd) as old:
                    say(f"{tried.name}: old {role}: {old.outcome()}")
                    time.sleep(LINGER)
                    if role != "proxy":
                        tried.use(cluster, "work", "beside it", judged=False)
                    else:
                        tried.use(old.component, "check", "through it", old.port, judged=False)
                        tried.use(old.component, "work", "through it", old.port, judged=False)
                        tried.use(cluster, "check", "after work through it")
                    old.told()
                gone(old)
                tried.use(cluster, "check", "after it")
                tried.use(cluster, "work", "after it")
            tried.restarted()

    return go


def old_workers_only(tried: Tried) -> None:
    """The newer coordinators with nothing but workers of 2.1.0, as in the middle of a rolling upgrade."""
    coordinators = tuple(role for role in COORDINATORS if tried.some(role))
    with Around(tried.site, Watched) as around:
        with tried.cluster(*coordinators) as cluster:
            with ExitStack() as stack:
                olds = [stack.enter_context(Old(role, tried.site, around.etcd)) for role in WORKERS]
                # One of them cannot hold two replicas.
                olds.append(stack.enter_context(Old("querynode", tried.site, around.etcd, 2 * ASIDE)))
                for old in olds:
                    say(f"{tried.name}: old {old.role}: {old.outcome()}")
                time.sleep(LINGER)
                proxy = next(old for old in olds if old.role == "proxy")
                tried.use(proxy.component, "check", "through 2.1.0's workers", proxy.port, judged=False)
                tried.use(proxy.component, "work", "through 2.1.0's workers", proxy.port, judged=False)
                olds[0].told(" and all others")
            for old in olds:
                gone(old)
            cluster.start(tuple(part for part in tried.parts.values() if part.name not in cluster.components))
            tried.use(cluster, "check", "with newer workers")
            tried.use(cluster, "work", "with newer workers")
        tried.restarted()


def old_query_side(tried: Tried) -> None:
    """The newer coordinators but for the query coordinator, with 2.1.0's and its workers: applications load."""
    with Around(tried.site, Watched) as around:
        with tried.cluster(*(role for role in COORDINATORS[:3] if tried.some(role))) as cluster:
            before = metadata()
            with ExitStack() as stack:
                roles = [("querycoord", ASIDE), *((role, ASIDE) for role in WORKERS), ("querynode", 2 * ASIDE)]
                olds = []
                for role, aside in roles:
                    olds.append(stack.enter_context(Old(role, tried.site, around.etcd, aside)))
                    say(f"{tried.name}: old {role}: {olds[-1].outcome()}")
                time.sleep(LINGER)
                proxy = next(old for old in olds if old.role == "proxy")
                tried.use(proxy.component, "load", "through 2.1.0's", proxy.port, judged=False)
                olds[0].told(" and all others")
                say(f"{tried.name}: keys that came, went or changed: {changes(before, metadata())}")
            for old in olds:
                gone(old)
            cluster.start(tuple(part for part in tried.parts.values() if part.name not in cluster.components))
            tried.use(cluster, "check", "with all of the newer version")
            tried.use(cluster, "load", "with all of the newer version")
            tried.use(cluster, "loaded", "with all of the newer version")
            say(f"{tried.name}: keys that came, went or changed: {changes(before, metadata())[:100]}")
        with tried.cluster() as cluster:
            # The replica that 2.1.0 recorded comes to life.
            tried.use(cluster, "loaded", "after a restart", judged=False)
            tried.use(cluster, "work", "after a restart")


TO_TRY: dict[str, Callable[[Tried], None]] = {
    "query-coordinator": lambda tried: coordinator_first(tried, False),
    "key": lambda tried: coordinator_first(tried, True),
    "coordinators": coordinators_beside,
    **{role: worker_beside(role) for role in WORKERS},
    "workers": old_workers_only,
    "query-side": old_query_side,
}


def made(kept: Path) -> Path:
    site = kept / f"{SOURCE}-beside"
    if not (site / "made").exists():
        shutil.rmtree(site, ignore_errors=True)
        site.mkdir(parents=True)
        with Around(site), Cluster(SOURCE, site) as cluster:
            run_client(cluster, SCRIPT, str(site / HELD), "make")
            run_client(cluster, SCRIPT, str(site / HELD), "check")
        (site / "made").touch()
    return site


def beside(kept: Path, work: Path, version: Version) -> dict[str, Any]:
    migrated = copy_site(made(kept), work / f"migrated-{version.text}")
    with Etcd(migrated):
        migrate(migrated, version.text, ())
    steps: dict[str, str] = {}
    for name in os.environ.get("E2E_PARTS", "").split() or TO_TRY:
        begun = time.monotonic()
        tried = Tried(name, migrated, work, version)
        try:
            TO_TRY[name](tried)
        except ServerError as error:
            tried.note("goes through", str(error))
        say(f"{name}: {time.monotonic() - begun:.0f} s")
        steps |= tried.steps
    return {"areas": {}, "steps": steps, "rollback": {}, "panics": []}
