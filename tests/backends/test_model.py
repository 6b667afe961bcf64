"""Backends against a small model of what they promise, over any order of questions and times."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from backends.kinds import KINDS, START, Kind
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Answer, Nonce, Owed, Revocation

NONCES = [b"nonce %d" % number for number in range(8)]
REVOCABLE = [b"name %d" % number for number in range(3)]
SUBJECT_LIMIT, PROJECT_LIMIT = 3, 5


@dataclass
class Spent:
    nonce: bytes
    expires_at: float
    project: str
    subject: str

    @property
    def deadline(self) -> int:
        return math.ceil(self.expires_at)


@dataclass
class Model:
    """
    What one backend has said, and the answers that it may give next.

    Where the clock has never gone back there is one. Where it has, the backend may have dropped
    what ended before the latest time that it saw, and may say so; it never accepts a proof twice.
    """

    spent: list[Spent] = field(default_factory=list)
    revoked: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    latest: float = -math.inf

    def revoke(self, one: Revocation, now: float) -> None:
        self.revoked = {name: known for name, known in self.revoked.items() if known[1] > now}
        before = math.inf if one.before is None else one.before
        end = math.inf if one.expires_at is None else one.expires_at
        if end > now:
            known = self.revoked.get(one.name, (-math.inf, -math.inf))
            self.revoked[one.name] = max(before, known[0]), max(end, known[1])

    def permits(self, owed: Owed, now: float) -> set[Answer]:
        if owed.nonce is not None:
            self.latest = max(self.latest, now)
        for name in owed.revocable:
            before, end = self.revoked.get(name, (-math.inf, -math.inf))
            if owed.issued_at <= before and now < end:
                return {Answer.REVOKED}
        if owed.nonce is None:
            return {Answer.OK}
        nonce = owed.nonce
        if nonce.expires_at <= now:
            return {Answer.FORGOTTEN}
        known = [each for each in self.spent if each.nonce == nonce.name and each.deadline > now]
        permitted = set()
        if nonce.expires_at <= self.latest:
            permitted.add(Answer.FORGOTTEN)
        if known:
            permitted.add(Answer.REPLAYED)
        if all(each.deadline <= self.latest for each in known):  # it may have been dropped
            permitted |= self._room(owed, now)
        if any(each.expires_at == nonce.expires_at for each in known):
            permitted.discard(Answer.OK)
        return permitted

    def _room(self, owed: Owed, now: float) -> set[Answer]:
        of_subject = [
            each
            for each in self.spent
            if (each.project, each.subject) == (owed.project, owed.subject)
        ]
        of_project = [each for each in self.spent if each.project == owed.project]
        answers = {Answer.OK}
        for spent, limit, refusal in (
            (of_project, PROJECT_LIMIT, Answer.PROJECT_FULL),
            (of_subject, SUBJECT_LIMIT, Answer.SUBJECT_FULL),
        ):
            if sum(each.deadline > self.latest for each in spent) >= limit:
                answers = {refusal}
            elif sum(each.deadline > now for each in spent) >= limit:
                answers.add(refusal)
        return answers

    def note(self, owed: Owed, answer: Answer) -> None:
        if answer is Answer.OK and owed.nonce is not None:
            name, end = owed.nonce.name, owed.nonce.expires_at
            self.spent.append(Spent(name, end, owed.project, owed.subject))


class Comparison(RuleBasedStateMachine):
    """Puts the same questions to one backend and to its model."""

    kind: Kind

    @initialize()
    def start(self) -> None:
        self.stack = ExitStack()
        self.directory = Path(tempfile.mkdtemp())
        self.stack.callback(shutil.rmtree, self.directory)
        self.backend: Backend = self.stack.enter_context(closing(self.open()))
        self.model = Model()
        self.now = START

    def open(self) -> Backend:
        return open_backend(self.kind.url(self.directory), now=START, base=self.directory)

    @rule(
        nonce=st.sampled_from([None, *NONCES]),
        lasts=st.sampled_from([-1.0, 0.5, 1.0, 1.5, 3.0, 8.0, 20.0]),
        project=st.sampled_from("pq"),
        subject=st.sampled_from("stu"),
        age=st.sampled_from([0.0, 1.0, 5.0]),
        revocable=st.lists(st.sampled_from(REVOCABLE), max_size=3),
        in_a_task=st.booleans(),
    )
    def settle(  # the proof of a question ends at a time that depends on when it was made
        self,
        nonce: bytes | None,
        lasts: float,
        project: str,
        subject: str,
        age: float,
        revocable: list[bytes],
        in_a_task: bool,
    ) -> None:
        spent = nonce and Nonce(nonce, self.now + lasts, PROJECT_LIMIT, SUBJECT_LIMIT)
        issued_at = max(START, self.now - age)
        self.put(Owed(project, subject, issued_at, tuple(revocable), spent or None), in_a_task)

    @rule(choice=st.integers(0, 50), in_a_task=st.booleans())
    def replay(self, choice: int, in_a_task: bool) -> None:
        if self.model.spent:
            old = self.model.spent[choice % len(self.model.spent)]
            nonce = Nonce(old.nonce, old.expires_at, PROJECT_LIMIT, SUBJECT_LIMIT)
            self.put(Owed(old.project, old.subject, self.now, (), nonce), in_a_task)

    def put(self, owed: Owed, in_a_task: bool) -> None:
        permitted = self.model.permits(owed, self.now)
        if in_a_task:
            answer = asyncio.run(self.backend.asettle(owed, self.now))
        else:
            answer = self.backend.settle(owed, self.now)
        assert answer in permitted
        self.model.note(owed, answer)

    @rule(
        name=st.sampled_from(REVOCABLE),
        before=st.sampled_from([None, -5.0, -1.0, 0.0, 2.0]),
        lasts=st.sampled_from([None, -1.0, 0.0, 0.5, 2.0, 10.0]),
    )
    def revoke(self, name: bytes, before: float | None, lasts: float | None) -> None:
        one = Revocation(
            name,
            None if before is None else self.now + before,
            None if lasts is None else self.now + lasts,
        )
        self.backend.revoke([one], self.now)
        self.model.revoke(one, self.now)

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 7.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def the_clock_goes_back(self, seconds: float) -> None:
        self.now = max(START, self.now - seconds)

    @rule()
    def open_again(self) -> None:
        if self.kind.shared:
            self.backend.close()
            self.backend = self.stack.enter_context(closing(self.open()))

    def teardown(self) -> None:
        self.stack.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_order_of_questions_and_times_gets_an_answer_that_is_not_permitted(kind: Kind) -> None:
    machine = type("Machine", (Comparison,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=40))
