"""The metrics: what is counted, and that callers cannot make series."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import CALL, SECRET, Wallet, bearer, hour, token
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from observers.apps import FRAMEWORKS, serve
from observers.calls import REQUESTS, make_all, write_registry
from observers.scraping import Samples, counts, parsed, scrape, value
from rpcguard import AuthError, BackendError, ConfigError, Request, Verifier
from rpcguard.backends.memory import MemoryBackend
from rpcguard.errors import REASONS
from rpcguard.observer import OPERATIONS, Consulted, Judged, Loaded
from rpcguard.observers import prometheus

REGISTRY_TEXT = f"""
version: 1
backend: "memory://?restart_guard=off"
projects:
  one:
    preset: meganode
    match: {{path: /one}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
  two:
    preset: nodius
    match: {{path: /two}}
    wallets: open
"""
LABELS = ("project", "kind", "scheme", "outcome", "reason")


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


def read(metrics: CollectorRegistry) -> Samples:
    return parsed(generate_latest(metrics).decode())


def drive(verifier: Verifier, request: Request) -> None:
    try:
        verifier.verify(request)
    except AuthError:
        pass


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_verdict_of_a_server_is_counted_once(framework, tmp_path, metrics):
    observers = [prometheus.observer(metrics)]
    with serve(framework, write_registry(tmp_path), observers, metrics) as port:
        make_all(port)
        samples = scrape(port)
    assert counts(samples, "rpcguard_requests_total", *LABELS) == REQUESTS
    timed: dict[tuple[str, str, str], int] = {}
    for (project, kind, _, outcome, _), number in REQUESTS.items():
        key = project, kind, outcome
        timed[key] = timed.get(key, 0) + number
    name = "rpcguard_request_duration_seconds"
    assert counts(samples, f"{name}_count", "project", "kind", "outcome") == timed
    for project, kind, outcome in timed:
        total = value(samples, f"{name}_sum", project=project, kind=kind, outcome=outcome)
        assert 0 < total < 60
    lookups = counts(samples, "rpcguard_token_cache_lookups_total", "project", "result")
    assert lookups == {
        ("bsc", "miss"): 3,
        ("bsc", "hit"): 1,
        ("limited", "miss"): 1,
    }
    asked = counts(samples, "rpcguard_backend_duration_seconds_count", "operation")
    assert asked[("settle",)] == 6  # of 2 JWTs, an API key, 2 signatures and a handshake
    assert asked[("count",)] == 3  # of the handshake and its messages
    assert counts(samples, "rpcguard_backend_errors_total", "operation") == {}
    assert value(samples, "rpcguard_registry_generation") == 1


def test_errors_of_the_backend_are_counted_from_nought(guard, metrics):
    class Broken(MemoryBackend):
        def settle(self, owed: Any, now: float) -> Any:
            raise BackendError("down")

    verifier = guard(
        REGISTRY_TEXT, backend=Broken(now=1.0), observers=[prometheus.observer(metrics)]
    )
    before = read(metrics)
    for operation in OPERATIONS:
        assert value(before, "rpcguard_backend_errors_total", operation=operation) == 0
    drive(verifier, Request("POST", "/two", Wallet().v1(), CALL))
    after = read(metrics)
    assert counts(after, "rpcguard_backend_errors_total", "operation") == {("settle",): 1}
    refused = ("two", "request", "signature", "refused", "backend_unavailable")
    assert counts(after, "rpcguard_requests_total", *LABELS) == {refused: 1}


def test_the_registry_in_use_and_a_failed_reload_are_shown(guard, metrics, tmp_path, monkeypatch):
    prefix, now = "rpcguard_registry", [1000.0]
    monkeypatch.setattr("rpcguard.observers.prometheus.time.time", lambda: now[0])

    def shown() -> tuple[float, ...]:
        samples = read(metrics)
        return tuple(
            value(samples, f"{prefix}_{name}")
            for name in (
                "generation",
                "last_reload_successful",
                "last_reload_success_timestamp_seconds",
            )
        )

    verifier = guard(REGISTRY_TEXT, observers=[prometheus.observer(metrics)])
    assert shown() == (1, 1, 1000)
    now[0] = 1001.0
    (tmp_path / "registry.yaml").write_text("version: 2")
    with pytest.raises(ConfigError):
        verifier.reload()
    assert shown() == (1, 0, 1000)
    (tmp_path / "registry.yaml").write_text(REGISTRY_TEXT)
    verifier.reload()
    assert shown() == (2, 1, 1001)


@given(
    target=st.one_of(st.text(max_size=30), st.sampled_from(["/one", "/two", "/one/x?y"])),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["Host", "Authorization", "X-Pubkey", "User-Agent", "X-Nonce"]),
            st.one_of(st.text(max_size=20), st.text(max_size=9).map("Bearer {}".format)),
        ),
        max_size=4,
    ),
    subject=st.text(max_size=9),
    method=st.text(max_size=9),
)
def test_what_callers_send_makes_no_series(
    tmp_path_factory: pytest.TempPathFactory, target, headers, subject, method
):
    path: Path = tmp_path_factory.getbasetemp() / "cardinality.yaml"
    if not path.exists():
        path.write_text(REGISTRY_TEXT)
    metrics = CollectorRegistry()
    options: dict[str, Any] = {"environ": {}, "watch": False, "clock": lambda: 1_760_000_000.0}
    observers = [prometheus.observer(metrics)]
    with Verifier.from_yaml(path, observers=observers, **options) as verifier:
        drive(verifier, Request(method, target, headers, CALL))
        drive(verifier, Request(method, "/one", [*headers, *bearer(token(hour(sub=subject)))]))
        drive(verifier, Request(method, target, Wallet(len(subject)).v1(), CALL, websocket=True))
    samples = read(metrics)
    for project, kind, scheme, outcome, reason in counts(
        samples, "rpcguard_requests_total", *LABELS
    ):
        assert project in ("", "one", "two")
        assert kind in ("request", "handshake")
        assert scheme in ("jwt", "signature", "api_key", "session", "none")
        assert (outcome, reason) == ("accepted", "") or (outcome == "refused" and reason in REASONS)


def test_a_second_observer_needs_a_registry_of_its_own(metrics):
    prometheus.observer(metrics)
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.observer(metrics)


def test_without_a_registry_the_global_one_is_used():
    before = set(REGISTRY._names_to_collectors)
    observer = prometheus.observer()
    try:
        observer(Judged("request", "p", "jwt", 0.1))
        assert REGISTRY.get_sample_value(
            "rpcguard_requests_total",
            {"project": "p", "kind": "request", "scheme": "jwt", "outcome": "accepted"}
            | {"reason": ""},
        )
    finally:
        for name in set(REGISTRY._names_to_collectors) - before:
            collector = REGISTRY._names_to_collectors.get(name)
            if collector is not None:
                REGISTRY.unregister(collector)


def test_a_duration_falls_into_the_bucket_it_belongs_to(metrics):
    observer = prometheus.observer(metrics)
    observer(Consulted("settle", 0.003, failed=False))
    samples = read(metrics)
    name = "rpcguard_backend_duration_seconds_bucket"
    assert value(samples, name, operation="settle", le="0.0025") == 0
    assert value(samples, name, operation="settle", le="0.005") == 1


def test_in_the_child_of_a_fork_the_gauges_are_set_again(metrics):
    observer = prometheus.observer(metrics)
    observer(Loaded(7, successful=True))
    gauge = metrics._names_to_collectors["rpcguard_registry_generation"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        gauge.set(0)  # what prometheus_client does in its multi-process mode
        observer(Judged("request", "p", "jwt", 0.1))
        samples = read(metrics)
        os.write(writer, str(value(samples, "rpcguard_registry_generation")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert float(os.read(reader, 100)) == 7
    os.close(reader)
    os.close(writer)
