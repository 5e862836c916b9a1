"""The whole way there and back, once, on a cluster too large for rounds and floors; and whether every key is as before."""

import subprocess
from typing import Any


def whole_way(bench: Any, etcd: Any, segments: int) -> dict[str, Any]:
    """Fills this etcd, migrates, goes back, and lets `rollback` compare every key and value with the backup in the end."""
    cluster, figures = bench.folder / "cluster.bak", {}

    def step(name: str, *args: str) -> dict:
        figures[name], outcome = bench.command(etcd, *(args or (name,)))
        figures[name].update(etcd.status(), ended=outcome["ended"])
        print(f"| {name} | {figures[name]['seconds']:.0f} | {figures[name]['cpu']:.0f} | {figures[name]['megabytes']:.0f} MB | "
              f"{figures[name]['db'] / 1e6:,.0f} MB | {figures[name]['health']:.2f} s |", flush=True)
        return outcome

    made = subprocess.run([bench.args.target / "examples" / "make-cluster", str(segments), cluster],
                          check=True, capture_output=True, text=True)
    print(f"\n### {segments:,} segments: {made.stdout.split(': ')[-1].strip()}\n")
    print("| | seconds | processor | peak memory | etcd's database | slowest answer of /health |\n|---|---|---|---|---|---|")
    step("filling an empty etcd", "rollback", f"--backup-file={cluster}", "--other-cluster", "--no-copy", "--yes")
    cluster.unlink()
    etcd.compact()
    step("backup")
    outcome = step("run")
    figures["totals"] = outcome["migration"]["totals"]
    # What was overwritten and deleted makes room for the way back.
    etcd.compact()
    step("verify")
    step("rollback", "rollback", "--no-copy", "--yes")
    etcd.compact()
    if step("rollback again", "rollback", "--no-copy", "--yes")["ended"] != "nothing-to-do":
        raise SystemExit("bench: not every key is as before")
    totals = figures["totals"]
    print(f"\n{totals['puts']:,} puts ({totals['put_bytes'] / 1e6:,.0f} MB) and {totals['deletes']:,} deletes there; every key and value "
          f"as before in the end. A sync took {etcd.fsync():.2f} ms.", flush=True)
    return figures
