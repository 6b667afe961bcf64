"""
`sqlite://`: several connections whose clocks differ, on one file, against the model of a backend.

Nonces are moved and dropped a few at a time, so that every step of the long way meets every other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from backends.kinds import KINDS, START, owe
from backends.stores import assert_whole, opened
from backends.test_model import Comparison, Model
from rpcguard.backends import sqlite_nonces
from rpcguard.backends.base import Backend
from rpcguard.owed import Answer, Nonce, Owed, Verdict

(SQLITE,) = (kind for kind in KINDS if kind.name == "sqlite")
FULL = {Answer.SUBJECT_FULL, Answer.PROJECT_FULL}


@dataclass
class Lazy(Model):
    """What ended may not have been dropped yet: then a budget may be full that need not be."""

    def _room(self, owed: Owed, now: float) -> set[Answer]:
        permitted = super()._room(owed, now)
        ended = any(each.deadline <= self.latest for each in self.spent)
        return permitted | FULL if ended else permitted


class Connections(Comparison):
    """`Comparison`, each question put by one of three backends, two of which have other clocks."""

    kind = SQLITE

    @initialize()
    def start(self) -> None:
        super().start()
        self.model = Lazy()
        self.backends = [self.backend]
        self.backends += [self.stack.enter_context(closing(self.open())) for _ in range(2)]

    def ask(self, owed: Owed, in_a_task: bool) -> None:
        super().ask(owed, in_a_task)
        self.backends.append(self.backends.pop(0))
        self.backend: Backend = self.backends[0]

    @rule(
        choice=st.integers(0, 50),
        later=st.sampled_from([0.0, 0.5, 2.0, 9.0]),
        subject_limit=st.sampled_from([0, 1, 3]),
    )
    def replay_with_another_end(self, choice: int, later: float, subject_limit: int) -> None:
        if self.model.spent:
            old = self.model.spent[choice % len(self.model.spent)]
            nonce = Nonce(old.nonce, old.expires_at + later, 5, subject_limit)
            owed = Owed(old.project, old.subject, self.now, (), nonce)
            if subject_limit == 3:
                self.ask(owed, False)
                return
            # whatever is said, what was spent stays so
            permitted = self.model.permits(owed, self.now) | FULL
            answer = self.backend.settle(owed, self.now)
            assert answer in permitted
            self.model.note(owed, answer)

    @rule()
    def open_again(self) -> None:
        self.backend.close()
        self.backend = self.backends[0] = self.stack.enter_context(closing(self.open()))

    def teardown(self) -> None:
        assert_whole(self.directory / "store.db")
        super().teardown()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sqlite_nonces, "RECENT", 3)
    monkeypatch.setattr(sqlite_nonces, "STEP", 1)
    monkeypatch.setattr(sqlite_nonces, "STEP_WHEN_FULL", 1)
    sqlite_nonces._add_sql.cache_clear()
    yield
    sqlite_nonces._add_sql.cache_clear()


@pytest.mark.usefixtures("few")
def test_no_order_of_connections_and_clocks_accepts_a_nonce_twice() -> None:
    run_state_machine_as_test(
        Connections,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.usefixtures("few")
def test_one_that_ended_is_not_forgotten_for_a_refusal(path) -> None:
    """A clock that is behind would accept it again."""
    with opened(path) as ahead, opened(path) as behind:
        for number in range(4):
            assert ahead.settle(owe(str(number), lasts=number + 1), START).verdict is Verdict.OK
        assert ahead.settle(owe("n", lasts=9), START) is Answer.OK
        full = owe("n", lasts=90, subject_limit=1)
        assert ahead.settle(full, START + 10) is Answer.SUBJECT_FULL
        assert behind.settle(owe("n", lasts=9), START + 8) in (Answer.REPLAYED, Answer.FORGOTTEN)
