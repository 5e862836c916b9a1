"""How our scripts talk to a server: with pymilvus, and over gRPC directly where its versions differ. A cluster demands a
user and a password."""

import base64
import os
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import grpc
from pymilvus import connections
from pymilvus.grpc_gen.milvus_pb2_grpc import MilvusServiceStub

from settings import CLUSTER

HOST, PORT = "127.0.0.1", os.environ.get("MILVUS_PORT", "19530")
ROOT = ("root", "Milvus")
"""As every Milvus makes it."""
PATIENCE = 180
"""On a busy machine a server that says it is well may take longer than the clients wait until it listens."""


def connect(user: tuple[str, str] = ROOT) -> None:
    with grpc.insecure_channel(f"{HOST}:{PORT}") as channel:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
    login = {"user": user[0], "password": user[1]} if CLUSTER else {}
    connections.connect(host=HOST, port=PORT, timeout=PATIENCE, **login)


class Call(namedtuple("Call", ("method", "timeout", "metadata", "credentials")), grpc.ClientCallDetails):
    pass


class Login(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc comes without types
    """Says with every call who calls."""

    def __init__(self, user: tuple[str, str]):
        self.value = base64.b64encode(":".join(user).encode()).decode()

    def intercept_unary_unary(self, go_on: Callable[..., Any], details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), ("authorization", self.value)]
        return go_on(Call(details.method, details.timeout, metadata, details.credentials), request)


def service(user: tuple[str, str] = ROOT) -> MilvusServiceStub:
    channel = grpc.insecure_channel(f"{HOST}:{PORT}")
    return MilvusServiceStub(grpc.intercept_channel(channel, Login(user)) if CLUSTER else channel)
