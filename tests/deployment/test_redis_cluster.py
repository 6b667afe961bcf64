"""The settings of redis-cluster-values.yaml, given to a real Cluster, serve rpcguard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from backends.redis_servers import Cluster, start_cluster, until
from contrib import credentials as cred

from deployment.kubelet import documents
from deployment.site import OPERATIONS
from rpcguard import AuthError, Request, Verifier
from rpcguard.cli.backend_check import fault

VALUES = yaml.safe_load((OPERATIONS / "redis-cluster-values.yaml").read_text(encoding="utf-8"))
SETTINGS = dict(line.split(" ", 1) for line in VALUES["redis"]["configmap"].splitlines())
REGISTRY = """\
version: 1
backend: %s
projects:
  solana: {preset: nodius, wallets: open}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """As many nodes as the values say, with their settings."""
    made = start_cluster(*(part for name in SETTINGS for part in (f"--{name}", SETTINGS[name])))
    assert VALUES["cluster"] == {
        "nodes": len(made.primaries) + len(made.replicas),
        "replicas": len(made.replicas) // len(made.primaries),
    }
    yield made
    made.clear_away()


@pytest.fixture
def url(cluster: Cluster) -> str:
    """The backend's URL as in the Kubernetes Secret, at these servers."""
    _, parameters = documents()["Secret"]["stringData"]["backend"].split("?")
    return f"{cluster.url}?{parameters}"


def test_the_servers_take_each_setting(cluster: Cluster) -> None:
    for node in (*cluster.primaries, *cluster.replicas):
        taken = {name: node.client.config_get(name)[name] for name in SETTINGS}
        assert taken == SETTINGS | {"maxmemory": str(512 * 1024 * 1024)}


def test_rpcguard_check_finds_them_fit(url: str, tmp_path: Path) -> None:
    assert fault(url, tmp_path, 0.0) is None


def test_a_nonce_works_once_and_a_replica_has_it(url: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY % url)
    with Verifier.from_yaml(path) as first, Verifier.from_yaml(path) as second:

        def reason(verifier: Verifier, headers: cred.Headers) -> str:
            try:
                verifier.verify(Request("POST", "/", headers, b""))
            except AuthError as error:
                return error.reason
            return "accepted"

        # a bucket that is new refuses what was signed in the second before it was there
        until(lambda: reason(first, cred.nodius()) == "accepted", "a signature is accepted")
        headers = cred.nodius()
        assert reason(first, headers) == "accepted"
        assert reason(second, headers) == "replayed"
