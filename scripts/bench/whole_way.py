"""The whole way there and back, once, on a cluster too large for rounds and floors; and whether every key is as before."""

import math
import statistics
import subprocess
from typing import Any


def whole_way(bench: Any, etcd: Any, segments: int) -> dict[str, Any]:
    """Fills this etcd, migrates, goes back, and lets `rollback` compare every key and value with the backup in the end."""
    cluster, figures = bench.folder / "cluster.bak", {}

    def step(name: str, *args: str) -> dict:
        figures[name], outcome = bench.command(etcd, *(args or (name,)))
        figures[name].update(etcd.status(), ended=outcome["ended"], etcd_megabytes=etcd.megabytes())
        print(f"| {name} | {figures[name]['seconds']:.1f} | {figures[name]['cpu']:.1f} | {figures[name]['megabytes']:,.0f} MB | "
              f"{figures[name]['db'] / 1e6:,.0f} MB | {figures[name]['etcd_megabytes']:,.0f} MB | {figures[name]['health']:.2f} s |",
              flush=True)
        return outcome

    made = subprocess.run([bench.args.target / "examples" / "make-cluster", str(segments), cluster],
                          check=True, capture_output=True, text=True)
    figures["keys"] = int(made.stdout.split(": ")[-1].split()[0])
    print(f"\n### {segments:,} segments: {figures['keys']:,} keys\n")
    print("| | seconds | processor | peak memory | etcd's database | etcd's own memory | slowest answer of /health |\n"
          "|---|---|---|---|---|---|---|")
    # What is slow is to be measured, not waited for.
    slow, etcd.endpoints = etcd.endpoints, etcd.near
    step("filling an empty etcd", "rollback", f"--backup-file={cluster}", "--other-cluster", "--no-copy", "--yes")
    etcd.endpoints = slow
    cluster.unlink()
    etcd.compact()
    step("backup")
    outcome = step("run")
    figures["totals"] = outcome["migration"]["totals"]
    # What was overwritten and deleted makes room for the way back.
    etcd.compact()
    step("verify")
    step("rollback", "rollback", "--no-copy", "--yes")
    if step("rollback again", "rollback", "--no-copy", "--yes")["ended"] != "nothing-to-do":
        raise SystemExit("bench: not every key is as before")
    totals = figures["totals"]
    print(f"\n{totals['puts']:,} puts ({totals['put_bytes'] / 1e6:,.0f} MB) and {totals['deletes']:,} deletes there; every key and value "
          f"as before in the end. A sync took {etcd.fsync():.2f} ms.", flush=True)
    return figures


def exponent(keys: list[int], values: list[float]) -> float:
    """How something grows with the number of keys, fitted: 1 is linear."""
    return statistics.linear_regression([*map(math.log, keys)], [*map(math.log, values)]).slope


def growth(results: list[dict[str, Any]]) -> str:
    """The exponents by which each step grows with the number of keys, fitted over all sizes."""
    keys = [result["keys"] for result in results]
    lines = ["\n### Growth: exponents over " + ", ".join(f"{number:,}" for number in keys) + " keys\n",
             "| | seconds | processor | peak memory |", "|---|---|---|---|"]
    steps = [step for step, figure in results[0].items() if isinstance(figure, dict) and "seconds" in figure]
    for step in steps:
        fitted = [exponent(keys, [result[step][figure] for result in results]) for figure in ("seconds", "cpu", "megabytes")]
        lines.append(f"| {step} | " + " | ".join(f"{each:.2f}" for each in fitted) + " |")
    return "\n".join(lines)
