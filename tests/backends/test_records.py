"""What every backend does with the records of issued credentials, by both drivers."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from backends.histories import Step, contradictions, contradictions_of_one_who_puts
from backends.kinds import (
    HERE,
    SHARED,
    START,
    Kind,
    Settle,
    issue,
    opened,
    owe,
    present,
    run_in_threads,
)
from backends.racers import contend, follow, lead, racing
from rpcguard.backends.base import Backend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Nonce, Revocation, Verdict

UNKNOWN, REVOKED = Answer.UNKNOWN, Answer.REVOKED
TOKEN, SUBJECT = b"t" * 16, b"u" * 16


def ok(name: str) -> Answer:
    return Answer(Verdict.OK, issue(name).value)


def replaced_by(name: str) -> Answer:
    return Answer(Verdict.REPLAYED, issue(name).value)


# Put and settle


def test_a_record_is_found_with_its_value_as_often_as_it_is_shown(
    settle: Settle, backend: Backend
) -> None:
    assert settle(present("a"), START) == UNKNOWN
    backend.put(issue("a"), START)
    assert [settle(present("a"), START) for _ in range(3)] == [ok("a")] * 3
    assert settle(present("a"), START + 1e9) == ok("a")
    assert settle(present("b"), START) == UNKNOWN


@pytest.mark.parametrize("value", ["", "{}", "'\0\";--", "\U0001f600" * 4000, "null"])
def test_a_value_comes_back_as_it_was(settle: Settle, backend: Backend, value: str) -> None:
    backend.put(replace(issue("a"), value=value), START)
    assert settle(present("a"), START) == Answer(Verdict.OK, value)


def test_a_new_record_ends_what_its_slot_held_and_nothing_else(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("elsewhere", "other slot"), START)
    for one, other in itertools.pairwise("abcd"):
        backend.put(issue(one), START)
        backend.put(issue(other), START)
        assert settle(present(one), START) == UNKNOWN
        assert settle(present(other), START) == ok(other)
    assert settle(present("elsewhere"), START) == ok("elsewhere")


@pytest.mark.parametrize(("after", "answer"), [(0, "ok"), (9.9, "ok"), (10, ""), (1e9, "")])
def test_a_record_ends_at_its_own_time(
    settle: Settle, backend: Backend, after: float, answer: str
) -> None:
    backend.put(issue("a", lasts=10), START)
    assert settle(present("a"), START + after) == (ok("a") if answer else UNKNOWN)


@pytest.mark.parametrize("lasts", [0, -1, -1e9])
def test_a_record_that_had_ended_when_it_was_put_ends_the_one_before(
    settle: Settle, backend: Backend, lasts: float
) -> None:
    backend.put(issue("a"), START)
    backend.put(issue("b", lasts=lasts), START)
    assert settle(present("a"), START) == UNKNOWN
    assert settle(present("b"), START) == UNKNOWN


def test_putting_the_same_record_again_changes_nothing_but_its_content(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("a", lasts=10), START)
    backend.put(replace(issue("a", lasts=20), value="new"), START)
    assert settle(present("a"), START + 15) == Answer(Verdict.OK, "new")


def test_a_name_that_another_slot_holds_is_refused_and_nothing_changes(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("a"), START)
    backend.put(issue("b", "other"), START)
    with pytest.raises(BackendError):
        backend.put(issue("a", "other"), START)
    with pytest.raises(BackendError):
        backend.rotate(issue("a").name, issue("b"), START)
    with pytest.raises(BackendError):
        backend.rotate(issue("b").name, issue("a", "other"), START)
    assert settle(present("a"), START) == ok("a")
    assert settle(present("b"), START) == ok("b")


# Rotate


def test_a_record_is_rotated_once(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a"), START)
    assert backend.rotate(issue("a").name, issue("b"), START) == ok("a")
    assert settle(present("a", "slot"), START) == replaced_by("b")
    assert settle(present("b", "slot"), START) == ok("b")
    assert backend.rotate(issue("a").name, issue("c"), START) == replaced_by("b")
    assert settle(present("b", "slot"), START) == ok("b")
    assert settle(present("c"), START) == UNKNOWN
    assert backend.rotate(issue("b").name, issue("c"), START) == ok("b")
    shown = [settle(present(name, "slot"), START) for name in "abc"]
    assert shown == [replaced_by("c"), replaced_by("c"), ok("c")]


def test_what_was_never_put_or_has_ended_is_not_rotated(settle: Settle, backend: Backend) -> None:
    assert backend.rotate(issue("a").name, issue("b"), START) == UNKNOWN
    backend.put(issue("a", lasts=10), START)
    assert backend.rotate(issue("a").name, issue("b"), START + 10) == UNKNOWN
    backend.put(issue("c", "other"), START + 10)
    assert backend.rotate(issue("a").name, issue("b"), START + 10) == UNKNOWN
    assert settle(present("b"), START + 10) == UNKNOWN
    assert settle(present("c"), START + 10) == ok("c")


def test_what_was_rotated_away_is_known_by_its_slot_as_long_as_what_came_after(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("a", lasts=10), START)
    assert backend.rotate(issue("a").name, issue("b", lasts=100), START) == ok("a")
    assert settle(present("a"), START) == UNKNOWN  # by its name alone it is gone
    assert settle(present("a", "slot"), START + 99) == replaced_by("b")
    assert settle(present("a", "slot"), START + 100) == UNKNOWN
    assert settle(present("b", "slot"), START + 100) == UNKNOWN


def test_any_other_name_in_a_slot_is_answered_with_what_is_there(
    settle: Settle, backend: Backend
) -> None:
    assert settle(present("a", "slot"), START) == UNKNOWN
    backend.put(issue("a"), START)
    backend.put(issue("b", "other"), START)
    assert settle(present("never put", "slot"), START) == replaced_by("a")
    assert settle(present("b", "slot"), START) == replaced_by("a")
    assert settle(present("b", "other"), START) == ok("b")
    assert settle(present("b", "nowhere"), START) == UNKNOWN


def test_putting_and_dropping_ends_what_was_rotated(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a"), START)
    backend.rotate(issue("a").name, issue("b"), START)
    backend.put(issue("c"), START)
    assert settle(present("a", "slot"), START) == replaced_by("c")
    assert settle(present("b", "slot"), START) == replaced_by("c")
    assert backend.drop(HERE, issue("c").slot, START)
    assert settle(present("a", "slot"), START) == UNKNOWN


def test_a_rotation_stays_in_its_slot(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a"), START)
    assert backend.rotate(issue("a").name, issue("b", "other"), START) == UNKNOWN
    backend.put(issue("x", "other"), START)
    assert backend.rotate(issue("a").name, issue("b", "other"), START) == replaced_by("x")
    assert [settle(present(name), START) for name in "axb"] == [ok("a"), ok("x"), UNKNOWN]


# Drop


def test_a_dropped_record_is_gone(settle: Settle, backend: Backend) -> None:
    slot = issue("a").slot
    assert backend.drop(HERE, slot, START) is False
    backend.put(issue("a"), START)
    backend.put(issue("b", "other"), START)
    assert backend.drop(HERE, slot, START) is True
    assert backend.drop(HERE, slot, START) is False
    assert settle(present("a"), START) == UNKNOWN
    assert backend.rotate(issue("a").name, issue("c"), START) == UNKNOWN
    assert settle(present("b"), START) == ok("b")
    backend.put(issue("a"), START)
    assert settle(present("a"), START) == ok("a")


def test_what_has_ended_is_not_there_to_be_dropped_nor_comes_back(
    settle: Settle, backend: Backend
) -> None:
    _leave_behind(backend, 200)
    backend.put(issue("a", lasts=10), START)
    assert backend.drop(HERE, issue("a").slot, START + 10) is False
    assert settle(present("a"), START) == UNKNOWN  # the clock went back


# Revocations


@pytest.mark.parametrize(
    ("revocation", "answer"),
    [
        pytest.param(Revocation(TOKEN), REVOKED, id="a name"),
        pytest.param(Revocation(SUBJECT), REVOKED, id="any of its names"),
        pytest.param(Revocation(b"x" * 16), ok("a"), id="another name"),
        pytest.param(Revocation(TOKEN, START), REVOKED, id="issued at"),
        pytest.param(Revocation(TOKEN, START - 0.5), ok("a"), id="issued after"),
        pytest.param(Revocation(TOKEN, None, START + 5), ok("a"), id="over"),
        pytest.param(Revocation(TOKEN, None, START + 50), REVOKED, id="not yet over"),
    ],
)
def test_a_record_is_refused_by_the_revocation_of_its_names(
    settle: Settle, backend: Backend, revocation: Revocation, answer: Answer
) -> None:
    backend.put(issue("a", revocable=(TOKEN, SUBJECT, TOKEN)), START)
    backend.put(issue("free", "other"), START)
    backend.revoke([revocation], START)
    assert settle(present("a"), START + 10) == answer
    assert backend.rotate(issue("a").name, issue("b"), START + 10) == answer
    assert settle(present("free"), START + 10) == ok("free")


def test_a_record_that_is_put_after_the_revocation_counts_by_its_own_time(
    settle: Settle, backend: Backend
) -> None:
    backend.revoke([Revocation(TOKEN, START + 5)], START)
    backend.put(issue("a", issued_at=START + 5, revocable=(TOKEN,)), START)
    assert settle(present("a"), START) == REVOKED
    backend.put(issue("b", issued_at=START + 5.1, revocable=(TOKEN,)), START)
    assert settle(present("b"), START) == ok("b")


def test_the_time_of_the_request_does_not_count_for_the_record(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("a", revocable=(TOKEN,)), START)
    backend.revoke([Revocation(TOKEN, START + 5)], START)
    assert settle(present("a", issued_at=START + 50), START + 50) == REVOKED
    assert settle(present("a", issued_at=START + 50, revocable=(TOKEN,)), START + 50) == REVOKED


def test_revoked_comes_before_replaced_and_after_ended(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a", revocable=(TOKEN,)), START)
    backend.rotate(issue("a").name, issue("b", lasts=10, revocable=(SUBJECT,)), START)
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(present("a", "slot"), START) == replaced_by("b")
    backend.revoke([Revocation(SUBJECT)], START)
    for name in "ab":
        assert settle(present(name, "slot"), START) == REVOKED
        assert backend.rotate(issue(name).name, issue("c"), START) == REVOKED
        assert settle(present(name, "slot"), START + 10) == UNKNOWN


def test_the_names_that_the_request_itself_has_are_asked_first(
    settle: Settle, backend: Backend
) -> None:
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(present("never put", revocable=(TOKEN,)), START) == REVOKED
    backend.put(issue("a"), START)
    assert settle(present("a", revocable=(TOKEN,)), START) == REVOKED
    assert settle(present("a", revocable=(SUBJECT,)), START) == ok("a")


def test_names_that_a_gone_record_had_do_not_stay_with_its_name(
    settle: Settle, backend: Backend
) -> None:
    backend.put(issue("a", revocable=(TOKEN,)), START)
    backend.put(issue("a", revocable=(SUBJECT,)), START)
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(present("a"), START) == ok("a")


# A record and a nonce


def test_a_nonce_is_spent_only_where_the_record_stands(settle: Settle, backend: Backend) -> None:
    nonce = Nonce(b"n" * 16, START + 90)
    asked = present("a", issued_at=START, nonce=nonce)
    assert settle(asked, START) == UNKNOWN
    backend.put(issue("a", revocable=(TOKEN,)), START)
    backend.rotate(issue("a").name, issue("b", revocable=(TOKEN,)), START)
    assert settle(asked._replace(slot=issue("b").slot), START) == replaced_by("b")
    assert backend.spent("p", "s", [nonce.name], START) == frozenset()
    asked = asked._replace(record=issue("b").name)
    assert settle(asked, START) == ok("b")
    assert settle(asked, START) == Answer.REPLAYED  # the nonce: without the record's value
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(asked, START) == REVOKED


def test_a_refused_nonce_is_answered_without_the_record(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a"), START)
    record = issue("a").name
    assert settle(owe("n", lasts=-1)._replace(record=record), START) == Answer.FORGOTTEN
    assert settle(owe("n", subject_limit=0)._replace(record=record), START) == Answer.SUBJECT_FULL
    assert settle(owe("n", project_limit=0)._replace(record=record), START) == Answer.PROJECT_FULL


# A mass of records


def _leave_behind(backend: Backend, records: int) -> None:
    """Put more records, which end 1 second after the start, than any backend drops at once."""
    for number in range(records):
        backend.put(issue(f"behind {number}", f"behind {number}", lasts=1), START)


def test_behind_a_mass_of_ended_records_all_goes_on(settle: Settle, backend: Backend) -> None:
    _leave_behind(backend, 200)
    backend.put(issue("a", lasts=2), START)
    backend.put(issue("b", lasts=200), START + 90)
    assert settle(present("a"), START + 90) == UNKNOWN
    assert backend.rotate(issue("b").name, issue("c", lasts=300), START + 100) == ok("b")
    for number in range(20):
        backend.put(issue(f"later {number}", "later"), START + 250)
    assert settle(present("b"), START + 250) == UNKNOWN
    assert settle(present("c"), START + 250) == ok("c")
    assert settle(present("behind 7"), START) == UNKNOWN  # it was dropped


# Many at once


def _steps(results: list[list[list[object]]]) -> list[Step]:
    return [Step(*each) for steps in results for each in steps]


def test_a_slot_never_has_two_records_nor_none_for_many_threads(backend: Backend) -> None:
    results: list[list[list[object]]] = []
    numbers = itertools.count()
    barrier = threading.Barrier(4)

    def run() -> None:
        me = next(numbers)
        barrier.wait(30)
        results.append(contend(backend, me, 150, 4))

    run_in_threads(run, 4)
    steps = _steps(results)
    assert len(steps) == 4 * 150 * 7
    assert {step.kind for step in steps} == {"put", "ok", "refused"}
    assert contradictions(steps) == []


def test_many_threads_see_each_record_take_the_place_of_the_one_before_at_one_time(
    backend: Backend,
) -> None:
    rounds = 200
    results: list[list[list[object]]] = []
    backend.put(issue("0"), START)
    run_in_threads(
        lambda: results.append(follow(backend, rounds)),
        3,
        lambda: results.append(lead(backend, rounds)),
    )
    assert contradictions_of_one_who_puts(_steps(results)) == []


def test_of_many_threads_that_rotate_one_record_exactly_one_wins(backend: Backend) -> None:
    rounds, threads = 500, 4
    barrier = threading.Barrier(threads)
    answers: list[list[tuple[str, Answer]]] = [[] for _ in range(rounds)]
    for number in range(rounds):
        backend.put(issue(f"old {number}", f"slot {number}"), START)

    def run() -> None:
        barrier.wait(30)
        for number in range(rounds):
            mine = f"{threading.get_ident()} {number}"
            answer = backend.rotate(
                issue(f"old {number}").name, issue(mine, f"slot {number}"), START
            )
            answers[number].append((mine, answer))

    run_in_threads(run, threads)
    for number, each in enumerate(answers):
        old = f"old {number}"
        (winner,) = (mine for mine, answer in each if answer.verdict is Verdict.OK)
        expected = {ok(old): 1, replaced_by(winner): threads - 1}
        assert Counter(answer for _, answer in each) == expected
        for mine, answer in each:
            found = backend.settle(present(mine), START)
            assert found == (ok(mine) if answer.verdict is Verdict.OK else UNKNOWN)


def test_tasks_that_show_a_record_all_get_it(backend: Backend) -> None:
    async def show() -> list[Answer]:
        return await asyncio.gather(*[backend.asettle(present("a"), START) for _ in range(50)])

    backend.put(issue("a"), START)
    assert asyncio.run(show()) == [ok("a")] * 50


# Many processes. memory:// lives in one process and has no rows here, by what it is.


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_a_slot_never_has_two_records_nor_none_for_many_processes(
    kind: Kind, tmp_path: Path
) -> None:
    with racing(kind.patient(tmp_path), "contend", 4, "60", "4") as race:
        steps = _steps([result["steps"] for result in race.results()])
    assert len(steps) == 4 * 60 * 7
    assert {step.kind for step in steps} == {"put", "ok", "refused"}
    assert contradictions(steps) == []


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_many_processes_see_each_record_take_the_place_of_the_one_before_at_one_time(
    kind: Kind, tmp_path: Path
) -> None:
    with opened(kind, tmp_path) as backend:
        backend.put(issue("0"), START)
        with racing(kind.patient(tmp_path), "follow", 3, "200") as race:
            steps = _steps([result["steps"] for result in race.results()])
    assert contradictions_of_one_who_puts(steps) == []


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_of_many_processes_that_rotate_one_record_exactly_one_wins(
    kind: Kind, tmp_path: Path
) -> None:
    with opened(kind, tmp_path) as backend:
        for number in range(100):
            backend.put(issue(f"old {number}", f"slot {number}"), START)
        with racing(kind.patient(tmp_path), "rotate", 4, "100") as race:
            results = race.results()
        won = Counter(number for result in results for number in result["ok"])
        assert won == dict.fromkeys(range(100), 1)
        assert sum(result["replayed"] for result in results) == 300
        for result in results:
            for number in result["ok"]:
                mine = f"{result['me']} {number}"
                assert backend.settle(present(mine), START) == ok(mine)
        winners = {n: f"{result['me']} {n}" for result in results for n in result["ok"]}
        for result in results:
            expected = [
                issue(f"old {number}" if number in result["ok"] else winners[number]).value
                for number in range(100)
            ]
            assert result["values"] == expected


# The judge of histories


@pytest.mark.parametrize(
    ("history", "sound"),
    [
        pytest.param("put a 0 1, put b 2 3, ok a 1 2, ok b 3 4", True, id="in order"),
        pytest.param("put a 0 9, put b 0 9, ok b 2 3, ok a 4 5", True, id="overlapping"),
        pytest.param("put a 0 1, put b 2 3, ok a 4 5", False, id="the old one lives on"),
        pytest.param("put a 0 9, put b 0 9, ok b 2 3, ok a 4 5, ok b 6 7", False, id="back"),
        pytest.param("put a 0 1, refused a 2 3", False, id="gone with no reason"),
        pytest.param("put a 0 1, refused a 2 3, put b 4 5", False, id="gone too soon"),
        pytest.param("put a 0 1, put b 2 9, refused a 3 4", True, id="replaced meanwhile"),
        pytest.param("put a 0 1, put b 2 9, refused a 3 4, ok a 5 6", False, id="and came back"),
        pytest.param("put a 5 6, ok a 1 2", False, id="too early"),
        pytest.param("put a 5 8, ok a 6 7, refused a 5 6", True, id="during the put"),
        pytest.param("put a 0 9, put b 0 9, ok a 2 3, ok b 2 3, ok a 5 6, ok b 5 6", False, id="2"),
    ],
)
def test_the_judge_of_histories_knows_what_cannot_have_been(history: str, sound: bool) -> None:
    assert (contradictions(_history(history)) == []) is sound


@pytest.mark.parametrize(
    ("history", "sound"),
    [
        pytest.param("ok 0 1 2, put 1 3 4, ok 1 5 6, refused 0 5 6", True, id="in order"),
        pytest.param("put 1 3 9, ok 0 4 5, ok 1 6 7, refused 0 8 9", True, id="during the put"),
        pytest.param("put 1 3 9, refused 0 4 5, ok 1 6 7", True, id="during the put, early"),
        pytest.param("put 1 3 9, refused 0 4 5, refused 1 6 7, put 2 10 11", False, id="neither"),
        pytest.param("put 1 3 9, ok 1 4 5, ok 0 6 7", False, id="both"),
        pytest.param("put 1 3 4, ok 0 5 6", False, id="the old one lives on"),
        pytest.param("put 1 3 4, refused 1 5 6, put 2 7 8", False, id="gone too soon"),
        pytest.param("put 1 3 4, put 2 5 6, refused 1 7 8, ok 2 7 8", True, id="gone in time"),
    ],
)
def test_so_does_the_judge_of_one_who_puts(history: str, sound: bool) -> None:
    assert (contradictions_of_one_who_puts(_history(history)) == []) is sound


def _history(text: str) -> list[Step]:
    words = [each.split() for each in text.split(", ")]
    return [Step(kind, name, int(start), int(end)) for kind, name, start, end in words]


# The end


def test_a_closed_backend_issues_nothing(settle: Settle, backend: Backend) -> None:
    backend.put(issue("a"), START)
    backend.close()
    for question in (
        lambda: settle(present("a"), START),
        lambda: backend.put(issue("b"), START),
        lambda: backend.rotate(issue("a").name, issue("b"), START),
        lambda: backend.drop(HERE, issue("a").slot, START),
    ):
        with pytest.raises(BackendError):
            question()
