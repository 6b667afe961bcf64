"""What Prometheus would read."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """Return the samples of rpcguard's in an exposition; each series once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("rpcguard_") and not sample.name.endswith("_created"):
                key = sample.name, frozenset(sample.labels.items())
                assert key not in found
                found[key] = sample.value
    return found


def scrape(port: int, target: str = "/metrics/") -> Samples:
    """Return what a server shows now."""
    answer = httpx.get(f"http://127.0.0.1:{port}{target}", timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return parsed(answer.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample; there must be one of just these labels."""
    return samples[name, frozenset(labels.items())]


def counts(samples: Samples, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the samples of *name* above 0 by the values of *labels*, which are all it has."""
    found = {}
    for (sample, pairs), number in samples.items():
        if sample == name and number:
            values = dict(pairs)
            assert values.keys() == set(labels)
            found[tuple(values[label] for label in labels)] = number
    return found
