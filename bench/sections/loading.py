"""Loading a registry of 10 000 distinct RSA public keys, against PyYAML reading the same file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.material import pem, verifier
from bench.run import Figures, Run, fresh
from bench.timing import Candidate, medians, series

KEYS = 10_000
EXPONENT = 65537


def measure(run: Run) -> Figures:
    """Return microseconds, their ratio, and the memory that the loaded registry takes."""
    file = _write(run.folder("loading") / "registry.yaml", run.count(KEYS))
    text = file.read_text(encoding="utf-8")
    candidates = {
        "rpcguard": _loading(lambda: verifier(file)),
        "yaml": _loading(lambda: yaml.load(text, Loader=yaml.CSafeLoader)),
    }
    taken = medians(series(candidates, run.rounds))
    return {
        "load_10k_keys_us": taken["rpcguard"],
        "load_10k_keys_yaml_us": taken["yaml"],
        "load_10k_keys_vs_yaml": taken["rpcguard"] / taken["yaml"],
        "load_10k_keys_mb": fresh(__name__, "weigh", run, str(file)),
    }


def weigh(_: Run, file: str) -> float:
    """Return the megabytes by which loading *file* makes this process larger for good."""
    before = _resident()
    with verifier(Path(file)):
        return (_resident() - before) / 1e6


def _loading(load: Callable[[], object]) -> Candidate:
    """Return *load* as a candidate; what it made is dropped before the next round, untimed."""
    kept: list[object] = []

    def prepare() -> None:
        for each in kept:
            getattr(each, "close", lambda: None)()
        kept.clear()

    return Candidate(lambda: kept.append(load()), 1, prepare)


def _write(file: Path, count: int) -> Path:
    lines = ["version: 1", "backend: memory://", "projects:", "  bots:", "    preset: bearer"]
    lines.append("    keys:")
    for number, text in enumerate(itertools.islice(_public_keys(count), count)):
        lines += [f"      - kid: k{number}", "        alg: RS256", "        public_key: |"]
        lines += [f"          {line}" for line in text.splitlines()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _public_keys(count: int) -> Iterator[str]:
    """
    Give at least *count* distinct public keys of 2048 bits.

    Finding 20 000 primes would take half an hour; 142 of them have 10 011 products. Keys that share
    primes are worthless, and load like any others.
    """
    primes: list[int] = []
    while len(primes) * (len(primes) - 1) // 2 < count:
        numbers = rsa.generate_private_key(EXPONENT, 2048).private_numbers()
        primes += [numbers.p, numbers.q]
    for one, other in itertools.combinations(primes, 2):
        yield pem(rsa.RSAPublicNumbers(EXPONENT, one * other).public_key())


def _resident() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return float(pages) * os.sysconf("SC_PAGE_SIZE")
