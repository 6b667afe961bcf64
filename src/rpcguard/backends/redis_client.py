"""
A ready client of redis-py as the description of a backend.

What an application has configured once is not said twice: where the servers are, who to be there,
TLS. rpcguard opens connections of its own with that, for threads and for event loops alike, and
leaves those of the client alone: its bounds are its own, and so is what it does about a failure. So
one client is enough, a synchronous or an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from redis import asyncio as redis_asyncio
from redis import connection as redis_sync
from redis.asyncio import cluster as cluster_asyncio
from redis.cluster import RedisCluster

from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import ConfigError

_CREDENTIALS = ("db", "username", "password", "credential_provider", "client_name")
_TLS = (
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data"),
    *("ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
)
_ENCRYPTED = (redis_sync.SSLConnection, redis_asyncio.SSLConnection)


def settings_of(client: Any, **bounds: Any) -> Settings:
    """
    Return the settings that *client* was made with.

    Args:
        client: `Redis` or `RedisCluster` of `redis` or `redis.asyncio`; one from
            `Sentinel.master_for` follows Sentinel.
        **bounds: Fields of `Settings`, such as `timeout` (seconds) or `min_replicas`.

    Raises:
        ConfigError: If it is none of them, or has settings that only its own connections know.
    """
    if isinstance(client, RedisCluster | cluster_asyncio.RedisCluster):
        return _cluster(client, bounds)
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, redis_sync.ConnectionPool | redis_asyncio.ConnectionPool):
        raise ConfigError("backend: neither a URL, nor a backend, nor a client of redis-py")
    settings = Settings("single", (), **bounds)
    manager = getattr(pool, "sentinel_manager", None)
    kind: type = pool.connection_class
    if kind.__module__.partition(".")[0] != "redis":
        raise ConfigError(f"backend: connections of the class {kind.__name__} are not redis-py's")
    settings = replace(
        settings, connection=_arguments(pool.connection_kwargs), tls=issubclass(kind, _ENCRYPTED)
    )
    if manager is None:
        return replace(settings, addresses=(_address(pool.connection_kwargs),))
    pools = [each.connection_pool for each in manager.sentinels]
    return replace(
        settings,
        topology="sentinel",
        service=str(getattr(pool, "service_name", "")),
        addresses=tuple(_address(each.connection_kwargs) for each in pools),
        sentinel=_arguments(pools[0].connection_kwargs),
        sentinel_tls=issubclass(pools[0].connection_class, _ENCRYPTED),
    )


def _cluster(client: Any, bounds: Mapping[str, Any]) -> Settings:
    arguments = client.nodes_manager.connection_kwargs
    nodes = client.nodes_manager.startup_nodes.values()
    kind = arguments.get("connection_class", object)
    return Settings(
        "cluster",
        tuple(Address(node.host, int(node.port)) for node in nodes),
        connection=_arguments(arguments),
        tls=bool(arguments.get("ssl")) or issubclass(kind, _ENCRYPTED),
        **bounds,
    )


def _address(arguments: Mapping[str, Any]) -> Address:
    if arguments.get("path"):
        return Address(str(arguments["path"]), 0)
    return Address(str(arguments.get("host", "localhost")), int(arguments.get("port", 6379)))


def _arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what connections of either kind understand; refuse what only one does."""
    known = (*_CREDENTIALS, *_TLS)
    for name, value in arguments.items():
        if name.startswith("ssl_") and name not in known and value:
            raise ConfigError(f"backend: {name} of the client is not supported")
    return {n: arguments[n] for n in known if arguments.get(n) is not None}
