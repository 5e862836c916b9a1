"""Whole migrations and rollbacks, without anything going wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from cluster import NAMESPACE
from etcd import REPOSITORY
from harness import NEW_IMAGE, OLD_IMAGE, Case, shared


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
        self.assertEqual(self.cluster.pods_run, ["plan", "backup", "run", "verify"])
        self.assertIn("waiting for sessions to end", result.text)
        for number in range(1, 8):
            self.assertIn(f"  {number}/7  ", result.text)
        self._inspect_what_is_left()
        self.script("-o", "status")

        changes = len(self.changes())
        again = self.script()
        self.assertIn("Nothing to do", again.text)
        self.assertEqual(len(self.changes()), changes)

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

        self.script("-o", "cleanup")
        self.assertEqual(self.cluster.api.rights - rights_of_the_manual(), set())
        for kind in ("pods", "configmaps", "persistentvolumeclaims"):
            self.assertEqual(self.cluster.store.list(kind, NAMESPACE), [])

    def _volume(self) -> Path:
        return self.cluster.volume("milvus-meta-migration-backup-my-release")

    def _inspect_what_is_left(self) -> None:
        record = self.record()
        self.assertEqual(record["replicas"].split(), ["my-release-milvus-proxy:2", "my-release-milvus-querynode:3", "my-release-milvus-rootcoord:1"])
        self.assertIn(f"deployment/my-release-milvus-proxy proxy {OLD_IMAGE}\n", record["images"])
        backup = self._volume() / "migration.bak"
        subprocess.run([shared() / "meta-migration", "inspect", backup], check=True, capture_output=True)
        for pod in self.cluster.store.list("pods", NAMESPACE):
            context = pod["spec"]["securityContext"]
            self.assertEqual((context["runAsNonRoot"], context["fsGroup"]), (True, 1000))
            container = pod["spec"]["containers"][0]
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            self.assertEqual(container["command"], ["/bin/sh"])
        run = self.cluster.store.get("pods", NAMESPACE, "milvus-meta-migration-my-release-run")
        # The longest grace period of Milvus, and the lease of its sessions.
        self.assertEqual(run["spec"]["containers"][0]["env"][0]["value"], "100s")
        self.assertTrue(run["spec"]["containers"][0]["args"][1].endswith("exec /milvus/bin/meta-migration -config=/milvus/configs/meta/migration.yaml"))
        self.assertNotIn("annotations", json.dumps(self.cluster.store.list("persistentvolumeclaims", NAMESPACE)))

    def test_deleting_leftovers_keeps_the_way_back(self) -> None:
        result = self.script("-d", "true")
        self.assert_migrated()
        self.assertEqual(self.cluster.store.list("pods", NAMESPACE), [])
        names = [item["metadata"]["name"] for item in self.cluster.store.list("configmaps", NAMESPACE)]
        self.assertEqual(names, ["milvus-deploy-replicas-my-release"])
        self.assertIn("stay", result.text)
        self.rollback("-d", "true")
        self.assert_restored()
        self.assertEqual(self.cluster.store.list("pods", NAMESPACE), [])
        self.assertTrue((self._volume() / "migration.bak").exists())

    def test_looking_changes_nothing(self) -> None:
        plan = self.script("-o", "plan")
        self.assertRegex(plan.text, r"\d+ puts")
        status = self.script("-o", "status")
        self.assertIn("by-dev/meta", status.text)
        self.assert_untouched()
        self.assertEqual(self.record(), {})
        self.assertEqual(self.cluster.store.list("persistentvolumeclaims", NAMESPACE), [])
