"""The Milvus Operator with this tool's image: operator_cases.py FOLDER [PART OF A CASE'S NAME…]

FOLDER/deployment.yaml is the manifest of a release of the operator. Each case has a namespace of its own, and prints what was seen in it.
Exit codes: 0 all passed, 1 something failed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from milvus_operator import Operator
from operator_scene import UPGRADE, Managed
from runner import case, main
from scene import NEW, OLD, TOOL

ALL_AT_ONCE = {"imageUpdateMode": "all"}
# A querynode of 2.2.16 and later keeps its session until it has handed over its segments.
LINGERS = {"queryNode": {"replicas": 2, "env": [{"name": "STANDIN_LINGER", "value": "100"}]}}
BACKUP, RUN, ROLLBACK = (f"{UPGRADE}-{kind}-meta" for kind in ("backup", "update", "rollback"))
# What has no lease never goes by itself.
STUCK = "by-dev/meta/session/datanode-77"
STUCK_SESSION = '{"ServerID": 77, "ServerName": "datanode", "Address": "10.9.9.9:21123"}'
HELD = f"{TOOL}-root-held"


@case
def there_and_back() -> None:
    """docs/deploy.md, from step 0 on, and back; sessions of the new version outlive their pods' stop."""
    with Managed("there-and-back", **LINGERS) as scene:
        scene.follow("imageUpdateMode")
        text = scene.follow("apply -f")
        assert "done" in text, text
        scene.wait_for_state("Succeeded")
        scene.wait_for_image(NEW)
        assert scene.state() == "run done" and "problem" not in scene.verify()
        scene.show(BACKUP, RUN)
        text = scene.follow("rollback")
        assert "datanode" in text or "querynode" in text, f"nobody was waited for: {text}"
        scene.show(ROLLBACK)
        scene.wait_for_state("RollbackedSucceeded")
        scene.wait_for_image(OLD)
        assert scene.digest() == scene.before


@case
def one_after_the_other() -> None:
    """Without step 0, where the operator updates component by component: 2.1 does not get up on migrated metadata, but the way back ends
    with the new version on restored metadata, and hangs."""
    with Managed("one-by-one", enableRollingUpdate=True) as scene:
        scene.start_upgrade()
        scene.wait_for_state("Succeeded")
        # With 0.7.17 the root coordinator gets the new image at once.
        scene.wait_for_restarts_of("datacoord")
        scene.wait_for_image(NEW)
        assert scene.state() == "run done"
        scene.verify()
        scene.go_back()
        scene.wait_for_state("RollbackedSucceeded")
        scene.wait_until("some are old, others new", lambda: set(scene.counts()) == {OLD, NEW})
        leave_the_middle(scene)


def leave_the_middle(scene: Managed) -> None:
    """Everything down, the metadata once more, and up at once."""
    replicas = scene.status()["replicasBeforeUprade"]
    scene.follow("imageUpdateMode")
    scene.set_milvus(dict.fromkeys(replicas, 0))
    scene.wait_until("Milvus is down", lambda: not scene.counts())
    scene.plain_rollback()
    assert scene.digest() == scene.before
    scene.set_milvus(replicas)
    scene.wait_for_image(OLD)


@case
def killed() -> None:
    """The migration is killed in the middle of writing: the operator rolls back by itself."""
    with Managed("killed", **ALL_AT_ONCE) as scene:
        scene.start_upgrade(toolImage=HELD)
        scene.wait_until_log_has(RUN, "held: in the middle of writing")
        assert scene.digest() != scene.before
        scene.kubectl("exec", RUN, "--", "killall", "-9", "real")
        scene.wait_for_state("RollbackedSucceeded")
        scene.show(RUN, ROLLBACK)
        scene.wait_for_image(OLD)
        assert scene.digest() == scene.before


@case
def deleted() -> None:
    """The migration's pod is gone in the middle of writing, as with its node: the operator does nothing until it is told to go back."""
    with Managed("deleted", **ALL_AT_ONCE) as scene:
        scene.start_upgrade(toolImage=HELD)
        scene.wait_until_log_has(RUN, "held: in the middle of writing")
        scene.kubectl("delete", "pod", RUN, "--force", "--grace-period=0")
        scene.wait_for_message("cannot find update-meta pod")
        assert scene.status()["state"] == "UpdatingMeta"
        scene.follow("rollback")
        scene.show(ROLLBACK)
        scene.wait_for_state("RollbackedSucceeded")
        scene.wait_for_image(OLD)
        assert scene.digest() == scene.before


@case
def backup_fails() -> None:
    """Without a retry (maxRetry -1) the old version is started again."""
    with Managed("backup-fails", **ALL_AT_ONCE) as scene:
        scene.put(STUCK, STUCK_SESSION)
        scene.start_upgrade()
        scene.wait_for_state("RollbackedSucceeded")
        scene.show(BACKUP)
        scene.wait_for_image(OLD)
        assert scene.digest() == scene.before and not scene.diary.pods(ROLLBACK)


@case
def backup_fails_for_ever() -> None:
    """With maxRetry 1 the operator wants what its role does not allow; and the way out."""
    with Managed("for-ever", **ALL_AT_ONCE) as scene:
        scene.put(STUCK, STUCK_SESSION)
        scene.start_upgrade(maxRetry="1")
        scene.wait_for_message("cannot deletecollection resource")
        assert scene.status()["state"] == "BakupMetaFailed" and scene.digest() == scene.before
        print(scene.message())
        replicas = scene.status()["replicasBeforeUprade"]
        scene.delete(STUCK)
        scene.kubectl("delete", "milvusupgrade", UPGRADE)
        scene.set_milvus(replicas)
        scene.wait_for_image(OLD)
        scene.start_upgrade()
        scene.wait_for_state("Succeeded")
        scene.wait_for_image(NEW)
        assert scene.state() == "run done"


@case
def rollback_fails() -> None:
    """The operator stays in RollbackFailed; the plain Job on the same claim goes back."""
    with Managed("rollback-fails", **ALL_AT_ONCE) as scene:
        scene.start_upgrade()
        scene.wait_for_state("Succeeded")
        scene.wait_for_image(NEW)
        scene.put(STUCK, STUCK_SESSION)
        scene.go_back()
        scene.wait_for_state("RollbackFailed")
        scene.show(ROLLBACK)
        status = scene.status()
        scene.delete(STUCK)
        scene.kubectl("delete", "milvusupgrade", UPGRADE)
        scene.plain_rollback()
        assert scene.digest() == scene.before
        scene.set_milvus(status["replicasBeforeUprade"], image=status["sourceImage"])
        scene.wait_for_image(OLD)


if __name__ == "__main__":
    with Operator(Path(sys.argv[1], "deployment.yaml")) as operator:
        print(f"operator {operator.version}", flush=True)
        code = main(sys.argv[2:])
    sys.exit(code)
