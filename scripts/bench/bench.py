"""Times the tool on synthetic clusters and holds it against etcd's own speed. Called by scripts/bench.sh, which builds everything.

Per size: a cluster is loaded into an etcd once and saved as an etcd snapshot. Each round restores that snapshot into a new etcd, so
that every round starts from the same state, and runs the floors and the tool one after the other.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

QUOTA = 8 << 30
STEPS = ["backup", "plan", "run", "verify", "rollback"]
FLOORS = ["snapshot save", "paged read", "writes of run", "writes of rollback"]
# The floor that each step is held against.
FLOOR_OF = {"backup": "paged read", "run": "writes of run", "rollback": "writes of rollback"}


class Etcd:
    """A throwaway etcd that syncs to disk, on free ports of loopback."""

    def __init__(self, folder: Path, binaries: Path):
        self.binaries, self.data, self.log = binaries, folder / "data", folder / "etcd.log"
        self.log.write_text("")
        self.process = subprocess.Popen(
            [binaries / "etcd", "--data-dir", self.data, f"--quota-backend-bytes={QUOTA}", "--logger=zap",
             f"--log-outputs={self.log}", "--listen-client-urls=http://127.0.0.1:0",
             "--advertise-client-urls=http://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0"],
            stderr=subprocess.DEVNULL)
        self.endpoint = self._wait_for_endpoint()

    def _wait_for_endpoint(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found = re.search(r'serving client traffic insecurely.*?"address":"([^"]*)"', self.log.read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        raise SystemExit(f"bench: etcd did not start:\n{self.log.read_text()[-2000:]}")

    def etcdctl(self, *args: str) -> None:
        subprocess.run([self.binaries / "etcdctl", "--endpoints", self.endpoint, *args], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)


class Bench:
    def __init__(self, target: Path, etcd: Path, folder: Path):
        self.target, self.etcd_binaries, self.folder = target, etcd, folder
        self.backup = folder / "migration.bak"

    def command(self, etcd: Etcd, *args: str) -> tuple[float, float, dict]:
        """Seconds, peak memory in MB and outcome of the tool."""
        environment = {**os.environ, "ETCD_ENDPOINTS": etcd.endpoint, "META_MIGRATION_SOURCE_VERSION": "2.1.4",
                       "META_MIGRATION_TARGET_VERSION": "2.2.16", "META_MIGRATION_BACKUP_FILE": str(self.backup)}
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
        etcd = Etcd(self.folder, self.etcd_binaries)
        outcome = self.command(etcd, "rollback", "--backup-file", str(cluster))[2]
        etcd.etcdctl("snapshot", "save", str(snapshot))
        etcd.stop()
        return snapshot, outcome["totals"]["puts"]

    def restored(self, snapshot: Path) -> Etcd:
        subprocess.run([self.etcd_binaries / "etcdutl", "snapshot", "restore", snapshot, "--data-dir",
                        self.folder / "data"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return Etcd(self.folder, self.etcd_binaries)

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
        etcd.etcdctl("snapshot", "save", str(self.folder / "floor.snap"))
        times["snapshot save"] = (time.monotonic() - begun, 0)
        for step in STEPS:
            seconds, memory, outcome = self.command(etcd, step)
            times[step] = (seconds, memory)
            totals[step] = (outcome.get("migration") or outcome).get("totals")
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
        floor = FLOOR_OF.get(step)
        ratio = f", {times[step]['seconds'] / times[floor]['seconds']:.2f} ×" if floor else ""
        cells.append(f"{times[step]['seconds']:.2f} s{ratio}, {times[step]['megabytes']} MB")
    cells += [f"{times[floor]['seconds']:.2f} s" for floor in FLOORS]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("segments", nargs="*", type=int, default=[1_000, 10_000, 50_000, 200_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", type=Path, required=True, help="cargo's folder with the release binaries")
    parser.add_argument("--etcd", type=Path, required=True, help="folder with etcd, etcdctl and etcdutl")
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    args = parser.parse_args()
    columns = ["segments", "keys", *[f"{step}, × floor, peak" if step in FLOOR_OF else f"{step}, peak" for step in STEPS],
               *[f"floor: {floor}" for floor in FLOORS]]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    results = []
    for segments in args.segments:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(args.target, args.etcd, Path(folder))
            snapshot, keys = bench.make_snapshot(segments)
            rounds = [bench.round(snapshot) for _ in range(args.rounds)]
        results.append({"segments": segments, "keys": keys, "rounds": rounds, "median": summarize(rounds)})
        print(row(results[-1]), flush=True)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
