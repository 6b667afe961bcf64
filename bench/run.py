"""How much of everything one run does, and running a part of it in a fresh process."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 25
SHORT_ROUNDS, SHORT_SHARE = 1, 0.01
PATIENCE = 1800  # seconds that a part may take before it counts as broken: machines are busy

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """
    What every section is told.

    Attributes:
        directory: A directory of this run alone; whoever writes there makes one of its own.
        redis: URL of a Redis server of this run alone.
        rounds: Interleaved rounds of each comparison.
        share: How much of the full amount is done: 1 for results, less to see that it works.
    """

    directory: str
    redis: str
    rounds: int = ROUNDS
    share: float = 1.0

    @classmethod
    def short(cls, directory: str, redis: str) -> Self:
        """Return a run that shows that every benchmark works; its figures mean nothing."""
        return cls(directory, redis, SHORT_ROUNDS, SHORT_SHARE)

    def count(self, full: int, least: int = 2) -> int:
        """Return how many of *full* this run does, *least* at the least."""
        return max(least, int(full * self.share))

    def folder(self, name: str) -> Path:
        """Return a new directory for *name*."""
        path = Path(self.directory) / name
        path.mkdir(parents=True)
        return path


class BrokenError(Exception):
    """A part of the benchmarks ended badly; the message names it and what it said last."""


def fresh(module: str, function: str, run: Run, *arguments: Any) -> Any:
    """
    Return what *function* of *module* returns in a new process, for *run* and JSON *arguments*.

    Raises:
        BrokenError: If it fails, or takes longer than any part may.
    """
    command = [sys.executable, "-m", "bench.run", module, function]
    told = json.dumps([asdict(run), *arguments])
    try:
        done = subprocess.run(
            command, input=told, stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BrokenError(f"{module}.{function} took longer than {PATIENCE} s") from None
    if done.returncode:
        raise BrokenError(f"{module}.{function} ended with status {done.returncode}")
    return json.loads(done.stdout)


def _main(module: str, function: str) -> None:
    output, sys.stdout = sys.stdout, sys.stderr  # only the answer goes to standard output
    told, *arguments = json.load(sys.stdin)
    answer = getattr(importlib.import_module(module), function)(Run(**told), *arguments)
    json.dump(answer, output)


if __name__ == "__main__":
    _main(*sys.argv[1:])
