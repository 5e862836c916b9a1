"""A slow way to a server: what it answers comes a while later. Gives a fault time to come in between."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Self


class Slow:
    """Listens on a port of its own until it is closed."""

    def __init__(self, to: str, delay: float):
        host, _, port = to.partition(":")
        self.to = (host, int(port))
        self.seconds = delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    @classmethod
    @contextmanager
    def each(cls, servers: tuple[str, ...], delay: float) -> Iterator[tuple[str, ...]]:
        """A way to each of them that is slow by so many seconds."""
        with ExitStack() as stack:
            yield tuple(stack.enter_context(cls(to, delay)).address for to in servers)

    def accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(here,), daemon=True).start()

    def join(self, here: socket.socket) -> None:
        try:
            there = socket.create_connection(self.to, timeout=10)
        except OSError:
            here.close()
            return
        there.settimeout(None)
        late: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=self.pass_on, args=(late, here), daemon=True).start()
        threading.Thread(target=self.forward, args=(here, there), daemon=True).start()
        self.delay(there, late)

    def delay(self, there: socket.socket, late: "SimpleQueue[tuple[float, bytes]]") -> None:
        while True:
            try:
                data = there.recv(65536)
            except OSError:
                data = b""
            late.put((time.monotonic() + self.seconds, data))
            if not data:
                return

    @staticmethod
    def pass_on(late: "SimpleQueue[tuple[float, bytes]]", here: socket.socket) -> None:
        while True:
            when, data = late.get()
            time.sleep(max(0.0, when - time.monotonic()))
            try:
                if data:
                    here.sendall(data)
                    continue
                here.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            return

    @staticmethod
    def forward(here: socket.socket, there: socket.socket) -> None:
        try:
            while data := here.recv(65536):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)
        except OSError:
            pass
