"""etcd and Milvus servers for one place with data ("site"). Runs inside the namespaces that scripts/e2e.sh makes,
so that the fixed ports of Milvus are free and nothing outlives the run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import server_config
from versions import Version

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
EMBEDDED_CONFIG = Path("/var/bin/e-milvus/configs/embedded-milvus.yaml")
FIXED_FOLDERS = (Path("/var/bin"), Path("/tmp/milvus"))


class ServerError(Exception):
    pass


class ServerDied(ServerError):
    pass


def wait_for(what: str, done: Callable[[], bool], seconds: float, pause: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise ServerError(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(pause)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Process:
    """A server in a process group of its own, its output in a file."""

    def __init__(self, name: str, command: list[str], log: Path, cwd: Path, env: dict[str, str] | None = None):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.start_of_log = out.tell()
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, env=env, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def output(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self.start_of_log)
            return file.read().decode(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        def settled() -> bool:
            return not self.alive() or ready()

        wait_for(f"{self.name} to come up", settled, seconds)
        if not self.alive():
            raise ServerDied(f"{self.name} ended with {self.process.returncode}: {self.reason()}")

    def reason(self) -> str:
        """The panic or signal in the output, for a report."""
        lines = self.output().splitlines()
        for line in lines:
            if re.search(r"^(panic:|fatal error:|SIGSEGV|unexpected fault)", line):
                return line.strip()[:300]
        return " / ".join(lines[-3:])[:500]

    def stop(self, seconds: float = 60) -> None:
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self.alive():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Etcd(Process):
    CLIENTS = "http://127.0.0.1:2379"
    LOG_LEVEL = "error"

    def __init__(self, site: Path):
        command = [
            str(TOOLS / "etcd-3.5/etcd"),
            f"--data-dir={site}/etcd",
            f"--listen-client-urls={self.CLIENTS}",
            f"--advertise-client-urls={self.CLIENTS}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # Throwaway data: nothing here has to survive a power cut.
            "--unsafe-no-fsync",
            f"--log-level={self.LOG_LEVEL}",
        ]
        super().__init__("etcd", command, site / "logs/etcd.out", site)
        self.wait_ready(lambda: answers("http://127.0.0.1:2379/health"), 30)


def etcdctl(*arguments: str) -> str:
    # A busy machine takes longer than the 5 seconds that etcdctl has patience for.
    patient = ["--endpoints=127.0.0.1:2379", "--command-timeout=60s", "--dial-timeout=30s"]
    command = [str(TOOLS / "etcd-3.5/etcdctl"), *patient, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={"ETCDCTL_API": "3"})
    if done.returncode != 0:
        raise ServerError(f"etcdctl {' '.join(arguments)}: {done.stderr[-500:]}")
    return done.stdout


def milvus_command(version: str, site: Path, settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    home = TOOLS / f"milvus-{version}"
    env = dict(os.environ)
    if version.startswith("2.1."):
        EMBEDDED_CONFIG.write_text(server_config.for_2_1(home / "configs/embedded-milvus.yaml", site, settings))
        library = f"{home}/bin/embd-milvus.so"
        env |= {"LD_PRELOAD": library, "LD_LIBRARY_PATH": f"{home}/lib"}
        return [sys.executable, "-c", f"import ctypes; ctypes.CDLL({library!r}).startEmbedded()"], env
    conf = site / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "milvus.yaml").write_text(server_config.for_later(Version(version), home / "config.yaml.template", site, settings))
    glog = home / "glog.conf"
    if glog.exists():
        (conf / "glog.conf").write_text(glog.read_text().replace("--log_dir=logs/", f"--log_dir={site}/logs"))
    env |= {"LD_LIBRARY_PATH": f"{home}/bin", "MILVUSCONF": str(conf), "DEPLOY_MODE": "STANDALONE"}
    return [f"{home}/bin/milvus", "run", "standalone"], env


class Milvus(Process):
    def __init__(self, version: str, site: Path, settings: dict[str, str] | None = None, seconds: float = 180):
        self.version = version
        self.site = site
        storage = site / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        command, env = milvus_command(version, site, settings or {})
        # 2.1 recorded paths relative to its storage folder: the newer servers are started inside it.
        super().__init__(f"Milvus {version}", command, site / f"logs/milvus-{version}.out", storage, env)
        try:
            self.wait_ready(self.ready, seconds)
        except ServerError:
            self.kill()
            raise

    def stop(self, seconds: float = 60) -> None:
        # A newer standalone server never ends by itself: its query node waits for another one to take its segments.
        super().stop(seconds if self.version.startswith("2.1.") else 8)

    def ready(self) -> bool:
        if self.version.startswith("2.1."):
            return "ready to serve" in self.output() or answers("http://127.0.0.1:9091/healthz")
        return answers("http://127.0.0.1:9091/healthz")


class Named(Protocol):
    """Milvus, or a cluster of it."""

    name: str
    version: str
    site: Path

    def alive(self) -> bool: ...

    def reason(self) -> str: ...


def client(server: Named, script: str, *arguments: str) -> Process:
    """One of our scripts with the pymilvus that belongs to the server; `with` ends it. Its output is beside the server's."""
    python = TOOLS / f"pymilvus-{Version(server.version).client}/bin/python"
    log = server.site / f"logs/{Path(script).name}.out"
    # By itself a server may tell anything: the wheel of 2.3.0 says "v2.2-testing-…".
    command = ["env", f"MILVUS_VERSION={server.version}", str(python), str(Path(__file__).parent / script), *arguments]
    return Process(script, command, log, server.site)


def run_client(server: Named, script: str, *arguments: str, seconds: float = 1500) -> str:
    """Runs one of our scripts and gives its output back. Ends it when the server ends: pymilvus would wait for ever."""
    with client(server, script, *arguments) as process:
        wait_for(f"{script} to end", lambda: not process.alive() or not server.alive(), seconds)
    if not server.alive():
        raise ServerDied(f"{server.name} ended by itself: {server.reason()}")
    if process.process.returncode != 0:
        raise ServerError(f"{script} failed: {process.output()[-2000:]}")
    return process.output()


def copy_site(source: Path, target: Path) -> Path:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("logs", "conf", "LOCK"))
    return target


def enter_namespace() -> None:
    """Called once, inside fresh network and mount namespaces: loopback, and the address that 2.1.0 insists on."""
    for command in (
        "ip link set lo up",
        "ip link add veth0 type veth peer name veth1",
        "ip addr add 10.99.0.1/24 dev veth0",
        "ip link set veth0 up",
        "ip link set veth1 up",
    ):
        subprocess.run(command.split(), check=True)
    # The ports of Milvus, 31000 and 53100 among them, must not be taken for outgoing connections.
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("32768 52000")
    # 2.1.0 reads its configuration from a fixed place, and 2.3 writes notes to another: both are ours alone in here.
    for folder in FIXED_FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)
    EMBEDDED_CONFIG.parent.mkdir(parents=True)
