"""Cases, and how they are run: one after the other, with a line for each."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from typing import Callable

CASES: list[tuple[str, Callable[[], None]]] = []


class Skipped(Exception):
    """It cannot run here."""


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES.append((function.__name__, function))
    return function


def main(wanted: list[str]) -> int:
    """Those whose names contain one of these, or all; 0 if all passed."""
    chosen = [(name, run) for name, run in CASES if not wanted or any(part in name for part in wanted)]
    failed = skipped = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name, run in chosen:
        begun = time.monotonic()
        try:
            run()
            result = "ok  "
        except Skipped as why:
            result, skipped = f"skip (no {why})", skipped + 1
        except Exception:
            result, failed = "FAIL", failed + 1
            traceback.print_exc()
        print(f"{result} {time.monotonic() - begun:6.1f} s  {name}", flush=True)
    print(f"{len(chosen) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not chosen else 0
