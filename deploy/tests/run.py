#!/usr/bin/env python3
"""Runs all tests of migrate.sh, some at a time. Arguments choose tests whose names contain one of them."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
import unittest
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402

# Most of a test is waiting for sessions and pods to end.
WORKERS = 2 * (os.cpu_count() or 2)


def names(suite: unittest.TestSuite) -> list[str]:
    found: list[str] = []
    for item in suite:
        found += names(item) if isinstance(item, unittest.TestSuite) else [item.id()]
    return found


def run(name: str) -> tuple[str, bool, bool, float, str]:
    """Runs one test: its name, whether it passed, whether it was skipped, seconds, output."""
    begun = time.monotonic()
    output = io.StringIO()
    result = unittest.TextTestRunner(stream=output, verbosity=0).run(unittest.defaultTestLoader.loadTestsFromName(name))
    return name, result.wasSuccessful(), bool(result.skipped), time.monotonic() - begun, output.getvalue()


def main() -> int:
    if not harness.tool().exists():
        print(f"run.py: {harness.tool()} is missing: cargo build, or set META_MIGRATION_BIN", file=sys.stderr)
        return 1
    chosen = [
        name
        for name in names(unittest.defaultTestLoader.discover(str(HERE)))
        if len(sys.argv) < 2 or any(part in name for part in sys.argv[1:])
    ]
    shared = Path(tempfile.mkdtemp(prefix="migrate-shared-"))
    failed = skipped = 0
    try:
        harness.prepare(shared)
        os.environ["MIGRATE_TEST_SHARED"] = str(shared)
        with ProcessPoolExecutor(WORKERS) as pool:
            for done in as_completed([pool.submit(run, name) for name in chosen]):
                name, passed, was_skipped, seconds, output = done.result()
                print(f"{'skip' if was_skipped else 'ok  ' if passed else 'FAIL'} {seconds:5.1f} s  {name}", flush=True)
                failed += not passed
                skipped += was_skipped
                if not passed:
                    print(output)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    print(f"{len(chosen) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
