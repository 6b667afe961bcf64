"""A cold HS256 token, whose own cost is least, against a registry of 1 and of 1 000 projects."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path

from bench.material import AUDIENCE, BODY, SECRET, Keys, request, verifier
from bench.run import Figures, Run
from bench.timing import each, medians, series
from rpcguard import Request

SIZES = {"1": 1, "1k": 1000}


def measure(run: Run) -> Figures:
    """Return microseconds by number of projects, and their ratio."""
    folder, keys, items = run.folder("many-projects"), Keys(), run.count(100)
    candidates = {}
    with contextlib.ExitStack() as opened:
        for name, size in SIZES.items():
            count = run.count(size, 1)
            guard = opened.enter_context(verifier(_write(folder / f"{name}.yaml", count)))
            candidates[name] = each(guard.verify, _fresh(keys, count, items), items)
        taken = medians(series(candidates, run.rounds))
    figures = {f"verify_{name}_projects_us": value for name, value in taken.items()}
    return {**figures, "verify_1k_projects_vs_1": taken["1k"] / taken["1"]}


def _write(file: Path, count: int) -> Path:
    secret = file.parent / "secret"
    secret.write_text(SECRET, encoding="ascii")
    secret.chmod(0o600)
    key = 'keys: [{kid: HS256, alg: HS256, secret: "${file:secret}"}]'
    lines = ["version: 1", "backend: memory://", "projects:"]
    lines += [
        f"  p{number}: {{preset: bearer, match: {{path: /p{number}}}, audience: {AUDIENCE}, {key}}}"
        for number in range(count)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _fresh(keys: Keys, count: int, items: int) -> Callable[[], list[Request]]:
    numbers, choice = itertools.count(), random.Random(count)  # noqa: S311

    def one() -> Request:
        token = keys.token("HS256", next(numbers))
        target = f"/p{choice.randrange(count)}"
        return request({"Authorization": f"Bearer {token}"}, BODY, target)

    return lambda: [one() for _ in range(items)]
