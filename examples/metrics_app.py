"""
Flask behind rpcguard, with metrics for Prometheus at /metrics.

It runs in one process, or in the workers of gunicorn, each of which writes its own metrics into a
directory that any of them reads:

    export RPCGUARD_REGISTRY=examples/registry.yaml PROMETHEUS_MULTIPROC_DIR=/run/rpcguard-metrics
    gunicorn --workers 2 --config examples/operations/gunicorn_metrics.py \
        --pythonpath examples "metrics_app:create_app()"

Let only Prometheus read /metrics: it names your projects and counts their callers.
"""

from __future__ import annotations

import os

from _jsonrpc import answer
from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

import rpcguard
from rpcguard.contrib.flask import RPCGuard, current_principal
from rpcguard.observers import prometheus


def create_app(registry: str | None = None) -> Flask:
    """Return the application, guarded by *registry*, or by the one in RPCGUARD_REGISTRY."""
    app = Flask(__name__, static_folder=None)
    RPCGuard(app, registry, observers=[prometheus.observer()])

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(_collected()), content_type=CONTENT_TYPE_LATEST)

    @app.post("/<path:path>")
    @rpcguard.protect
    def rpc(path: str) -> Response:  # noqa: ARG001
        text = answer(request.get_data(), current_principal)
        return Response(text, status=200 if text else 204, mimetype="application/json")

    return app


def _collected() -> CollectorRegistry:
    """Return what this process counts, or all processes where they share a directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    collected = CollectorRegistry()
    MultiProcessCollector(collected)
    return collected
