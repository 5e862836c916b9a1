"""What happens while the tool works, on a real cluster's metadata: members of etcd die, are cut off, or have a full disk,
and somebody starts components of Milvus."""

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import TO_MIGRATE
from records import META, pairs_of, sessions
from servers import Etcd, Process, copy_site, wait_for
from servers import etcdctl as etcdctl_here
from tool import ENDPOINTS as HERE
from tool import ToolError, command_line
from versions import SOURCE, Version

from cluster.around import Around
from cluster.members import ENDPOINTS, ETCD, Member, Three, enter_network, etcdctl
from cluster.parts import PARTS, Component
from cluster.slow import Slow
from target import say

HISTORY = f"{META}meta-migration/history"
SMALL_STEPS = "--max-txn-ops=9"
"""many transactions, so that a fault comes between two of them"""
LATER = 5
"""changes of keys that are seen before the fault comes"""
UNFINISHED = 2
"""exit code: something was written"""


@dataclass
class Road:
    """The commands, on one site, for one target, through slow connections."""

    site: Path
    version: Version
    etcd: tuple[str, ...]
    ways: tuple[str, ...]

    def start(self, command: str) -> Process:
        options = {
            "run": (*TO_MIGRATE, SMALL_STEPS), "verify": (*TO_MIGRATE, f"--backup={self.site}/migration.bak"),
            "rollback": (SMALL_STEPS, "--no-copy"),
        }
        # Other commands do not have to be slow.
        ways = self.ways if command in ("run", "rollback") else self.etcd
        line = command_line(self.site, self.version.text, command, *options.get(command, ()), endpoints=ways)
        return Process(f"meta-migration {command}", line, self.site / f"logs/{command}.out", self.site)

    def go(self, command: str) -> None:
        process = self.start(command)
        code = process.process.wait(300)
        if code != 0:
            raise ToolError(f"meta-migration {command}: exit code {code}\n{process.output()[-1500:]}")

    def go_with_fault(self, command: str, fault: Callable[[], None]) -> tuple[int, str]:
        """Exit code and output; the fault comes when some keys are written."""
        watch = subprocess.Popen(
            [f"{ETCD}/etcdctl", f"--endpoints={','.join(self.etcd)}", "watch", "--prefix", META],
            stdout=subprocess.PIPE, env={"ETCDCTL_API": "3"},
        )
        try:
            process = self.start(command)
            assert watch.stdout is not None
            threading.Thread(target=end_after, args=(process, watch), daemon=True).start()
            seen = 0
            while seen < LATER:
                line = watch.stdout.readline()
                if not line:
                    raise ToolError(f"meta-migration {command} ended before it wrote anything: {process.output()[-500:]}")
                seen += line.startswith(META.encode()) and b"/session/" not in line
            fault()
            if not process.alive():
                raise ToolError(f"meta-migration {command} had ended before the fault came")
            code = process.process.wait(300)
            return code, process.output()
        finally:
            watch.kill()
            watch.wait()

    def held(self) -> dict[str, bytes]:
        """Metadata without sessions and the record of what was done, which tells times."""
        pairs = pairs_of(etcdctl("get", "--prefix", META, "--write-out=json", at=self.etcd))
        return {key: value for key, value in pairs.items() if not key.startswith(f"{META}session/") and key != HISTORY}

    def through(self, command: str, fault: Callable[[], None], mend: Callable[[], None], wanted: dict[str, bytes]) -> str:
        """`ok`, with how it went, or what is wrong."""
        try:
            code, output = self.go_with_fault(command, fault)
            mend()
            how = "went through"
            if code == UNFINISHED:
                how = f"stopped with {UNFINISHED} ({reason(output)}), went through again"
                self.go(command)
            elif code != 0:
                return f"exit code {code}: {output[-500:]}"
            if command == "run":
                self.go("verify")
            found = self.held()
        except ToolError as error:
            return str(error)
        other = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        say(f"{command}: {how}")
        return f"{len(other)} keys are not as without the fault: {other[:5]}" if other else "ok"


def end_after(process: Process, watch: subprocess.Popen[bytes]) -> None:
    """Nobody is to wait for changes that do not come any more."""
    process.process.wait()
    watch.kill()


def reason(output: str) -> str:
    lines = [line for line in output.splitlines() if "error" in line.lower() or "stopped" in line]
    return lines[0].strip()[:160] if lines else output.strip()[-160:]


def kill(three: Three, member: Member) -> Callable[[], None]:
    member.kill()
    return lambda: three.restart(member.number)


def cut_off(_: Three, member: Member) -> Callable[[], None]:
    member.cut_off(True)
    return lambda: member.cut_off(False)


def fill(three: Three, member: Member) -> Callable[[], None]:
    member.fill_disk()

    def mend() -> None:
        member.empty_disk()
        three.restart(member.number)

    return mend


FAULTS = {"killed": kill, "cut off": cut_off, "its disk full": fill}


def of_members(before: Path, work: Path, version: Version, wanted: dict[str, dict[str, bytes]]) -> dict[str, str]:
    """`before`: a snapshot of etcd."""
    steps = {}
    for command in ("run", "rollback"):
        for what, fault in FAULTS.items():
            for whom in ("the leader", "another member"):
                site = work / "three"
                with Three(site, before) as three, Slow.each(ENDPOINTS, 0.1) as ways:
                    road = Road(site, version, ENDPOINTS, ways)
                    road.go("backup")
                    if command == "rollback":
                        road.go("run")
                    leader = three.leader()
                    member = leader if whom == "the leader" else next(one for one in three.members.values() if one is not leader)
                    mended: list[Callable[[], None]] = []

                    def mend() -> None:
                        say(f"{member.name} {'lives' if member.alive() else 'has ended'}")
                        mended[0]()
                        three.settle()

                    name = f"{command}, {whom} {what}"
                    steps[name] = road.through(command, lambda: mended.append(fault(three, member)), mend, wanted[command])
                    say(f"{name}: {steps[name]}")
    return steps


def of_components(source: Path, work: Path, version: Version, wanted: dict[str, dict[str, bytes]]) -> dict[str, str]:
    """Started by hand while the tool works: those of 2.1 and those of the target, which register soon or late."""
    steps = {}
    for part in (part for part in PARTS if part.name in ("rootcoord", "datanode1")):
        for other in (Version(SOURCE), version):
            for command in ("run", "rollback"):
                site = copy_site(source, work / "started")
                with Around(site), Slow.each(HERE, 3) as ways:
                    road = Road(site, version, HERE, ways)
                    road.go("backup")
                    if command == "rollback":
                        road.go("run")
                    started: list[Component] = []

                    def start() -> None:
                        started.append(Component(part, other, site, {}))
                        wait_for(f"{part.name} to register", lambda: bool(sessions()), 60, 0.05)

                    def mend() -> None:
                        started[0].kill()
                        wait_for("its session to end", lambda: not sessions(), 120)

                    name = f"{command}, {part.role} of {other.text} started"
                    steps[name] = road.through(command, start, mend, wanted[command])
                    say(f"{name}: {steps[name]}")
    return steps


def faults(source: Path, work: Path, version: Version) -> dict[str, Any]:
    site = copy_site(source, work / "undisturbed")
    before = work / "before.snapshot"
    with Etcd(site):
        etcdctl_here("snapshot", "save", str(before))
        road = Road(site, version, HERE, HERE)
        wanted = {"rollback": road.held()}
        road.go("backup")
        road.go("run")
        wanted["run"] = road.held()
    enter_network()
    steps = of_members(before, work, version, wanted)
    steps |= of_components(source, work, version, wanted)
    return {"areas": {}, "steps": steps, "rollback": {}, "panics": []}
