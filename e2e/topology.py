"""What a run works with: one standalone server on rocksmq and a local folder, or a cluster (E2E_CLUSTER)."""

from pathlib import Path
from typing import Any

from servers import Etcd, Milvus
from settings import CLUSTER, LOG

Around: Any
"""What has to run beside Milvus, for one site; ended by `with`."""
Server: Any
"""A Milvus of some version on a site; ended by `with`."""

if CLUSTER:
    from cluster.around import Around
    from cluster.parts import Cluster as Server
    STORAGE = "minio/milvus-bucket"
    LOG_FOLDERS = (LOG,)
else:
    Around, Server = Etcd, Milvus
    STORAGE = "storage"
    LOG_FOLDERS = ("rocksmq", "rocksmq_meta_kv")


def storage(site: Path) -> Path:
    """The folder with the files of segments and indexes."""
    return site / STORAGE
