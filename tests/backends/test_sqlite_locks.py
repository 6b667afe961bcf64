"""`sqlite://`: waiting for other threads and processes, always within bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from backends.kinds import START, ask, issue, owe, present
from backends.redis_opened import answered
from backends.stores import assert_whole, locked, opened, unlock
from rpcguard.backends import sqlite_file
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Answer, Revocation, Verdict

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
TOKEN = b"t" * 16
QUICK = 0.25  # seconds, the default


def test_a_locked_file_refuses_in_time_and_serves_again_afterwards(path: Path) -> None:
    with opened(path, timeout=QUICK) as backend, locked(path) as holder:
        with pytest.raises(BackendError, match="locked"):
            backend.settle(owe("n"), START)
        with pytest.raises(BackendError, match="locked"):
            asyncio.run(backend.asettle(owe("m"), START))  # its thread may try a little longer
        with pytest.raises(BackendError, match="locked|too many threads wait"):
            backend.revoke([Revocation(TOKEN)], START)
        unlock(holder)
        assert answered(lambda: backend.settle(owe("n"), START)) is OK
        assert answered(lambda: asyncio.run(backend.asettle(owe("n"), START))) is REPLAYED
        assert backend.settle(ask(TOKEN), START) is OK


def test_a_question_without_a_nonce_does_not_mind_the_lock(path: Path) -> None:
    with opened(path) as backend:
        backend.revoke([Revocation(TOKEN)], START)
        with locked(path):
            assert backend.settle(ask(TOKEN), START) is Answer.REVOKED
            assert asyncio.run(backend.asettle(ask(b"other"), START)) is OK


def test_a_locked_file_takes_no_record_and_the_previous_one_stands(path: Path) -> None:
    with opened(path, timeout=QUICK) as backend:
        backend.put(issue("a"), START)
        with locked(path) as holder:
            for write in (
                lambda: backend.put(issue("b"), START),
                lambda: backend.rotate(issue("a").name, issue("b"), START),
                lambda: backend.drop(0, issue("a").slot, START),
                lambda: backend.settle(present("a", nonce=owe("n").nonce), START),
            ):
                with pytest.raises(BackendError, match="locked"):
                    write()
            assert backend.settle(present("a"), START).verdict is Verdict.OK
            unlock(holder)
        assert backend.settle(present("a"), START).verdict is Verdict.OK
        assert backend.rotate(issue("a").name, issue("b"), START).verdict is Verdict.OK


def test_reading_does_not_mind_the_lock(path: Path) -> None:
    with opened(path) as backend:
        backend.put(issue("a"), START)
        backend.settle(owe(b"n" * 16), START)
        epoch = backend.epoch(0)
        with locked(path):
            assert backend.settle(present("a"), START).verdict is Verdict.OK
            assert asyncio.run(backend.asettle(present("a"), START)).verdict is Verdict.OK
            assert backend.spent("p", "s", [b"n" * 16, b"m" * 16], START) == {b"n" * 16}
            assert backend.epoch(0) == epoch


def answers_of_a_crowd(ask: Callable[[int], object]) -> list[str]:
    """Return what a hundred threads get in 15 seconds: of a quarter each, all would take 25."""
    answers: list[str] = []

    def run(number: int) -> None:
        try:
            ask(number)
            answers.append("answered")
        except BackendError:
            answers.append("refused")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 15
    for thread in threads:
        thread.join(max(0, ends - time.monotonic()))
    return list(answers)


def test_many_threads_that_write_records_to_a_locked_file_are_all_refused_in_time(
    path: Path,
) -> None:
    with opened(path, timeout=QUICK) as backend, locked(path):
        answers = answers_of_a_crowd(lambda number: backend.put(issue(str(number)), START))
    assert answers == ["refused"] * 100


def test_a_lock_that_goes_in_time_delays_and_does_not_refuse(path: Path) -> None:
    answers: list[Answer] = []
    with opened(path, timeout=10) as backend, locked(path) as holder:
        asking = threading.Thread(target=lambda: answers.append(backend.settle(owe("n"), START)))
        asking.start()
        unlock(holder)
        asking.join(30)
    assert answers == [OK]


def test_many_threads_at_a_locked_file_are_all_refused_in_time(path: Path) -> None:
    with opened(path, timeout=QUICK) as backend, locked(path):
        answers = answers_of_a_crowd(lambda number: backend.settle(owe(str(number)), START))
    assert answers == ["refused"] * 100


def test_a_file_that_stays_locked_cannot_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_ATTEMPTS", 10)
    with opened(path), locked(path), pytest.raises(ConfigError, match="locked"):
        SqliteBackend(path, now=START)


def test_many_tasks_at_a_locked_file_are_all_refused_in_time(path: Path) -> None:
    async def ask_all(backend: SqliteBackend, word: str) -> list[object]:
        questions = [backend.asettle(owe(f"{word} {number}"), START) for number in range(100)]
        async with asyncio.timeout(15):  # one after the other would take 25 seconds
            return await asyncio.gather(*questions, return_exceptions=True)

    with opened(path, timeout=QUICK) as backend, locked(path) as holder:
        refused = asyncio.run(ask_all(backend, "a"))
        assert {type(each) for each in refused} <= {BackendError, *BackendError.__subclasses__()}
        unlock(holder)
        answered(lambda: backend.settle(owe("n"), START))  # behind those that a thread had begun
        assert asyncio.run(ask_all(backend, "b")) == [OK] * 100
    assert_whole(path)


def test_a_locked_file_does_not_stop_the_event_loop(path: Path) -> None:
    async def run(backend: SqliteBackend, holder: Popen[str]) -> Answer:
        waiting = asyncio.create_task(backend.asettle(owe("n"), START))
        for _ in range(10):
            await asyncio.sleep(0.01)
        unlock(holder)  # which only a loop that goes on can do
        return await waiting

    with opened(path, timeout=30) as backend, locked(path) as holder:
        assert asyncio.run(run(backend, holder)) is OK


def test_a_cancelled_wait_spends_wholly_or_not_at_all(path: Path) -> None:
    async def run(backend: SqliteBackend) -> None:
        tasks = [
            asyncio.create_task(backend.asettle(owe(str(number)), START)) for number in range(20)
        ]
        await asyncio.sleep(0)  # now they all wait
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}

    with opened(path, timeout=30) as backend:
        with locked(path):
            asyncio.run(run(backend))
        answers = [backend.settle(owe(str(number)), START) for number in range(20)]
        assert Counter(answers)[OK] >= 18  # one may have been under way in each thread
        assert {backend.settle(owe(str(number)), START) for number in range(20)} == {REPLAYED}
    assert_whole(path)


def test_closing_ends_every_wait_with_the_refusal_of_a_backend(path: Path) -> None:
    async def run(backend: SqliteBackend) -> list[object]:
        tasks = [
            asyncio.create_task(backend.asettle(owe(str(number)), START)) for number in range(8)
        ]
        await asyncio.sleep(0)  # now they all wait: two in threads, the others for a thread
        closing = threading.Thread(target=backend.close)
        closing.start()
        while not backend._refusal:
            threading.Event().wait(0.001)
        tasks[7].cancel()  # its own caller ends it
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        closing.join(30)
        return ended

    with opened(path, timeout=5) as backend, locked(path):
        *ended, cancelled = asyncio.run(run(backend))
    assert isinstance(cancelled, asyncio.CancelledError)
    assert all(isinstance(each, BackendError) for each in ended)
    told = [each for each in ended if "closed" in str(each)]
    assert len(told) >= 5  # at once, and not when their time was over


def test_thirty_two_threads_share_a_few_connections(path: Path) -> None:
    answers: list[Answer] = []

    def run(me: int) -> None:
        for number in range(50):
            answers.append(backend.settle(owe(f"{me} {number}"), START))
            answers.append(backend.settle(ask(TOKEN), START))

    with opened(path, timeout=30) as backend:
        threads = [threading.Thread(target=run, args=(me,)) for me in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert Counter(answers) == {OK: 3200}
        assert len(backend._lanes) == 6
    assert_whole(path)
