"""etcd with three members, each in a network namespace of its own, so that one can be cut off, and on a disk of its own,
which can be full."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

from servers import TOOLS, Process, ServerError, wait_for

ETCD = TOOLS / "etcd-3.5"
DISK = 256
"""MiB for the data of one member, in memory: etcd lays out 64 MiB of log at a time"""
NUMBERS = (1, 2, 3)


def address(number: int) -> str:
    return f"10.99.1.{number}"


def endpoint(number: int) -> str:
    return f"{address(number)}:2379"


ENDPOINTS = tuple(endpoint(number) for number in NUMBERS)
CLUSTER = ",".join(f"m{number}=http://{address(number)}:2380" for number in NUMBERS)


def run(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode != 0:
        raise ServerError(f"{command}: {done.stderr}")


def enter_network() -> None:
    """Once: a switch, and a namespace for each member. Their names are in a /run of our own."""
    run("mount -t tmpfs tmpfs /run")
    run("ip link add switch type bridge")
    run("ip addr add 10.99.1.254/24 dev switch")
    run("ip link set switch up")
    for number in NUMBERS:
        run(f"ip netns add m{number}")
        run(f"ip link add port{number} type veth peer name eth0 netns m{number}")
        run(f"ip link set port{number} master switch up")
        run(f"ip -n m{number} addr add {address(number)}/24 dev eth0")
        run(f"ip -n m{number} link set eth0 up")
        run(f"ip -n m{number} link set lo up")


def etcdctl(*arguments: str, at: tuple[str, ...] = ENDPOINTS) -> str:
    line = [f"{ETCD}/etcdctl", f"--endpoints={','.join(at)}", "--command-timeout=20s", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env={"ETCDCTL_API": "3"})
    if done.returncode != 0:
        raise ServerError(f"etcdctl {' '.join(arguments)}: {done.stderr[-500:]}")
    return done.stdout


class Member(Process):
    def __init__(self, site: Path, number: int):
        self.number = number
        self.disk = site / f"disk{number}"
        command = [
            "ip", "netns", "exec", f"m{number}", f"{ETCD}/etcd", f"--name=m{number}", f"--data-dir={self.disk}/data",
            f"--listen-client-urls=http://{endpoint(number)}", f"--advertise-client-urls=http://{endpoint(number)}",
            f"--listen-peer-urls=http://{address(number)}:2380", f"--initial-advertise-peer-urls=http://{address(number)}:2380",
            f"--initial-cluster={CLUSTER}", "--log-level=warn",
        ]
        super().__init__(f"etcd {number}", command, site / f"logs/etcd{number}.out", site)

    def pause(self, paused: bool) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP if paused else signal.SIGCONT)

    def cut_off(self, away: bool) -> None:
        run(f"ip link set port{self.number} {'down' if away else 'up'}")

    def fill_disk(self) -> None:
        """To the last byte."""
        with (self.disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 4096):
                    pass
            except OSError:
                pass

    def empty_disk(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)


class Three:
    """Three members with what is in a snapshot; `with` ends them."""

    def __init__(self, site: Path, snapshot: Path):
        self.site = site
        for number in NUMBERS:
            disk = site / f"disk{number}"
            disk.mkdir(parents=True)
            run(f"mount -t tmpfs -o size={DISK}m tmpfs {disk}")
            run(f"{ETCD}/etcdutl snapshot restore {snapshot} --name=m{number} --data-dir={disk}/data"
                f" --initial-cluster={CLUSTER} --initial-advertise-peer-urls=http://{address(number)}:2380")
        self.members = {number: Member(site, number) for number in NUMBERS}
        self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members.values():
            member.kill()
            run(f"umount {member.disk}")
        shutil.rmtree(self.site)

    def settle(self) -> None:
        """Waits until all members answer, and agree on what they hold."""
        def agree() -> bool:
            try:
                hashes = json.loads(etcdctl("endpoint", "hashkv", "--write-out=json"))
            except ServerError:
                return False
            return len({one["HashKV"]["hash"] for one in hashes}) == 1

        wait_for("all members of etcd to agree", agree, 60)

    def leader(self) -> Member:
        for entry in json.loads(etcdctl("endpoint", "status", "--write-out=json")):
            status = entry["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return self.members[ENDPOINTS.index(entry["Endpoint"]) + 1]
        raise ServerError("etcd has no leader")

    def restart(self, number: int) -> None:
        self.members[number].kill()
        self.members[number] = Member(self.site, number)
