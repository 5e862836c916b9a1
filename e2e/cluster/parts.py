"""The components of a cluster as processes of their own, as pods are: each with its own folders, under the same paths."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from records import sessions
from servers import TOOLS, Process, ServerDied, ServerError, answers, wait_for
from versions import Version

from cluster.cluster_config import configuration

HOME = TOOLS / "cluster"


@dataclass(frozen=True)
class Part:
    name: str
    role: str
    section: str
    port: int
    metrics: int


PARTS = (
    Part("rootcoord", "rootcoord", "rootCoord", 53100, 9101),
    Part("datacoord", "datacoord", "dataCoord", 13333, 9102),
    Part("indexcoord", "indexcoord", "indexCoord", 31000, 9103),
    Part("querycoord", "querycoord", "queryCoord", 19531, 9104),
    Part("datanode1", "datanode", "dataNode", 21124, 9105),
    Part("datanode2", "datanode", "dataNode", 21134, 9106),
    Part("querynode1", "querynode", "queryNode", 21123, 9107),
    Part("querynode2", "querynode", "queryNode", 21133, 9108),
    Part("indexnode1", "indexnode", "indexNode", 21121, 9109),
    Part("proxy", "proxy", "proxy", 19530, 9110),
)

OWN_FOLDERS = """\
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/milvus /run/own
mount --bind "$1" /run/own
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/milvus/data
mount --bind /run/own /var/lib/milvus/data
shift
exec "$@"
"""
"""Files with process IDs and the local storage: fixed paths, different ones in each pod."""


def parts_of(version: Version) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if part.name != "indexcoord" or version.has_index_coordinator)


class Component(Process):
    def __init__(self, part: Part, version: Version, site: Path, settings: dict[str, str]):
        self.part, self.version, self.site = part, version.text, site
        home, conf, local = TOOLS / f"milvus-{version.text}", site / "conf" / part.name, site / "local" / part.name
        conf.mkdir(parents=True, exist_ok=True)
        local.mkdir(parents=True, exist_ok=True)
        (conf / "milvus.yaml").write_text(configuration(version, home, (part.section, part.port), settings))
        if version.series == "2.1":
            (conf / "easylogging.yaml").write_text((home / "configs/easylogging.yaml").read_text())
            command, libraries = [f"{HOME}/milvus21", part.role], home / "lib"
        else:
            mended = HOME / f"milvus-{version.text}"
            command, libraries = [str(mended if mended.exists() else home / "bin/milvus"), "run", part.role], home / "bin"
        glog = home / "glog.conf"
        if glog.exists():
            (conf / "glog.conf").write_text(glog.read_text().replace("--log_dir=logs/", "--log_dir=/var/lib/milvus"))
        env = os.environ | {
            "LD_LIBRARY_PATH": str(libraries), "MILVUSCONF": f"{conf}/", "METRICS_PORT": str(part.metrics),
            "DEPLOY_MODE": "DISTRIBUTED", "AWS_EC2_METADATA_DISABLED": "true",
        }
        own = ["unshare", "--mount", "sh", "-c", OWN_FOLDERS, "sh", str(local)]
        super().__init__(f"{part.name} {version.text}", own + command, site / f"logs/{part.name}-{version.text}.out", site, env)

    def healthy(self) -> bool:
        return self.alive() and answers(f"http://127.0.0.1:{self.part.metrics}/healthz")


class Cluster:
    """Like servers.Milvus: up once it has been made, ended by `with`."""

    def __init__(self, version: str, site: Path, settings: dict[str, str] | None = None, seconds: float = 240,
                 parts: tuple[Part, ...] | None = None):
        """`parts`: those to start with, all if they are not named."""
        self.version = version
        self.site = site
        self.settings = settings or {}
        self.name = f"Milvus {version}"
        self.before = sessions().items()
        self.components: dict[str, Component] = {}
        self.start(parts_of(Version(version)) if parts is None else parts, seconds)

    def start(self, parts: tuple[Part, ...], seconds: float = 240) -> None:
        """Those, too; ends all if they do not come up."""
        for part in parts:
            self.components[part.name] = Component(part, Version(self.version), self.site, self.settings)
        try:
            wait_for(f"{self.name} to come up", lambda: not self.alive() or self.healthy(), seconds, 0.5)
        except ServerError as error:
            raise ServerError(f"{error} (not well: {', '.join(self.missing()) or 'none, but some have not registered'})") from None
        else:
            if not self.alive():
                raise ServerDied(self.reason())
        finally:
            if not (self.alive() and self.healthy()):
                self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def alive(self) -> bool:
        """All of it; a component that was ended on purpose is out of it."""
        return all(component.alive() for component in self.components.values())

    def healthy(self) -> bool:
        """A component says that it is well before it has begun; then it registers (in 2.3 the data coordinator twice).
        What is registered may be left from before."""
        registered = sessions().items() - self.before
        return len(registered) >= len(self.components) and not self.missing()

    def missing(self) -> list[str]:
        return [name for name, component in self.components.items() if not component.healthy()]

    def reason(self) -> str:
        ended = [one for one in self.components.values() if not one.alive()]
        return "; ".join(f"{one.name} ended with {one.process.returncode}: {one.reason()}" for one in ended)

    def stop(self, *names: str, seconds: float = 30) -> None:
        """Gently, as Helm and the operator do it: those named, or all, at once. They no longer count as part of it."""
        ending = [self.components.pop(name) for name in names or tuple(self.components)]
        for component in ending:
            if component.alive():
                os.killpg(component.process.pid, signal.SIGTERM)
        end = time.monotonic() + seconds
        for component in ending:
            try:
                component.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                component.kill()

    def kill(self, *names: str) -> None:
        """At once, those named or all; killed ones no longer count as part of it."""
        for name in names or tuple(self.components):
            self.components.pop(name).kill()
