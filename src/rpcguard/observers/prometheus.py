"""
Metrics for Prometheus (`rpcguard[prometheus]`), under one prefix, `rpcguard_`.

Labels are names of the operator's (projects) and of closed sets of rpcguard's own (kinds, schemes,
reasons, operations): what callers send makes no series.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from rpcguard.observer import (
    OPERATIONS,
    Consulted,
    Event,
    Judged,
    Loaded,
    LookedUp,
    Observer,
)

# Seconds. A remembered token takes some microseconds; the slowest backend has 250 ms, a body 30 s.
_BUCKETS: Final = (
    *(10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
_FURTHEST_BEHIND: Final = "livemin"  # of many processes the one that is furthest behind is shown


def observer(registry: CollectorRegistry = REGISTRY) -> Observer:
    """
    Return an observer that counts into *registry*; docs/metrics.md lists what.

    In Prometheus' multi-process mode each process counts for itself, and the scrape adds up.

    Args:
        registry: Where the metrics are registered.

    Raises:
        ValueError: If they are registered there already: several verifiers share one observer.
    """
    return _Metrics(registry)


class _Metrics:
    """The observer. Each member but the last finds a series, by the values of its labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Finding a series costs more than counting in it, and there are only so many
        self._requests = cache(
            Counter(
                "rpcguard_requests",
                "Requests, handshakes and messages that were judged.",
                ("project", "kind", "scheme", "outcome", "reason"),
                registry=registry,
            ).labels
        )
        self._request_seconds = cache(
            Histogram(
                "rpcguard_request_duration_seconds",
                "How long a verdict took, with backend, limits and the reading of the body.",
                ("project", "kind", "outcome"),
                registry=registry,
                buckets=_BUCKETS,
            ).labels
        )
        self._backend_seconds = cache(
            Histogram(
                "rpcguard_backend_duration_seconds",
                "How long the backend took to answer, or to fail.",
                ("operation",),
                registry=registry,
                buckets=_BUCKETS,
            ).labels
        )
        self._backend_errors = cache(
            Counter(
                "rpcguard_backend_errors",
                "Questions that the backend did not answer.",
                ("operation",),
                registry=registry,
            ).labels
        )
        self._lookups = cache(
            Counter(
                "rpcguard_token_cache_lookups",
                "Look-ups of tokens among those whose signature is known to be good.",
                ("project", "result"),
                registry=registry,
            ).labels
        )
        self._registry = _RegistryGauges(registry)
        for operation in OPERATIONS:  # an alert must see the step from 0 to 1
            self._backend_errors(operation)

    def __call__(self, event: Event) -> None:
        self._registry.keep()
        if isinstance(event, Judged):
            outcome = "accepted" if event.reason is None else "refused"
            reason = event.reason or ""
            self._requests(event.project, event.kind, event.scheme, outcome, reason).inc()
            self._request_seconds(event.project, event.kind, outcome).observe(event.seconds)
        elif isinstance(event, Consulted):
            self._backend_seconds(event.operation).observe(event.seconds)
            if event.failed:
                self._backend_errors(event.operation).inc()
        elif isinstance(event, LookedUp):
            self._lookups(event.project, "hit" if event.found else "miss").inc()
        else:
            self._registry.load(event)


class _RegistryGauges:
    """What is in use, in this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._generation = Gauge(
            "rpcguard_registry_generation",
            "How many times the registry was loaded well, the start included.",
            registry=registry,
            multiprocess_mode=_FURTHEST_BEHIND,
        )
        self._successful = Gauge(
            "rpcguard_registry_last_reload_successful",
            "Whether the last attempt to load the registry succeeded.",
            registry=registry,
            multiprocess_mode=_FURTHEST_BEHIND,
        )
        self._loaded_at = Gauge(
            "rpcguard_registry_last_reload_success_timestamp_seconds",
            "When the registry in use was loaded, in Unix seconds.",
            registry=registry,
            multiprocess_mode=_FURTHEST_BEHIND,
        )
        self._known = (0, False, 0.0)
        self._process = os.getpid()

    def load(self, event: Loaded) -> None:
        """Take in that the registry was read."""
        at = time.time() if event.successful else self._known[2]
        self._known = (event.generation, event.successful, at)
        self._set()

    def keep(self) -> None:
        """Set the gauges again in the child of a fork, where prometheus_client begins at 0."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._set()

    def _set(self) -> None:
        generation, successful, at = self._known
        self._generation.set(generation)
        self._successful.set(successful)
        self._loaded_at.set(at)
