"""Backends against a small model of what they promise, over any order of questions and times."""

from __future__ import annotations

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

from backends.kinds import KINDS, START, Kind, settle_async
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Answer, Nonce, Owed, Record, Revocation, Verdict, bucket

NONCES = [b"nonce %d" % number for number in range(8)]
REVOCABLE = [b"name %d" % number for number in range(3)]
SLOTS = [b"slot %d" % number for number in range(5)]
SUBJECT_LIMIT, PROJECT_LIMIT = 3, 5
SUBJECTS = ("5469", "5701", "5799")  # of two projects, and all in one bucket
(BUCKET,) = {bucket(project, subject) for project in "pq" for subject in SUBJECTS}
SUBJECT_RECORDS, PROJECT_RECORDS = 2, 3


@dataclass
class Spent:
    nonce: bytes
    expires_at: float
    project: str
    subject: str

    @property
    def deadline(self) -> int:
        return math.ceil(self.expires_at)


def _end(record: Record) -> float:
    return math.inf if record.expires_at is None else record.expires_at


@dataclass
class Model:
    """
    What one backend has said, and the answers that it may give next.

    Where the clock has never gone back there is one. Where it has, the backend may have dropped
    what ended before the latest time that it saw, and may say so; it never accepts a proof twice.
    """

    spread: bool = False  # as `Kind.spread`
    spent: list[Spent] = field(default_factory=list)
    revoked: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    latest: float = -math.inf
    records: dict[bytes, Record] = field(default_factory=dict)  # by slot
    written: float = -math.inf  # the latest time at which records were written

    def share(self, of_project: int, of_subject: int) -> int:
        """Return how much a project may have in one bucket, where these are the limits."""
        return min(of_project, of_subject) if self.spread else of_project

    def standing(self, name: bytes, slot: bytes | None, now: float) -> set[Answer]:
        named = (each for each in self.records.values() if each.name == name)
        record = next(named, None) if slot is None else self.records.get(slot)
        if record is None or _end(record) <= now:
            return {Answer.UNKNOWN}
        answer = Answer(Verdict.OK if record.name == name else Verdict.REPLAYED, record.value)
        if self.is_revoked(record, now):
            answer = Answer.REVOKED
        return {answer, Answer.UNKNOWN} if _end(record) <= self.written else {answer}

    def is_revoked(self, asked: Owed | Record, now: float) -> bool:
        for name in asked.revocable:
            before, end = self.revoked.get(name, (-math.inf, -math.inf))
            if asked.issued_at <= before and now < end:
                return True
        return False

    def room_for(self, record: Record, now: float) -> set[Answer]:
        """
        Return what `put` may say.

        What has ended does not count, but by a clock that was further: then it may be dropped.
        """
        held = self.records.get(record.slot)
        answers = set()
        for time in {now, max(now, self.written)}:
            live = [each for each in self.records.values() if _end(each) > time]
            of_project = [each for each in live if each.project == record.project]
            of_subject = [each for each in of_project if each.subject == record.subject]
            if _end(record) <= now or held in live:
                answers.add(Answer.OK)
            elif len(of_subject) >= SUBJECT_RECORDS:
                answers.add(Answer.SUBJECT_FULL)
            elif len(of_project) >= self.share(PROJECT_RECORDS, SUBJECT_RECORDS):
                answers.add(Answer.PROJECT_FULL)
            else:
                answers.add(Answer.OK)
        return answers

    def put(self, record: Record, now: float) -> None:
        self.written = max(self.written, now)
        self.records[record.slot] = record

    def drop(self, slot: bytes, now: float) -> set[bool]:
        """Return what a backend may say; it may have dropped what had ended at some time."""
        held = self.records.pop(slot, None)
        said = {held is not None and _end(held) > now}
        if held is not None and _end(held) <= self.written:
            said.add(False)
        self.written = max(self.written, now)
        return said

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
        if self.is_revoked(owed, now):
            return {Answer.REVOKED}
        if owed.record is None:
            return self._permits(owed, now)
        permitted: set[Answer] = set()
        for answer in self.standing(owed.record, owed.slot, now):
            if answer.verdict is not Verdict.OK:
                permitted.add(answer)
            else:
                spent = self._permits(owed, now)
                permitted |= {answer if each is Answer.OK else each for each in spent}
        return permitted

    def _permits(self, owed: Owed, now: float) -> set[Answer]:
        nonce = owed.nonce
        if nonce is None:
            return {Answer.OK}
        if nonce.expires_at <= now:
            return {Answer.FORGOTTEN}
        known = [each for each in self.spent if self.is_it(each, owed) and each.deadline > now]
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

    def is_it(self, spent: Spent, owed: Owed) -> bool:
        assert owed.nonce is not None
        of_another = (spent.project, spent.subject) != (owed.project, owed.subject)
        return spent.nonce == owed.nonce.name and not (self.spread and of_another)

    def _room(self, owed: Owed, now: float) -> set[Answer]:
        of_subject = [
            each
            for each in self.spent
            if (each.project, each.subject) == (owed.project, owed.subject)
        ]
        of_project = [each for each in self.spent if each.project == owed.project]
        answers = {Answer.OK}
        for spent, limit, refusal in (
            (of_project, self.share(PROJECT_LIMIT, SUBJECT_LIMIT), Answer.PROJECT_FULL),
            (of_subject, SUBJECT_LIMIT, Answer.SUBJECT_FULL),
        ):
            if sum(each.deadline > self.latest for each in spent) >= limit:
                answers = {refusal}
            elif sum(each.deadline > now for each in spent) >= limit:
                answers.add(refusal)
        return answers

    def note(self, owed: Owed, answer: Answer) -> None:
        if answer.verdict is Verdict.OK and owed.nonce is not None:
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
        self.model = Model(self.kind.spread)
        self.now = START
        self.names: list[bytes] = []

    def open(self) -> Backend:
        return open_backend(self.kind.url(self.directory), now=START, base=self.directory)

    @rule(
        nonce=st.sampled_from([None, *NONCES]),
        lasts=st.sampled_from([-1.0, 0.5, 1.0, 1.5, 3.0, 8.0, 20.0]),
        project=st.sampled_from("pq"),
        subject=st.sampled_from(SUBJECTS),
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
        owed = Owed(project, subject, issued_at, tuple(revocable), spent or None)
        self.ask(owed, in_a_task)

    @rule(choice=st.integers(0, 50), in_a_task=st.booleans())
    def replay(self, choice: int, in_a_task: bool) -> None:
        if self.model.spent:
            old = self.model.spent[choice % len(self.model.spent)]
            nonce = Nonce(old.nonce, old.expires_at, PROJECT_LIMIT, SUBJECT_LIMIT)
            owed = Owed(old.project, old.subject, self.now, (), nonce)
            self.ask(owed, in_a_task)

    def ask(self, owed: Owed, in_a_task: bool) -> None:
        permitted = self.model.permits(owed, self.now)
        if in_a_task:
            answer = settle_async(self.backend, owed, self.now)
        else:
            answer = self.backend.settle(owed, self.now)
        assert answer in permitted
        self.model.note(owed, answer)

    @rule(
        slot=st.sampled_from(SLOTS),
        lasts=st.sampled_from([None, None, 0.0, 0.5, 2.0, 8.0, 20.0]),
        age=st.sampled_from([0.0, 0.0, 2.0]),
        revocable=st.lists(st.sampled_from(REVOCABLE), max_size=2),
        project=st.sampled_from("ppq"),
        subject=st.sampled_from(SUBJECTS[:2]),
        rotates=st.none() | st.integers(0, 50),
    )
    def put_or_rotate(
        self,
        slot: bytes,
        lasts: float | None,
        age: float,
        revocable: list[bytes],
        project: str,
        subject: str,
        rotates: int | None,
    ) -> None:
        name = b"record %d" % len(self.names)
        old = self.names[-1 - (rotates or 0) % len(self.names)] if self.names else b"none"
        self.names.append(name)
        record = Record(
            name=name,
            slot=slot,
            value=name.decode(),
            issued_at=self.now - age,
            expires_at=None if lasts is None else self.now + lasts,
            revocable=tuple(revocable),
            project=project,
            subject=subject,
            bucket=BUCKET,
            project_limit=PROJECT_RECORDS,
            subject_limit=SUBJECT_RECORDS,
        )
        if rotates is None:
            permitted = self.model.room_for(record, self.now)
            answer = self.backend.put(record, self.now)
        else:
            permitted = self.model.standing(old, slot, self.now)
            answer = self.backend.rotate(old, record, self.now)
        assert answer in permitted
        if answer.verdict is Verdict.OK:
            self.model.put(record, self.now)
        self.model.written = max(self.model.written, self.now)

    @rule(slot=st.sampled_from(SLOTS))
    def drop(self, slot: bytes) -> None:
        permitted = self.model.drop(slot, self.now)
        assert self.backend.drop(BUCKET, slot, self.now) in permitted

    @rule(
        choice=st.integers(0, 50),
        nonce=st.sampled_from([None, None, *NONCES]),
        slot=st.none() | st.sampled_from(SLOTS),
        revocable=st.lists(st.sampled_from(REVOCABLE), max_size=1),
        in_a_task=st.booleans(),
    )
    def show(
        self,
        choice: int,
        nonce: bytes | None,
        slot: bytes | None,
        revocable: list[bytes],
        in_a_task: bool,
    ) -> None:
        name = self.names[-1 - choice % len(self.names)] if self.names else b"none"
        spent = nonce and Nonce(nonce, self.now + 3, PROJECT_LIMIT, SUBJECT_LIMIT)
        owed = Owed("p", SUBJECTS[0], self.now, tuple(revocable), spent or None, name, slot, BUCKET)
        self.ask(owed, in_a_task)

    @rule()
    def show_all(self) -> None:
        for slot in SLOTS:
            live = 0
            for name in self.names:
                answer = self.backend.settle(Owed(record=name, slot=slot, bucket=BUCKET), self.now)
                assert answer in self.model.standing(name, slot, self.now)
                live += answer.verdict is Verdict.OK
            assert live <= 1
        for name in self.names:
            answer = self.backend.settle(Owed(record=name, bucket=BUCKET), self.now)
            assert answer in self.model.standing(name, None, self.now)

    @rule(
        project=st.sampled_from("pq"),
        subject=st.sampled_from(SUBJECTS),
        names=st.lists(st.sampled_from(NONCES)),
    )
    def read_nonces(self, project: str, subject: str, names: list[bytes]) -> None:
        spent = self.backend.spent(project, subject, names, self.now)
        known = [
            each
            for each in self.model.spent
            if not self.kind.spread or (each.project, each.subject) == (project, subject)
        ]
        live = {each.nonce for each in known if each.deadline > self.now}
        latest = max(self.model.latest, self.now)
        certain = {each.nonce for each in known if each.deadline > latest}
        assert certain.intersection(names) <= spent <= live.intersection(names)

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


# One server of Redis is enough here: the scripts are the same wherever the servers are, and nothing
# in this test says where that is.
SINGLE = [kind for kind in KINDS if kind.name not in {"sentinel", "cluster"}]


@pytest.mark.parametrize("kind", SINGLE, ids=lambda kind: kind.name)
def test_no_order_of_questions_and_times_gets_an_answer_that_is_not_permitted(kind: Kind) -> None:
    machine = type("Machine", (Comparison,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=40))
