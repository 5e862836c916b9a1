"""A stand-in for the Kubernetes API server: as much of its HTTP as kubectl 1.20 to 1.32 needs for migrate.sh."""

from __future__ import annotations

import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator
from urllib.parse import parse_qs, urlsplit

from store import RESOURCES, WORKLOADS, Object, Refused, Resource, Store

BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
# An empty OpenAPI v2 document (swagger, info, paths) as protobuf: older kubectls then check nothing on their side.
OPENAPI_V2 = b"\x0a\x032.0" + b"\x12\x08\x0a\x01k\x12\x031.0" + b"\x42\x00"

@dataclass
class Fault:
    """Something that happens at the nth request of a kind, once: before it is carried out, or after."""

    method: str
    path: str
    action: Callable[[], None] | None = None
    """What to do; without it the request is answered with an error."""
    nth: int = 1
    after: bool = False
    body: str = ""
    """Only requests whose body matches count."""
    happened: bool = False

    def matches(self, method: str, path: str, body: str) -> bool:
        if self.happened or method != self.method or not re.search(self.path, path) or not re.search(self.body, body):
            return False
        self.nth -= 1
        self.happened = self.nth == 0
        return self.happened


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # A kubectl that follows a log is ended when the script is.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass
class ApiServer:
    """Serves a store on a free port of 127.0.0.1."""

    store: Store
    log_of: Callable[[str, str, bool], Iterator[bytes]]
    delete_pod: Callable[[str, str], None]
    faults: list[Fault] = field(default_factory=list)
    denied: set[tuple[str, str, str]] = field(default_factory=set)
    """Verb, resource, subresource."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and body of everything but GET."""
    rights: set[tuple[str, str]] = field(default_factory=set)
    """Verb and resource, with its subresource, of all that was asked for."""

    def start(self) -> str:
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if method != "GET":
            self.api.requests.append((method, url.path, text))
        fault = next((fault for fault in self.api.faults if fault.matches(method, url.path, text)), None)
        try:
            if fault and not fault.after:
                self._happen(fault)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            answer = self._answer(method, url.path, query, text)
            if fault and fault.after:
                self._happen(fault)
            if answer is not None:
                self._send(201 if method == "POST" else 200, answer)
        except Refused as refused:
            self._send(refused.code, _status(refused))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _happen(self, fault: Fault) -> None:
        if fault.action:
            fault.action()
        if not fault.after or not fault.action:
            raise Refused(500, "InternalError", "the stand-in fails on purpose")

    def _send(self, code: int, answer: Object | bytes) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = "application/json" if not isinstance(answer, bytes) else "application/octet-stream"
        try:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _stream(self, pieces: Iterator[bytes], kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, method: str, path: str, query: dict[str, str], text: str) -> Object | bytes | None:
        if path == "/openapi/v2":
            return OPENAPI_V2
        if method == "GET" and (found := _discovery(path)):
            return found
        if path.endswith("/selfsubjectaccessreviews"):
            return self._may(json.loads(text))
        match = re.fullmatch(r"/(?:api/v1|apis/apps/v1)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(?:/([^/]+))?", path)
        resource = BY_PLURAL.get(match[2]) if match else None
        if not match or not resource:
            raise Refused(404, "NotFound", f"the server could not find the requested resource {path}")
        namespace, name, subresource = match[1], match[3], match[4]
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
        verb = verb or ("get" if name else "watch" if "watch" in query else "list")
        self.api.rights.add((verb, f"{resource.plural}/{subresource}" if subresource else resource.plural))
        if subresource == "log":
            self._stream(self.api.log_of(namespace, name, query.get("follow") == "true"), "text/plain")
            return None
        if subresource == "scale":
            return self._scale(method, resource, namespace, name, text)
        if method == "GET" and not name:
            return self._list(resource, namespace, query)
        return self._change(method, resource, namespace, name, query, text)

    def _list(self, resource: Resource, namespace: str, query: dict[str, str]) -> Object | None:
        store, fields = self.api.store, query.get("fieldSelector", "")
        if query.get("watch") in ("true", "1"):
            since = int(query.get("resourceVersion") or 0)
            events = store.watch(resource.plural, namespace, fields, since, float(query.get("timeoutSeconds", 60)))
            lines = (json.dumps({"type": what, "object": item}).encode() + b"\n" for what, item in events)
            self._stream(lines, "application/json")
            return None
        return {
            "apiVersion": resource.api_version,
            "kind": f"{resource.kind}List",
            "metadata": {"resourceVersion": store.revision()},
            "items": store.list(resource.plural, namespace, query.get("labelSelector", ""), fields),
        }

    def _change(
        self, method: str, resource: Resource, namespace: str, name: str, query: dict[str, str], text: str
    ) -> Object:
        store, plural = self.api.store, resource.plural
        if method == "GET":
            return store.get(plural, namespace, name)
        if method == "POST":
            return store.create(resource, namespace, json.loads(text))
        if method == "PATCH":
            strategic = "strategic" in self.headers["Content-Type"]
            return store.patch(plural, namespace, name, json.loads(text), strategic)
        if method == "DELETE":
            item = store.get(plural, namespace, name)
            if plural == "pods":
                self.api.delete_pod(namespace, name)
            else:
                store.delete(plural, namespace, name)
            details = {"name": name, "kind": plural, "uid": item["metadata"]["uid"]}
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        raise Refused(405, "MethodNotAllowed", f"{method} is not supported")

    def _scale(self, method: str, resource: Resource, namespace: str, name: str, text: str) -> Object:
        store = self.api.store
        if method in ("PATCH", "PUT"):
            replicas = json.loads(text)["spec"]["replicas"]
            store.patch(resource.plural, namespace, name, {"spec": {"replicas": replicas}})
        item = store.get(resource.plural, namespace, name)
        fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: item["metadata"][key] for key in fields},
            "spec": {"replicas": item["spec"]["replicas"]},
            "status": {"replicas": item["status"].get("replicas", 0)},
        }

    def _may(self, review: Object) -> Object:
        if any(review.get("metadata", {}).values()):
            raise Refused(422, "Invalid", "metadata: must be empty")
        asked = review["spec"]["resourceAttributes"]
        key = (asked["verb"], asked["resource"], asked.get("subresource", ""))
        return {**review, "metadata": {}, "status": {"allowed": key not in self.api.denied}}


def _status(refused: Refused) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(refused),
        "reason": refused.reason,
        "code": refused.code,
    }


def _discovery(path: str) -> Object | None:
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group("apps"), _group("authorization.k8s.io")]}
    if path == "/api/v1":
        return _resources("")
    if path == "/apis/apps/v1":
        return _resources("apps")
    if path == "/apis/authorization.k8s.io/v1":
        review = {"name": "selfsubjectaccessreviews", "kind": "SelfSubjectAccessReview", "namespaced": False, "verbs": ["create"]}
        return _resource_list("authorization.k8s.io/v1", [{**review, "singularName": ""}])
    if path == "/openapi/v3":
        paths = {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=1"} for name in ("api/v1", "apis/apps/v1")}
        return {"paths": paths}
    if path in ("/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1"):
        return _openapi_v3(path.removeprefix("/openapi/v3"))
    return None


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(group: str) -> Object:
    entries = []
    for resource in RESOURCES:
        if resource.group != group:
            continue
        entry = {"name": resource.plural, "singularName": resource.kind.lower(), "kind": resource.kind, "namespaced": True}
        entries.append({**entry, "shortNames": list(resource.short), "verbs": VERBS})
        if resource.plural in WORKLOADS:
            scale = {"name": f"{resource.plural}/scale", "singularName": "", "kind": "Scale", "namespaced": True}
            entries.append({**scale, "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]})
        if resource.plural == "pods":
            log = {"name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": True, "verbs": ["get"]}
            entries.append(log)
    return _resource_list(f"{group}/v1" if group else "v1", entries)


def _resource_list(group_version: str, entries: list[Object]) -> Object:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _openapi_v3(prefix: str) -> Object:
    """As much as tells kubectl that the server checks the fields itself."""
    paths = {}
    for resource in RESOURCES:
        if (prefix == "/api/v1") != (resource.group == ""):
            continue
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        operation = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": kind,
        }
        paths[f"{prefix}/namespaces/{{namespace}}/{resource.plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": paths}
