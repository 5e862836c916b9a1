"""A namespace with an etcd, a Milvus as a chart renders it, and a user who has exactly the rights that docs/kubernetes.md lists."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "testdata/milvus-2.1.0/keys.jsonl"
SCRIPT = REPOSITORY / "deploy/migrate.sh"
# The tool's image, as the script names it.
[TOOL] = re.findall(r"^readonly DEFAULT_TOOL_IMAGE=(\S+)$", SCRIPT.read_text(), re.MULTILINE)
OLD, NEW = "milvusdb/milvus:v2.1.4", "milvusdb/milvus:v2.2.16"
INSTANCE = "my-release"
LABELS = {"app.kubernetes.io/instance": INSTANCE, "app.kubernetes.io/name": "milvus"}
SECONDS = 900
Object = dict[str, Any]


# --- Objects as charts render them, as far as this is about metadata ---


KEEPS_WAY_BACK = {
    "dataCoord": {"enableGarbageCollection": False, "compaction": {"enableAutoCompaction": False}},
    "indexCoord": {"gc": {"interval": 604800}},
}


def shape(chart: str, root: str = "by-dev", metastore: str = "etcd", image: str = OLD, mounted: bool = True, standalone: bool = False, node: str = "") -> list[Object]:
    """The ConfigMap, and a Deployment for each component."""
    etcd = {"endpoints": ["my-release-etcd:2379"], "rootPath": root, "metaSubPath": "meta"}
    whole = {"etcd": etcd, "metastore": {"type": metastore}, **KEEPS_WAY_BACK}
    if chart.startswith("milvus-4"):
        # rootPath goes to user.yaml there, by hand.
        default = {**whole, "etcd": {"endpoints": etcd["endpoints"]}}
        files = {"default.yaml": default, "user.yaml": {"etcd": {"rootPath": root}}}
    else:
        files = {"milvus.yaml": whole}
    data = {name: json.dumps(content) for name, content in files.items()} if mounted else {}
    objects: list[Object] = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "my-release-milvus"}, "data": data}]
    components = {"standalone": 1} if standalone else {"mixcoord": 1, "proxy": 1, "querynode": 2}
    if not chart.startswith("milvus-4") and not standalone:
        components = {"rootcoord": 1, "proxy": 1, "querynode": 2}
    for component, replicas in components.items():
        item = deployment(chart, component, replicas, image, list(data))
        item["spec"]["template"]["spec"].update(on_node(node))
        objects.append(item)
    return objects


def deployment(chart: str, component: str, replicas: int, image: str, files: list[str]) -> Object:
    labels = {**LABELS, "component": component}
    mounts = [{"name": "milvus-config", "mountPath": f"/milvus/configs/{name}", "subPath": name, "readOnly": True} for name in files]
    container: Object = {
        "name": component, "image": image, "args": ["/milvus/tools/run.sh", "milvus", "run", component], "volumeMounts": mounts,
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 9091}, "initialDelaySeconds": 1, "periodSeconds": 2},
        "env": [] if files else [{"name": "STANDIN_ETCD", "value": "my-release-etcd:2379"}],
    }
    spec: Object = {"containers": [container], "volumes": [{"name": "milvus-config", "configMap": {"name": "my-release-milvus"}}]}
    if chart.startswith("milvus-4"):
        tools = {"name": "tools", "mountPath": "/milvus/tools"}
        copy = ["/cp", "/run-helm.sh,/merge", "/milvus/tools/run-helm.sh,/milvus/tools/merge"]
        spec["initContainers"] = [{"name": "config", "image": "milvusdb/milvus-config-tool:v0.1.2", "command": copy, "volumeMounts": [tools]}]
        spec["volumes"].append({"name": "tools", "emptyDir": {}})
        container["volumeMounts"].append(tools)
        container["args"][0] = "/milvus/tools/run-helm.sh"
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": f"my-release-milvus-{component}", "labels": {**labels, "helm.sh/chart": chart, "app.kubernetes.io/managed-by": "Helm"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def on_node(node: str) -> Object:
    return {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}


def etcd_objects(node: str) -> list[Object]:
    labels = {"app.kubernetes.io/instance": INSTANCE, "app.kubernetes.io/name": "etcd"}
    command = ["/usr/bin/etcd", "--data-dir=/data/etcd", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://my-release-etcd:2379"]
    container = {"name": "etcd", "image": "milvusdb/etcd:3.5.1", "command": command, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {**on_node(node), "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "my-release-etcd", "labels": labels}, "spec": {"selector": labels, "ports": [{"port": 2379}]}},
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "etcd"},
            "spec": {"serviceName": "etcd", "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
    ]


def hardened(pod: Object) -> None:
    """As the level `restricted` of the Pod Security Standards wants a pod."""
    pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": 4711, "fsGroup": 4711, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["containers"]:
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def counted(pod: Object) -> None:
    """As a quota wants a pod."""
    for container in pod["containers"]:
        container["resources"] = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}}


def documented_role(namespace: str) -> str:
    """The Role of docs/kubernetes.md, for this namespace."""
    text = (REPOSITORY / "docs/kubernetes.md").read_text()
    [role] = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", text, re.DOTALL)
    return role.replace("namespace: milvus }", f"namespace: {namespace} }}")


# --- The scene ---


class Scene:
    """One namespace."""

    def __init__(
        self,
        name: str,
        objects: list[Object] | None = None,
        *,
        root: str = "by-dev",
        others: list[str] | None = None,
        empty: bool = False,
        etcd_node: str = "",
        level: str = "privileged",
        pods: Callable[[Object], None] | None = None,
        install: Callable[[Scene], None] | None = None,
    ) -> None:
        self.namespace, self.objects, self.root, self.others, self.empty = f"mm-{name}", objects or [], root, others or [], empty
        self.etcd, self.level, self.install = etcd_objects(etcd_node), level, install
        for item in [*self.objects, *self.etcd]:
            if pods and "template" in item.get("spec", {}):
                pods(item["spec"]["template"]["spec"])

    def __enter__(self) -> Scene:
        self.forwarding: subprocess.Popen[str] | None = None
        try:
            self.set_up()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def set_up(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s", namespaced=False)
        self.kubectl("create", "namespace", self.namespace, namespaced=False)
        self.kubectl("label", "namespace", self.namespace, f"pod-security.kubernetes.io/enforce={self.level}", namespaced=False)
        for item in self.etcd:
            self.apply(item)
        self.kubectl("rollout", "status", "statefulset/etcd", "--timeout=300s")
        self.forward()
        for other in self.others:
            self.seed(other)
        self.seed(self.root, self.empty)
        for item in self.objects:
            self.apply(item)
        if self.install:
            self.install(self)
        self.give_rights()
        self.wait_ready()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.forwarding:
            self.forwarding.kill()
            self.forwarding.wait()
        if kind is None:
            self.kubectl("delete", "namespace", self.namespace, "--wait=false", namespaced=False)
        else:
            print(self.kubectl("get", "pods", "-o", "wide", check=False))
            print(self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-3000:])

    # --- Kubernetes ---

    def kubectl(self, *arguments: str, namespaced: bool = True, check: bool = True, text: str | None = None) -> str:
        words = ["kubectl", *(["--namespace", self.namespace] if namespaced else []), *arguments]
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=SECONDS)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout

    def apply(self, item: Object) -> None:
        # As Helm 3 does it: an update, in its own name.
        self.kubectl("create", "--field-manager=helm", "-f", "-", text=json.dumps(item))

    def apply_file(self, path: Path) -> None:
        text = path.read_text().replace("sourceVersion: 2.1.4", "sourceVersion: 2.1.0")
        self.kubectl("apply", "-f", "-", text=text)

    def wait_ready(self) -> None:
        for item in self.deployments():
            self.kubectl("rollout", "status", f"deployment/{item['metadata']['name']}", "--timeout=300s")

    def helm(self, version: int, *arguments: str, text: str | None = None) -> str:
        """Helm 3 or Helm 4."""
        program = "helm3" if version == 3 else "helm"
        words = [program, "--namespace", self.namespace, *arguments]
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def give_rights(self) -> None:
        """A kubeconfig with the documented Role, and no more."""
        self.kubectl("apply", "-f", "-", text=documented_role(self.namespace))
        self.kubectl("create", "serviceaccount", "migrator")
        self.kubectl("create", "rolebinding", "migrator", "--role=milvus-migrate", f"--serviceaccount={self.namespace}:migrator")
        token = self.kubectl("create", "token", "migrator", "--duration=3h").strip()
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json", namespaced=False))
        config["users"] = [{"name": "migrator", "user": {"token": token}}]
        config["contexts"][0]["context"]["user"] = "migrator"
        self.kubeconfig = Path(f"/tmp/{self.namespace}-{os.getpid()}.conf")
        self.kubeconfig.write_text(json.dumps(config))

    def deployments(self) -> list[Object]:
        return json.loads(self.kubectl("get", "deployments", "-o", "json", "--show-managed-fields"))["items"]

    def images(self) -> set[str]:
        """Of all that is up."""
        found = {item["spec"]["template"]["spec"]["containers"][0]["image"] for item in self.deployments()}
        assert all(item["spec"]["replicas"] > 0 for item in self.deployments())
        return found

    def managers(self) -> set[str]:
        return {entry["manager"] for item in self.deployments() for entry in item["metadata"]["managedFields"]}

    def generations(self) -> dict[str, int]:
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in self.deployments()}

    @contextmanager
    def cordoned(self, node: str) -> Iterator[None]:
        self.kubectl("cordon", node, namespaced=False)
        try:
            yield
        finally:
            self.kubectl("uncordon", node, namespaced=False)

    def wait_until(self, what: str, holds: Callable[[], bool], seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            time.sleep(0.5)

    def wait_for_restarts(self, component: str, count: int) -> None:
        """Until a container of this component has ended that often."""

        def restarts() -> int:
            pods = json.loads(self.kubectl("get", "pods", "-l", f"component={component}", "-o", "json"))["items"]
            return max((status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", [])), default=0)

        self.wait_until(f"{component} ends {count} times", lambda: restarts() >= count)

    def scale(self, replicas: int) -> None:
        self.kubectl("scale", "deployments", "--all", f"--replicas={replicas}")

    def run_job(self, name: str) -> None:
        self.apply_file(REPOSITORY / f"deploy/manifests/{name}.yaml")
        self.kubectl("wait", "--for=condition=complete", "--timeout=300s", f"job/meta-migration-{name}")

    # --- The script ---

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        words = ["bash", str(SCRIPT), "-i", INSTANCE, "-n", self.namespace, "-s", "2.1.0", "-t", "2.2.16", *arguments]
        own = {**os.environ, "KUBECONFIG": str(self.kubeconfig), **environment}
        return subprocess.Popen(words, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def migrate(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, _ = process.communicate()
            raise AssertionError(f"it does not end:\n{text}") from None
        assert process.returncode == code, f"{arguments}: exit code {process.returncode} instead of {code}:\n{text}"
        return text

    def read_until(self, process: subprocess.Popen[str], mark: str) -> str:
        assert process.stdout
        seen = ""
        while not re.search(mark, seen):
            line = process.stdout.readline()
            assert line, f"it ended without {mark!r}:\n{seen}"
            seen += line
        return seen

    def kill_at(self, mark: str, *arguments: str) -> None:
        """Starts it, and kills it when this stands in its output."""
        process = self.start(*arguments)
        self.read_until(process, mark)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # --- etcd, over its JSON gateway ---

    def forward(self) -> None:
        words = ["kubectl", "--namespace", self.namespace, "port-forward", "pod/etcd-0", ":2379"]
        self.forwarding = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.forwarding.stdout
        line = self.forwarding.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, f"no port-forward: {line}"
        self.url = f"http://127.0.0.1:{found[1]}/v3/"

    def call(self, path: str, **body: object) -> Object:
        for attempt in range(5):
            try:
                request = urllib.request.Request(self.url + path, json.dumps(body).encode())
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except OSError:
                if attempt == 4:
                    raise
                self.forwarding.kill()
                time.sleep(1)
                self.forward()
        raise AssertionError("never here")

    def put(self, key: str, value: str) -> None:
        self.call("kv/put", key=encoded(key), value=encoded(value))

    def seed(self, root: str, empty: bool = False) -> None:
        """What a real Milvus 2.1.0 wrote, or as much as one without collections has."""
        for line in SAMPLE.read_text().splitlines()[1:]:
            pair = json.loads(line)
            key = pair["key"]
            if not key.startswith("by-dev/") or "/session/" in key or (empty and not key.endswith("credential/users/root")):
                continue
            self.call("kv/put", key=encoded(root + key.removeprefix("by-dev")), value=pair["value_b64"])

    def entries(self, root: str = "") -> dict[str, str]:
        prefix = f"{root or self.root}/meta/"
        found = self.call("kv/range", key=encoded(prefix), range_end=encoded(prefix[:-1] + "0")).get("kvs", [])
        pairs = {base64.b64decode(kv["key"]).decode().removeprefix(prefix): kv.get("value", "") for kv in found}
        return {key: value for key, value in pairs.items() if not key.startswith("session/")}

    def digest(self, root: str = "") -> str:
        entries = {key: value for key, value in self.entries(root).items() if not key.startswith("meta-migration/")}
        return hashlib.sha256(json.dumps(sorted(entries.items())).encode()).hexdigest()

    def state(self) -> str:
        """What the history key says: operation and state."""
        history = self.entries().get("meta-migration/history")
        if history is None:
            return "none"
        found = json.loads(base64.b64decode(history))
        return f"{found['operation']} {found['state']}"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
