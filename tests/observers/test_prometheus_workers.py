"""Metrics of many processes: the example under a real gunicorn with two workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from backends.redis_servers import until
from contrib.credentials import meganode, nodius
from contrib.servers import gunicorn
from contrib.wire import request

from observers.calls import CALL, write_registry
from observers.scraping import Samples, counts, scrape, value

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = ("project", "kind", "scheme", "outcome", "reason")
SENT = 40


def post(port: int, target: str = "/v1/", headers: list[tuple[str, str]] | None = None) -> int:
    return request(port, "POST", target, headers or [], CALL.encode()).status


def workers_of(folder: Path) -> set[int]:
    """Return the processes that have timed a request, which the one that forks never does."""
    return {int(file.stem.rpartition("_")[2]) for file in folder.glob("histogram_*.db")}


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "plain"])
def test_the_counts_of_two_workers_are_added_up(tmp_path: Path, preload: bool) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"of the last start, and damaged")
    registry = write_registry(tmp_path, "sqlite:///rpcguard.db?timeout=10s")
    options = ["--workers", "2", "--config", str(EXAMPLES / "operations/gunicorn_metrics.py")]
    options += ["--pythonpath", str(EXAMPLES), *(["--preload"] if preload else [])]
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with gunicorn(
        registry, *options, app="metrics_app:create_app()", environ=environ, probe="/healthz"
    ) as port:
        sent = 0

        def both_have_counted() -> bool:
            nonlocal sent
            sent += 1
            assert post(port, headers=meganode()) == 200
            return len(workers_of(folder)) == 2

        until(both_have_counted, "both workers have answered")
        while sent < SENT:
            both_have_counted()
        refused = 7
        assert [post(port) for _ in range(refused)] == [401] * refused
        until(lambda: post(port, "/solana", nodius(CALL.encode())) == 200, "a new store is ready")
        expected = {
            ("bsc", "request", "jwt", "accepted", ""): sent,
            ("bsc", "request", "none", "refused", "missing_credentials"): refused,
        }
        samples = [scrape(port, "/metrics") for _ in range(4)]  # from either worker
        for each in samples:
            found = counts(each, "rpcguard_requests_total", *LABELS)
            assert {key: found[key] for key in expected} == expected
            assert found["solana", "request", "signature", "accepted", ""] == 1
            assert gauges(each) == (1, 1)
            assert value(each, "rpcguard_registry_last_reload_success_timestamp_seconds") > 1.7e9

        registry.write_text(registry.read_text().replace("version: 1", "version: 2"))
        until(lambda: gauges(scrape(port, "/metrics")) == (1, 0), "the bad edit is noticed")
        registry.write_text(registry.read_text().replace("version: 2", "version: 1"))
        until(lambda: gauges(scrape(port, "/metrics")) == (2, 1), "both have the good one")

        ended = min(workers_of(folder))
        os.kill(ended, signal.SIGTERM)
        until(lambda: not (folder / f"gauge_livemin_{ended}.db").exists(), "it is marked dead")
        found = counts(scrape(port, "/metrics"), "rpcguard_requests_total", *LABELS)
        assert found["bsc", "request", "jwt", "accepted", ""] == sent  # what it counted stays


def gauges(samples: Samples) -> tuple[float, float]:
    generation = value(samples, "rpcguard_registry_generation")
    return generation, value(samples, "rpcguard_registry_last_reload_successful")
