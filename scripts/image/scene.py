"""A real etcd with the metadata of a real Milvus 2.1.0, and volumes as Kubernetes makes them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ETCD_35 = REPOSITORY / ".tools/etcd-3.5"
SAMPLE = REPOSITORY / "testdata/milvus-2.1.0/etcd-21.snap"
START_SECONDS = 30


class Etcd:
    """A running etcd 3.5 on a data directory."""

    def __init__(self, data: Path, arguments: Sequence[str]) -> None:
        self._log = data.parent / "etcd.log"
        self._log.unlink(missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        self._process = subprocess.Popen(
            [ETCD_35 / "etcd", *arguments, "--logger=zap", f"--log-outputs={self._log}"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        self.port = self._wait_for_port()

    def _wait_for_port(self) -> int:
        begun = time.monotonic()
        while time.monotonic() < begun + START_SECONDS and self._process.poll() is None:
            log = self._log.read_text() if self._log.exists() else ""
            if found := re.search(r'serving client traffic insecurely.*"address":"[^"]*:(\d+)"', log):
                return int(found[1])
            time.sleep(0.02)
        self.stop()
        raise AssertionError(f"etcd does not start:\n{self._log.read_text()[-2000:]}")

    def ctl(self, *arguments: str) -> str:
        """What etcdctl says."""
        command = [ETCD_35 / "etcdctl", f"--endpoints=http://127.0.0.1:{self.port}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, errors="surrogateescape").stdout

    def metadata(self) -> str:
        """A checksum of all keys and values under the meta root."""
        text = self.ctl("get", "--prefix", "by-dev/meta/")
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def keys(self) -> int:
        """How many keys there are under the meta root."""
        return len(self.ctl("get", "--prefix", "by-dev/meta/", "--keys-only").split())

    def stop(self) -> None:
        """Ends it in order, so that its data can be used by another one."""
        self._process.terminate()
        self._process.wait(START_SECONDS)


def sample_data(folder: Path) -> Path:
    """A data directory of etcd with the metadata of a Milvus 2.1.0."""
    data = folder / "etcd-data"
    subprocess.run(
        [ETCD_35 / "etcdutl", "snapshot", "restore", SAMPLE, "--data-dir", data], check=True, capture_output=True
    )
    return data


@contextmanager
def etcd_on(data: Path, arguments: Sequence[str] | None = None) -> Iterator[Etcd]:
    """An etcd on a data directory, on a port of its own; stopped afterwards."""
    client = "http://127.0.0.1:0"
    usual = [f"--data-dir={data}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    etcd = Etcd(data, [*(arguments or usual), "--listen-peer-urls=http://127.0.0.1:0"])
    try:
        yield etcd
    finally:
        etcd.stop()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that any user may enter; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="scene-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def root_volume(folder: Path) -> Path:
    """A new volume as most drivers make it: it belongs to root."""
    volume = folder / "volume"
    volume.mkdir(mode=0o755)
    return volume


def config_map(folder: Path, files: dict[str, str]) -> Path:
    """A mounted ConfigMap, with the symbolic links that a kubelet makes."""
    mounted = folder / "config"
    shutil.rmtree(mounted, ignore_errors=True)
    (mounted / "..2022_11_21").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2022_11_21")
    for name, text in files.items():
        (mounted / "..2022_11_21" / name).write_text(text)
        (mounted / name).symlink_to(f"..data/{name}")
    return mounted
