"""The spans, from a real SDK with its exporter in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from minting import CALL, NOW, SECRET, Wallet, bearer, hour, token
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from observers.apps import FRAMEWORKS, serve
from observers.calls import REQUESTS, make_all, write_registry
from rpcguard import AuthError, BackendError, Request, Verifier
from rpcguard.backends.memory import MemoryBackend
from rpcguard.observers import otel

REGISTRY = f"""
version: 1
backend: "memory://?restart_guard=off"
projects:
  one:
    preset: meganode
    match: {{path: /one}}
    secrets: [{{id: key-of-alice, secret: "{SECRET}"}}]
  two:
    preset: nodius
    match: {{path: /two}}
    wallets: open
"""
SYSTEM = {"rpc.system.name": "jsonrpc", "rpc.system": "jsonrpc"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def verdicts(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == "rpcguard.verify"]


def ask(target: str = "/one", headers: Any = None) -> Request:
    fields = bearer(token(hour(sub="alice"))) if headers is None else headers
    return Request("POST", target, fields, CALL, "192.0.2.1")


def drive(verifier: Verifier, request: Request) -> None:
    try:
        verifier.verify(request)
    except AuthError:
        pass


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_verdict_of_a_server_is_a_span_of_its_own(framework, tmp_path, exporter, provider):
    observers = [otel.observer(provider)]
    with serve(framework, write_registry(tmp_path), observers, CollectorRegistry()) as port:
        make_all(port)
    found: dict[tuple[str, ...], int] = {}
    for span in verdicts(exporter):
        facts = dict(span.attributes or {})
        key = (
            str(facts.get("rpcguard.project", "")),
            str(facts["rpcguard.kind"]),
            str(facts["rpcguard.scheme"]),
            "refused" if "error.type" in facts else "accepted",
            str(facts.get("error.type", "")),
        )
        found[key] = found.get(key, 0) + 1
    assert found == REQUESTS


def test_a_span_of_an_accepted_request_has_no_identity(guard, exporter, provider):
    drive(guard(REGISTRY, observers=[otel.observer(provider)]), ask())
    (span,) = verdicts(exporter)
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes == SYSTEM | {
        "rpcguard.kind": "request",
        "rpcguard.project": "one",
        "rpcguard.scheme": "jwt",
    }


def test_a_span_of_a_refused_request_says_why_and_not_who(guard, exporter, provider):
    verifier = guard(REGISTRY, observers=[otel.observer(provider)])
    wallet = Wallet()
    for _ in range(2):
        drive(verifier, ask("/two", wallet.v1()))
    _, span = verdicts(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes == SYSTEM | {
        "rpcguard.kind": "request",
        "rpcguard.project": "two",
        "rpcguard.scheme": "signature",
        "error.type": "replayed",
        "rpc.response.status_code": "-32001",
    }


def test_nothing_that_a_caller_sends_is_in_any_span(guard, exporter, provider):
    verifier = guard(REGISTRY, observers=[otel.observer(provider)])
    wallet = Wallet()
    text = token(hour(sub="alice"))
    drive(verifier, Request("PATCH", "/one?q=query", bearer(text), CALL, "192.0.2.1"))
    drive(verifier, ask("/secret-path", [("Host", "evil.example")]))
    drive(verifier, ask("/two", wallet.v1()))
    written = " ".join(span.to_json() for span in exporter.get_finished_spans())
    sent = ["alice", "key-of-alice", text, wallet.pubkey, "192.0.2.1", "PATCH", "query"]
    for word in [*sent, "secret-path", "evil.example", "eth_blockNumber"]:
        assert word not in written


def test_identity_is_put_in_where_it_is_asked_for(guard, exporter, provider):
    verifier = guard(REGISTRY, observers=[otel.observer(provider, identity=True)])
    drive(verifier, ask())
    drive(verifier, ask(headers=[]))
    proved, unknown = (dict(span.attributes or {}) for span in verdicts(exporter))
    assert (proved["enduser.id"], proved["rpcguard.key_id"]) == ("alice", "key-of-alice")
    assert unknown.keys() == SYSTEM.keys() | {
        *("rpcguard.kind", "rpcguard.scheme", "rpcguard.project"),
        *("error.type", "rpc.response.status_code"),
    }


def test_a_question_to_the_backend_is_a_span_within_the_time_of_its_verdict(
    guard, exporter, provider
):
    drive(guard(REGISTRY, observers=[otel.observer(provider)]), ask())
    asked, verdict = exporter.get_finished_spans()
    assert (asked.name, verdict.name) == ("rpcguard.backend.settle", "rpcguard.verify")
    assert asked.attributes == SYSTEM
    assert asked.status.status_code is StatusCode.UNSET
    for span in (asked, verdict):
        assert 0 < span.end_time - span.start_time < 60e9
    assert asked.end_time - asked.start_time < verdict.end_time - verdict.start_time


def test_a_backend_that_does_not_answer_is_an_error(guard, exporter, provider):
    class Broken(MemoryBackend):
        def settle(self, owed: Any, now: float) -> Any:
            raise BackendError("down")

    backend = Broken(now=NOW)
    drive(guard(REGISTRY, backend=backend, observers=[otel.observer(provider)]), ask())
    for span in exporter.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        assert dict(span.attributes or {})["error.type"] == "backend_unavailable"


@pytest.mark.parametrize("loop", [False, True], ids=["verify", "averify"])
def test_the_spans_are_children_of_the_span_of_the_server(guard, exporter, provider, loop):
    verifier = guard(REGISTRY, observers=[otel.observer(provider)])

    async def served() -> None:
        with provider.get_tracer("server").start_as_current_span("POST /one"):
            if loop:
                await verifier.averify(ask())
            else:
                verifier.verify(ask())

    asyncio.run(served())
    asked, verdict, server = exporter.get_finished_spans()
    assert server.name == "POST /one"
    for span in (asked, verdict):
        assert span.parent is not None
        assert span.parent.span_id == server.context.span_id
        assert server.start_time <= span.start_time <= span.end_time <= server.end_time


def test_look_ups_and_loads_are_no_spans(guard, exporter, provider):
    verifier = guard(REGISTRY, observers=[otel.observer(provider)])
    verifier.reload()
    assert exporter.get_finished_spans() == ()


def test_what_is_not_sampled_is_not_exported(guard, exporter):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    drive(guard(REGISTRY, observers=[otel.observer(provider)]), ask())
    assert exporter.get_finished_spans() == ()


def test_without_a_provider_the_global_one_is_used(guard):
    """None is set here, and then the API makes spans of nothing."""
    verifier = guard(REGISTRY, observers=[otel.observer()])
    assert verifier.verify(ask()).subject == "alice"


def test_the_names_are_those_of_the_conventions():
    from opentelemetry.semconv._incubating.attributes import (
        enduser_attributes,
        error_attributes,
        rpc_attributes,
    )

    names = {
        value
        for module in (enduser_attributes, error_attributes, rpc_attributes)
        for name, value in vars(module).items()
        if isinstance(value, str)
    }
    used = {"rpc.system", "rpc.system.name", "rpc.response.status_code", "enduser.id"}
    assert used | {"error.type"} <= names
