"""Has a real 2.1.0 make the data, once: young collections (fixture.py) and some that have lived (live.py). It takes a
quarter of an hour, so the result is kept, outside of the repository, for as long as what makes it stays the same."""

import hashlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from lived import STAGES
from records import DROPPED, FLUSHING, SEALED, SEGMENTS, in_state, pairs_of, positions, sessions, state
from server_config import HASTY_SOURCE, LESS_BUFFER, SMALL_BUFFER
from servers import TOOLS, ServerError, copy_site, run_client, wait_for
from topology import Around, Server
from settings import CLUSTER, LOG, SMALL
from versions import SOURCE

from cluster.killed import kill_part_by_part

HERE = Path(__file__).parent
MAKERS = (
    "case.py", "data.py", "lived.py", "fixture.py", "live.py", "making.py",
    *(("clustered.py", "cluster/killed.py") if CLUSTER else ()),
)
OBSERVERS = ("case.py", "data.py", "lived.py", "observe.py")
MOST_TRIES = 8
RENEWED = 3
"""growing segments, at least"""


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


def fingerprint(names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:12]


def source_data(kept: Path, again: bool) -> tuple[Path, dict[str, Any]]:
    """The site with the data of 2.1.0, stopped, and what 2.1.0 says of them."""
    cluster = f"-cluster{'' if LOG == 'kafka' else f'-{LOG}'}" if CLUSTER else ""
    kind = f"{SOURCE}{cluster}{'-small' if SMALL else ''}"
    site = kept / f"{kind}-{fingerprint(MAKERS)}"
    observed = kept / f"{kind}-observed-{fingerprint(MAKERS + OBSERVERS)}.json"
    if again:
        observed.unlink(missing_ok=True)
        shutil.rmtree(site, ignore_errors=True)
    begun = time.monotonic()
    if not (site / "made").exists():
        make(site)
    if not observed.exists():
        observe(site, observed)
    say(f"the data that {SOURCE} made are in {site} ({time.monotonic() - begun:.0f} s)")
    found: dict[str, Any] = json.loads(observed.read_text())
    return site, found


def make(site: Path) -> None:
    shutil.rmtree(site, ignore_errors=True)
    if CLUSTER:
        make_at_once(site)
    else:
        make_young(site)
        if not SMALL:
            age(site)
            stop_within_flush(site)
    (site / "made").touch()


def make_at_once(site: Path) -> None:
    """Without a restart: a query coordinator of 2.1.0 that has much to distribute does not always survive one. So nothing
    that was dropped is collected."""
    site.mkdir(parents=True)
    with Around(site), Server(SOURCE, site, LESS_BUFFER) as milvus:
        say(run_client(milvus, "fixture.py").strip())
        for stage in () if SMALL else STAGES:
            say(run_client(milvus, "live.py", stage).strip())
        run_client(milvus, "live.py", "settle")
        say(f"{len(renewed())} of {len(positions())} growing segments have renewed positions")
        kill_part_by_part(milvus)


def make_young(site: Path) -> None:
    site.mkdir(parents=True)
    with Around(site), Server(SOURCE, site, HASTY_SOURCE) as milvus:
        say(run_client(milvus, "fixture.py").strip())
        if not SMALL:
            say(run_client(milvus, "live.py", "early").strip())
            run_client(milvus, "live.py", "settle")
            dropped = in_state(DROPPED)
            wait_for("2.1 to collect what was dropped", lambda: not set(dropped) & set(in_state(DROPPED)), 300)
            say(f"{len(dropped)} dropped segments are collected")


def age(site: Path) -> None:
    """The garbage collector is slow again, so what is dropped from now on stays on record."""
    with Around(site), Server(SOURCE, site, SMALL_BUFFER) as milvus:
        run_client(milvus, "live.py", "settle")
        say(run_client(milvus, "live.py", "aged").strip())
        say(run_client(milvus, "live.py", "late").strip())
        wait_for("2.1 to move the positions of growing segments on", lambda: len(renewed()) >= RENEWED, 300)
        run_client(milvus, "live.py", "settle")
        say(f"{len(renewed())} of {len(positions())} growing segments have renewed positions")


def renewed() -> list[str]:
    """Growing segments that were written in part."""
    return [key for key, (start, newest) in positions().items() if newest > start > 0]


def stop_within_flush(site: Path) -> None:
    """Kills 2.1.0 when the first segments are flushing, until one stays so: it passes quickly."""
    for _ in range(MOST_TRIES):
        trial = copy_site(site, site.with_name(f"{site.name}-trial"))
        with Around(trial):
            kill_within_flush(trial)
            flushing, sealed = in_state(FLUSHING), in_state(SEALED)
            say(f"killed within a flush: {len(flushing)} segments flushing, {len(sealed)} sealed")
            if flushing:
                wait_for("the sessions of the killed server to end", lambda: not sessions(), 120)
                break
    else:
        raise ServerError(f"no segment stayed within its flush in {MOST_TRIES} tries")
    shutil.rmtree(site)
    trial.rename(site)


def kill_within_flush(site: Path) -> None:
    milvus = Server(SOURCE, site)
    run_client(milvus, "live.py", "settle")
    watch = subprocess.Popen(
        [str(TOOLS / "etcd-3.5/etcdctl"), "--endpoints=127.0.0.1:2379", "watch", "--prefix", SEGMENTS, "--write-out=json"],
        stdout=subprocess.PIPE, text=True, env={"ETCDCTL_API": "3"},
    )
    flush = threading.Thread(target=flush_until_killed, args=(milvus,))
    try:
        assert watch.stdout is not None
        flush.start()
        for line in watch.stdout:
            if any(is_flushing(event) for event in json.loads(line).get("Events", [])):
                break
    finally:
        milvus.kill()
        watch.kill()
        watch.wait()
        flush.join()


def flush_until_killed(milvus: Server) -> None:
    try:
        run_client(milvus, "live.py", "flush", "l_flushing", seconds=120)
    except ServerError:
        pass  # That is what is wanted: the server ends first.


def is_flushing(event: dict[str, Any]) -> bool:
    pair = pairs_of(json.dumps({"kvs": [event["kv"]]}))
    return any(state(value) == FLUSHING for value in pair.values() if value)


def observe(site: Path, observed: Path) -> None:
    """By a copy: a 2.1.0 that is started finishes what was stopped. Now and then one does not watch all its channels after such an
    end, and then answers nothing that wants the latest rows: what everything is held against has to be better than that."""
    for _ in range(MOST_TRIES):
        copy = copy_site(site, site.with_name(f"{site.name}-copy"))
        with Around(copy), Server(SOURCE, copy) as milvus:
            try:
                run_client(milvus, "observe.py", f"{copy}/observed.json", "promptly")
                break
            except ServerError as error:
                say(f"{SOURCE} once more: {error}")
    else:
        raise ServerError(f"{SOURCE} did not get up to date in {MOST_TRIES} tries")
    (copy / "observed.json").rename(observed)
    shutil.rmtree(copy)
