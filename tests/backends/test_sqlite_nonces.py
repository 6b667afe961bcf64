"""`sqlite://`: the one statement that spends a nonce, and the long way, that judges what it leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.kinds import START, issue, owe, present
from backends.stores import assert_whole, opened
from rpcguard.backends import sqlite_nonces
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.backends.sqlite_nonces import RECENT, STEP, STEP_WHEN_FULL
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Nonce, Owed, Revocation, Verdict

OK, REPLAYED = Answer.OK, Answer.REPLAYED
TOKEN = b"t" * 16
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def backend(path: Path) -> Iterator[SqliteBackend]:
    with opened(path) as backend:
        yield backend


def _statements(backend: SqliteBackend, owed: Owed, now: float) -> tuple[Answer, list[str]]:
    """Return what *owed* is answered, and the statements that were run for it."""
    lane = backend._writers[0]
    connection = lane._connection or lane._open()
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    answer = backend.settle(owed, now)
    connection.set_trace_callback(None)
    return answer, statements


def _kept(path: Path) -> tuple[int, int]:
    """Return how many nonces are in `recent`, and how many in `spent`."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT (SELECT count(*) FROM recent), (SELECT count(*) FROM spent)"
        recent, spent = connection.execute(sql).fetchone()
        return recent, spent


def test_a_nonce_takes_one_statement_and_writes_one_page(
    backend: SqliteBackend, path: Path
) -> None:
    log = path.with_name("store.db-wal")
    backend.settle(owe("first"), START)
    for number in range(30):
        before = log.stat().st_size
        answer, statements = _statements(backend, owe(str(number)), START)
        assert answer is OK
        assert len(statements) == 1
        assert log.stat().st_size - before == 2048 + 24  # a page and its header


def test_when_the_recent_ones_are_many_they_are_moved_and_count(
    backend: SqliteBackend, path: Path
) -> None:
    for number in range(RECENT):
        assert backend.settle(owe(str(number), subject=f"s{number % 3}"), START) is OK
    assert _kept(path) == (RECENT, 0)
    assert backend.settle(owe("one more"), START) is OK
    assert _kept(path) == (1, RECENT)
    assert_whole(path)
    for number in range(RECENT):
        assert backend.settle(owe(str(number), subject=f"s{number % 3}"), START) is REPLAYED
    assert backend.settle(owe("one more"), START) is REPLAYED


@pytest.mark.parametrize("held", [0, 1, RECENT - 1, RECENT, RECENT + 1, 2 * RECENT + 7])
@pytest.mark.parametrize("limit", ["subject_limit", "project_limit"])
def test_a_budget_is_exact_wherever_its_nonces_are_kept(
    backend: SqliteBackend, held: int, limit: str
) -> None:
    for number in range(held):
        assert backend.settle(owe(str(number), **{limit: held}), START) is OK
    answer, _ = _statements(backend, owe("full", **{limit: held}), START)
    assert answer in (Answer.SUBJECT_FULL, Answer.PROJECT_FULL)
    answer, statements = _statements(backend, owe("room", **{limit: held + 1}), START)
    assert answer is OK
    assert len(statements) == 1  # near a limit too
    answer, _ = _statements(backend, owe("full", **{limit: held + 1}), START)
    assert answer in (Answer.SUBJECT_FULL, Answer.PROJECT_FULL)


def test_a_refusal_moves_nothing(backend: SqliteBackend, path: Path) -> None:
    for number in range(RECENT // 2):
        backend.settle(owe(str(number)), START)
    backend.revoke([Revocation(TOKEN)], START)
    log = path.with_name("store.db-wal")
    before = log.stat().st_size, _kept(path)
    for owed, answer in (
        (owe("0"), REPLAYED),
        (owe("a", revocable=(TOKEN,)), Answer.REVOKED),
        (owe("a", lasts=-1), Answer.FORGOTTEN),
    ):
        assert backend.settle(owed, START) is answer
    assert (log.stat().st_size, _kept(path)) == before


def test_a_recent_nonce_that_has_ended_may_come_anew(backend: SqliteBackend, path: Path) -> None:
    assert backend.settle(owe("n", lasts=5), START) is OK
    assert backend.settle(owe("n", lasts=9), START + 4) is REPLAYED
    assert backend.settle(owe("n", lasts=9), START + 5) is OK
    assert backend.settle(owe("n", lasts=9), START + 6) is REPLAYED
    assert_whole(path)


def test_with_a_record_the_nonce_is_spent_after_it_and_as_shortly(
    backend: SqliteBackend, path: Path
) -> None:
    backend.put(issue("a"), START)
    backend.settle(owe("first"), START)
    nonce = owe("n").nonce
    assert backend.settle(present("none", nonce=nonce, issued_at=START), START) is Answer.UNKNOWN
    answer = backend.settle(present("a", nonce=nonce, issued_at=START), START)
    assert (answer.verdict, answer.record) == (Verdict.OK, issue("a").value)
    assert _kept(path) == (2, 0)
    assert backend.settle(present("a", nonce=nonce, issued_at=START), START) is REPLAYED


def test_spent_nonces_are_read_wherever_they_are(backend: SqliteBackend) -> None:
    names = [bytes([number]) * 16 for number in range(RECENT + 2)]
    for name in names:
        backend.settle(owe(name), START)
    assert backend.spent("p", "s", [*names, b"x" * 16], START) == set(names)


def test_while_they_cannot_be_moved_no_more_than_so_many_are_recent(
    backend: SqliteBackend, path: Path
) -> None:
    held = [owe(str(number)) for number in range(RECENT)]
    assert {backend.settle(each, START) for each in held} == {OK}
    cannot = (
        "CREATE TRIGGER no BEFORE INSERT ON spent BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TRIGGER no BEFORE INSERT ON budget BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
        "CREATE TRIGGER no BEFORE DELETE ON recent BEGIN SELECT RAISE(FAIL, 'no'); END",
    )
    for reason in cannot:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(reason)
            for number in range(3):
                for _ in range(2):
                    with pytest.raises(BackendError):
                        backend.settle(owe(f"new {number}"), START)
            assert backend.settle(held[number], START) is REPLAYED
            assert _kept(path) == (RECENT, 0)
            connection.execute("DROP TRIGGER no")
    assert backend.settle(owe("new 0"), START) is OK
    assert {backend.settle(each, START) for each in (*held, owe("new 0"))} == {REPLAYED}
    assert_whole(path)


@pytest.mark.parametrize("limit", [10_000, 40], ids=["room", "full"])
def test_however_many_have_ended_a_request_changes_so_many_rows_at_most(
    backend: SqliteBackend, path: Path, limit: int
) -> None:
    ended = 4000
    for number in range(ended):  # 80 of each subject
        owed = owe(str(number), lasts=1 + number / 1000, subject=f"s{number % 50}")
        assert backend.settle(owed, START) is OK
    connection = backend._writers[0]._connection
    assert connection is not None
    changes, answers = [], []
    left = "SELECT EXISTS(SELECT 1 FROM spent WHERE deadline < ?)"
    while connection.execute(left, (START + 10,)).fetchone() == (1,):
        before = connection.total_changes
        owed = owe(f"new {len(answers)}", subject="s0", subject_limit=limit)
        answers.append(backend.settle(owed, START + 10))
        changes.append(connection.total_changes - before)
    moved, dropped = 2 * RECENT + 2 * 51, STEP + STEP_WHEN_FULL + 3 * 51 + 2
    assert RECENT < max(changes) <= moved + dropped
    # Who is refused for what has ended is not so for long.
    refused = answers.index(OK)
    assert 0 <= refused <= ended / (STEP + STEP_WHEN_FULL)
    assert (refused > 0) is (limit == 40)
    assert_whole(path)


# The short way, one statement, against the long way, which judges step by step.

OWED = st.builds(
    Owed,
    project=st.sampled_from("pq"),
    subject=st.sampled_from("st"),
    issued_at=st.sampled_from([START - 10, START, START + 5, float("nan"), 0]),
    revocable=st.lists(st.sampled_from([TOKEN, b"u" * 16, b"v" * 16]), max_size=3).map(tuple),
    nonce=st.builds(
        Nonce,
        name=st.sampled_from([b"%d" % number for number in range(20)]),
        expires_at=st.sampled_from(
            [*(START + lasts for lasts in (-1, 0, 0.5, 2, 9, 90, 1e12)), 1e12, float("nan")]
        ),
        project_limit=st.sampled_from([0, 3, 5, 9, 1000]),
        subject_limit=st.sampled_from([0, 2, 4, 7, 1000]),
    ),
)
ASKED = st.tuples(OWED, st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 7.0]))  # and seconds that pass


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have nonces moved again and again, however few there are."""
    monkeypatch.setattr(sqlite_nonces, "RECENT", 4)
    sqlite_nonces._add_sql.cache_clear()
    yield
    sqlite_nonces._add_sql.cache_clear()


@pytest.mark.usefixtures("small")
@settings(max_examples=200, suppress_health_check=QUIET)
@given(
    asked=st.lists(ASKED, min_size=1, max_size=40),
    guard=st.sampled_from([None, START - 5, START + 1]),
    revoked=st.lists(st.sampled_from([TOKEN, b"u" * 16]), max_size=2),
)
def test_the_short_way_says_what_the_long_way_says(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[Owed, float]],
    guard: float | None,
    revoked: list[bytes],
) -> None:
    directory = tmp_path_factory.mktemp("ways")
    said: list[list[Answer]] = []
    for way in ("short", "long"):
        with monkeypatch.context() as patched:
            if way == "long":
                patched.setattr(sqlite_nonces, "_add", lambda *_: False)
            with opened(directory / way) as backend:
                _guard(directory / way, guard)
                backend.revoke([Revocation(name, START, START + 7) for name in revoked], START)
                said.append(_answers(backend, asked))
            assert_whole(directory / way)
    assert said[0] == said[1]


def _answers(backend: SqliteBackend, asked: list[tuple[Owed, float]]) -> list[Answer]:
    now, answers = START, []
    for owed, seconds in asked:
        now += seconds
        answers.append(backend.settle(owed, now))
    return answers


def _guard(path: Path, guard: float | None) -> None:
    if guard is not None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE state SET guard_from = ?", (guard,))
            connection.commit()
