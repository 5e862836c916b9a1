"""Times the tool on synthetic clusters and holds it against etcd's own speed. Called by scripts/bench.sh, which builds everything.

Per size: a cluster is written into an etcd once, three versions of each key, and saved as an etcd snapshot. Each round restores that
snapshot into a new etcd, and runs floors and tool by turns: reading, backup, reading, plan, reading, run, reading, verify, reading,
rollback, reading. After `run` and `rollback` the same puts and deletes are done without the tool, each way in another new etcd that
is as the first one was before the step.
"""

import argparse
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from whole_way import exponent, growth, whole_way

STEPS = ["backup", "plan", "run", "verify", "rollback"]
FLOORS = ["read", "read, two loops", "the tool's reader", "writes of run", "read after", "read after, two loops", "writes of rollback"]
# Operations in a batch (etcd takes 128 at most), and batches under way.
WAYS = "64:4,64:8,64:32,128:4,128:8,128:16,128:32"


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Etcd:
    """A throwaway etcd cluster that syncs to disk, on free ports of loopback; from a snapshot if there is one.

    Where it is slow, whatever its members say to each other or to clients arrives so many milliseconds later (--delay), and no more
    than so many megabytes a second (--rate).
    """

    def __init__(self, bench: "Bench", snapshot: Path | None = None, slow: bool = False, name: str = "etcd"):
        self.bench, self.folder = bench, bench.folder / name
        args = bench.args
        ports = free_ports(4 * args.members)
        own, seen = ports[:2 * args.members], ports[2 * args.members:]
        self.processes = []
        if slow and (args.delay or args.rate):
            pairs = [f"127.0.0.1:{outer}=127.0.0.1:{inner}" for outer, inner in zip(seen, own)]
            delay = [args.target / "examples" / "delay", str(args.delay), str(args.rate), *pairs]
            self.processes.append(subprocess.Popen(delay))
        else:
            seen = own
        clients, peers = [[f"http://127.0.0.1:{port}" for port in half] for half in (seen[::2], seen[1::2])]
        self.cluster = ",".join(f"m{member}={peer}" for member, peer in enumerate(peers))
        self.endpoint, self.endpoints, self.near = clients[0], ",".join(clients), f"http://127.0.0.1:{own[0]}"
        for member in range(args.members):
            self._start(member, own[2 * member:2 * member + 2], clients[member], peers[member], snapshot)
        self._wait()

    def _start(self, member: int, ports: list[int], client: str, peer: str, snapshot: Path | None) -> None:
        data, binaries = self.folder / f"m{member}", self.bench.args.etcd
        name = [f"--name=m{member}", f"--initial-cluster={self.cluster}", f"--initial-advertise-peer-urls={peer}"]
        if snapshot:
            subprocess.run([binaries / "etcdutl", "snapshot", "restore", snapshot, "--data-dir", data, *name],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / f"m{member}.log", "w", encoding="utf-8") as log:
            self.processes.append(subprocess.Popen(
                [binaries / "etcd", "--data-dir", data, f"--quota-backend-bytes={self.bench.args.quota << 30}",
                 "--logger=zap", f"--snapshot-count={self.bench.args.snapshot_count}", *name,
                 f"--listen-client-urls=http://127.0.0.1:{ports[0]}", f"--advertise-client-urls={client}",
                 f"--listen-peer-urls=http://127.0.0.1:{ports[1]}"], stdout=log, stderr=log,
                env={**os.environ, **({"GOGC": str(self.bench.args.gogc)} if self.bench.args.gogc else {})}))

    def _wait(self) -> None:
        """Waits until all members answer, and makes the first one the leader: it is the one that is asked."""
        until = time.monotonic() + 120
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
        return subprocess.run([self.bench.args.etcd / "etcdctl", "--endpoints", self.endpoints, *args], check=False,
                              capture_output=True, text=True)

    def status(self) -> dict:
        """Revision, and size of the database in bytes: all of it, and what is in use."""
        status = json.loads(self._etcdctl("endpoint", "status", "--write-out=json").stdout)[0]["Status"]
        return {"revision": status["header"]["revision"], "db": status["dbSize"], "used": status["dbSizeInUse"]}

    def megabytes(self) -> float:
        """Memory that the last member takes itself, without its database, which the kernel caches (RssAnon)."""
        with open(f"/proc/{self.processes[-1].pid}/status", encoding="utf-8") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["RssAnon"].split()[0]) / 1024

    def fsync(self) -> float:
        """Milliseconds that a sync of the log took, on average so far."""
        metrics = urllib.request.urlopen(self.near + "/metrics", timeout=10).read().decode()
        value = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("etcd_disk_wal_fsync"))
        name = "etcd_disk_wal_fsync_duration_seconds"
        return 1000 * float(value[name + "_sum"]) / max(float(value[name + "_count"]), 1)

    def compact(self) -> None:
        # Rewriting a large database takes longer than the 5 s that etcdctl waits.
        self._etcdctl("compact", "--command-timeout=60m", "--physical", str(self.status()["revision"])).check_returncode()

    def save_snapshot(self, to: Path) -> None:
        subprocess.run([self.bench.args.etcd / "etcdctl", "--endpoints", self.endpoint, "snapshot", "save", to],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Health:
    """Asks etcd every 50 ms whether it is well, and keeps the longest time that an answer took (seconds)."""

    def __init__(self, etcd: Etcd):
        self.url, self.ended, self.longest = etcd.near + "/health", threading.Event(), 0.0
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        while not self.ended.wait(0.05):
            begun = time.monotonic()
            try:
                urllib.request.urlopen(self.url, timeout=60).read()
            except OSError:
                pass
            self.longest = max(self.longest, time.monotonic() - begun)

    def end(self) -> float:
        self.ended.set()
        self.thread.join()
        return self.longest


class Bench:
    def __init__(self, args: argparse.Namespace, folder: Path):
        self.args, self.folder = args, folder
        self.backup = folder / "migration.bak"

    def environment(self, etcd: Etcd) -> dict[str, str]:
        return {**os.environ, "ETCD_ENDPOINTS": etcd.endpoints, "META_MIGRATION_SOURCE_VERSION": "2.1.4",
                "META_MIGRATION_TARGET_VERSION": "2.2.16", "META_MIGRATION_BACKUP_FILE": str(self.backup)}

    def command(self, etcd: Etcd, *args: str) -> tuple[dict, dict]:
        """Seconds, peak memory in MB (the kernel's ru_maxrss) and the slowest /health of a step; and its outcome."""
        health = Health(etcd)
        begun = time.monotonic()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen([self.args.target / "meta-migration", "--output", "json", *args],
                                       env=self.environment(etcd), stdout=subprocess.PIPE, stderr=log)
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begun
            longest = health.end()
            if process.returncode != 0:
                log.seek(0)
                raise SystemExit(f"bench: {args} ended with {process.returncode}:\n{log.read().decode()}")
            if self.args.log:
                log.seek(0)
                print(log.read().decode(), flush=True)
        return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024,
                "health": longest}, json.loads(out)

    def floor(self, etcd: Etcd, *args: str) -> dict[str, float]:
        """Seconds that etcd takes by itself, by way of doing it."""
        environment = {**os.environ, "ETCD_ENDPOINTS": etcd.endpoint, "SIZES": self.args.sizes}
        done = subprocess.run([self.args.target / "examples" / "floors", *args], env=environment, check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"bench: floors {' '.join(args)} ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def make_snapshot(self, segments: int) -> tuple[Path, dict]:
        """An etcd snapshot of a cluster of this size, with its numbers."""
        snapshot, etcd = self.folder / "cluster.snap", Etcd(self)
        made = subprocess.run([self.args.target / "examples" / "make-cluster", str(segments), etcd.endpoint],
                              check=True, capture_output=True, text=True)
        keys, size = map(int, made.stdout.split())
        if self.args.compacted:
            etcd.compact()
        facts = {"segments": segments, "keys": keys, "bytes": size, **etcd.status()}
        etcd.save_snapshot(snapshot)
        etcd.stop()
        return snapshot, facts

    def round(self, snapshot: Path) -> dict:
        """Every step and floor once, by turns."""
        for file in self.folder.glob("migration.bak*"):
            file.unlink()
        result: dict = {"load": [os.getloadavg()[0]], "reads": [], "db": []}
        etcd = Etcd(self, snapshot, slow=True)
        reads = lambda: result["reads"].append(self.floor(etcd, "read"))
        reads()  # whoever reads first pays for what etcd has not in memory yet
        for step in STEPS:
            before, state = etcd.status(), snapshot
            if step == "rollback":
                state = self.folder / "migrated.snap"
                etcd.save_snapshot(state)
            result[step], outcome = self.command(etcd, step)
            result["db"].append(etcd.status())
            result["load"].append(os.getloadavg()[0])
            reads()
            if step in ("run", "rollback"):
                totals = result[step]["totals"] = (outcome.get("migration") or outcome)["totals"]
                result[f"writes of {step}"] = self.writes(etcd, state, before["revision"], totals["deletes"])
        result["fsync"] = etcd.fsync()
        etcd.stop()
        return result

    def writes(self, etcd: Etcd, state: Path, since: int, deletes: int) -> dict[str, float]:
        """Seconds of the puts since that revision and of as many deletes, each way in a new etcd that is as this one was then."""
        times: dict[str, float] = {}
        for way in self.args.ways.split(","):
            other = Etcd(self, state, name="other")
            try:
                done = self.floor(etcd, "write", str(since), str(deletes), other.endpoint, *way.split(":"))
            finally:
                other.stop()
            times |= done | {"deletes": min(done["deletes"], times.get("deletes", math.inf))}
        return times


def best(times: dict[str, float], of: str = "") -> float:
    return min(seconds for name, seconds in times.items() if of in name)


def plain(times: dict[str, float]) -> float:
    """The best of the single loops."""
    return min(seconds for name, seconds in times.items() if name.startswith("pages"))


def figures(result: dict, facts: dict) -> dict[str, float]:
    """What a round comes to. The reads stand: first, after backup, plan, run, verify, rollback."""
    reads = result["reads"]
    before = min(plain(read) for read in reads[1:3])
    after = min(plain(read) for read in reads[3:5])
    both_before, both_after = (min(best(read, "two loops") for read in some) for some in (reads[1:3], reads[3:5]))
    reader = min(read["the tool's reader"] for read in reads[1:3])
    writes = {step: best(result[f"writes of {step}"], "puts") + result[f"writes of {step}"]["deletes"]
              for step in ("run", "rollback")}
    seconds = {step: result[step]["seconds"] for step in STEPS}
    changed = facts["bytes"] + result["run"]["totals"]["put_bytes"]
    return {
        "read": before, "read after": after, "read, two loops": both_before, "read after, two loops": both_after,
        **{f"writes of {step}": floor for step, floor in writes.items()},
        **seconds,
        **{f"{step} MB": result[step]["megabytes"] for step in STEPS},
        **{f"{step} cpu": result[step]["cpu"] for step in STEPS},
        "health": max(result[step]["health"] for step in STEPS),
        "the tool's reader": reader, "the tool's reader ÷ read": reader / before,
        "backup ÷ read": seconds["backup"] / before,
        "verify ÷ read after": seconds["verify"] / after,
        "run ÷ (read + writes + read after)": seconds["run"] / (before + writes["run"] + after),
        "rollback ÷ (read after + writes + read)": seconds["rollback"] / (after + writes["rollback"] + before),
        "run's memory ÷ bytes that change": result["run"]["megabytes"] * (1 << 20) / changed,
        "load": max(result["load"]), "fsync": result["fsync"],
        "db before": facts["db"] / 1e6, "db after run": result["db"][2]["db"] / 1e6,
    }


def table(facts: dict, medians: dict[str, float]) -> str:
    lines = [f"\n### {facts['segments']:,} segments: {facts['keys']:,} keys, {facts['bytes'] / 1e6:,.0f} MB; etcd's "
             f"database {medians['db before']:,.0f} MB, {medians['db after run']:,.0f} MB after run; a sync took "
             f"{medians['fsync']:.2f} ms, load up to {medians['load']:.1f}\n",
             "| | seconds | processor | peak memory |", "|---|---|---|---|"]
    lines += [f"| {step} | {medians[step]:.2f} | {medians[step + ' cpu']:.2f} | {medians[step + ' MB']:.0f} MB |" for step in STEPS]
    lines += [f"| floor: {name} | {medians[name]:.2f} | | |" for name in FLOORS]
    lines += ["", "| ratio | |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in medians.items() if "÷" in name]
    lines += [f"| slowest answer of /health meanwhile | {medians['health']:.2f} s |"]
    return "\n".join(lines)


def growth_beside_floors(results: list[dict]) -> str:
    """The exponents by which tool and floors grow with the number of keys."""
    keys = [result["facts"]["keys"] for result in results]
    medians = [result["median"] for result in results]
    names = [*STEPS, *(f"{step} cpu" for step in STEPS), *(f"{step} MB" for step in STEPS), *FLOORS]
    lines = ["\n### Growth: exponents over " + ", ".join(f"{number:,}" for number in keys) + " keys\n", "| | |", "|---|---|"]
    lines += [f"| {name} | {exponent(keys, [median[name] for median in medians]):.2f} |" for name in names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("segments", nargs="*", type=int, default=[10_000, 50_000, 200_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, default=1, help="members of the etcd cluster")
    parser.add_argument("--delay", type=int, default=0, help="milliseconds on the way to each member and back")
    parser.add_argument("--rate", type=float, default=0, help="megabytes (10^6 bytes) a second to each member and back; 0 for any number")
    parser.add_argument("--compacted", action="store_true", help="etcd keeps one version of each key instead of three")
    parser.add_argument("--whole-way", action="store_true", help="each size there and back once, without rounds and floors")
    parser.add_argument("--quota", type=int, default=32, help="etcd's quota, in GiB")
    parser.add_argument("--gogc", type=int, default=0, help="GOGC of etcd: with less than 100 it takes less memory, and more time")
    parser.add_argument("--snapshot-count", type=int, default=100_000, help="of etcd: so many transactions it keeps in memory")
    parser.add_argument("--sizes", default="", help="page sizes of the floors, instead of all")
    parser.add_argument("--ways", default=WAYS, help="batches of the floors: operations in one, and how many of them under way")
    parser.add_argument("--log", action="store_true", help="print what the tool says")
    parser.add_argument("--target", type=Path, required=True, help="cargo's folder with the release binaries")
    parser.add_argument("--etcd", type=Path, required=True, help="folder with etcd, etcdctl and etcdutl")
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    args = parser.parse_args()
    results: list[dict] = []

    def keep(result: dict) -> None:
        results.append(result)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))

    for segments in args.segments:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(args, Path(folder))
            if args.whole_way:
                etcd = Etcd(bench, slow=True)
                try:
                    keep(whole_way(bench, etcd, segments))
                finally:
                    etcd.stop()
                continue
            snapshot, facts = bench.make_snapshot(segments)
            rounds = [bench.round(snapshot) for _ in range(args.rounds)]
        each = [figures(result, facts) for result in rounds]
        medians = {name: statistics.median(numbers[name] for numbers in each) for name in each[0]}
        print(table(facts, medians), flush=True)
        keep({"facts": facts, "rounds": rounds, "median": medians})
    if len(results) > 1:
        print(growth(results) if args.whole_way else growth_beside_floors(results), flush=True)


if __name__ == "__main__":
    main()
