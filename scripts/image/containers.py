"""Containers as Kubernetes and Docker start them, from an image in buildah's store, by runc. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# More than any container takes, even on a busy machine.
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine, seen by a container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Settings:
    """What a caller says about a container; the rest comes from the image."""

    command: Sequence[str] = ()
    user: tuple[int, int] | None = None
    groups: Sequence[int] = ()
    environment: dict[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    read_only_root: bool = False
    # Kubernetes with allowPrivilegeEscalation: false and all capabilities dropped.
    without_rights: bool = False


@dataclass(frozen=True)
class Ended:
    """How a container ended, and what it said."""

    code: int
    log: str


def _buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Image:
    """An image in the local store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.details: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", name))
        self.config: dict[str, Any] = self.details["OCIv1"]["config"]

    @property
    def user(self) -> tuple[int, int]:
        """User and group that it runs as by itself."""
        user, _, group = str(self.config.get("User", "0:0")).partition(":")
        return int(user), int(group or user)

    @contextmanager
    def root(self) -> Iterator[Path]:
        """The files of a new container, gone afterwards."""
        container = _buildah("from", "--pull-never", self.name)
        try:
            yield Path(_buildah("mount", container))
        finally:
            _buildah("rm", container)


class Container:
    """A container under way."""

    def __init__(self, image: Image, settings: Settings, root: Path, bundle: Path) -> None:
        self.name = f"meta-migration-{uuid.uuid4()}"
        (bundle / "config.json").write_text(json.dumps(_specification(image, settings, root, bundle)))
        self._log = (bundle / "log").open("w+b")
        self._process = subprocess.Popen(
            ["runc", "run", "--bundle", str(bundle), self.name],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def log(self) -> str:
        """What it has said so far."""
        return Path(self._log.name).read_text(errors="replace")

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def terminate(self) -> None:
        """Sends SIGTERM to its first process, as stopping a pod does."""
        subprocess.run(["runc", "kill", self.name, "TERM"], check=True)

    def wait(self) -> Ended:
        """Waits for its end."""
        code = self._process.wait(PATIENCE_SECONDS)
        return Ended(code, self.log())

    def clean_up(self) -> None:
        """Ends it, if it has not ended."""
        if self.is_running():
            subprocess.run(["runc", "delete", "--force", self.name], check=False, capture_output=True)
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._log.close()


@contextmanager
def started(image: Image, settings: Settings) -> Iterator[Container]:
    """Starts a container."""
    bundle = Path(tempfile.mkdtemp(prefix="bundle-"))
    try:
        with image.root() as root:
            container = Container(image, settings, root, bundle)
            try:
                yield container
            finally:
                container.clean_up()
    finally:
        shutil.rmtree(bundle)


def run(image: Image, settings: Settings) -> Ended:
    """Runs a container to its end."""
    with started(image, settings) as container:
        return container.wait()


def give_to_group(volume: Path, group: int) -> None:
    """What a kubelet does with a volume for fsGroup."""
    for path in [volume, *volume.rglob("*")]:
        os.chown(path, -1, group)
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (0o2770 if path.is_dir() else 0o660))


def _specification(image: Image, settings: Settings, root: Path, bundle: Path) -> dict[str, Any]:
    user, group = settings.user or image.user
    command = list(settings.command) or [*(image.config.get("Entrypoint") or []), *image.config["Cmd"]]
    environment = [*image.config.get("Env", []), *(f"{name}={value}" for name, value in settings.environment.items())]
    rights: list[str] = [] if settings.without_rights or user != 0 else ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": group, "additionalGids": list(settings.groups)},
            "args": command,
            "env": environment,
            "cwd": image.config.get("WorkingDir") or "/",
            "capabilities": {kind: rights for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": settings.without_rights,
        },
        "root": {"path": str(root), "readonly": settings.read_only_root},
        "hostname": "pod",
        "mounts": [*_usual_mounts(bundle), *map(_mount, settings.mounts)],
        # The network is this machine's: that is where etcd is.
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }


def _usual_mounts(bundle: Path) -> list[dict[str, Any]]:
    hosts = bundle / "hosts"
    hosts.write_text("127.0.0.1 localhost etcd my-release-etcd\n")
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        _mount(Mount(hosts, "/etc/hosts", read_only=True)),
    ]


def _mount(mount: Mount) -> dict[str, Any]:
    options = ["rbind", "ro" if mount.read_only else "rw"]
    return {"destination": mount.target, "type": "bind", "source": str(mount.source), "options": options}
