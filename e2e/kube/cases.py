"""migrate.sh and the manifests on a real Kubernetes: cases.py [PART OF A CASE'S NAME…]

Uses kubectl and KUBECONFIG as they are; each case has a namespace of its own, which goes when it passes. With OWN_CLUSTER=yes nodes
may be cut off. Exit codes: 0 all passed, 1 something failed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from runner import Skipped, case, main
from scene import INSTANCE, KEEPS_WAY_BACK, NEW, OLD, REPOSITORY, TOOL, Scene, counted, hardened, shape
from webhook import Webhook


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
        image = ["-m", f"private.local/{TOOL.partition('/')[2]}"]
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
        for mark in ("1/4  Look", "-plan\n", "2/4  Stop", "-upgrade\n", "4/4  Start"):
            scene.kill_at(mark)
        scene.migrate()
        assert scene.state() == "run done" and scene.images() == {NEW}
        for mark in ("2/4  Stop", "-rollback\n", "4/4  Start"):
            scene.kill_at(mark, "-o", "rollback")
        scene.migrate("-o", "rollback")
        assert scene.digest() == before and scene.images() == {OLD}


@case
def node_cut_off() -> None:
    """The node of the pod that writes does not answer any more: the migration ends on another one, whatever the first still tries."""
    if os.environ.get("OWN_CLUSTER") != "yes":
        raise Skipped("cluster of our own, whose nodes can be cut off")
    with Scene("cut-off", shape("milvus-3.2.18"), etcd_node="node1") as scene:
        before = scene.digest()
        # A volume that every node reaches.
        shared = ["-c", "shared"]
        with scene.cordoned("node1"):
            process = scene.start("-m", f"{TOOL}-held", *shared, MIGRATE_LOST_TIMEOUT="5", MIGRATE_SIGN_OF_LIFE="5")
            text = scene.read_until(process, "held: in the middle")
        with cut_off("node2"):
            text += process.communicate(timeout=180)[0]
            assert process.returncode == 2 and "has not answered" in text and "possibly half written" in text, text
            [force] = re.findall(r"kubectl --namespace \S+ (delete pod \S+ --force --grace-period=0)", text)
            scene.kubectl(*force.split())
            scene.migrate(*shared)
            assert scene.state() == "run done" and scene.images() == {NEW}
            after = scene.digest()
        # The first one goes on, or its node ends it: whichever comes first.
        scene.put("wake", "yes")
        scene.wait_until("the first pod's process ends", lambda: subprocess.run(["pgrep", "-f", "/milvus/bin/real upgrade"], stdout=subprocess.DEVNULL).returncode == 1)
        assert scene.digest() == after and scene.state() == "run done"
        scene.migrate(*shared, "-o", "rollback")
        assert scene.digest() == before


@contextmanager
def cut_off(node: str) -> Iterator[None]:
    subprocess.run(["ip", "link", "set", node, "down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", node, "up"], check=True)


@case
def quota() -> None:
    """A namespace that counts what every pod may take."""
    with Scene("quota", shape("milvus-3.2.18"), pods=counted) as scene:
        hard = {"hard": {"limits.memory": "2Gi", "requests.cpu": "2"}}
        scene.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": hard})
        refused = scene.migrate(code=1)
        assert "must specify limits.memory" in refused and "--resources" in refused and scene.images() == {OLD}, refused
        there_and_back(scene, "--resources", "requests.cpu=100m,limits.memory=256Mi")


@case
def restricted() -> None:
    """Pod Security at its strictest, from the first pod to the last."""
    with Scene("restricted", shape("milvus-3.2.18"), level="restricted", pods=hardened) as scene:
        there_and_back(scene)


@case
def sidecars() -> None:
    """Something puts another container into every pod, ours too: one that never ends by itself."""
    if os.environ.get("OWN_CLUSTER") != "yes":
        raise Skipped("cluster of our own, whose API server reaches a webhook of this process")
    sidecar = {"name": "mesh", "image": "busybox:1.36", "command": ["sh", "-c", "trap exit TERM; while true; do sleep 1; done"]}
    with Scene("sidecars", shape("milvus-3.2.18")) as scene, Webhook(scene.namespace, {"op": "add", "path": "/spec/containers/0", "value": sidecar}):
        there_and_back(scene)


@case
def old_by_helm() -> None:
    """Helm is not told, and its next upgrade brings 2.1 back, onto migrated metadata: the tripwires keep it from starting."""
    with Scene("old-by-helm", install=by_helm(3, CHART)) as scene:
        text = scene.migrate()
        migrated = scene.digest()
        scene.helm(3, "upgrade", INSTANCE, str(CHART), "--reuse-values")
        scene.wait_for_restarts("rootcoord", 2)
        assert scene.digest() == migrated, "2.1 has changed migrated metadata"
        told = scene.migrate("-o", "status")
        assert f"OLD image on metadata that is migrated: deployment/my-release-milvus-rootcoord {OLD}" in told, told
        assert "start the new Milvus" in scene.migrate("-o", "cleanup", code=1)
        # What it says to do: run it again.
        scene.migrate()
        assert scene.images() == {NEW} and scene.digest() == migrated
        scene.helm(3, *told_to_helm(text, CHART))
        scene.wait_ready()
        assert scene.images() == {NEW} and scene.digest() == migrated


@case
def way_back_closes() -> None:
    """Milvus's configuration would close the way back: refused, with what Helm has to be told; then it is not."""
    with Scene("closes", install=by_helm(3, CHART, dataCoordinator={}, indexCoordinator={})) as scene:
        refused = scene.migrate(code=1)
        assert "dataCoord.enableGarbageCollection: false (now true)" in refused and "SCALED DOWN" not in refused, refused
        assert scene.state() == "none" and scene.images() == {OLD}
        scene.helm(3, *told_to_helm(refused, CHART), "--wait")
        scene.wait_ready()
        scene.migrate()
        assert scene.state() == "run done" and scene.images() == {NEW}


@case
def helm_3_afterwards() -> None:
    helm_afterwards(3, CHART)


@case
def helm_4_afterwards() -> None:
    helm_afterwards(4, CHART)


@case
def real_charts() -> None:
    """MILVUS_CHARTS=FOLDER: charts of Milvus, unpacked, each in a folder of its own with its dependencies."""
    folder = os.environ.get("MILVUS_CHARTS")
    if not folder:
        raise Skipped("charts of Milvus: MILVUS_CHARTS")
    for chart in sorted(Path(folder).iterdir()):
        for version in (3, 4):
            helm_afterwards(version, chart)


def helm_afterwards(version: int, chart: Path) -> None:
    """After there, back and there again, what migrate.sh prints for Helm changes nothing, and later upgrades need no force."""
    with Scene(f"helm-{version}-{chart.name.replace('.', '-')}", install=by_helm(version, chart)) as scene:
        scene.migrate()
        scene.migrate("-o", "rollback")
        text = scene.migrate()
        generations = scene.generations()
        scene.helm(version, *told_to_helm(text, chart))
        scene.wait_ready()
        assert scene.images() == {NEW} and scene.generations() == generations, (generations, scene.generations())
        scene.helm(version, "upgrade", INSTANCE, str(chart), "--reuse-values", "--set", "proxy.replicas=2,replicas.proxy=2")
        scene.wait_ready()
        assert scene.images() == {NEW}


CHART = REPOSITORY / "e2e/kube/chart"


# Everything but Milvus itself is elsewhere; what keeps the way back open is in values of charts 3.x, in a file from 4.x on.
VALUES = {
    "image": {"all": {"repository": OLD.partition(":")[0], "tag": OLD.partition(":")[2]}},
    "readinessProbe": {"initialDelaySeconds": 1, "periodSeconds": 2},
    "etcd": {"enabled": False}, "externalEtcd": {"enabled": True, "endpoints": ["my-release-etcd:2379"]},
    "minio": {"enabled": False}, "externalS3": {"enabled": True, "host": "nowhere"},
    "pulsar": {"enabled": False}, "externalPulsar": {"enabled": True, "host": "nowhere"},
    "dataCoordinator": KEEPS_WAY_BACK["dataCoord"], "indexCoordinator": KEEPS_WAY_BACK["indexCoord"],
    "extraConfigFiles": {"user.yaml": json.dumps(KEEPS_WAY_BACK)},
}


def by_helm(version: int, chart: Path, **values: object) -> Callable[[Scene], None]:
    def install(scene: Scene) -> None:
        scene.helm(version, "install", INSTANCE, str(chart), "--values", "-", text=json.dumps({**VALUES, **values}))

    return install


def told_to_helm(text: str, chart: Path) -> list[str]:
    """The command that migrate.sh prints, with a chart of this machine in the place of the repository's."""
    [command] = re.findall(r"^  helm (upgrade .*)$", text, re.MULTILINE)
    return [str(chart) if word == "milvus/milvus" else word for word in command.split()]


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
