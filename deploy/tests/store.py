"""The objects of a stand-in for Kubernetes: kept, selected, patched, watched. Knows nothing of HTTP."""

from __future__ import annotations

import copy
import re
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterator

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of object that the API server knows."""

    group: str
    version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


RESOURCES = [
    Resource("", "v1", "ConfigMap", "configmaps", ("cm",)),
    Resource("", "v1", "Pod", "pods", ("po",)),
    Resource("", "v1", "Secret", "secrets"),
    Resource("", "v1", "Service", "services", ("svc",)),
    Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",)),
    Resource("apps", "v1", "Deployment", "deployments", ("deploy",)),
    Resource("apps", "v1", "StatefulSet", "statefulsets", ("sts",)),
]
WORKLOADS = ("deployments", "statefulsets")


class Refused(Exception):
    """An answer other than 2xx."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def selects(selector: str, labels: dict[str, str]) -> bool:
    """Whether a label selector with =, ==, != and bare keys selects these labels."""
    for term in filter(None, selector.split(",")):
        key, operator, value = re.fullmatch(r"([^=!]+)(==|!=|=|)(.*)", term).groups()  # type: ignore[union-attr]
        found = labels.get(key)
        if operator == "!=":
            if found == value:
                return False
        elif found is None or (operator and found != value):
            return False
    return True


def merged(old: Any, patch: Any, strategic: bool) -> Any:
    """RFC 7386, and for a strategic patch lists of containers by their names."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if strategic and key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif strategic and key == "containers":
            result[key] = _merged_by_name(result.get(key, []), value)
        else:
            result[key] = merged(result.get(key), value, strategic)
    return result


def _merged_by_name(old: list[Object], patch: list[Object]) -> list[Object]:
    result = [dict(item) for item in old]
    for item in patch:
        for index, known in enumerate(result):
            if known["name"] == item["name"]:
                result[index] = merged(known, item, True)
                break
        else:
            result.append(item)
    return result


class Store:
    """All objects, and what has been deleted, for those who watch."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._deleted: list[tuple[int, str, Object]] = []
        self._revision = 100

    def _touch(self, item: Object) -> None:
        self._revision += 1
        item["metadata"]["resourceVersion"] = str(self._revision)
        self.changed.notify_all()

    def create(self, resource: Resource, namespace: str, item: Object) -> Object:
        with self.changed:
            item = copy.deepcopy(item)
            metadata = item.setdefault("metadata", {})
            key = (resource.plural, namespace, metadata["name"])
            if key in self._objects:
                raise Refused(409, "AlreadyExists", f'{resource.plural} "{metadata["name"]}" already exists')
            metadata.update(namespace=namespace, uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            item.update(apiVersion=resource.api_version, kind=resource.kind)
            if resource.plural in WORKLOADS:
                item["spec"].setdefault("replicas", 1)
                item["spec"]["template"]["spec"].setdefault("terminationGracePeriodSeconds", 30)
                item.setdefault("status", {})
            if resource.plural in ("pods", "persistentvolumeclaims"):
                item["status"] = {"phase": "Pending"}
            self._objects[key] = item
            self._touch(item)
            return copy.deepcopy(item)

    def get(self, plural: str, namespace: str, name: str) -> Object:
        with self.changed:
            try:
                return copy.deepcopy(self._objects[plural, namespace, name])
            except KeyError:
                raise Refused(404, "NotFound", f'{plural} "{name}" not found') from None

    def find(self, plural: str, namespace: str, name: str) -> Object | None:
        try:
            return self.get(plural, namespace, name)
        except Refused:
            return None

    def list(self, plural: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        name = fields.removeprefix("metadata.name=")
        with self.changed:
            return [
                copy.deepcopy(item)
                for (kind, space, item_name), item in sorted(self._objects.items())
                if kind == plural
                and space == namespace
                and (not fields or item_name == name)
                and selects(labels, item["metadata"].get("labels", {}))
            ]

    def revision(self) -> str:
        return str(self._revision)

    def patch(self, plural: str, namespace: str, name: str, patch: Object, strategic: bool = False) -> Object:
        with self.changed:
            self.get(plural, namespace, name)
            old = self._objects[plural, namespace, name]
            new = merged(old, patch, strategic)
            # Identity and status are the server's.
            for field in ("uid", "creationTimestamp", "generation"):
                new["metadata"][field] = old["metadata"][field]
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
            if new != old:
                self._objects[plural, namespace, name] = new
                self._touch(new)
            return copy.deepcopy(new)

    def delete(self, plural: str, namespace: str, name: str) -> Object:
        with self.changed:
            item = self.get(plural, namespace, name)
            del self._objects[plural, namespace, name]
            self._touch(item)
            self._deleted.append((self._revision, plural, item))
            return item

    def watch(self, plural: str, namespace: str, fields: str, since: int, seconds: float) -> Iterator[tuple[str, Object]]:
        """Changes after revision `since`, as they come."""
        name = fields.removeprefix("metadata.name=")
        deadline = datetime.now().timestamp() + seconds
        while True:
            with self.changed:
                events = [
                    (revision, "DELETED", item)
                    for revision, kind, item in self._deleted
                    if kind == plural and revision > since
                ]
                for item in self.list(plural, namespace):
                    if int(item["metadata"]["resourceVersion"]) > since:
                        events.append((int(item["metadata"]["resourceVersion"]), "MODIFIED", item))
                events = [event for event in events if not fields or event[2]["metadata"]["name"] == name]
                since = max([since, *(revision for revision, _, _ in events)])
                if not events:
                    left = deadline - datetime.now().timestamp()
                    if left <= 0:
                        return
                    self.changed.wait(min(left, 1.0))
            for _, what, item in sorted(events, key=lambda event: event[0]):
                yield what, item
