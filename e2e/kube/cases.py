"""migrate.sh and the manifests on a real Kubernetes: cases.py [PART OF A CASE'S NAME…]

Uses kubectl and KUBECONFIG as they are; each case has a namespace of its own, which goes when it passes. With OWN_CLUSTER=yes nodes
may be cut off. Exit codes: 0 all passed, 1 something failed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from typing import Callable

from scene import NEW, OLD, REPOSITORY, Scene, shape

CASES: list[tuple[str, Callable[[], None]]] = []


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES.append((function.__name__, function))
    return function


def there_and_back(scene: Scene, *arguments: str) -> None:
    """The usual way, with exactly the documented rights."""
    before = scene.digest()
    text = scene.migrate(*arguments)
    assert scene.state() == "run done" and scene.images() == {NEW}, text
    # Nothing of ours is left in the fields' owners: Helm 4 could not upgrade.
    assert "milvus-meta-migration" not in scene.managers(), scene.managers()
    assert "Nothing to do" in scene.migrate(*arguments)
    scene.migrate(*arguments, "-o", "cleanup", code=1)
    scene.migrate(*arguments, "-o", "rollback")
    assert scene.digest() == before and scene.images() == {OLD}
    scene.migrate(*arguments, "-o", "cleanup")


@case
def chart_3_2() -> None:
    with Scene("chart-3-2", shape("milvus-3.2.18")) as scene:
        there_and_back(scene)


@case
def chart_3_3() -> None:
    with Scene("chart-3-3", shape("milvus-3.3.0", standalone=True)) as scene:
        there_and_back(scene)


@case
def chart_4_1() -> None:
    with Scene("chart-4-1", shape("milvus-4.1.36")) as scene:
        there_and_back(scene)


@case
def second_root() -> None:
    """-r forgotten: this Milvus is under prod, somebody else's metadata under by-dev."""
    with Scene("second-root", shape("milvus-3.2.18", root="prod"), root="prod", others=["by-dev"]) as scene:
        before = scene.digest("by-dev")
        text = scene.migrate("-r", "by-dev", code=1)
        assert re.search(r'"by-dev", but .*etcd.rootPath: "prod"', text), text
        scene.migrate()
        assert scene.state() == "run done" and scene.digest("by-dev") == before


@case
def second_root_unmounted() -> None:
    """Nothing is mounted that tells: the pods' addresses do."""
    with Scene("second-root-bare", shape("milvus-3.2.18", mounted=False), others=["other"]) as scene:
        text = scene.migrate("-e", "my-release-etcd:2379", "-r", "other", code=1)
        assert "no component is registered under other/meta" in text and "by-dev/meta" in text, text
        scene.migrate("-e", "my-release-etcd:2379")


@case
def no_collections() -> None:
    with Scene("no-collections", shape("milvus-3.2.18"), empty=True) as scene:
        text = scene.migrate()
        assert "nothing is stopped" in text and scene.images() == {NEW}, text
        assert "Nothing to do" in scene.migrate()


@case
def mysql() -> None:
    with Scene("mysql", shape("milvus-3.2.18", metastore="mysql")) as scene:
        assert 'found "mysql", expected etcd' in scene.migrate(code=1)
        assert scene.state() == "none" and scene.images() == {OLD}


@case
def absent_image() -> None:
    with Scene("absent-image", shape("milvus-3.2.18")) as scene:
        text = scene.migrate("-w", "milvusdb/milvus:v2.2.16-nope", code=1)
        assert "cannot be had" in text and "SCALED DOWN" not in text, text
        assert scene.state() == "none" and scene.images() == {OLD}


@case
def private_registry() -> None:
    with Scene("private", shape("milvus-3.2.18")) as scene:
        secret = ["create", "secret", "docker-registry", "regcred", "--docker-server=private.local", "--docker-username=u", "--docker-password=p"]
        scene.kubectl(*secret)
        image = ["-m", "private.local/meta-migration:latest"]
        scene.migrate(*image, "-o", "plan", code=1)
        there_and_back(scene, *image, "-p", "regcred")


@case
def new_image_first() -> None:
    with Scene("new-first", shape("milvus-3.2.18", image=NEW)) as scene:
        scene.migrate()
        assert scene.state() == "run done"
        assert "give the old image of Milvus with -w" in scene.migrate("-o", "rollback", code=1)
        scene.migrate("-o", "rollback", "-w", OLD)
        assert scene.images() == {OLD}


@case
def killed() -> None:
    """Killed in every step, the script goes on when it is run again."""
    with Scene("killed", shape("milvus-3.2.18")) as scene:
        before = scene.digest()
        for mark in ("1/4  Look", "-plan\n", "2/4  Stop", "-upgrade\n", "migrates|run", "4/4  Start"):
            scene.kill_at(mark)
        scene.migrate()
        assert scene.state() == "run done" and scene.images() == {NEW}
        for mark in ("2/4  Stop", "-rollback\n", "4/4  Start"):
            scene.kill_at(mark, "-o", "rollback")
        scene.migrate("-o", "rollback")
        assert scene.digest() == before and scene.images() == {OLD}


@case
def node_cut_off() -> None:
    """The node of the pod that writes does not answer any more."""
    if os.environ.get("OWN_CLUSTER") != "yes":
        raise Skipped("cluster of our own, whose nodes can be cut off")
    with Scene("cut-off", shape("milvus-3.2.18", node="node2"), etcd_node="node1") as scene:
        process = scene.start("-m", "milvusdb/meta-migration:slow", MIGRATE_LOST_TIMEOUT="5", MIGRATE_SIGN_OF_LIFE="5")
        scene.read_until(process, "slow: sleeping")
        subprocess.run(["ip", "link", "set", "node2", "down"], check=True)
        try:
            text, _ = process.communicate(timeout=180)
        finally:
            subprocess.run(["ip", "link", "set", "node2", "up"], check=True)
        assert process.returncode == 2 and "has not answered" in text and "--force" in text, text


@case
def quota() -> None:
    with Scene("quota", shape("milvus-3.2.18")) as scene:
        hard = {"hard": {"limits.memory": "2Gi", "requests.cpu": "2"}}
        scene.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": hard})
        refused = scene.migrate(code=1)
        assert "quota" in refused, refused
        there = scene.migrate("--resources", "requests.cpu=100m,limits.memory=256Mi", "-o", "plan")
        assert "would go through" in there, there


@case
def restricted() -> None:
    with Scene("restricted", shape("milvus-3.2.18")) as scene:
        scene.kubectl("label", "namespace", scene.namespace, "pod-security.kubernetes.io/enforce=restricted")
        # The stand-in's own pods were there before; our pods are admitted.
        assert "would go through" in scene.migrate("-o", "plan")


@case
def jobs() -> None:
    """deploy/manifests, but for the names of image and etcd as they are."""
    with Scene("jobs", shape("milvus-3.2.18")) as scene:
        before = scene.digest()
        scene.scale(0)
        for name in ("serviceaccount", "configmap", "volume"):
            scene.apply_file(REPOSITORY / f"deploy/manifests/{name}.yaml")
        for name, state in (("plan", "none"), ("upgrade", "run done"), ("verify", "run done"), ("rollback", "none")):
            scene.run_job(name)
            assert scene.state() == state, f"{name}: {scene.state()}"
        assert scene.digest() == before


class Skipped(Exception):
    """It cannot run here."""


def main() -> int:
    chosen = [(name, run) for name, run in CASES if len(sys.argv) < 2 or any(part in name for part in sys.argv[1:])]
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


if __name__ == "__main__":
    sys.exit(main())
