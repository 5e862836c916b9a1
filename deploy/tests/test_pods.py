"""Pods that fail, vanish, never start, or are killed in the middle of writing."""

from __future__ import annotations

import signal
import threading

from cluster import NAMESPACE, PodFault
from harness import NEW_IMAGE, TOOL_IMAGE, Case

FAILS = PodFault(script="echo boom; exit 1")


class Pods(Case):
    def break_next(self, what: str, fault: PodFault = FAILS) -> None:
        self.cluster.pod_faults[what] = fault

    def test_a_plan_that_would_not_go_through_stops_nothing(self) -> None:
        self.etcd.put("by-dev/meta/root-coord/collection/7", "not a message")
        before = self.etcd.digest()
        result = self.script(code=1)
        self.assertIn("root-coord/collection/7", result.text)
        self.assertEqual(self.workloads(), self.before)
        self.assertEqual(self.record(), {})
        # With -k it goes on without that record.
        told = self.script("-k", "true")
        self.assertIn("1 problem in the metadata", told.text)
        self.rollback()
        self.assertEqual(self.etcd.digest(), before)

    def test_an_upgrade_that_wrote_nothing_leaves_both_ways_open(self) -> None:
        self.break_next("upgrade")
        failed = self.script(code=1)
        self.assertIn("| boom", failed.text)
        self.assertIn("SCALED DOWN", failed.text)
        self.assertIn("that of the old Milvus, untouched", failed.text)
        back = self.told(failed, "or start Milvus as it was")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()
        self.assertNotIn("rollback", self.cluster.pods_run)
        self.break_next("upgrade")
        failed = self.script(code=1)
        on = self.told(failed, "mend what is wrong and go on")
        self.assertEqual(on.code, 0, on.text)
        self.assert_migrated()

    def test_what_milvus_changed_after_a_failed_attempt_is_in_the_backup(self) -> None:
        self.break_next("upgrade", PodFault(script="kill -9 $$"))
        self.script(code=2)
        # Somebody starts Milvus by hand to mend something, and stops it again by hand.
        for replicas in (1, 0):
            self.cluster.store.patch("deployments", NAMESPACE, "my-release-milvus-rootcoord", {"spec": {"replicas": replicas}})
            self.cluster.wait_until_settled()
        self.etcd.put("by-dev/meta/datacoord-meta/channel-removal/old", "written by 2.1")
        changed = self.etcd.digest()
        self.cluster.starts.clear()
        self.script()
        self.assertEqual(self.workloads()["my-release-milvus-querynode"][0], 3)
        self.rollback()
        self.assertEqual(self.etcd.digest(), changed)
        self.assertEqual(self.workloads(), self.before)

    def kill_in_the_middle(self, **fault: bool) -> None:
        self.break_next("upgrade", PodFault(kill_after="root-coord/partitions/", **fault))  # type: ignore[arg-type]
        # Small transactions, so that there is a middle.
        self.cluster.environment["META_MIGRATION_MAX_TXN_OPS"] = "8"
        self.failed = self.script(code=2)
        self.cluster.environment.clear()
        self.assertIn("possibly half written", self.failed.text)
        self.assertEqual(self.state(), "run running")

    def test_killed_in_the_middle_of_writing_then_on(self) -> None:
        self.kill_in_the_middle()
        self.assertIn("OOMKilled", self.failed.text)
        on = self.told(self.failed, "go on where it ended")
        self.assertEqual(on.code, 0, on.text)
        self.assert_migrated()
        volume = self.cluster.volume("milvus-meta-migration-backup-my-release")
        self.assertEqual([path.name for path in volume.iterdir()], ["migration.bak"], "half-migrated metadata is no backup")

    def test_evicted_in_the_middle_of_writing_then_back(self) -> None:
        self.kill_in_the_middle(delete=True)
        back = self.told(self.failed, "or go back to before")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()

    def test_killed_before_it_was_verified_it_is_verified_before_the_start(self) -> None:
        point = ("PATCH", "/deployments/[^/]+$", "v2.2.16", 1)
        self.fault(point[0], point[1], None, body=point[2])
        failed = self.script(code=2)
        self.etcd.put("by-dev/meta/root-coord/database/collection-info/1/9", "no protobuf")
        refused = self.script(code=2)
        self.assertIn("does not pass verification", refused.text)
        self.assertEqual(self.cluster.starts, [])
        back = self.told(failed, "or go back to before")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()

    def test_a_failed_rollback_is_run_again(self) -> None:
        self.script()
        self.break_next("rollback", PodFault(script="kill -9 $$"))
        failed = self.rollback(code=2)
        self.assertIn("possibly half written", failed.text)
        back = self.told(failed, "finish the rollback")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()

    def test_killed_in_the_middle_of_a_rollback_only_rollback_goes_on(self) -> None:
        self.script()
        self.break_next("rollback", PodFault(kill_after="root-coord/collection/"))
        self.cluster.environment["META_MIGRATION_MAX_TXN_OPS"] = "8"
        self.rollback(code=2)
        self.cluster.environment.clear()
        self.assertEqual(self.state(), "rollback running")
        refused = self.script(code=2)
        self.assertIn("only `rollback` goes on from here", refused.text)
        looked = self.script("-o", "status")
        back = self.told(looked, "finish the rollback")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()

    def test_a_damaged_backup_is_noticed_with_milvus_up(self) -> None:
        self.script()
        backup = self.cluster.volume("milvus-meta-migration-backup-my-release") / "migration.bak"
        backup.write_bytes(backup.read_bytes()[:-10])
        failed = self.rollback(code=2)
        self.assert_migrated()
        self.assertIn("there is no usable backup", failed.text)

    def test_an_image_that_cannot_be_pulled(self) -> None:
        self.cluster.missing_images.add(TOOL_IMAGE)
        failed = self.script(code=1)
        self.assertIn("ImagePullBackOff", failed.text)
        self.assert_untouched()
        # It must not start after all later on.
        self.assertIsNone(self.cluster.store.find("pods", NAMESPACE, "milvus-meta-migration-my-release-plan"))

    def test_a_new_milvus_image_that_cannot_be_pulled_is_noticed_with_milvus_up(self) -> None:
        self.cluster.missing_images.add(NEW_IMAGE)
        failed = self.script(code=1)
        self.assertIn(f"the new image of Milvus, {NEW_IMAGE}, cannot be had", failed.text)
        self.assertIn("Say the right one with -w", failed.text)
        self.assertNotIn("SCALED DOWN", failed.text)
        self.assert_untouched()
        self.assertEqual(self.record(), {})

    def test_a_volume_that_never_comes_is_made_again_with_another_class(self) -> None:
        self.cluster.full_classes.add("full")
        failed = self.script("-c", "full", code=1, **self.impatient)
        self.assertIn("unbound PersistentVolumeClaims", failed.text)
        self.script("-c", "roomy")
        self.assert_migrated()

    def test_a_milvus_that_does_not_get_ready(self) -> None:
        self.cluster.crash_images.add(NEW_IMAGE)
        labels = {"app.kubernetes.io/instance": "my-release", "app.kubernetes.io/name": "milvus"}
        self.cluster.add("Pod", "proxy-x7", metadata={"labels": labels}, spec={})
        status = {"containerStatuses": [{"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
        self.cluster.store.patch("pods", NAMESPACE, "proxy-x7", {"status": status})
        failed = self.script(code=2, **self.impatient)
        self.assertIn("not ready", failed.text)
        self.assertIn("proxy-x7: ImagePullBackOff", failed.text)
        # Another image, and it goes on; that one is no better.
        again = self.script("-w", f"{NEW_IMAGE}-patched", code=0)
        self.assertIn("4/4  Start Milvus with", again.text)
        self.assertEqual(self.workloads()["my-release-milvus-proxy"], (2, (f"proxy={NEW_IMAGE}-patched",)))
        back = self.told(failed, "or go back to before")
        self.assertEqual(back.code, 0, back.text)
        self.assert_restored()

    def test_stopped_by_a_signal_it_tells_how_things_stand(self) -> None:
        held = threading.Event()
        self.addCleanup(held.set)
        self.break_next("upgrade", PodFault(hold=held))
        process = self.start(*self.usual())
        assert process.stdout
        seen = ""
        while "-upgrade\n" not in seen:
            seen += process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        result = self.finish()
        self.assertEqual(result.code, 2)
        self.assertIn("interrupted by a signal; the pod milvus-meta-migration-my-release-upgrade goes on", result.text)
        self.assertIn("SCALED DOWN", result.text)
        held.set()
        self.script()
        self.assert_migrated()

    def test_stopped_by_a_signal_while_a_log_is_shown(self) -> None:
        self.break_next("upgrade", PodFault(script="echo begun; sleep 60"))
        process = self.start(*self.usual())
        assert process.stdout
        while "begun" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        result = self.finish()
        self.assertEqual(result.code, 2)
        self.assertIn("SCALED DOWN", result.text)
        self.rollback()
        self.assert_restored()

    def test_a_node_that_is_lost_is_named_with_the_way_on(self) -> None:
        self.break_next("upgrade", PodFault(script="echo begun; sleep 60", cut_off=True))
        failed = self.script(code=2, MIGRATE_LOST_TIMEOUT="4", MIGRATE_SIGN_OF_LIFE="1")
        self.assertIn("has not answered for 4 s", failed.text)
        self.assertIn("delete pod milvus-meta-migration-my-release-upgrade --force --grace-period=0. That is safe", failed.text)
        # Something is said meanwhile.
        self.assertIn("… the pod is cut off: its node does not answer", failed.text)
        self.rollback()
        self.assert_restored()

    def test_the_log_is_shown_while_the_pod_runs(self) -> None:
        go = self.folder / "go"
        self.break_next("plan", PodFault(script=f"echo first; while [ ! -e {go} ]; do sleep 0.1; done; echo last; exit 1"))
        process = self.start(*self.usual())
        assert process.stdout
        while "| first" not in process.stdout.readline():
            pass
        go.touch()
        result = self.finish()
        self.assertEqual(result.text.count("| last"), 1)
        self.assertEqual(result.text.count("| first"), 0, "shown twice")
