"""A stand-in for a Kubernetes cluster with Milvus in it: workloads that register sessions in etcd, pods that run as processes."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from apiserver import ApiServer
from etcd import Etcd, dies_with_us
from store import RESOURCES, WORKLOADS, Object, Refused, Store

NAMESPACE = "milvus-ns"
KINDS = {resource.kind: resource for resource in RESOURCES}
UID = 1000


@dataclass
class Start:
    """Milvus was started when none of it ran: with which images, on which metadata."""

    images: set[str]
    digest: str


@dataclass
class PodFault:
    """What befalls the next pod of a kind."""

    script: str = ""
    """Run in place of its command."""
    kill_after: str = ""
    """Killed (SIGKILL) as soon as there are keys with this prefix."""
    delete: bool = False
    """Evicted, so that it vanishes, instead of killed."""
    hold: threading.Event | None = None
    """Starts only when this is set."""
    cut_off: bool = False
    """Its node does not answer any more as soon as it runs."""


@dataclass
class _Pod:
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class Cluster:
    """One namespace with one Milvus."""

    def __init__(self, folder: Path, etcd: Etcd, tool: Path) -> None:
        self.folder, self.etcd, self.tool = folder, etcd, tool
        self.store = Store()
        self.api = ApiServer(self.store, self._log_of, self._delete_pod)
        self.url = self.api.start()
        self.names = {}
        """Host names that the cluster's DNS knows, with the addresses that stand behind them."""
        self.missing_images: set[str] = set()
        self.full_classes: set[str] = set()
        """Storage classes that never give a volume."""
        self.pod_faults: dict[str, PodFault] = {}
        self.environment: dict[str, str] = {}
        """Added to that of every pod."""
        self.crash_images: set[str] = set()
        """Images with which Milvus never gets ready."""
        self.new_milvus_writes = False
        self.session_seconds = 1.2
        """How long a session outlives its component."""
        self.starts: list[Start] = []
        self.pods_run: list[str] = []
        self.root = "by-dev/meta"
        """Where Milvus registers itself: what its mounted configuration says."""
        self._pods: dict[str, _Pod] = {}
        self._asked: dict[str, _Pod | None] = {}
        self._addresses: dict[str, str] = {}
        self._leases: dict[str, str] = {}
        self._stopping = False
        self._controller = threading.Thread(target=self._reconcile, daemon=True)
        self._controller.start()

    def stop(self) -> None:
        self._stopping = True
        with self.store.changed:
            self.store.changed.notify_all()
        self._controller.join()
        for pod in self._pods.values():
            if pod.process and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
        self.api.stop()

    def add(self, kind: str, name: str, **rest: object) -> Object:
        return self.store.create(KINDS[kind], NAMESPACE, {"metadata": {"name": name, **rest.pop("metadata", {})}, **rest})  # type: ignore[dict-item]

    # --- Milvus ---

    def _reconcile(self) -> None:
        while not self._stopping:
            with self.store.changed:
                todo = [item for plural in WORKLOADS for item in self.store.list(plural, NAMESPACE) if _is_behind(item)]
                if not todo:
                    self.store.changed.wait(1.0)
                    continue
            self._note_start(todo)
            for item in todo:
                self._settle(item)

    def _note_start(self, todo: list[Object]) -> None:
        begun = [item for item in todo if item["spec"]["replicas"] > 0 and _is_milvus(item)]
        if begun and not self._leases:
            self.starts.append(Start({image for item in begun for image in _milvus_images(item)}, self.etcd.digest()))

    def _settle(self, item: Object) -> None:
        name, wanted = item["metadata"]["name"], item["spec"]["replicas"]
        plural = "deployments" if item["kind"] == "Deployment" else "statefulsets"
        is_up = wanted > 0
        if _is_milvus(item):
            if is_up and name not in self._leases:
                lease = self.etcd.grant(600)
                address = self._addresses.setdefault(name, f"10.0.0.{len(self._addresses) + 1}")
                session = f'{{"ServerID":9,"ServerName":"x","Address":"{address}:21123"}}'
                self.etcd.put(f"{self.root}/session/{name}", session, lease)
                self._leases[name] = lease
                if self.new_milvus_writes and "v2.1" not in "".join(_milvus_images(item)):
                    self.etcd.put("by-dev/meta/datacoord-meta/channel-removal/new", "written by 2.2")
            elif not is_up and name in self._leases:
                threading.Timer(self.session_seconds, self._end_session, (self._leases[name], name)).start()
        is_ready = is_up and not any(image in self.crash_images for image in _milvus_images(item))
        self._show_pod(item, is_up, is_ready)
        count = wanted if is_ready else 0
        status = {"observedGeneration": item["metadata"]["generation"], "replicas": wanted}
        status |= {"readyReplicas": count, "updatedReplicas": wanted, "availableReplicas": count}
        self.store.patch(plural, NAMESPACE, name, {"status": status})

    def _show_pod(self, item: Object, is_up: bool, is_ready: bool) -> None:
        """One pod stands for all of a workload; that of one that ends stays as long as its session."""
        name = item["metadata"]["name"]
        if not is_up or not _is_milvus(item):
            return
        if not self.store.find("pods", NAMESPACE, f"{name}-0"):
            self.add("Pod", f"{name}-0", metadata={"labels": item["metadata"]["labels"]}, spec={})
        status = {"phase": "Running", "podIPs": [{"ip": self._addresses[name]}]}
        status |= {"conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}]}
        self.store.patch("pods", NAMESPACE, f"{name}-0", {"status": status})

    def _end_session(self, lease: str, name: str) -> None:
        try:
            self.etcd.revoke(lease)
        except OSError:
            return
        self._leases.pop(name, None)
        try:
            self.store.delete("pods", NAMESPACE, f"{name}-0")
        except Refused:
            pass

    def restart_sessions(self) -> None:
        """Registers all that is up again, when its keys were deleted."""
        for name, lease in self._leases.items():
            self.etcd.put(f"{self.root}/session/{name}", f'{{"ServerID":9,"Address":"{self._addresses[name]}:21123"}}', lease)

    def wait_until_settled(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with self.store.changed:
                items = [item for plural in WORKLOADS for item in self.store.list(plural, NAMESPACE)]
                up = {item["metadata"]["name"] for item in items if item["spec"]["replicas"] and _is_milvus(item)}
                if not any(map(_is_behind, items)) and up == set(self._leases):
                    return
            time.sleep(0.02)
        raise AssertionError("the workloads do not settle")

    # --- Pods ---

    def watch_pods(self) -> None:
        """Starts each new pod."""
        known: set[str] = set()

        def run() -> None:
            while not self._stopping:
                with self.store.changed:
                    ours = self.store.list("pods", NAMESPACE, "app.kubernetes.io/name=milvus-meta-migration")
                    new = [pod for pod in ours if pod["metadata"]["uid"] not in known]
                    if not new:
                        self.store.changed.wait(1.0)
                for pod in new:
                    known.add(pod["metadata"]["uid"])
                    self._pods[pod["metadata"]["name"]] = _Pod()
                    threading.Thread(target=self._run_pod, args=(pod,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _run_pod(self, item: Object) -> None:
        name, what = item["metadata"]["name"], item["metadata"]["labels"]["app.kubernetes.io/component"]
        pod = self._pods[name]
        try:
            fault = self.pod_faults.pop(what, PodFault())
            if fault.hold:
                fault.hold.wait(30)
            if self._cannot_start(item):
                return
            self._start_process(item, pod, fault)
            self._container(name, {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "Running")
            ready = {"type": "Ready", "status": "False" if fault.cut_off else "True"}
            self.store.patch("pods", NAMESPACE, name, {"status": {"conditions": [ready]}})
            if fault.kill_after:
                self._kill_after(name, pod, fault)
            assert pod.process
            code = pod.process.wait()
            code = 128 - code if code < 0 else code
            reason = "Completed" if code == 0 else "OOMKilled" if code == 137 else "Error"
            pod.ended.set()
            self._container(name, {"terminated": {"exitCode": code, "reason": reason}}, "Failed" if code else "Succeeded")
        except Refused:
            pass  # The pod has been deleted meanwhile.
        finally:
            pod.ended.set()

    def _container(self, name: str, state: Object, phase: str) -> None:
        status = {"phase": phase, "containerStatuses": [{"name": "meta-migration", "state": state}]}
        self.store.patch("pods", NAMESPACE, name, {"status": status})

    def _cannot_start(self, item: Object) -> bool:
        name, spec = item["metadata"]["name"], item["spec"]
        container = spec["containers"][0]
        for volume in spec.get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                found = self.store.get("persistentvolumeclaims", NAMESPACE, claim["claimName"])
                if found["spec"].get("storageClassName") in self.full_classes:
                    condition = {"type": "PodScheduled", "status": "False", "message": "unbound PersistentVolumeClaims"}
                    self.store.patch("pods", NAMESPACE, name, {"status": {"conditions": [condition]}})
                    return True
                bound = {"spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound"}}
                self.store.patch("persistentvolumeclaims", NAMESPACE, claim["claimName"], bound)
        if container["image"] in self.missing_images:
            message = f'Back-off pulling image "{container["image"]}": ErrImagePull: no such image: not found'
            waiting = {"reason": "ImagePullBackOff", "message": message}
            self._container(name, {"waiting": waiting}, "Pending")
            return True
        return False

    def _start_process(self, item: Object, pod: _Pod, fault: PodFault) -> None:
        spec = item["spec"]
        container = spec["containers"][0]
        home = self.folder / "pods" / item["metadata"]["uid"]
        home.mkdir(parents=True)
        paths = {"/milvus/bin/meta-migration": str(self.tool)}
        folders = {volume["name"]: self._volume(volume, home) for volume in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            paths[mount["mountPath"]] = str(folders[mount["name"]] / mount.get("subPath", ""))
        environment = {"PATH": "/usr/bin:/bin", **self.environment}
        for variable in container.get("env", []):
            environment[variable["name"]] = _replaced(_expanded(variable["value"]), paths)
        command = [*container["command"], *(_replaced(_expanded(argument), paths) for argument in container["args"])]
        if fault.script:
            command = ["/bin/sh", "-c", fault.script]
        pod.log = home / "log"
        self.pods_run.append(item["metadata"]["labels"]["app.kubernetes.io/component"])
        # As the security context says, if we may: the tool must get along without root.
        user = {"user": spec["securityContext"]["runAsUser"], "group": UID, "extra_groups": []} if os.getuid() == 0 else {}
        with pod.log.open("wb") as log:
            pod.process = subprocess.Popen(  # type: ignore[call-overload]
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=dies_with_us, **user
            )

    def _volume(self, volume: Object, home: Path) -> Path:
        if claim := volume.get("persistentVolumeClaim"):
            folder = self.volume(claim["claimName"])
            if os.getuid() == 0:
                os.chown(folder, 0, UID)
                folder.chmod(0o2775)
            return folder
        folder = home / volume["name"]
        folder.mkdir()
        if "configMap" in volume:
            data = self.store.get("configmaps", NAMESPACE, volume["configMap"]["name"])["data"]
            files = {name: _replaced(text, self.names).encode() for name, text in data.items()}
        else:
            secret = self.store.get("secrets", NAMESPACE, volume["secret"]["secretName"])
            files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    def volume(self, claim: str) -> Path:
        """The folder behind a claim."""
        folder = self.folder / "volumes" / self.store.get("persistentvolumeclaims", NAMESPACE, claim)["metadata"]["uid"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _kill_after(self, name: str, pod: _Pod, fault: PodFault) -> None:
        assert pod.process
        while pod.process.poll() is None and not self.etcd.count(fault.kill_after):
            pass
        pod.process.send_signal(signal.SIGKILL)
        if fault.delete:
            pod.process.wait()
            self.store.delete("pods", NAMESPACE, name)

    def _delete_pod(self, namespace: str, name: str) -> None:
        def end() -> None:
            pod = self._pods.get(name)
            if pod and pod.process:
                pod.process.terminate()
                pod.process.wait()
            try:
                self.store.delete("pods", namespace, name)
            except Refused:
                pass

        threading.Thread(target=end, daemon=True).start()

    def _log_of(self, namespace: str, name: str, follow: bool) -> Iterator[bytes]:
        pod = self._pods.get(name)
        # As the kubelet answers for a moment after the container has started, too.
        first, self._asked[name] = self._asked.get(name) is not pod, pod
        if not pod or not pod.log or first:
            raise Refused(400, "BadRequest", "container meta-migration is waiting to start")
        with pod.log.open("rb") as log:
            while True:
                is_over = pod.ended.is_set()
                if piece := log.read(65536):
                    yield piece
                elif is_over or not follow:
                    return
                else:
                    time.sleep(0.02)


def _replaced(text: str, paths: dict[str, str]) -> str:
    for path, real in paths.items():
        text = text.replace(path, real)
    return text


def _expanded(text: str) -> str:
    """As Kubernetes does with commands, arguments and variables: there are none that could be meant."""
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", text), f"Kubernetes would take this for a variable: {text}"
    return text.replace("$$", "$")


def _is_behind(item: Object) -> bool:
    return item["status"].get("observedGeneration") != item["metadata"]["generation"]


def _milvus_images(item: Object) -> list[str]:
    return [container["image"] for container in item["spec"]["template"]["spec"]["containers"] if "side" not in container["name"]]


def _is_milvus(item: Object) -> bool:
    return item["metadata"].get("annotations", {}).get("test/runs") == "milvus"
