"""Pulsar as the message log, of the version that the Helm charts 3.x and 4.0 of Milvus bring: one process with its ZooKeeper,
bookie and broker, with the settings of those charts."""

from pathlib import Path

from servers import TOOLS, Process, answers

from cluster.cluster_config import PULSAR_PORT

HERE = Path(__file__).parent
HOME = TOOLS / "cluster/pulsar"
WEB_PORT = 8080
MOUNTED = "/mnt"
BROKER = {
    "zookeeperServers": "",
    "configurationStoreServers": "",
    "brokerServicePort": str(PULSAR_PORT),
    "webServicePort": str(WEB_PORT),
    "bindAddress": "127.0.0.1",
    "advertisedAddress": "127.0.0.1",
    "clusterName": "standalone",
    "managedLedgerDefaultEnsembleSize": "1",
    "managedLedgerDefaultWriteQuorum": "1",
    "managedLedgerDefaultAckQuorum": "1",
    "managedLedgerCacheSizeMB": "64",
    "brokerDeleteInactiveTopicsEnabled": "false",
    "loadBalancerEnabled": "false",
    "transactionCoordinatorEnabled": "false",
    "numHttpServerThreads": "8",
    # As in the charts (values.yaml: pulsar.broker.configData).
    "maxMessageSize": "104857600",
    "defaultRetentionTimeInMinutes": "10080",
    "defaultRetentionSizeInMB": "-1",
    "backlogQuotaDefaultLimitGB": "8",
    "ttlDurationDefaultInSeconds": "259200",
    "subscriptionExpirationTimeMinutes": "3",
}
# It is older than Java 17.
OPENED = ("java.base/java.lang", "java.base/java.nio", "java.base/java.util", "java.base/sun.net", "java.base/jdk.internal.misc",
          "java.management/sun.management", "jdk.management/com.sun.management.internal")
AT_ONE_PATH = """\
set -e
mount --bind "$1" "$2"
cd "$2"
shift 2
exec "$@"
"""
"""A bookie knows its folder by its path, and refuses another one; sites are copied."""


class Pulsar(Process):
    def __init__(self, site: Path):
        data, conf = site / "pulsar", site / "conf/pulsar.conf"
        data.mkdir(parents=True, exist_ok=True)
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text("".join(f"{name}={value}\n" for name, value in BROKER.items()))
        java = ["java", "-Xms256m", "-Xmx1g", "-XX:MaxDirectMemorySize=1g", "-Dio.netty.tryReflectionSetAccessible=true",
                f"-Dlog4j2.configurationFile={HERE}/log4j2.xml", *(f"--add-opens={one}=ALL-UNNAMED" for one in OPENED)]
        start = ["-cp", f"{HOME}/*", "org.apache.pulsar.PulsarStandaloneStarter", "--config", str(conf), "--zookeeper-dir", "zookeeper",
                 "--bookkeeper-dir", "bookkeeper", "--no-functions-worker", "--no-stream-storage"]
        own = ["unshare", "--mount", "sh", "-c", AT_ONE_PATH, "sh", str(data), MOUNTED]
        super().__init__("Pulsar", own + java + start, site / "logs/pulsar.out", site)
        self.wait_ready(lambda: answers(f"http://127.0.0.1:{WEB_PORT}/admin/v2/namespaces/public/default"), 120)
