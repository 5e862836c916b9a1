"""Times the tool on synthetic clusters and holds it against etcd's own speed. Called by scripts/bench.sh, which builds everything.

Per size: a cluster is loaded into an etcd once and saved as an etcd snapshot. Each round restores that snapshot into a new etcd, so
that every round starts from the same state, and runs the floors and the tool one after the other.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

QUOTA = 8 << 30
STEPS = ["backup", "plan", "run", "verify", "rollback"]
FLOORS = ["snapshot save", "paged read", "paged read after run", "writes of run", "writes of rollback"]
# The floors that a step is held against: what nobody could do without, and all that it does on purpose (run and rollback
# read everything before they write, and read everything back).
FLOORS_OF = {
    "backup": [["paged read"]],
    "run": [["writes of run"], ["paged read", "writes of run", "paged read after run"]],
    "rollback": [["writes of rollback"], ["paged read after run", "writes of rollback", "paged read"]],
}


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Etcd:
    """A throwaway etcd cluster that syncs to disk, on free ports of loopback; from a snapshot if there is one.

    With a delay, whatever its members say to each other or to clients arrives so many milliseconds later.
    """

    def __init__(self, bench: "Bench", snapshot: Path | None = None, members: int = 1, delay: int = 0):
        self.binaries, self.folder = bench.etcd_binaries, bench.folder / "etcd"
        ports = free_ports(4 * members)
        own, seen = ports[:2 * members], ports[2 * members:]
        self.processes = []
        if delay:
            pairs = [f"127.0.0.1:{outer}=127.0.0.1:{inner}" for outer, inner in zip(seen, own)]
            self.processes.append(subprocess.Popen([bench.target / "examples" / "delay", str(delay), *pairs]))
        else:
            seen = own
        clients, peers = [[f"http://127.0.0.1:{port}" for port in half] for half in (seen[::2], seen[1::2])]
        self.cluster = ",".join(f"m{member}={peer}" for member, peer in enumerate(peers))
        self.endpoint, self.endpoints = clients[0], ",".join(clients)
        for member in range(members):
            self._start(member, own[2 * member:2 * member + 2], clients[member], peers[member], snapshot)
        self._wait()

    def _start(self, member: int, ports: list[int], client: str, peer: str, snapshot: Path | None) -> None:
        data = self.folder / f"m{member}"
        name = [f"--name=m{member}", f"--initial-cluster={self.cluster}", f"--initial-advertise-peer-urls={peer}"]
        if snapshot:
            subprocess.run([self.binaries / "etcdutl", "snapshot", "restore", snapshot, "--data-dir", data, *name],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / f"m{member}.log", "w", encoding="utf-8") as log:
            self.processes.append(subprocess.Popen(
                [self.binaries / "etcd", "--data-dir", data, f"--quota-backend-bytes={QUOTA}", "--logger=zap", *name,
                 f"--listen-client-urls=http://127.0.0.1:{ports[0]}", f"--advertise-client-urls={client}",
                 f"--listen-peer-urls=http://127.0.0.1:{ports[1]}"], stdout=log, stderr=log))

    def _wait(self) -> None:
        """Waits until all members answer, and makes the first one the leader: it is the one that is asked."""
        until = time.monotonic() + 60
        while self._etcdctl("endpoint", "health").returncode != 0:
            if time.monotonic() > until:
                logs = "\n".join(log.read_text()[-2000:] for log in self.folder.glob("*.log"))
                raise SystemExit(f"bench: etcd did not start:\n{logs}")
            time.sleep(0.05)
        status = json.loads(self._etcdctl("endpoint", "status", "--write-out=json").stdout)
        first = next(each["Status"]["header"]["member_id"] for each in status if each["Endpoint"] == self.endpoint)
        if first != status[0]["Status"]["leader"]:
            self._etcdctl("move-leader", f"{first:x}").check_returncode()

    def _etcdctl(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.binaries / "etcdctl", "--endpoints", self.endpoints, *args], check=False,
                              capture_output=True, text=True)

    def save_snapshot(self, to: Path) -> None:
        subprocess.run([self.binaries / "etcdctl", "--endpoints", self.endpoint, "snapshot", "save", to], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Bench:
    def __init__(self, target: Path, etcd: Path, folder: Path, members: int, delay: int):
        self.target, self.etcd_binaries, self.folder = target, etcd, folder
        self.members, self.delay = members, delay
        self.backup = folder / "migration.bak"

    def environment(self, etcd: Etcd) -> dict[str, str]:
        return {**os.environ, "ETCD_ENDPOINTS": etcd.endpoints, "META_MIGRATION_SOURCE_VERSION": "2.1.4",
                "META_MIGRATION_TARGET_VERSION": "2.2.16", "META_MIGRATION_BACKUP_FILE": str(self.backup)}

    def command(self, etcd: Etcd, *args: str) -> tuple[float, float, dict]:
        """Seconds, peak memory in MB and outcome of the tool."""
        environment = self.environment(etcd)
        begun = time.monotonic()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen([self.target / "meta-migration", "--output", "json", *args], env=environment,
                                       stdout=subprocess.PIPE, stderr=log)
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begun
            if process.returncode != 0:
                log.seek(0)
                raise SystemExit(f"bench: {args} ended with {process.returncode}:\n{log.read().decode()}")
        return seconds, usage.ru_maxrss / 1024, json.loads(out)

    def progress(self, snapshot: Path) -> str:
        """How far off `run` is with the time that it says is left, in the second half of its time."""
        etcd = self.restored(snapshot)
        command = [self.target / "meta-migration", "-v", "run", "--with-backup"]
        done = subprocess.run(command, env=self.environment(etcd), check=True, capture_output=True, text=True)
        etcd.stop()
        at = [datetime.fromisoformat(line.split()[0]).timestamp() for line in done.stderr.splitlines()]
        said = [re.search(r": ([0-9.]+) s left with all", line) for line in done.stderr.splitlines()]
        half = (at[0] + at[-1]) / 2
        off = [abs(when + float(left[1]) - at[-1]) / (at[-1] - at[0])
               for when, left in zip(at, said) if left and when > half]
        return (f"time left, said {len(off)} times in the second half of a run of {at[-1] - at[0]:.1f} s with a backup: "
                f"median {statistics.median(off):.0%} of the whole time off, at most {max(off):.0%}")

    def floor(self, etcd: Etcd, *args: str) -> float:
        """Seconds that etcd takes by itself."""
        environment = {**os.environ, "ETCD_ENDPOINTS": etcd.endpoint}
        done = subprocess.run([self.target / "examples" / "floors", *args], env=environment, check=True,
                              capture_output=True, text=True)
        return float(done.stdout)

    def make_snapshot(self, segments: int) -> tuple[Path, int]:
        """An etcd snapshot of a cluster of this size, and its number of keys."""
        cluster, snapshot = self.folder / "cluster.bak", self.folder / "cluster.snap"
        subprocess.run([self.target / "examples" / "make-cluster", str(segments), cluster], check=True,
                       stdout=subprocess.DEVNULL)
        etcd = Etcd(self)
        outcome = self.command(etcd, "rollback", "--backup-file", str(cluster))[2]
        etcd.save_snapshot(snapshot)
        etcd.stop()
        return snapshot, outcome["totals"]["puts"]

    def restored(self, snapshot: Path) -> Etcd:
        return Etcd(self, snapshot, self.members, self.delay)

    def round(self, snapshot: Path) -> dict[str, tuple[float, float]]:
        """Seconds and peak memory of each step and floor, once."""
        for file in self.folder.glob("migration.bak*"):
            file.unlink()
        times: dict[str, tuple[float, float]] = {}
        totals = {}
        etcd = self.restored(snapshot)
        self.floor(etcd, "read")  # whoever reads first pays for the pages that etcd has not in memory yet
        times["paged read"] = (self.floor(etcd, "read"), 0)
        begun = time.monotonic()
        etcd.save_snapshot(self.folder / "floor.snap")
        times["snapshot save"] = (time.monotonic() - begun, 0)
        for step in STEPS:
            seconds, memory, outcome = self.command(etcd, step)
            times[step] = (seconds, memory)
            totals[step] = (outcome.get("migration") or outcome).get("totals")
            if step == "run":
                times["paged read after run"] = (self.floor(etcd, "read"), 0)
        etcd.stop()
        for step in ["run", "rollback"]:
            etcd = self.restored(snapshot)
            self.floor(etcd, "read")
            amounts = [str(totals[step][amount]) for amount in ["puts", "put_bytes", "deletes"]]
            times[f"writes of {step}"] = (self.floor(etcd, "write", *amounts), 0)
            etcd.stop()
        return times


def summarize(rounds: list[dict[str, tuple[float, float]]]) -> dict[str, dict[str, float]]:
    return {name: {"seconds": round(statistics.median(each[name][0] for each in rounds), 3),
                   "megabytes": round(max(each[name][1] for each in rounds))} for name in [*STEPS, *FLOORS]}


def row(result: dict) -> str:
    times = result["median"]
    cells = [f"{result['segments']:,}", f"{result['keys']:,}"]
    for step in STEPS:
        sums = [sum(times[floor]["seconds"] for floor in floors) for floors in FLOORS_OF.get(step, [])]
        ratios = ", ".join(f"{times[step]['seconds'] / floor:.2f} ×" for floor in sums)
        cells.append(f"{times[step]['seconds']:.2f} s{f' ({ratios})' if ratios else ''}, {times[step]['megabytes']} MB")
    cells += [f"{times[floor]['seconds']:.2f} s" for floor in FLOORS]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("segments", nargs="*", type=int, default=[1_000, 10_000, 50_000, 200_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", type=int, default=1, help="members of the etcd cluster")
    parser.add_argument("--delay", type=int, default=0, help="milliseconds on the way to each member and back")
    parser.add_argument("--progress", action="store_true", help="only hold the time that is said to be left against the clock")
    parser.add_argument("--target", type=Path, required=True, help="cargo's folder with the release binaries")
    parser.add_argument("--etcd", type=Path, required=True, help="folder with etcd, etcdctl and etcdutl")
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    args = parser.parse_args()
    if args.progress:
        for segments in args.segments:
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(args.target, args.etcd, Path(folder), args.members, args.delay)
                snapshot, _ = bench.make_snapshot(segments)
                for _ in range(args.rounds):
                    print(f"{segments:,} segments: {bench.progress(snapshot)}", flush=True)
        return
    columns = ["segments", "keys", *STEPS, *[f"floor: {floor}" for floor in FLOORS]]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    results = []
    for segments in args.segments:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(args.target, args.etcd, Path(folder), args.members, args.delay)
            snapshot, keys = bench.make_snapshot(segments)
            rounds = [bench.round(snapshot) for _ in range(args.rounds)]
        results.append({"segments": segments, "keys": keys, "rounds": rounds, "median": summarize(rounds)})
        print(row(results[-1]), flush=True)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
