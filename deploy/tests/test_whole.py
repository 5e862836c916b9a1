"""Whole migrations and rollbacks, without anything going wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from cluster import NAMESPACE
from etcd import REPOSITORY
from harness import MILVUS_YAML, NEW_IMAGE, OLD_IMAGE, Case, shared, workload

OURS = "app.kubernetes.io/name=milvus-meta-migration"


def rights_of_the_manual() -> set[tuple[str, str]]:
    """Verb and resource of each rule of the Role in docs/kubernetes.md."""
    text = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    rules = re.findall(r"resources: \[([^]]*)\], verbs: \[([^]]*)\]", text)
    return {(verb, resource) for resources, verbs in rules for resource in resources.split(", ") for verb in verbs.split(", ")}


class Whole(Case):
    def test_migrate_then_back_then_again(self) -> None:
        self.cluster.new_milvus_writes = True
        # Long enough for the backup's pod to see them, on a busy machine, too.
        self.cluster.session_seconds = 6
        result = self.script()
        self.cluster.session_seconds = 1.2
        self.assert_migrated(metadata=False)
        self.assertEqual(sorted(self.cluster.pods_run[:2]), ["image", "plan"])
        self.assertEqual(self.cluster.pods_run[2:], ["upgrade"])
        self.assertIn("waiting for sessions to end", result.text)
        self.assertIn("complete and consistent: Milvus 2.2.16 can be started on it", result.text)
        for number in range(1, 5):
            self.assertIn(f"  {number}/4  ", result.text)
        self.assertIn(
            "helm upgrade my-release milvus/milvus --namespace milvus-ns --version 3.2.18 --reuse-values "
            "--set image.all.repository=milvusdb/milvus --set image.all.tag=v2.2.16",
            result.text,
        )
        self.assertIn("Charts from 4.0.0 on ignore metadata.rootPath", result.text)
        self.assertIn("authorizationEnabled: true", result.text)
        self._inspect_what_is_left()
        self.script("-o", "status")

        before = self.workloads()
        again = self.script()
        self.assertIn("Nothing to do", again.text)
        self.assertEqual(self.workloads(), before)

        self.assertIn("datacoord-meta/channel-removal/new", self.etcd.entries())
        back = self.told(result, "The way back")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()
        self.assertIn("Nothing to do", self.rollback().text)

        # Milvus 2.1 has changed its metadata since: a new backup is needed, and the old one is kept.
        self.etcd.put("by-dev/meta/datacoord-meta/channel-removal/old", "written by 2.1")
        self.cluster.new_milvus_writes = False
        changed = self.etcd.digest()
        self.cluster.starts.clear()
        self.script()
        self.assertEqual([start.images for start in self.cluster.starts], [{NEW_IMAGE}])
        files = sorted(path.name for path in self._volume().iterdir())
        self.assertEqual([name for name in files if ".before-rollback-" not in name], ["migration.bak", "migration.bak.1"])
        self.rollback()
        self.assertEqual(self.etcd.digest(), changed)

        # Back: nothing is needed any more.
        self.script("-o", "cleanup")
        self.assertEqual(self.cluster.api.rights - rights_of_the_manual(), set())
        self.assert_nothing_of_ours()

    def assert_nothing_of_ours(self) -> None:
        self.assertEqual(self.cluster.store.list("pods", NAMESPACE, OURS), [])
        self.assertEqual(self.record(), {})
        self.assertEqual(self.cluster.store.list("persistentvolumeclaims", NAMESPACE), [])

    def test_the_backup_stays_until_the_way_back_is_given_up(self) -> None:
        early = self.script("-o", "complete", code=1)
        self.assertIn("nothing to complete", early.text)
        self.script()
        refused = self.script("-o", "cleanup", code=1)
        self.assertIn("the way back may still be needed", refused.text)
        # Helm brings the old image back, to one workload.
        self.set_image("proxy", OLD_IMAGE)
        for operation in ("cleanup", "complete"):
            refused = self.script("-o", operation, code=1)
            self.assertIn("OLD image on metadata that is migrated: deployment/my-release-milvus-proxy", refused.text)
        status = self.script("-o", "status")
        self.assertIn(f"OLD image on metadata that is migrated: deployment/my-release-milvus-proxy {OLD_IMAGE}", status.text)
        # The way on that it tells: the images alone, without stopping anything.
        self.told(status, "go on where it ended")
        self.assert_migrated()
        completed = self.script("-o", "complete")
        self.assertIn("etcdctl compact", completed.text)
        self.assertEqual(self.record(), {})
        self.script("-o", "cleanup")
        self.assert_nothing_of_ours()
        self.assertEqual(self.etcd.digest(), self.new_digest)

    def set_image(self, component: str, image: str) -> None:
        containers = {"containers": [{"name": component, "image": image}]}
        patch = {"spec": {"template": {"spec": containers}}}
        self.cluster.store.patch("deployments", NAMESPACE, f"my-release-milvus-{component}", patch, strategic=True)
        self.cluster.wait_until_settled()

    def test_who_put_the_new_image_in_first_is_helped(self) -> None:
        # It does not start on metadata of 2.1, so it has written nothing.
        self.cluster.crash_images.add(NEW_IMAGE)
        for component in ("rootcoord", "querynode", "proxy"):
            self.set_image(component, NEW_IMAGE)
        status = self.script("-o", "status")
        self.assertIn("NEW image on metadata of 2.1", status.text)
        self.cluster.crash_images.clear()
        self.script()
        self.assertEqual(self.etcd.digest(), self.new_digest)
        self.assertEqual(self.workloads()["my-release-milvus-proxy"], (2, (f"proxy={NEW_IMAGE}",)))
        # Which image was there before, nobody can know.
        refused = self.rollback(code=1)
        self.assertIn("give the old image of Milvus with -w", refused.text)
        self.rollback("-w", OLD_IMAGE)
        self.assertEqual(self.etcd.digest(), self.old_digest)
        self.assertEqual(self.workloads(), self.before)

    def _volume(self) -> Path:
        return self.cluster.volume("milvus-meta-migration-backup-my-release")

    def _inspect_what_is_left(self) -> None:
        record = self.record()
        self.assertEqual(record["replicas"].split(), ["my-release-milvus-proxy:2", "my-release-milvus-querynode:3", "my-release-milvus-rootcoord:1"])
        self.assertIn(f"deployment/my-release-milvus-proxy proxy {OLD_IMAGE}\n", record["images"])
        backup = self._volume() / "migration.bak"
        subprocess.run([shared() / "meta-migration", "inspect", backup], check=True, capture_output=True)
        for pod in self.cluster.store.list("pods", NAMESPACE, OURS):
            self.assertEqual(pod["metadata"]["annotations"]["linkerd.io/inject"], "disabled")
            context = pod["spec"]["securityContext"]
            self.assertEqual((context["runAsNonRoot"], context["fsGroup"]), (True, 1000))
            container = pod["spec"]["containers"][0]
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            self.assertEqual(container["command"], ["/bin/sh", "-c"])
        upgrade = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-my-release-upgrade")["spec"]
        # The longest grace period of Milvus, and the lease of its sessions.
        self.assertEqual(upgrade["containers"][0]["env"][0]["value"], "100s")
        self.assertIn({"name": "milvus-config", "configMap": {"name": "my-release-milvus"}}, upgrade["volumes"])
        self.assertEqual(upgrade["containers"][0]["resources"], {"requests": {"cpu": "100m", "memory": "256Mi"}})
        image = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-my-release-image")["spec"]
        self.assertEqual((image["containers"][0]["image"], image["serviceAccountName"]), (NEW_IMAGE, "milvus"))
        self.assertNotIn("annotations", json.dumps(self.cluster.store.list("persistentvolumeclaims", NAMESPACE)))

    def test_deleting_leftovers_keeps_the_way_back(self) -> None:
        result = self.script("-d", "true")
        self.assert_migrated()
        self.assertEqual(self.cluster.store.list("pods", NAMESPACE, OURS), [])
        self.assertIn("stay", result.text)
        # Any word will do.
        self.rollback("-d", "yes")
        self.assert_restored()
        self.assertEqual(self.cluster.store.list("pods", NAMESPACE, OURS), [])
        self.assertTrue((self._volume() / "migration.bak").exists())

    def test_looking_changes_nothing(self) -> None:
        plan = self.script("-o", "plan")
        self.assertRegex(plan.text, r"\d+ puts")
        status = self.script("-o", "status")
        self.assertIn("by-dev/meta", status.text)
        self.assert_untouched()
        self.assertEqual(self.record(), {})
        self.assertEqual(self.cluster.store.list("persistentvolumeclaims", NAMESPACE), [])


class Empty(Case):
    """A Milvus without collections."""

    def setUp(self) -> None:
        super().setUp()
        self.etcd.delete_all()
        self.etcd.put("by-dev/meta/root-coord/credential/users/root", "{}")
        self.cluster.restart_sessions()

    def test_only_the_images_are_changed_and_nothing_is_stopped(self) -> None:
        result = self.script()
        self.assertIn("nothing is stopped", result.text)
        self.assertEqual(self.workloads()["my-release-milvus-proxy"], (2, (f"proxy={NEW_IMAGE}",)))
        self.assertEqual([body for method, path, body in self.cluster.api.requests if '"replicas": 0' in body], [])
        self.assertNotIn("upgrade", self.cluster.pods_run)
        self.assertIn("Nothing to do", self.script().text)
        self.rollback()
        self.assertEqual(self.workloads(), self.before)
        self.script()
        self.script("-o", "complete")
        self.script("-o", "cleanup")


class SecondRoot(Case):
    """This Milvus is not under by-dev, where another one's metadata is."""

    configuration = {"milvus.yaml": MILVUS_YAML.replace("by-dev", "prod")}

    def install(self) -> None:
        self.cluster.root = "prod/meta"
        for key, value in self.etcd.entries().items():
            self.etcd.put_bytes(f"prod/meta/{key}", value)
        super().install()

    def test_the_root_is_that_of_the_mounted_configuration(self) -> None:
        refused = self.script("-r", "by-dev", code=1)
        self.assertRegex(refused.text, r'ROOT_PATH: "by-dev", but .*milvus.yaml:\d+: etcd.rootPath: "prod"')
        self.script()
        self.assertEqual(self.etcd.digest(), self.old_digest, "that of somebody else")
        self.assertEqual(self.etcd.digest("prod/meta/"), self.new_digest)
        self.assertEqual(self.record()["metaRoot"], "prod/meta")
        self.rollback()
        self.assertEqual(self.etcd.digest("prod/meta/"), self.old_digest)


class Unmounted(Case):
    """Nothing tells the root but what is given; the components tell where they are."""

    configuration = {"other.yaml": ""}

    def test_the_wrong_root_is_refused_with_the_right_one(self) -> None:
        self.etcd.put("other/meta/root-coord/credential/users/root", "{}")
        elsewhere = ["-e", self.etcd.address]
        refused = self.script(*elsewhere, "-r", "other", code=1)
        self.assertIn("no component is registered under other/meta", refused.text)
        self.assertIn("These addresses are under by-dev/meta", refused.text)
        self.assert_untouched()
        self.script(*elsewhere)
        self.assert_migrated()


class Mysql(Case):
    """The catalog is not in etcd."""

    configuration = {"milvus.yaml": MILVUS_YAML.replace("type: etcd", "type: mysql")}

    def test_it_is_refused_with_milvus_up(self) -> None:
        refused = self.script(code=1)
        self.assertIn("metastore.type: found \"mysql\", expected etcd", refused.text)
        self.assert_untouched()


class WayBackCloses(Case):
    """A configuration with which the new Milvus would soon collect what only the old metadata names."""

    configuration = {
        "milvus.yaml": MILVUS_YAML.replace("Collection: false", "Collection: true").replace("indexCoord: {gc: {interval: 604800}}\n", "")
    }

    def test_it_is_asked_for_before_anything_is_stopped(self) -> None:
        refused = self.script(code=1)
        self.assertIn("dataCoord.enableGarbageCollection: false (now true)", refused.text)
        self.assertIn("indexCoord.gc.interval: 604800 (not set, so 600)", refused.text)
        self.assertIn("in place, in Milvus's own configuration: dataCoord.compaction.enableAutoCompaction is false", refused.text)
        self.assertIn("--version 3.2.18 --reuse-values --set dataCoordinator.enableGarbageCollection=false", refused.text)
        self.assert_untouched()
        # Looking is not refused.
        self.assertIn("(now true)", self.script("-o", "plan").text)
        self.script("--keep-way-back", "false")
        self.assert_migrated()


class Chart4(Case):
    """As chart 4.x mounts it: default.yaml, and user.yaml over it."""

    configuration = {"default.yaml": MILVUS_YAML, "user.yaml": "etcd:\n  rootPath: by-dev\n"}

    def install_milvus(self) -> None:
        item = workload("mixcoord", "mixcoord", 1, mixcoord=OLD_IMAGE)
        item["metadata"]["labels"]["helm.sh/chart"] = "milvus-4.1.36"
        mounts = item["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        mounts[:1] = [{"name": "milvus-config", "mountPath": f"/milvus/configs/{name}", "subPath": name} for name in self.configuration]
        self.cluster.add("Deployment", "my-release-milvus-mixcoord", **item)

    def test_migrate_and_back(self) -> None:
        result = self.script()
        self.assert_migrated()
        self.assertIn("--version 4.1.36", result.text)
        self.assertNotIn("Charts from 4.0.0", result.text)
        self.rollback()
        self.assert_restored()
