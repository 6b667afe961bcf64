"""
What happens to signed requests while Redis breaks, with real servers and four processes.

Each test prints what was counted; `make faults` writes the table in docs/operators.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from backends import redis_servers
from backends.load import BOUND, SLACK, Loaded, loaded
from backends.redis_servers import Cluster, Server, raw, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(100)]

Report = Callable[[str, Loaded], dict[str, Any]]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Return what ends the load, notes what was counted, and asserts what always holds."""

    def end(name: str, load: Loaded) -> dict[str, Any]:
        result = load.results()
        request.config.stash[redis_servers.FAULTS].append((name, result))
        assert result["twice"] == 0
        assert result["longest"] < BOUND + SLACK
        assert result["sent"] == sum(result[n] for n in ("accepted", "refused", "unavailable"))
        assert result["refused"] > 0  # what was sent again
        return result

    return end


@contextmanager
def alone(*options: str) -> Iterator[Server]:
    server = Server(options)
    try:
        yield server.start()
    finally:
        server.clear_away()


def _url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def test_the_server_is_killed_and_started_again_without_its_data(
    tmp_path: Path, report: Report
) -> None:
    with alone() as server, loaded(_url(server), tmp_path) as load:
        server.kill()
        load.unavailable()
        server.start()
        load.accepted()
        result = report("killed, and started again without its data", load)
    assert result["unavailable"] > 0


def test_the_server_is_killed_and_started_again_with_its_data(
    tmp_path: Path, report: Report
) -> None:
    with alone("--appendonly", "yes") as server, loaded(_url(server), tmp_path) as load:
        server.kill()
        load.unavailable()
        server.start()
        load.accepted()
        result = report("killed, and started again with its append-only file", load)
    assert result["unavailable"] > 0


def test_the_server_is_stopped_for_five_seconds(tmp_path: Path, report: Report) -> None:
    with alone() as server, loaded(_url(server), tmp_path) as load:
        server.pause()
        try:
            threading.Event().wait(5)  # the fault itself
        finally:
            server.resume()
        load.accepted()
        result = report("stopped for 5 s (SIGSTOP)", load)
    assert result["unavailable"] > 0


def test_the_primary_is_killed_under_sentinel(tmp_path: Path, report: Report) -> None:
    with ExitStack() as stack:
        trio = redis_servers.start_trio(down_after=500)
        stack.callback(trio.clear_away)
        load = stack.enter_context(loaded(trio.url + "?min_replicas=1", tmp_path))
        primary = trio.primary()
        primary.kill()
        until(lambda: trio.primary() is not primary, "another primary")
        load.accepted()
        result = report("primary killed under Sentinel, `min_replicas=1`", load)
    assert result["unavailable"] > 0


def test_slots_are_moved_from_one_node_to_another(tmp_path: Path, report: Report) -> None:
    with ExitStack() as stack:
        cluster = redis_servers.start_cluster()
        stack.callback(cluster.clear_away)
        load = stack.enter_context(loaded(cluster.url, tmp_path))
        source, target = cluster.primaries[:2]
        slots = {key_slot(b"{rpcguard:%02x}" % number) for number in range(256)}
        moved = [slot for slot in sorted(slots) if cluster.holder(slot) is source][:30]
        names = {node.port: raw(node, "CLUSTER", "MYID") for node in cluster.primaries}
        for slot in moved:
            _move(cluster, names, slot, source, target)
        assert len(moved) == 30
        load.accepted()
        report(f"{len(moved)} slots of a Cluster moved from one node to another", load)
        assert {cluster.holder(slot).port for slot in moved} == {target.port}


def _move(
    cluster: Cluster, names: dict[int, bytes], slot: int, source: Server, target: Server
) -> None:
    raw(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
    raw(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
    while keys := raw(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
        raw(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *cluster.primaries[2:]):
        raw(node, "CLUSTER", "SETSLOT", slot, "NODE", names[target.port])


def test_the_memory_is_full(tmp_path: Path, report: Report) -> None:
    with (
        alone("--maxmemory-policy", "noeviction") as server,
        loaded(_url(server), tmp_path) as load,
    ):
        server.client.config_set("maxmemory", "1mb")
        load.unavailable()
        server.client.config_set("maxmemory", "0")
        load.accepted()
        result = report("memory full, `noeviction`", load)
        assert server.client.info("stats")["evicted_keys"] == 0
    assert result["unavailable"] > 0


def test_the_limit_of_connections_is_reached(tmp_path: Path, report: Report) -> None:
    with alone() as server, loaded(_url(server), tmp_path) as load:
        client = server.client
        client.config_set("maxclients", 1)  # which is this one; who is there already stays
        client.client_kill_filter(_type="normal", skipme=True)
        load.unavailable()
        client.config_set("maxclients", 10_000)
        load.accepted()
        result = report("limit of connections reached", load)
        client.close()
    assert result["unavailable"] > 0
