"""A real Prometheus scrapes a guarded server, with the alerts, and answers the dashboard."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from backends.redis_servers import free_port, until
from contrib.credentials import meganode
from contrib.wire import request
from prometheus_client import CollectorRegistry

from observers.apps import serve
from observers.calls import CALL, REQUESTS, make_all, write_registry
from observers.test_operations import OPERATIONS_FILES, RULES, panels, variables
from rpcguard.observers import prometheus

CONFIGURATION = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["%(rules)s"]
scrape_configs:
  - job_name: rpcguard
    metrics_path: /metrics/
    static_configs: [{targets: ["127.0.0.1:%(port)d"]}]
"""


@contextmanager
def scraping(folder: Path, port: int) -> Iterator[httpx.Client]:
    """Run a Prometheus that scrapes the server on *port*; gives a client of its API."""
    own, configuration = free_port(), folder / "prometheus.yaml"
    rules = OPERATIONS_FILES / "alerts.yaml"
    configuration.write_text(CONFIGURATION % {"rules": rules, "port": port})
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
            "--log.level=error",
        ]
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{own}/api/v1", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        assert process.wait(60) == 0


def ask(client: httpx.Client, path: str, **parameters: str) -> Any:
    try:
        answer = client.get(path, params=parameters)
    except httpx.TransportError as error:
        raise ConnectionError("it does not listen yet") from error
    if answer.status_code == 503:
        raise ConnectionError("it has not read its store yet")
    content = answer.json()
    assert content["status"] == "success", content
    return content["data"]


@pytest.mark.prometheus
def test_it_reads_every_series_and_answers_every_panel(tmp_path):
    metrics = CollectorRegistry()
    registry = write_registry(tmp_path)
    with (
        serve("fastapi", registry, [prometheus.observer(metrics)], metrics) as port,
        scraping(tmp_path, port) as client,
    ):
        total = "sum(rpcguard_requests_total)"

        def reads() -> float:
            found = ask(client, "/query", query=total)["result"]
            return float(found[0]["value"][1]) if found else 0.0

        until(lambda: ask(client, "/query", query="rpcguard_registry_generation")["result"], "up")
        make_all(port)
        until(lambda: reads() == sum(REQUESTS.values()), "all is scraped")
        token = meganode(sub="bob")
        for headers in (token, token, []):  # a rate needs a step
            request(port, "POST", "/v1/", headers, CALL.encode())
        until(lambda: reads() == sum(REQUESTS.values()) + 3, "these too")

        for title, query in panels():
            chosen = query.replace("$__rate_interval", "5m")
            chosen = chosen.replace("$instance", ".*").replace("$project", ".*")
            # a scrape that a busy machine does not answer in its second has no samples
            until(lambda chosen=chosen: ask(client, "/query", query=chosen)["result"], title)
        for name, query in variables():
            label = query.rpartition(", ")[2].rstrip(")")
            assert ask(client, f"/label/{label}/values"), f"{name} has no values"

        def states() -> list[str]:
            (group,) = ask(client, "/rules")["groups"]
            return [rule["health"] for rule in group["rules"]]

        until(lambda: "unknown" not in states(), "the alerts are evaluated")
        assert states() == ["ok"] * len(RULES)
