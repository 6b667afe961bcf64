"""What a Redis or Valkey backend is told: where the servers are, and the bounds that it keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

_HOST = re.compile(rb"[!-.0-~]{1,253}")  # no path

TIMEOUT = 0.25  # seconds
MAX_CONNECTIONS = 64
MAX_WAITING = 1000
KEY_PREFIX = "rpcguard"


class Address(NamedTuple):
    """
    Where one server listens.

    Attributes:
        host: Name or address; the path of a Unix socket where `port` is 0.
        port: TCP port, or 0.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


def told(host: bytes, port: int) -> Address:
    """
    Return the address that a server has told.

    Args:
        host: A name or an address; never the path of a socket.
        port: TCP port.

    Raises:
        ValueError: If nobody can listen there.
    """
    if not (isinstance(host, bytes) and _HOST.fullmatch(host)):
        raise ValueError("not a host")
    if not (isinstance(port, int) and 0 < port < 65536):
        raise ValueError("not a port")
    return Address(host.decode("ascii"), port)


@dataclass(frozen=True, slots=True)
class Settings:
    """
    A backend before it is opened.

    Attributes:
        topology: Who says which server to ask: nobody, Sentinel, or the Cluster's nodes.
        addresses: The server; the Sentinels; or some nodes of the Cluster.
        service: The name by which Sentinel knows the primary.
        connection: What redis-py's connections are made with: credentials, database, TLS.
        sentinel: The same for connections to Sentinel.
        tls: Whether connections to servers are encrypted.
        sentinel_tls: Whether those to Sentinel are.
        timeout: Seconds within which a question is answered or given up.
        connect_timeout: Seconds of these that opening a connection may take.
        min_replicas: Replicas that must confirm what is written before it counts; 0 for none.
        max_connections: Connections to one server that the threads of a process may hold.
        max_waiting: Questions of a process that may be under way at once.
        key_prefix: What the keys begin with: several installations may share a server.
        restart_guard: Whether a server that is not the one that was asked before (it restarted, or
            a replica took over) is held to have lost the last that was written.
    """

    topology: Literal["single", "sentinel", "cluster"]
    addresses: tuple[Address, ...]
    service: str = ""
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinel: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tls: bool = False
    sentinel_tls: bool = False
    timeout: float = TIMEOUT
    connect_timeout: float = TIMEOUT
    min_replicas: int = 0
    max_connections: int = MAX_CONNECTIONS
    max_waiting: int = MAX_WAITING
    key_prefix: str = KEY_PREFIX
    restart_guard: bool = True
