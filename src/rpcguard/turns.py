"""Whose turn it is among the challenges of one time: each worker begins somewhere else."""

from __future__ import annotations

import itertools
import os
from secrets import randbelow


class Turns:
    """Hands the numbers below a *count* out in turn, from a random start. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._restart()
        os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        self._turns = itertools.count(randbelow(self._count))

    def take(self) -> int:
        """Return the next."""
        return next(self._turns) % self._count
