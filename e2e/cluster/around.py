"""What a cluster needs around it: etcd, MinIO, Kafka or Pulsar, with their data in folders of the site."""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

from servers import TOOLS, Etcd, Process, ServerError, answers
from settings import LOG

from cluster.cluster_config import KAFKA
from cluster.pulsar import Pulsar

HERE = Path(__file__).parent
HOME = TOOLS / "cluster"
CONTROLLER = "127.0.0.1:9093"
CLUSTER_ID = "TWlsdnVzQ2x1c3RlckUyRQ"

BROKER = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": f"1@{CONTROLLER}",
    "listeners": f"PLAINTEXT://{KAFKA},CONTROLLER://{CONTROLLER}",
    "advertised.listeners": f"PLAINTEXT://{KAFKA}",
    "controller.listener.names": "CONTROLLER",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "auto.create.topics.enable": "true",
    "message.max.bytes": "10485760",
    "log.retention.ms": "-1",
    # Small, so that a copy of the site takes little room.
    "log.index.size.max.bytes": "65536",
    "group.initial.rebalance.delay.ms": "0",
    # On a busy machine the controller takes its only broker for dead after 9 seconds, and consumers hear nothing for minutes.
    "broker.session.timeout.ms": "600000",
}


def java(*arguments: str) -> list[str]:
    return ["java", f"-Dlog4j.configuration=file:{HERE}/log4j.properties", "-cp", f"{HOME}/kafka/*", *arguments]


def connects(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


class Minio(Process):
    def __init__(self, site: Path):
        data = site / "minio"
        data.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"MINIO_ROOT_USER": "minioadmin", "MINIO_ROOT_PASSWORD": "minioadmin", "MINIO_UPDATE": "off",
                            "HOME": str(site)}
        command = [f"{HOME}/minio", "server", str(data), "--address", "127.0.0.1:9000", "--console-address", "127.0.0.1:9001"]
        super().__init__("MinIO", command, site / "logs/minio.out", site, env)
        self.wait_ready(lambda: answers("http://127.0.0.1:9000/minio/health/live"), 60)


class Kafka(Process):
    """One broker that is its own controller."""

    def __init__(self, site: Path):
        self.site = site
        data, conf = site / "kafka", site / "conf/kafka.properties"
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text("".join(f"{name}={value}\n" for name, value in (BROKER | {"log.dirs": str(data)}).items()))
        if not (data / "meta.properties").exists():
            self.tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(conf))
        super().__init__("Kafka", java("-Xms256m", "-Xmx768m", "kafka.Kafka", str(conf)), site / "logs/kafka.out", site)
        self.wait_ready(lambda: connects(KAFKA), 120)

    def tool(self, name: str, *arguments: str) -> str:
        done = subprocess.run(java("-Xmx256m", name, *arguments), capture_output=True, text=True, cwd=self.site)
        if done.returncode != 0:
            raise ServerError(f"{name} {' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-500:]}")
        return done.stdout

    def ends(self, prefix: str) -> dict[str, int]:
        """The offset after the last message of each topic."""
        out = self.tool("kafka.tools.GetOffsetShell", "--bootstrap-server", KAFKA, "--topic", f"{prefix}.*")
        found = {}
        for line in out.splitlines():
            topic, _, offset = line.split(":")
            found[topic] = int(offset)
        return found

    def forget(self, before: dict[str, int]) -> None:
        """Removes each topic's messages before an offset, as retention does."""
        entries = ", ".join(f'{{"topic": "{topic}", "partition": 0, "offset": {offset}}}' for topic, offset in before.items())
        file = self.site / "conf/forget.json"
        file.write_text(f'{{"partitions": [{entries}], "version": 1}}')
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", KAFKA, "--offset-json-file", str(file))


class Around:
    """All three; `with` ends them, last started first."""

    def __init__(self, site: Path, etcd: type[Etcd] = Etcd):
        with ExitStack() as stack:
            self.etcd = stack.enter_context(etcd(site))
            stack.enter_context(Minio(site))
            self.log = stack.enter_context(Pulsar(site) if LOG == "pulsar" else Kafka(site))
            self.stack = stack.pop_all()

    def __enter__(self) -> "Around":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
