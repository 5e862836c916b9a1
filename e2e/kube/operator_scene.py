"""A namespace with a Milvus that the Milvus Operator runs, and the commands of docs/deploy.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from scene import INSTANCE, KEEPS_WAY_BACK, OLD, REPOSITORY, SECONDS, TOOL, Object, Scene, encoded

UPGRADE, CLAIM = f"{INSTANCE}-upgrade", f"{INSTANCE}-meta-backup"
# Named, or newer releases make one of all four, as Milvus 2.1 has none.
COORDINATORS: Object = {name: {"replicas": 1} for name in ("rootCoord", "dataCoord", "queryCoord", "indexCoord")}
WATCHED = {
    "state": ("milvusupgrades", r"{.status.state}"),
    "pod": ("pods", r"{.metadata.name} {.status.phase} {.status.containerStatuses[0].state.terminated.exitCode}"),
    "deployment": ("deployments", r"{.metadata.name} {.spec.replicas} {.spec.template.spec.containers[0].image}"),
}


class Diary:
    """What was seen of states, pods and deployments, in its order, with the seconds since the beginning."""

    def __init__(self, namespace: str) -> None:
        self.begun = time.monotonic()
        self.entries: list[tuple[float, str, str]] = []
        self.watches = [self.watch(namespace, name, *what) for name, what in WATCHED.items()]

    def watch(self, namespace: str, name: str, kind: str, path: str) -> subprocess.Popen[str]:
        words = ["kubectl", "--namespace", namespace, "get", kind, "--watch", "--output", f"jsonpath={path}{{'\\n'}}"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.read, args=(name, process), daemon=True).start()
        return process

    def read(self, name: str, process: subprocess.Popen[str]) -> None:
        last: dict[str, str] = {}
        assert process.stdout
        for line in process.stdout:
            text = line.strip()
            subject = "" if name == "state" else text.partition(" ")[0]
            if text and last.get(subject) != text:
                last[subject] = text
                self.entries.append((time.monotonic() - self.begun, name, text))

    def states(self) -> list[str]:
        return [text for _, name, text in self.entries if name == "state"]

    def pods(self, part: str) -> list[str]:
        return [text for _, name, text in self.entries if name == "pod" and part in text]

    def text(self) -> str:
        return "".join(f"{seconds:7.1f} s  {name:10}  {text}\n" for seconds, name, text in self.entries)

    def end(self) -> None:
        for process in self.watches:
            process.kill()
            process.wait()


def milvus(namespace: str, components: Object) -> Object:
    """Everything but Milvus itself is elsewhere. A message log that is in Milvus itself is asked nothing by the operator."""
    spec = {
        "mode": "cluster",
        "config": {"etcd": {"rootPath": "by-dev"}, **KEEPS_WAY_BACK},
        "components": {"image": OLD, "toolImage": "milvusdb/milvus-config-tool:v0.1.2", "disableMetric": True, **COORDINATORS, "queryNode": {"replicas": 2}, **components},
        "dependencies": {
            "etcd": {"external": True, "endpoints": [f"my-release-etcd.{namespace}:2379"]},
            "storage": {"external": True, "type": "S3", "endpoint": f"s3.{namespace}:9000", "secretRef": "s3"},
            "msgStreamType": "rocksmq",
        },
    }
    return {"apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "metadata": {"name": INSTANCE}, "spec": spec}


def storage() -> list[Object]:
    """What the operator asks whether there is object storage."""
    labels = {"app": "s3"}
    container = {"name": "s3", "image": "minio/minio:RELEASE.2022-03-17T06-34-49Z"}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    meta = {"name": "s3"}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"accesskey": "a", "secretkey": "long enough"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": [{"port": 9000}]}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {"serviceName": "s3", "selector": {"matchLabels": labels}, "template": template}},
    ]


class Managed(Scene):
    def __init__(self, name: str, **components: object) -> None:
        super().__init__(f"operator-{name}", storage(), install=Managed.install_milvus)
        self.components, self.name = components, name

    def install_milvus(self) -> None:
        self.apply(milvus(self.namespace, self.components))
        self.wait_until("Milvus is up", lambda: self.kubectl("get", "milvus", INSTANCE, "-o", "jsonpath={.status.status}") == "Healthy")

    def __enter__(self) -> Managed:
        super().__enter__()
        self.before, self.diary = self.digest(), Diary(self.namespace)
        [self.replicas] = self.counts().values()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if hasattr(self, "diary"):
            self.diary.end()
            print(f"--- {self.name}\n{self.diary.text()}", flush=True)
        # The operator has to be there as long as there are objects of its kinds.
        self.kubectl("delete", "milvusupgrades,milvuses", "--all", "--wait=false", check=False)
        super().__exit__(kind, error, trace)

    # --- docs/deploy.md ---

    def follow(self, which: str, **changed: str) -> str:
        """Runs the block of commands that has this in it, as it stands there, with the file adapted to where this is."""
        text = (REPOSITORY / "docs/deploy.md").read_text().partition("## Milvus Operator")[2].partition("\n## ")[0]
        [block] = [found for found in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if which in found]
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json", namespaced=False))
        config["contexts"][0]["context"]["namespace"] = self.namespace
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "kubeconfig").write_text(json.dumps(config))
            Path(folder, "deploy/operator").mkdir(parents=True)
            Path(folder, "deploy/operator/milvusupgrade.yaml").write_text(self.adapted(changed))
            environment = {**os.environ, "KUBECONFIG": f"{folder}/kubeconfig"}
            done = subprocess.run(["bash", "-euc", block], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
        return done.stdout

    def adapted(self, changed: dict[str, str]) -> str:
        text = (REPOSITORY / "deploy/operator/milvusupgrade.yaml").read_text().replace("namespace: default", f"namespace: {self.namespace}")
        for name, value in changed.items():
            text, count = re.subn(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.MULTILINE)
            assert count == 1, name
        return text

    def start_upgrade(self, **changed: str) -> None:
        self.kubectl("apply", "-f", "-", text=self.adapted(changed))

    def go_back(self) -> None:
        self.kubectl("patch", "milvusupgrade", UPGRADE, "--type=merge", "--patch", '{"spec": {"operation": "rollback"}}')

    def set_milvus(self, replicas: dict[str, int], **components: object) -> None:
        changed = {**components, **{name: {"replicas": count} for name, count in replicas.items()}}
        self.kubectl("patch", "milvus", INSTANCE, "--type=merge", "--patch", json.dumps({"spec": {"components": changed}}))

    def plain_rollback(self) -> None:
        """deploy/manifests on the claim that the operator's pods had."""
        for name in ("serviceaccount", "configmap", "rollback"):
            text = (REPOSITORY / f"deploy/manifests/{name}.yaml").read_text()
            self.kubectl("apply", "-f", "-", text=text.replace("claimName: meta-migration", f"claimName: {CLAIM}"))
        self.kubectl("wait", "--for=condition=complete", "--timeout=300s", "job/meta-migration-rollback")

    # --- What became of it ---

    def show(self, *pods: str) -> None:
        """What the tool said, and how it ended."""
        for pod in pods:
            code = self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].state.terminated.exitCode}", check=False)
            print(f"--- {pod}: {code}\n{self.kubectl('logs', pod, check=False)}", flush=True)

    def message(self) -> str:
        return " ".join(condition.get("message", "") for condition in self.status().get("conditions", []))

    def wait_for_message(self, text: str) -> None:
        self.wait_until(text, lambda: text in self.message(), 600)

    def counts(self) -> dict[str, int]:
        """The replicas by image. From 1.1 on some components have two deployments, of which one is up."""
        found: dict[str, int] = {}
        for item in self.deployments():
            if item["spec"]["replicas"]:
                image = item["spec"]["template"]["spec"]["containers"][0]["image"]
                found[image] = found.get(image, 0) + item["spec"]["replicas"]
        return found

    def delete(self, key: str) -> None:
        self.call("kv/deleterange", key=encoded(key))

    def status(self) -> Object:
        return json.loads(self.kubectl("get", "milvusupgrade", UPGRADE, "-o", "json")).get("status", {})

    def wait_for_state(self, state: str, seconds: float = 900) -> None:
        self.wait_until(state, lambda: self.status().get("state") == state, seconds)

    def wait_for_image(self, image: str) -> None:
        """Until there are as many components as before, all of them have it, and are up."""
        self.wait_until(f"{image} everywhere", lambda: self.counts() == {image: self.replicas}, 900)
        self.wait_ready()

    def wait_for_restarts_of(self, component: str) -> None:
        """Until a container of it has ended on what it found."""
        path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
        words = ["get", "pods", "-l", f"app.kubernetes.io/component={component}", "-o", path]
        self.wait_until(f"{component} ends", lambda: any(int(count) for count in self.kubectl(*words).split()))

    def wait_until_log_has(self, pod: str, text: str) -> None:
        self.wait_until(text, lambda: text in self.kubectl("logs", pod, check=False))

    def verify(self) -> str:
        """`verify`, with the operator's configuration and the tool's image."""
        config = {"name": "config", "configMap": {"name": f"{UPGRADE}-update-meta"}}
        mount = {"name": "config", "mountPath": "/milvus/configs/migration.yaml", "subPath": "migration.yaml"}
        command = ["meta-migration", "--config", "/milvus/configs/migration.yaml", "verify"]
        container = {"name": "verify", "image": TOOL, "command": command, "volumeMounts": [mount]}
        spec = {"restartPolicy": "Never", "containers": [container], "volumes": [config]}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "verify"}, "spec": spec})
        self.wait_until("verify ends", lambda: self.phase("verify") in ("Succeeded", "Failed"))
        text = self.kubectl("logs", "verify")
        assert self.phase("verify") == "Succeeded", text
        self.kubectl("delete", "pod", "verify")
        return text

    def phase(self, pod: str) -> str:
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}")
