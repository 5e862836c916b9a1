"""What every test of migrate.sh has: an etcd with a Milvus's metadata, a cluster with that Milvus, and the script."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import etcd as etcds
from apiserver import Fault
from cluster import NAMESPACE, Cluster
from etcd import Etcd
from store import Object

SCRIPT = etcds.REPOSITORY / "deploy" / "migrate.sh"
OLD_IMAGE = "milvusdb/milvus:v2.1.0"
NEW_IMAGE = "milvusdb/milvus:v2.2.16"
TOOL_IMAGE = "ghcr.io/meta-migration/meta-migration:1.0.0-rc.1"
INSTANCE = "my-release"
SECONDS = 180


def tool() -> Path:
    """The binary under test."""
    if given := os.environ.get("META_MIGRATION_BIN"):
        return Path(given).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", etcds.REPOSITORY / "target"))
    return (target / "debug" / "meta-migration").resolve()


def prepare(folder: Path) -> None:
    """What all tests can share: a copy of the tool that any user may run, the sample as a data directory, its digests."""
    folder.chmod(0o755)
    shutil.copy(tool(), folder / "meta-migration")
    (folder / "meta-migration").chmod(0o755)
    data = etcds.restore(folder / "data")
    (folder / "golden").mkdir()
    etcd = Etcd(folder / "golden", data)
    try:
        (folder / "old.digest").write_text(etcd.digest())
        command = [folder / "meta-migration", "run", "--source-version=2.1.0", "--target-version=2.2.16", "--no-backup"]
        subprocess.run([*command, f"--endpoints={etcd.address}"], check=True, capture_output=True)
        (folder / "new.digest").write_text(etcd.digest())
    finally:
        etcd.stop()


def shared() -> Path:
    """The folder that `prepare` has filled: that of run.py, or one of our own."""
    if "MIGRATE_TEST_SHARED" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="migrate-shared-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        prepare(folder)
        os.environ["MIGRATE_TEST_SHARED"] = str(folder)
    return Path(os.environ["MIGRATE_TEST_SHARED"])


@dataclass
class Result:
    """How a run of the script ended."""

    code: int
    text: str

    def next_command(self, title: str) -> list[str]:
        """The arguments of a command that the script tells people to run."""
        found = re.search(rf"{re.escape(title)}:\s+(\S.*)", self.text)
        assert found, f"no '{title}' in:\n{self.text}"
        # As a shell would read it.
        words = subprocess.run(["bash", "-c", f"printf '%s\\n' {found[1]}"], check=True, capture_output=True, text=True)
        return words.stdout.splitlines()[1:]


# As chart 3.x renders it, as far as this is about metadata.
MILVUS_YAML = """etcd:
  endpoints:
    - my-release-etcd:2379
  rootPath: by-dev
  metaSubPath: meta
metastore:
  type: etcd
common:
  security:
    authorizationEnabled: true
dataCoord:
  enableGarbageCollection: false
  compaction: {enableAutoCompaction: false}
indexCoord: {gc: {interval: 604800}}
"""
CONFIGURATION = "my-release-milvus"


def workload(name: str, component: str | None, replicas: int, **containers: str) -> Object:
    """A Deployment or StatefulSet as the Milvus chart labels it; containers: name=image, _ for -."""
    labels = {"app.kubernetes.io/instance": INSTANCE, "app.kubernetes.io/name": "milvus", "helm.sh/chart": "milvus-3.2.18"}
    if component:
        labels["component"] = component
    mounts = [{"name": "milvus-config", "mountPath": "/milvus/configs/milvus.yaml", "subPath": "milvus.yaml", "readOnly": True}]
    mounts.append({"name": "tools", "mountPath": "/milvus/tools"})
    listed = [{"name": key.replace("_", "-"), "image": image, "volumeMounts": mounts} for key, image in containers.items()]
    volumes = [{"name": "milvus-config", "configMap": {"name": CONFIGURATION}}, {"name": "tools", "emptyDir": {}}]
    spec = {"containers": listed, "terminationGracePeriodSeconds": 10, "volumes": volumes, "serviceAccountName": "milvus"}
    return {
        "metadata": {"labels": labels, "annotations": {"test/runs": "milvus"}},
        "spec": {"replicas": replicas, "template": {"spec": spec}},
    }


def not_milvus(item: Object) -> Object:
    item["metadata"]["annotations"] = {}
    return item


class Case(unittest.TestCase):
    """One Milvus of three Deployments, an Attu with the same labels, and other things that came with the chart."""

    instance = INSTANCE
    target = "2.2.16"
    tls: dict[str, Path] | None = None
    configuration = {"milvus.yaml": MILVUS_YAML}

    def setUp(self) -> None:
        base = shared()
        self.old_digest, self.new_digest = ((base / f"{which}.digest").read_text() for which in ("old", "new"))
        self.folder = Path(tempfile.mkdtemp(prefix="migrate-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.make_tls()
        self.etcd = Etcd(self.folder, base / "data", self.tls)
        self.addCleanup(self.etcd.stop)
        self.cluster = Cluster(self.folder, self.etcd, base / "meta-migration")
        self.addCleanup(self.cluster.stop)
        self.cluster.watch_pods()
        self.install()
        self.cluster.wait_until_settled()
        self.cluster.starts.clear()
        self.before = self.workloads()
        self._write_kubeconfig()
        self.process: subprocess.Popen[str] | None = None

    def make_tls(self) -> None:
        """For those who want it."""

    def install(self) -> None:
        add = self.cluster.add
        add("ConfigMap", CONFIGURATION, data=self.configuration)
        self.install_milvus()
        add("Deployment", "my-release-attu", **not_milvus(workload("attu", "attu", 1, attu="zilliz/attu:v2.1.0")))
        add("Deployment", "my-release-mysql", spec=workload("x", None, 1, mysql="mysql:8")["spec"])
        self.install_etcd()

    def install_milvus(self) -> None:
        for name, replicas in (("rootcoord", 1), ("querynode", 3), ("proxy", 2)):
            self.cluster.add("Deployment", f"my-release-milvus-{name}", **workload(name, name, replicas, **{name: OLD_IMAGE}))

    def install_etcd(self) -> None:
        labels = {"app.kubernetes.io/instance": self.instance, "app.kubernetes.io/name": "etcd"}
        self.cluster.add("Service", "my-release-etcd", metadata={"labels": labels}, spec={"clusterIP": "10.0.0.9"})
        self.cluster.add("Service", "my-release-etcd-headless", metadata={"labels": labels}, spec={"clusterIP": "None"})
        self.cluster.names["my-release-etcd:2379"] = self.etcd.address

    def _write_kubeconfig(self) -> None:
        (self.folder / "kubeconfig").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
            f'clusters: [{{name: c, cluster: {{server: "{self.cluster.url}"}}}}]\n'
            "contexts: [{name: test, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
        )

    # --- Running the script ---

    impatient = {"MIGRATE_START_TIMEOUT": "2", "MIGRATE_READY_TIMEOUT": "2"}
    """For tests in which a pod never starts, or Milvus never gets ready."""

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        own = {"KUBECONFIG": str(self.folder / "kubeconfig"), "HOME": str(self.folder), "MIGRATE_POLL": "0.4"}
        own |= {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            ["bash", SCRIPT, *arguments],
            env=own | environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=etcds.dies_with_us,
            start_new_session=True,
        )
        return self.process

    def finish(self) -> Result:
        assert self.process
        try:
            text, _ = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            text, _ = self.process.communicate()
            self.fail(f"the script does not end:\n{text}")
        return Result(self.process.returncode, text)

    def usual(self) -> list[str]:
        return ["-i", self.instance, "-n", NAMESPACE, "-s", "2.1.0", "-t", self.target]

    def script(self, *arguments: str, code: int = 0, **environment: str) -> Result:
        """Runs it with the usual arguments and these, and expects this exit code."""
        self.start(*self.usual(), *arguments, **environment)
        result = self.finish()
        self.assertEqual(result.code, code, result.text)
        return result

    def rollback(self, *arguments: str, code: int = 0) -> Result:
        return self.script(*arguments, "-o", "rollback", code=code)

    def told(self, result: Result, title: str) -> Result:
        """Runs the command that a failed run has told to run next."""
        self.start(*result.next_command(title))
        return self.finish()

    def kill_script(self) -> None:
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)

    def fault(self, method: str, path: str, action: Callable[[], None] | None = None, **rest: object) -> None:
        self.cluster.api.faults.append(Fault(method, path, action, **rest))  # type: ignore[arg-type]

    # --- What there is ---

    def workloads(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Replicas and images of everything, also of what is not Milvus."""
        found = {}
        for plural in ("deployments", "statefulsets"):
            for item in self.cluster.store.list(plural, NAMESPACE):
                containers = item["spec"]["template"]["spec"]["containers"]
                images = tuple(f"{container['name']}={container['image']}" for container in containers)
                found[item["metadata"]["name"]] = (item["spec"]["replicas"], images)
        return found

    def record(self) -> dict[str, str]:
        found = self.cluster.store.find("configmaps", NAMESPACE, f"milvus-deploy-replicas-{self.instance}")
        return found["data"] if found else {}

    def changes(self) -> list[tuple[str, str]]:
        """What has been changed in the cluster; asking for rights is none."""
        return [(method, path) for method, path, _ in self.cluster.api.requests if "accessreviews" not in path]

    def assert_others_untouched(self) -> None:
        for item in self.cluster.store.list("deployments", NAMESPACE):
            if item["metadata"].get("annotations", {}).get("test/runs") != "milvus":
                self.assertEqual(item["metadata"]["generation"], 1, item["metadata"]["name"])

    def assert_starts_were_right(self) -> None:
        """No Milvus was ever started on metadata that is not its own."""
        for start in self.cluster.starts:
            expected = self.old_digest if start.images == {OLD_IMAGE} else self.new_digest
            self.assertEqual(start.digest, expected, f"{start.images} started on other metadata")

    def assert_untouched(self) -> None:
        self.assertEqual(self.workloads(), self.before)
        self.assertEqual(self.cluster.starts, [])
        self.assertEqual(self.etcd.digest(), self.old_digest)

    def assert_migrated(self, metadata: bool = True) -> None:
        expected = {}
        for name, (replicas, images) in self.before.items():
            expected[name] = (replicas, tuple(image.replace(OLD_IMAGE, NEW_IMAGE) for image in images))
        self.assertEqual(self.workloads(), expected)
        if metadata:
            self.assertEqual(self.etcd.digest(), self.new_digest)
        self.assert_others_untouched()
        self.assert_starts_were_right()

    def state(self) -> str:
        """The state of the metadata, as the tool names it."""
        history = self.etcd.entries().get("meta-migration/history")
        return "none" if history is None else f"{json.loads(history)['operation']} {json.loads(history)['state']}"

    def assert_restored(self) -> None:
        self.assertEqual(self.workloads(), self.before)
        self.assertEqual(self.etcd.digest(), self.old_digest)
        self.assert_others_untouched()
        self.assert_starts_were_right()
