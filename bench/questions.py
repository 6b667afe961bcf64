"""What requests signed by wallets owe: a nonce each, and two names that may be revoked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from rpcguard.backends.base import Backend
from rpcguard.owed import Answer, Nonce, Owed, Verdict, digest, key_name, subject_name

PROJECTS, SUBJECTS = 4, 4000
AMPLE = 1 << 30  # live nonces that a project may have: budgets are counted, and do not run out
WINDOW = 90  # seconds that a nonce of `nodius` is kept at most


class Questions:
    """An endless supply of fresh ones; two supplies never give the same."""

    def __init__(self) -> None:
        self._supply = os.urandom(8)
        self._number = 0
        callers = [(f"p{n % PROJECTS}", f"wallet-{n}") for n in range(SUBJECTS)]
        self._callers = [
            (project, wallet, (key_name(project, wallet), subject_name(project, wallet)))
            for project, wallet in callers
        ]

    def take(self, number: int, now: float, spread: float = WINDOW) -> list[Owed]:
        """
        Return *number* questions, asked by all wallets in turn.

        Args:
            number: How many.
            now: Unix seconds; the proofs' own time.
            spread: Seconds over which their ends are spread, from now + 1 on.
        """
        return list(self._some(number, now, spread))

    def _some(self, number: int, now: float, spread: float) -> Iterator[Owed]:
        for _ in range(number):
            self._number += 1
            project, wallet, names = self._callers[self._number % SUBJECTS]
            name = digest(self._supply, self._number.to_bytes(8, "big"))
            end = now + 1 + self._number * 0.618 % spread  # in no order, as requests come
            yield Owed(project, wallet, now, names, Nonce(name, end, AMPLE))


def settle_all(backend: Backend, questions: Sequence[Owed], now: float) -> None:
    """
    Settle *questions*, one after the other.

    Raises:
        AssertionError: If one is refused: then what was timed was not what was meant.
    """
    for owed in questions:
        accept(backend.settle(owed, now))


def accept(answer: Answer) -> None:
    """
    See that *answer* is a yes.

    Raises:
        AssertionError: If it is not.
    """
    if answer.verdict is not Verdict.OK:
        raise AssertionError(f"the backend says {answer.verdict.value}")
