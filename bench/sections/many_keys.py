"""A cold RS256 token against a registry of 10, of 1 000 and of 100 000 keys."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

from bench.material import AUDIENCE, Keys, bearer, verifier
from bench.run import Figures, Run
from bench.timing import each, medians, series
from rpcguard import Request

SIZES = {"10": 10, "1k": 1000, "100k": 100_000}
SIGNERS = 10  # keys that sign, whatever their number, so that this number alone makes a difference
FILES = 8  # distinct keys among them: a registry may have 16 MiB, so these come from files


def measure(run: Run) -> Figures:
    """Return microseconds by number of keys, and the ratios to the smallest."""
    folder = run.folder("many-keys")
    keys = [Keys() for _ in range(FILES)]
    for number, each_keys in enumerate(keys):
        (folder / f"{number}.pem").write_text(each_keys.text("RS256"), encoding="ascii")
    items = run.count(100)
    candidates = {}
    with contextlib.ExitStack() as opened:
        for name, size in SIZES.items():
            count = run.count(size, 10)
            guard = opened.enter_context(verifier(_write(folder / f"{name}.yaml", count)))
            few = range(0, count, count // SIGNERS)
            candidates[name] = each(guard.verify, _Fresh(keys, few, items).take, items)
        # the last one is the largest
        every = _Fresh(keys, range(count), items, 1 << 32)
        candidates["100k_all"] = each(guard.verify, every.take, items)
        taken = medians(series(candidates, run.rounds))
    figures = {f"verify_{name}_keys_us": value for name, value in taken.items()}
    for name in ("1k", "100k", "100k_all"):
        figures[f"verify_{name}_keys_vs_10"] = taken[name] / taken["10"]
    return figures


def _write(file: Path, count: int) -> Path:
    lines = ["version: 1", "backend: memory://", "projects:", "  bots:", "    preset: bearer"]
    lines += [f"    audience: {AUDIENCE}", "    keys:"]
    lines += [
        f'      - {{kid: k{number}, alg: RS256, public_key: "${{file:{number % FILES}.pem}}"}}'
        for number in range(count)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


class _Fresh:
    """Tokens that nobody has seen, each by any of the keys of some numbers."""

    def __init__(
        self, keys: Sequence[Keys], numbers: Sequence[int], items: int, start: int = 0
    ) -> None:
        self._keys = keys
        self._signers = numbers
        self._items = items
        self._numbers = itertools.count(start)
        self._random = random.Random(len(numbers))  # noqa: S311 - the same choice in every run

    def take(self) -> list[Request]:
        return [self._one() for _ in range(self._items)]

    def _one(self) -> Request:
        number = self._random.choice(self._signers)
        keys = self._keys[number % FILES]
        return bearer(keys.token("RS256", next(self._numbers), f"k{number}"))
