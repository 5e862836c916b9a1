"""A throwaway etcd with the metadata that a real Milvus 2.1.0 wrote."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = REPOSITORY / ".tools" / "etcd-3.5"
SAMPLE = REPOSITORY / "testdata" / "milvus-2.1.0" / "etcd-21.snap"
ROOT = "by-dev/meta/"


def dies_with_us() -> None:
    """For preexec_fn: nothing outlives a test that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def restore(folder: Path) -> Path:
    """Makes a data directory from the sample, to be copied by each Etcd."""
    command = [BINARIES / "etcdutl", "snapshot", "restore", SAMPLE, "--data-dir", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


class Etcd:
    """A running server."""

    def __init__(self, folder: Path, data: Path, tls: dict[str, Path] | None = None) -> None:
        self._log = folder / "etcd.log"
        self._scheme = "https" if tls else "http"
        self._token = ""
        self._context = None
        shutil.copytree(data, folder / "etcd")
        flags = [f"--data-dir={folder / 'etcd'}", "--logger=zap", f"--log-outputs={self._log}", "--unsafe-no-fsync"]
        flags += ["--heartbeat-interval=20", "--election-timeout=200", "--listen-peer-urls=http://127.0.0.1:0"]
        if tls:
            flags += [f"--cert-file={tls['server.crt']}", f"--key-file={tls['server.key']}"]
            flags += [f"--trusted-ca-file={tls['ca.crt']}", "--client-cert-auth"]
            self._context = ssl.create_default_context(cafile=str(tls["ca.crt"]))
            self._context.load_cert_chain(tls["tls.crt"], tls["tls.key"])
        # etcd's JSON gateway needs a port that is known beforehand; somebody else may take it meanwhile.
        for _ in range(5):
            if self._starts(flags):
                return
        raise RuntimeError(f"etcd does not start: {self._log.read_text()[-2000:]}")

    def _starts(self, flags: list[str]) -> bool:
        self.address = f"127.0.0.1:{_free_port()}"
        self._url = f"{self._scheme}://{self.address}"
        urls = [f"--listen-client-urls={self._url}", f"--advertise-client-urls={self._url}"]
        self._process = subprocess.Popen(
            [BINARIES / "etcd", *flags, *urls], preexec_fn=dies_with_us, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            if self._process.poll() is not None:
                return False
            if self._log.exists() and f'"address":"{self.address}"' in self._log.read_text():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def call(self, path: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._url}/v3/{path}", json.dumps(body).encode())
        if self._token:
            request.add_header("Authorization", self._token)
        with urllib.request.urlopen(request, context=self._context, timeout=20) as answer:
            return json.load(answer)

    def demand_password(self, password: str) -> None:
        self.call("auth/user/add", name="root", password=password)
        self.call("auth/role/add", name="root")
        self.call("auth/user/grant", user="root", role="root")
        self.call("auth/enable")
        self._token = self.call("auth/authenticate", name="root", password=password)["token"]

    def put(self, key: str, value: str, lease: str = "0") -> None:
        self.call("kv/put", key=_text(key), value=_text(value), lease=lease)

    def put_bytes(self, key: str, value: bytes) -> None:
        self.call("kv/put", key=_text(key), value=base64.b64encode(value).decode())

    def delete_all(self) -> None:
        """All metadata, sessions too."""
        self.call("kv/deleterange", key=_text(ROOT), range_end=_text(ROOT[:-1] + chr(ord(ROOT[-1]) + 1)))

    def grant(self, seconds: int) -> str:
        return self.call("lease/grant", TTL=seconds)["ID"]

    def revoke(self, lease: str) -> None:
        self.call("lease/revoke", ID=lease)

    def entries(self, root: str = ROOT) -> dict[str, bytes]:
        """All metadata: everything under the meta root but sessions."""
        end = root[:-1] + chr(ord(root[-1]) + 1)
        found = self.call("kv/range", key=_text(root), range_end=_text(end)).get("kvs", [])
        pairs = {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", "")) for kv in found}
        return {key.removeprefix(root): value for key, value in pairs.items() if not key.startswith(f"{root}session/")}

    def count(self, prefix: str) -> int:
        start = ROOT + prefix
        end = start[:-1] + chr(ord(start[-1]) + 1)
        return int(self.call("kv/range", key=_text(start), range_end=_text(end), count_only=True).get("count", 0))

    def digest(self, root: str = ROOT) -> str:
        return digest(self.entries(root))


def digest(entries: dict[str, bytes]) -> str:
    # Our history tells times and hosts, which are never the same twice.
    entries = {key: value for key, value in entries.items() if not key.endswith("meta-migration/history")}
    lines = (f"{key}={base64.b64encode(value).decode()}\n" for key, value in sorted(entries.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
