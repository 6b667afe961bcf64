"""What every backend does, whatever it is made of: one suite, by both drivers."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from pathlib import Path

import pytest

from backends.kinds import (
    HERE,
    SHARED,
    START,
    Kind,
    Settle,
    ask,
    neighbours,
    opened,
    owe,
    run_in_threads,
)
from backends.racers import count, racing
from rpcguard.backends.base import Backend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Owed, Revocation

OK, REVOKED, REPLAYED, FORGOTTEN = Answer.OK, Answer.REVOKED, Answer.REPLAYED, Answer.FORGOTTEN
SUBJECT_FULL, PROJECT_FULL = Answer.SUBJECT_FULL, Answer.PROJECT_FULL
TOKEN, SUBJECT = b"t" * 16, b"u" * 16


# Nonces


def test_a_nonce_is_accepted_once(settle: Settle) -> None:
    assert settle(owe("n"), START) is OK
    assert settle(owe("n"), START) is REPLAYED
    assert settle(owe("n"), START + 89.9) is REPLAYED


def test_a_nonce_stays_spent_whatever_time_it_is_signed_with_anew(settle: Settle) -> None:
    assert settle(owe("n"), START) is OK
    assert settle(owe("n", lasts=120, issued_at=START + 30), START + 30) is REPLAYED
    assert settle(owe("n", lasts=60, issued_at=START), START + 30) is REPLAYED


@pytest.mark.parametrize(
    "other",
    [owe("other"), owe("n", subject="other"), owe("n", project="other"), owe("n", subject="")],
    ids=["nonce", "subject", "project", "no subject"],
)
def test_another_nonce_subject_or_project_is_independent(settle: Settle, other: Owed) -> None:
    assert settle(owe("n"), START) is OK
    assert settle(other, START) is OK
    assert settle(other, START) is REPLAYED


def test_after_its_end_a_nonce_may_come_with_a_new_proof(settle: Settle) -> None:
    assert settle(owe("n", lasts=90), START) is OK
    assert settle(owe("n", lasts=180), START + 90) is OK
    assert settle(owe("n", lasts=180), START + 91) is REPLAYED


def test_the_old_proof_of_a_nonce_that_came_anew_is_refused(settle: Settle) -> None:
    assert settle(owe("n", lasts=90), START) is OK
    assert settle(owe("n", lasts=180), START + 90) is OK
    assert settle(owe("n", lasts=90), START + 91) is FORGOTTEN
    assert settle(owe("n", lasts=90), START + 60) in (REPLAYED, FORGOTTEN)


@pytest.mark.parametrize("lasts", [0, -1, -1e9, 1e12, math.inf, -math.inf, math.nan])
def test_a_proof_that_has_ended_or_never_ends_is_refused(settle: Settle, lasts: float) -> None:
    assert settle(owe("n", lasts=lasts), START) is FORGOTTEN


@pytest.mark.parametrize("lasts", [0.001, 0.999, 1, 3600, 365 * 86400.0, 7_000_000_000.0])
def test_a_proof_is_spent_once_however_short_or_long_it_lives(settle: Settle, lasts: float) -> None:
    assert settle(owe("n", lasts=lasts), START) is OK
    assert settle(owe("n", lasts=lasts), START) is REPLAYED


def test_what_was_pruned_is_refused_when_the_clock_goes_back(settle: Settle) -> None:
    assert settle(owe("old", lasts=90), START) is OK
    for number in range(100):  # enough for any backend to come to pruning
        assert settle(owe(str(number), lasts=300), START + 200) is OK
    assert settle(owe("old", lasts=90), START + 10) is FORGOTTEN
    assert settle(owe("never seen", lasts=90), START + 10) is FORGOTTEN
    assert settle(owe("lives longer", lasts=91), START + 10) is OK


def test_a_spent_nonce_is_never_accepted_while_the_clock_jumps(settle: Settle) -> None:
    jumps = [0, 50, 3600, -3600, 89, 91, 10_000_000, 0, 80]
    assert settle(owe("n"), START) is OK
    for jump in jumps:
        for number in range(40):
            settle(owe(f"{jump} {number}", lasts=jump + 60), START + jump)
        assert settle(owe("n"), START + jump) in (REPLAYED, FORGOTTEN)


def test_a_mass_of_ended_nonces_holds_nothing_up_and_is_dropped(settle: Settle) -> None:
    for number in range(300):
        assert settle(owe(str(number), subject_limit=300), START) is OK
    assert settle(owe("full", subject_limit=300), START) is SUBJECT_FULL
    for number in range(300):
        later = owe(f"later {number}", lasts=1e6 + 90, subject_limit=300)
        assert settle(later, START + 1e6) is OK
    assert settle(owe("full", lasts=1e6 + 90, subject_limit=300), START + 1e6) is SUBJECT_FULL


def _leave_behind(settle: Settle, nonces: int) -> None:
    """Spend more nonces, which end 1 second after the start, than any backend drops at once."""
    for number in range(nonces):
        assert settle(owe(f"behind {number}", subject="behind", lasts=1), START) is OK


def test_behind_a_mass_of_ended_nonces_a_name_may_come_anew_and_stays_spent(settle: Settle) -> None:
    _leave_behind(settle, 200)
    assert settle(owe("n", lasts=2), START) is OK
    assert settle(owe("n", lasts=90), START + 10) is OK
    for number in range(200):  # the mass goes, and the first entry of the name with it
        assert settle(owe(str(number)), START + 11) is OK
    assert settle(owe("n", lasts=90), START + 11) is REPLAYED


def test_behind_a_mass_of_ended_nonces_room_is_found(settle: Settle) -> None:
    _leave_behind(settle, 150)
    for number in range(3):
        assert settle(owe(str(number), lasts=2, subject_limit=3), START) is OK
    assert settle(owe("next", subject_limit=3), START + 10) is OK


def test_names_of_callers_may_hold_any_character(settle: Settle) -> None:
    odd = owe(b"n" * 16, project="\ud800'\0{}", subject="\U0001f600" * 50)
    assert settle(odd, START) is OK
    assert settle(odd, START) is REPLAYED


def test_which_of_some_nonces_are_spent_can_be_read_and_spends_none(
    settle: Settle, backend: Backend
) -> None:
    names = [bytes([number]) * 16 for number in range(4)]
    for number, name in enumerate(names[:3]):
        assert settle(owe(name, lasts=number + 1), START) is OK
    assert backend.spent("p", "s", names, START) == frozenset(names[:3])
    assert backend.spent("p", "s", [names[1], names[3]], START) == {names[1]}
    assert backend.spent("p", "s", [], START) == frozenset()
    assert backend.spent("p", "s", names, START + 1) == frozenset(names[1:3])
    assert backend.spent("p", "s", names, START + 3) == frozenset()
    assert settle(owe(names[3]), START) is OK


def test_an_epoch_is_sixteen_bytes_that_no_other_store_has(
    kind: Kind, backend: Backend, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with opened(kind, elsewhere) as other:
        assert len({backend.epoch(HERE), other.epoch(HERE)}) == 2
        assert len(backend.epoch(HERE)) == 16
    assert backend.epoch(HERE) == backend.epoch(HERE)


# Nothing owed


def test_where_nothing_is_owed_the_answer_is_ok(settle: Settle) -> None:
    assert settle(Owed(), START) is OK
    assert settle(Owed("p", "s", START), START) is OK


def test_a_question_without_a_nonce_can_be_asked_again_and_again(settle: Settle) -> None:
    assert [settle(ask(TOKEN, SUBJECT), START) for _ in range(3)] == [OK, OK, OK]


# Revocations


def test_a_revoked_proof_spends_no_nonce(settle: Settle, backend: Backend) -> None:
    refused = owe("n", revocable=(SUBJECT, TOKEN))
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(refused, START) is REVOKED
    assert settle(refused._replace(revocable=(SUBJECT,)), START) is OK
    assert settle(refused, START) is REVOKED  # before "replayed"


def test_a_revocation_is_answered_before_anything_about_the_nonce(
    settle: Settle, backend: Backend
) -> None:
    backend.revoke([Revocation(TOKEN)], START)
    assert settle(owe("n", lasts=-5, revocable=(TOKEN,)), START) is REVOKED
    assert settle(owe("n", subject_limit=0, revocable=(TOKEN,)), START) is REVOKED


@pytest.mark.parametrize(
    ("revocation", "issued_at", "now", "answer"),
    [
        pytest.param(Revocation(TOKEN), 0, 0, REVOKED, id="whatever its time"),
        pytest.param(Revocation(TOKEN), 1e6, 1e9, REVOKED, id="for good"),
        pytest.param(Revocation(SUBJECT), 0, 0, OK, id="another name"),
        pytest.param(Revocation(TOKEN, before=100), 99.9, 0, REVOKED, id="issued before"),
        pytest.param(Revocation(TOKEN, before=100), 100, 0, REVOKED, id="issued at"),
        pytest.param(Revocation(TOKEN, before=100), 100.1, 0, OK, id="issued after"),
        pytest.param(Revocation(TOKEN, expires_at=60), 0, 59.9, REVOKED, id="not yet over"),
        pytest.param(Revocation(TOKEN, expires_at=60), 0, 60, OK, id="over"),
        pytest.param(Revocation(TOKEN, 100, 60), 50, 59, REVOKED, id="both hold"),
        pytest.param(Revocation(TOKEN, 100, 60), 101, 59, OK, id="both, issued after"),
        pytest.param(Revocation(TOKEN, 100, 60), 50, 61, OK, id="both, over"),
        pytest.param(Revocation(TOKEN, expires_at=-1), 0, 0, OK, id="over when recorded"),
    ],
)
@pytest.mark.parametrize("with_nonce", [False, True], ids=["no nonce", "nonce"])
def test_what_a_revocation_refuses(
    settle: Settle,
    backend: Backend,
    revocation: Revocation,
    issued_at: float,
    now: float,
    answer: Answer,
    with_nonce: bool,
) -> None:
    backend.revoke([_since_start(revocation)], START)
    owed = ask(b"o" * 16, TOKEN, issued_at=START + issued_at)
    if with_nonce:
        owed = owe("n", lasts=1e10)._replace(issued_at=owed.issued_at, revocable=owed.revocable)
    assert settle(owed, START + now) is answer


@pytest.mark.parametrize(
    ("first", "second", "issued_at", "now", "answer"),
    [
        pytest.param((None, None), (10, None), 50, 0, REVOKED, id="None stays None"),
        pytest.param((10, None), (None, None), 50, 0, REVOKED, id="a time becomes None"),
        pytest.param((10, None), (20, None), 15, 0, REVOKED, id="the later time wins"),
        pytest.param((20, None), (10, None), 15, 0, REVOKED, id="in either order"),
        pytest.param((20, None), (10, None), 21, 0, OK, id="and is not exceeded"),
        pytest.param((None, 10), (None, 20), 0, 15, REVOKED, id="the later end wins"),
        pytest.param((None, 20), (None, 10), 0, 15, REVOKED, id="in either order too"),
        pytest.param((None, 20), (None, None), 0, 1e9, REVOKED, id="no end wins"),
        pytest.param((None, None), (None, 20), 0, 1e9, REVOKED, id="no end stays"),
        pytest.param((None, 20), (None, 10), 0, 20, OK, id="and is over after"),
        pytest.param((None, 0.5), (10, None), 50, 2, OK, id="one that was over adds nothing"),
    ],
)
def test_a_later_revocation_never_weakens_an_earlier_one(
    settle: Settle,
    backend: Backend,
    first: tuple[float | None, float | None],
    second: tuple[float | None, float | None],
    issued_at: float,
    now: float,
    answer: Answer,
) -> None:
    backend.revoke([_since_start(Revocation(TOKEN, *first))], START)
    backend.revoke([_since_start(Revocation(TOKEN, *second))], START + 1)
    assert settle(ask(TOKEN, issued_at=START + issued_at), START + now) is answer


def test_behind_a_mass_of_revocations_one_that_is_over_adds_nothing(
    settle: Settle, backend: Backend
) -> None:
    backend.revoke([Revocation(b"%d" % n, None, START + 1) for n in range(200)], START)
    backend.revoke([Revocation(TOKEN, None, START + 2)], START)
    backend.revoke([Revocation(TOKEN, START + 10)], START + 5)
    assert settle(ask(TOKEN, issued_at=START + 11), START + 11) is OK
    assert settle(ask(TOKEN, issued_at=START + 9), START + 11) is REVOKED


def test_revocations_can_be_recorded_together(settle: Settle, backend: Backend) -> None:
    names = [bytes([number]) * 16 for number in range(200)]
    backend.revoke([Revocation(name) for name in names], START)
    backend.revoke([], START)
    assert {settle(ask(name), START) for name in names} == {REVOKED}


def _since_start(revocation: Revocation) -> Revocation:
    before, end = revocation.before, revocation.expires_at
    return Revocation(
        revocation.name,
        None if before is None else START + before,
        None if end is None else START + end,
    )


# Budgets


def test_a_subject_with_a_full_budget_is_refused_alone(settle: Settle) -> None:
    for number in range(3):
        assert settle(owe(str(number), subject_limit=3), START) is OK
    assert settle(owe("one more", subject_limit=3), START) is SUBJECT_FULL
    assert settle(owe("one more", subject="t", subject_limit=3), START) is OK
    assert settle(owe("one more", project="q", subject_limit=3), START) is OK
    assert settle(owe("0", subject_limit=3), START) is REPLAYED


def test_a_project_with_a_full_budget_is_refused_alone(settle: Settle) -> None:
    *subjects, one_more = neighbours(4)
    for subject in subjects:
        assert settle(owe("n", subject=subject, project_limit=3), START) is OK
    assert settle(owe("n", subject=one_more, project_limit=3), START) is PROJECT_FULL
    assert settle(owe("n", project="q", project_limit=3), START) is OK
    assert settle(owe("n", subject=subjects[0], project_limit=3), START) is REPLAYED


@pytest.mark.parametrize(
    ("project_limit", "subject_limit", "of_a_bucket"),
    [(1000, 3, 4), (100, 3, 3), (2, 3, 2), (1024, 1, 4), (1025, 1, 5)],
)
def test_where_buckets_are_apart_each_has_a_share_of_the_project_s_budget(
    kind: Kind, settle: Settle, project_limit: int, subject_limit: int, of_a_bucket: int
) -> None:
    limits = {"project_limit": project_limit, "subject_limit": subject_limit}
    subjects = neighbours(of_a_bucket + 1)
    answers = [settle(owe("n", subject=each, **limits), START) for each in subjects]
    room = of_a_bucket if kind.spread else project_limit
    assert answers == [OK if number < room else PROJECT_FULL for number in range(len(subjects))]
    assert settle(owe("n", subject="elsewhere", **limits), START) is (
        OK if kind.spread or project_limit > len(subjects) else PROJECT_FULL
    )


def test_a_refused_nonce_is_not_spent_and_takes_no_room(settle: Settle) -> None:
    assert settle(owe("a", subject_limit=1), START) is OK
    assert settle(owe("b", subject_limit=1), START) is SUBJECT_FULL
    assert settle(owe("a", subject_limit=1), START) is REPLAYED
    assert settle(owe("b", subject_limit=2), START) is OK
    assert settle(owe("c", subject_limit=2), START) is SUBJECT_FULL


@pytest.mark.parametrize("limit", ["subject_limit", "project_limit"])
def test_room_comes_free_when_nonces_end(settle: Settle, limit: str) -> None:
    for number in range(50):
        assert settle(owe(str(number), lasts=number + 1, **{limit: 50}), START) is OK
    full = settle(owe("x", lasts=90, **{limit: 50}), START)
    assert full is (SUBJECT_FULL if limit == "subject_limit" else PROJECT_FULL)
    for number in range(10):  # ten have ended: there is room for ten
        assert settle(owe(f"x{number}", lasts=90, **{limit: 50}), START + 10) is OK
    assert settle(owe("y", lasts=90, **{limit: 50}), START + 10) is full


def test_a_nonce_that_comes_anew_counts_once(settle: Settle) -> None:
    for times in range(1, 10):
        now = START + 90 * (times - 1)
        assert settle(owe("n", lasts=90 * times, subject_limit=1), now) is OK


def test_a_nonce_that_comes_anew_from_another_subject_moves_the_count(settle: Settle) -> None:
    name = b"n" * 16
    assert settle(owe(name, subject="a", subject_limit=1), START) is OK
    assert settle(owe(name, subject="b", lasts=180, subject_limit=1), START + 90) is OK
    assert settle(owe("x", subject="a", lasts=180, subject_limit=1), START + 90) is OK
    assert settle(owe("x", subject="b", lasts=180, subject_limit=1), START + 90) is SUBJECT_FULL


# Many at once


def test_of_many_threads_with_one_nonce_exactly_one_wins(backend: Backend) -> None:
    rounds, threads = 40, 16
    barrier = threading.Barrier(threads)
    answers: list[list[Answer]] = [[] for _ in range(rounds)]

    def run() -> None:
        for number in range(rounds):
            barrier.wait(30)
            answers[number].append(backend.settle(owe(str(number)), START))

    run_in_threads(run, threads)
    assert [Counter(each) for each in answers] == [{OK: 1, REPLAYED: threads - 1}] * rounds


def test_of_many_tasks_with_one_nonce_exactly_one_wins(backend: Backend) -> None:
    async def race(number: int) -> Counter[Answer]:
        questions = [backend.asettle(owe(str(number)), START) for _ in range(16)]
        return Counter(await asyncio.gather(*questions))

    async def races() -> list[Counter[Answer]]:
        return [await race(number) for number in range(40)]

    assert asyncio.run(races()) == [{OK: 1, REPLAYED: 15}] * 40


def test_a_budget_is_exact_under_many_threads(backend: Backend) -> None:
    answers: list[Answer] = []
    names = iter(range(320))

    def run() -> None:
        for _ in range(20):
            answers.append(backend.settle(owe(str(next(names)), subject_limit=100), START))

    run_in_threads(run, 16)
    assert Counter(answers) == {OK: 100, SUBJECT_FULL: 220}


def test_what_revoke_has_recorded_refuses_every_later_question(backend: Backend) -> None:
    revoked = threading.Event()
    late: list[Answer] = []

    def run() -> None:
        number = 0
        while True:
            certain = revoked.is_set()
            name = f"{threading.get_ident()} {number}"
            answer = backend.settle(owe(name, revocable=(TOKEN,)), START)
            if certain:
                late.append(answer)
                return
            number += 1

    def revoke() -> None:
        backend.revoke([Revocation(TOKEN)], START)
        revoked.set()

    run_in_threads(run, 8, revoke)
    assert late == [REVOKED] * 8


# Many processes. memory:// lives in one process and has no rows here, by what it is.


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_of_many_processes_with_one_nonce_exactly_one_wins(kind: Kind, tmp_path: Path) -> None:
    with racing(kind.url(tmp_path), "spend", 4, "300") as race:
        answers = race.results()
    won = Counter(number for answer in answers for number in answer["ok"])
    assert won == dict.fromkeys(range(300), 1)
    assert [count(answer) for answer in answers] == [300] * 4
    assert sum(answer["replayed"] for answer in answers) == 900


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_a_budget_is_exact_under_many_processes(kind: Kind, tmp_path: Path) -> None:
    with racing(kind.url(tmp_path), "fill", 4, "100", "150") as race:
        answers = race.results()
    assert sum(len(answer["ok"]) for answer in answers) == 150
    assert sum(answer["subject_full"] for answer in answers) == 250


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.name)
def test_a_revocation_refuses_in_every_process_from_the_next_question_on(
    kind: Kind, tmp_path: Path
) -> None:
    with opened(kind, tmp_path) as backend, racing(kind.url(tmp_path), "watch", 3) as race:
        race.each_says("asking")
        backend.revoke([Revocation(TOKEN)], START)
        race.tell("revoked")
        answers = race.results()
    assert [answer["after"] for answer in answers] == ["revoked"] * 3
    assert all(set(answer["before"]) <= {"ok", "revoked"} for answer in answers)


# The end


def test_a_closed_backend_answers_nothing_and_can_be_closed_again(
    settle: Settle, backend: Backend
) -> None:
    assert settle(owe("n"), START) is OK
    backend.close()
    backend.close()
    for owed in (owe("n"), owe("m"), ask(TOKEN)):
        with pytest.raises(BackendError):
            settle(owed, START)
    with pytest.raises(BackendError):
        backend.revoke([Revocation(TOKEN)], START)
    with pytest.raises(BackendError):
        backend.spent("p", "s", [TOKEN], START)
    with pytest.raises(BackendError):
        backend.epoch(HERE)


def test_a_cancelled_question_is_asked_wholly_or_not_at_all(backend: Backend) -> None:
    async def cancelled() -> None:
        tasks = [
            asyncio.ensure_future(backend.asettle(owe(str(number), subject_limit=50), START))
            for number in range(50)
        ]
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(cancelled())
    again = [backend.settle(owe(str(number), subject_limit=50), START) for number in range(50)]
    assert set(again) <= {OK, REPLAYED}
    assert backend.settle(owe("full", subject_limit=50), START) is SUBJECT_FULL
    once_more = [backend.settle(owe(str(number)), START) for number in range(50)]
    assert once_more == [REPLAYED] * 50


def test_a_revocation_that_is_over_when_it_is_recorded_drops_others_that_are(
    settle: Settle, backend: Backend
) -> None:
    backend.revoke([Revocation(TOKEN, None, START + 5)], START)
    backend.revoke([Revocation(TOKEN, None, START + 9)], START + 10)
    assert settle(ask(TOKEN), START) is OK  # the clock went back
