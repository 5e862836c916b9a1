"""The configuration of each component, made from the template that comes with the wheel, as the Helm chart sets it."""

import re
from pathlib import Path

from settings import LOG
from server_config import CALM, MANY_LOADS, PORTS, fill_placeholders, set_values
from versions import Version

ADDRESS = "10.99.0.1"
"""Where components find each other."""
KAFKA = "127.0.0.1:9092"
PULSAR_PORT = 6650
LOGS = ("pulsar", "kafka", "rocksmq", "natsmq")
LOCAL_STORAGE = "/var/lib/milvus/data/"
BUCKET = "milvus-bucket"
COORDINATORS = ("rootCoord", "dataCoord", "indexCoord", "queryCoord")

ETCD = "localhost:2379"
"""As the templates have it."""

COMMON = {
    "etcd.use.embed": "false",
    "etcd.log.path": "stdout",
    "localStorage.path": LOCAL_STORAGE,
    "minio.address": "127.0.0.1",
    "minio.bucketName": BUCKET,
    "minio.rootPath": "file",
    "common.storageType": "minio",
    "common.security.authorizationEnabled": "true",
    "log.level": "info",
    "log.file.rootPath": '""',
}
OLD = {
    "queryNode.cacheSize": "4",
    "proxy.timeTickInterval": CALM["proxy.timeTickInterval"],
    # As newer versions have it: collections share channels.
    "rootCoord.dmlChannelNum": "16",
}
LATER = CALM | {
    "mq.type": LOG,
    "log.stdout": "true",
    # What is deleted gets to the segments within seconds: a change of each of them.
    "dataNode.segment.syncPeriod": "10",
    # Nodes that end wait for others to take their segments, by default for half an hour.
    "common.gracefulStopTimeout": "5",
}
MAY_LACK = ("mq.type", "log.stdout", "log.file.rootPath", "common.gracefulStopTimeout")


def without_section(text: str, name: str) -> str:
    """Without that section and the comments that stand inside it."""
    return re.sub(rf"^{name}:.*\n(?:[ #].*\n|\n(?=[ #]))*", "", text, flags=re.M)


def only_known(text: str, values: dict[str, str]) -> dict[str, str]:
    """Without those settings that only some versions have."""
    found = dict(values)
    for name in MAY_LACK:
        if name in found:
            try:
                set_values(text, {name: ""})
            except ValueError:
                del found[name]
    return found


def configuration(version: Version, home: Path, port_of: tuple[str, int], settings: dict[str, str]) -> str:
    """Of one component; `port_of` names its section and its port. Settings of `kafka.consumer` go as they are; those of
    `etcd` and `internal_port` are its address and, of a proxy, the port for other components."""
    settings = dict(settings)
    etcd = settings.pop("etcd", ETCD)
    internal_port = settings.pop("internal_port", "")
    if version.series == "2.1":
        text, values = (home / "configs/embedded-milvus.yaml").read_text(), COMMON | OLD
    else:
        text, values = fill_placeholders((home / "config.yaml.template").read_text(), PORTS), COMMON | LATER
        if version.limits_loads:
            values |= MANY_LOADS
    for name in LOGS:
        text = without_section(text, name)
    of_consumer = {name.removeprefix("kafka.consumer."): value for name, value in settings.items()
                   if name.startswith("kafka.consumer.")}
    values |= {name: value for name, value in settings.items() if not name.startswith("kafka.consumer.")}
    section, port = port_of
    text = set_values(text, only_known(text, values))
    for name in COORDINATORS:
        text = with_line(text, name, f"address: {ADDRESS}")
    text = with_line(text, section, f"port: {port}")
    if internal_port:
        text = with_line(text, section, f"internalPort: {internal_port}")
    text = text.replace(f"- {ETCD}", f"- {etcd}")
    return text + "\n" + (of_pulsar() if LOG == "pulsar" else of_kafka(of_consumer))


def of_kafka(of_consumer: dict[str, str]) -> str:
    lines = ["kafka:", f"  brokerList: {KAFKA}"]
    if of_consumer:
        lines += ["  consumer:", *(f"    {name}: {value}" for name, value in of_consumer.items())]
    return "\n".join(lines) + "\n"


def of_pulsar() -> str:
    """Without a proxy before the broker."""
    values = {"address": "127.0.0.1", "port": PULSAR_PORT, "webport": 8080, "maxMessageSize": 5242880, "tenant": "public",
              "namespace": "default", "requestTimeout": 60}
    return "".join(["pulsar:\n", *(f"  {name}: {value}\n" for name, value in values.items())])


def with_line(text: str, section: str, line: str) -> str:
    """With that line as the section's, in place of one for the same setting."""
    name = line.partition(":")[0]
    found = re.search(rf"^{section}:\n((?:[ #].*\n|\n)*)", text, re.M)
    if not found:
        return text
    inside = re.sub(rf"^  {name}:.*\n", "", found[1], flags=re.M)
    return f"{text[:found.start(1)]}  {line}\n{inside}{text[found.end(1):]}"
