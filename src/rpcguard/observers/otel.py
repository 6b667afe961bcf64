"""
Spans for OpenTelemetry (`rpcguard[otel]`), by its semantic conventions for JSON-RPC.

See https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/, version 1.45. A span is made when its
end is known, with the times that it had. So it is a child of whatever span is current then, usually
the server's, and has no children.
"""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

from rpcguard.observer import Consulted, Event, Judged, Observer

# `rpc.system` is what the conventions called it up to v1.37
_SYSTEM: Final = {"rpc.system.name": "jsonrpc", "rpc.system": "jsonrpc"}


def observer(tracer_provider: TracerProvider | None = None, *, identity: bool = False) -> Observer:
    """
    Return an observer that makes a span of every verdict and of every question to the backend;
    docs/metrics.md lists their attributes.

    Args:
        tracer_provider: Gives the tracer; the global one by default.
        identity: Put into the span of a verdict who was proved: subject and key id. They are
            personal data where subjects are, so by default they are left out.
    """
    tracer = get_tracer("rpcguard", tracer_provider=tracer_provider)

    def tell(event: Event) -> None:
        if isinstance(event, Judged):
            name = "rpcguard.verify"
        elif isinstance(event, Consulted):
            name = f"rpcguard.backend.{event.operation}"
        else:
            return
        end = time.time_ns()
        start = end - round(event.seconds * 1e9)
        span = tracer.start_span(name, kind=SpanKind.INTERNAL, attributes=_SYSTEM, start_time=start)
        if span.is_recording():
            if isinstance(event, Judged):
                _describe(span, event, identity=identity)
            elif event.failed:
                span.set_attribute("error.type", "backend_unavailable")
                span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    return tell


def _describe(span: Span, event: Judged, *, identity: bool) -> None:
    span.set_attribute("rpcguard.kind", event.kind)
    span.set_attribute("rpcguard.scheme", event.scheme)
    if event.project:
        span.set_attribute("rpcguard.project", event.project)
    if event.reason is not None:
        span.set_attribute("error.type", event.reason)
        span.set_attribute("rpc.response.status_code", str(event.code))
        span.set_status(Status(StatusCode.ERROR))  # all JSON-RPC error codes are errors there
    if identity and event.subject is not None:
        span.set_attribute("enduser.id", event.subject)
        if event.key_id is not None:
            span.set_attribute("rpcguard.key_id", event.key_id)
