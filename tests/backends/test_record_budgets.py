"""How many records projects and subjects may hold, on every backend."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from backends.kinds import (
    HERE,
    SHARED,
    START,
    Kind,
    issue,
    neighbours,
    opened,
    owe,
    present,
    run_in_threads,
)
from backends.racers import racing
from rpcguard.backends.base import Backend
from rpcguard.owed import Answer, Record, Revocation, Verdict, bucket

OK, SUBJECT_FULL, PROJECT_FULL = Answer.OK, Answer.SUBJECT_FULL, Answer.PROJECT_FULL


def one(name: str, **facts: object) -> Record:
    """Return a record in a slot of its own, of a subject that may hold three."""
    return issue(name, name, **{"subject_limit": 3, "lasts": 90.0, **facts})


def standing(backend: Backend, name: str, now: float = START, subject: str = "s") -> Verdict:
    asked = present(name)._replace(subject=subject, bucket=bucket("p", subject))
    return backend.settle(asked, now).verdict


def fill(backend: Backend, **facts: object) -> None:
    for name in "abc":
        assert backend.put(one(name, **facts), START) is OK


def test_a_subject_with_a_full_budget_is_refused_alone(backend: Backend) -> None:
    fill(backend)
    assert backend.put(one("d"), START) is SUBJECT_FULL
    assert standing(backend, "d") is Verdict.UNKNOWN
    assert {standing(backend, name) for name in "abc"} == {Verdict.OK}
    assert backend.put(one("d", subject="t"), START) is OK
    assert backend.put(one("e", project="q"), START) is OK


def test_a_project_with_a_full_budget_is_refused_alone(backend: Backend) -> None:
    *subjects, last = neighbours(4)
    for name in subjects:
        assert backend.put(one(name, subject=name, project_limit=3), START) is OK
    assert backend.put(one("d", subject=last, project_limit=3), START) is PROJECT_FULL
    assert standing(backend, "d", subject=last) is Verdict.UNKNOWN
    assert {standing(backend, name, subject=name) for name in subjects} == {Verdict.OK}
    assert backend.put(one("d", project="q", project_limit=3), START) is OK


def test_a_full_subject_comes_before_a_full_project(backend: Backend) -> None:
    fill(backend, project_limit=3)
    assert backend.put(one("d", project_limit=3), START) is SUBJECT_FULL
    (other,) = neighbours(1)
    assert backend.put(one("d", subject=other, project_limit=3), START) is PROJECT_FULL


def test_the_limit_is_what_the_record_itself_says(backend: Backend) -> None:
    fill(backend)
    assert backend.put(one("d", subject_limit=4), START) is OK
    assert backend.put(one("e", subject_limit=4), START) is SUBJECT_FULL
    assert backend.put(one("e", subject_limit=0), START) is SUBJECT_FULL


def test_what_takes_the_place_of_a_live_one_needs_no_room(backend: Backend) -> None:
    fill(backend)
    assert backend.put(issue("new", "a", lasts=90, subject_limit=3), START) is OK
    assert backend.put(one("b", project_limit=1), START) is OK  # the same record again
    rotated = backend.rotate(issue("c").name, issue("newer", "c", subject_limit=0), START)
    assert rotated.verdict is Verdict.OK
    assert {standing(backend, name) for name in ("new", "b", "newer")} == {Verdict.OK}
    assert backend.put(one("d"), START) is SUBJECT_FULL


def test_what_takes_the_place_of_an_ended_one_needs_room(backend: Backend) -> None:
    assert backend.put(one("a", lasts=10), START) is OK
    for name in "bcd":
        assert backend.put(one(name), START + 10) is OK
    assert backend.put(one("a"), START + 10) is SUBJECT_FULL


def test_a_record_that_had_ended_when_it_was_put_needs_no_room(backend: Backend) -> None:
    fill(backend)
    assert backend.put(one("d", lasts=0), START) is OK
    assert backend.put(issue("e", "a", lasts=-5, subject_limit=3), START) is OK
    assert standing(backend, "a") is Verdict.UNKNOWN  # its slot was taken
    assert backend.put(one("f"), START) is OK
    assert backend.put(one("g"), START) is SUBJECT_FULL


def test_dropping_and_ending_give_room(backend: Backend) -> None:
    assert backend.put(one("short", lasts=10), START) is OK
    for name in "ab":
        assert backend.put(one(name), START) is OK
    assert backend.put(one("c"), START + 9.5) is SUBJECT_FULL
    assert backend.put(one("c"), START + 10) is OK
    assert backend.put(one("d"), START + 10) is SUBJECT_FULL
    assert backend.drop(HERE, one("a").slot, START + 10)
    assert backend.put(one("d"), START + 10) is OK
    assert backend.put(one("e"), START + 10) is SUBJECT_FULL


def test_dropping_what_is_not_there_gives_no_room(backend: Backend) -> None:
    fill(backend)
    assert backend.drop(HERE, one("a").slot, START) is True
    assert backend.put(one("d"), START) is OK
    assert backend.drop(HERE, one("a").slot, START) is False
    assert backend.put(one("e"), START) is SUBJECT_FULL


@pytest.mark.parametrize("limit", ["subject_limit", "project_limit"])
def test_room_comes_free_one_by_one_as_records_end(backend: Backend, limit: str) -> None:
    limits = {"subject_limit": 1000, "project_limit": 1000, limit: 50}
    full = SUBJECT_FULL if limit == "subject_limit" else PROJECT_FULL
    for number in range(50):
        assert backend.put(one(str(number), **limits | {"lasts": number + 1.0}), START) is OK
    assert backend.put(one("x", **limits), START) is full
    for number in range(10):  # ten have ended: there is room for ten
        assert backend.put(one(f"x{number}", **limits), START + 10) is OK
    assert backend.put(one("y", **limits), START + 10) is full


def test_a_revoked_record_keeps_its_room_until_its_end(backend: Backend) -> None:
    """A family that was ended by the reuse of a token is paid for until then."""
    fill(backend, revocable=(b"t" * 16,))
    backend.revoke([Revocation(b"t" * 16)], START)
    assert backend.put(one("d"), START) is SUBJECT_FULL
    assert backend.put(one("d", lasts=200.0), START + 90) is OK


def test_records_and_nonces_do_not_count_for_each_other(backend: Backend) -> None:
    fill(backend)
    for number in range(3):
        assert backend.settle(owe(str(number), subject_limit=3, project_limit=3), START) is OK
    assert backend.put(one("d", subject_limit=4, project_limit=4), START) is OK


def test_a_slot_that_goes_to_another_subject_moves_the_count(backend: Backend) -> None:
    # In one bucket: a slot's bucket is that of its subject, but for who changes names under it.
    def of(subject: str, name: str, slot: str) -> Record:
        record = issue(name, slot, subject=subject, subject_limit=1)
        return replace(record, bucket=HERE)

    assert backend.put(of("a", "one", "slot"), START) is OK
    assert backend.put(of("b", "two", "slot"), START) is OK
    assert backend.put(of("a", "three", "other"), START) is OK
    assert backend.put(of("b", "four", "third"), START) is SUBJECT_FULL


def test_behind_a_mass_of_ended_records_there_is_room(backend: Backend) -> None:
    for number in range(300):
        assert backend.put(one(str(number), lasts=5.0, subject_limit=300), START) is OK
    assert backend.put(one("x", subject_limit=300), START) is SUBJECT_FULL
    for number in range(300):
        later = one(f"later {number}", lasts=90.0, subject_limit=300)
        assert backend.put(later, START + 5) is OK
    assert backend.put(one("x", subject_limit=300), START + 5) is SUBJECT_FULL


def test_behind_a_mass_of_ended_records_of_others_there_is_room(backend: Backend) -> None:
    for number in range(200):
        behind = one(str(number), subject="t", lasts=5.0, subject_limit=200)
        assert backend.put(behind, START) is OK
    fill(backend, lasts=6.0)
    assert backend.put(one("d"), START + 5) is SUBJECT_FULL
    for name in "def":
        assert backend.put(one(name), START + 6) is OK
    assert backend.put(one("g"), START + 6) is SUBJECT_FULL


# Many at once


def test_a_budget_is_exact_under_many_threads(backend: Backend) -> None:
    names = itertools.count()
    answers: list[Answer] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait(30)
        for _ in range(50):
            answers.append(backend.put(one(str(next(names)), subject_limit=100), START))

    run_in_threads(run, 4)
    assert answers.count(OK) == 100
    assert answers.count(SUBJECT_FULL) == 100


def test_rotations_and_drops_at_once_leave_the_count_right(backend: Backend) -> None:
    numbers = itertools.count()

    def run() -> None:
        me = next(numbers)
        for turn in range(40):
            name = f"{me} {turn}"
            assert backend.put(one(name, subject_limit=8), START) is OK
            rotated = backend.rotate(one(name).name, issue(f"{name}'", name, lasts=90), START)
            assert rotated.verdict is Verdict.OK
            if turn < 38:
                assert backend.drop(HERE, one(name).slot, START)

    run_in_threads(run, 4)
    assert backend.put(one("x", subject_limit=8), START) is SUBJECT_FULL
    assert backend.put(one("x", subject_limit=9), START) is OK


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_a_budget_is_exact_under_many_processes(kind: Kind, tmp_path: Path) -> None:
    with racing(kind.patient(tmp_path), "fill_records", 4, "40", "100") as race:
        results = race.results()
    assert sum(len(result["ok"]) for result in results) == 100
    assert sum(result["subject_full"] for result in results) == 60
    with opened(kind, tmp_path) as backend:
        assert backend.put(one("x", subject_limit=100), START) is SUBJECT_FULL
        assert backend.put(one("x", subject_limit=101), START) is OK
