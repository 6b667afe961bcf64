"""`memory://`: what it does that no shared backend does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.kinds import START, ask, issue, owe, present
from rpcguard.backends import memory_nonces, memory_records
from rpcguard.backends.memory import MemoryBackend
from rpcguard.owed import Answer, Revocation, Verdict

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
LOGGER = "rpcguard.backends"


# The restart guard


@pytest.mark.parametrize(
    ("issued_at", "answer"),
    [(0.0, FORGOTTEN), (START - 0.001, FORGOTTEN), (START, OK), (START + 5, OK)],
    ids=["without a time", "before the start", "at the start", "after the start"],
)
def test_a_proof_from_before_the_start_may_have_been_spent_and_is_refused(
    issued_at: float, answer: Answer
) -> None:
    backend = MemoryBackend(now=START)
    assert backend.settle(owe("n", issued_at=issued_at), START) is answer


def test_the_guard_is_about_nonces_alone() -> None:
    assert MemoryBackend(now=START).settle(ask(b"t" * 16, issued_at=0), START) is OK


def test_the_guard_can_be_switched_off() -> None:
    backend = MemoryBackend(now=START, restart_guard=False)
    assert backend.settle(owe("n", issued_at=0), START) is OK
    assert backend.settle(owe("n", issued_at=0), START) is REPLAYED


# Bounded in steps and in size


def test_ended_nonces_are_dropped_in_bounded_steps() -> None:
    backend = MemoryBackend(now=START)
    for number in range(1000):
        backend.settle(owe(str(number), lasts=number % 90 + 1), START)
    stored = len(backend._nonces._live)
    dropped = []
    for number in range(20):
        backend.settle(owe(f"later {number}", lasts=1000), START + 500)
        dropped.append(stored + 1 - len(backend._nonces._live))
        stored = len(backend._nonces._live)
    assert max(dropped) == memory_nonces._STEP
    assert stored == 20


def test_nothing_is_left_of_what_has_ended() -> None:
    backend = MemoryBackend(now=START)
    for number in range(1000):
        backend.settle(owe(str(number), subject=str(number), lasts=number % 90 + 1), START)
    for number in range(50):
        backend.settle(owe(f"later {number}", subject="t", project="q", lasts=100), START + 90)
    assert len(backend._nonces._live) == 50
    assert backend._nonces._projects == {"q": 50}
    assert list(backend._nonces._subjects) == [("q", "t")]
    assert len(backend._nonces._buckets) == 1
    assert len(backend._nonces._deadlines) == 2  # the bucket and the sentinel


def test_revocations_that_are_over_are_dropped() -> None:
    backend = MemoryBackend(now=START)
    backend.revoke([Revocation(b"%d" % n, None, START + 10) for n in range(50)], START)
    backend.revoke([Revocation(b"0", None, START + 30)], START)
    backend.revoke([Revocation(b"1", None, None)], START)
    backend.revoke([Revocation(b"last")], START + 20)
    assert set(backend._revoked) == {b"0", b"1", b"last"}


def test_ended_records_are_dropped_in_bounded_steps() -> None:
    backend = MemoryBackend(now=START)
    for number in range(1000):
        backend.put(issue(str(number), str(number), lasts=number % 900 + 1), START)
    records = backend._records
    stored = len(records._names)
    dropped = []
    for number in range(40):
        backend.put(issue(f"later {number}", "later"), START + 1000)
        dropped.append(stored - len(records._names))
        stored = len(records._names)
    assert max(dropped) == memory_records._STEP
    assert list(records._names) == [issue("later 39").name]
    assert list(records._slots.values()) == [issue("later 39", "later")]
    assert (records._ends, records._listed) == ([], {})
    assert records._live == {"p": 1, ("p", "s"): 1}


def test_records_that_were_replaced_leave_nothing_behind() -> None:
    backend = MemoryBackend(now=START)
    for number in range(2000):
        backend.put(issue(str(number), lasts=3600 + number % 30), START)
    records = backend._records
    assert len(records._names) == len(records._slots) == 1
    assert len(records._ends) == 1
    assert records._live == {"p": 1, ("p", "s"): 1}
    assert backend.drop(0, issue("").slot, START)
    assert records._names == records._slots == records._live == {}


def test_records_that_were_dropped_leave_little_behind() -> None:
    backend = MemoryBackend(now=START)
    kept = [issue(f"kept {number}", f"kept {number}", lasts=3600 + number) for number in range(100)]
    for record in kept:
        backend.put(record, START)
    records = backend._records
    longest = 0
    for number in range(10_000):
        backend.put(issue("a", f"slot {number}", lasts=7200), START)
        assert backend.drop(0, issue("a", f"slot {number}").slot, START)
        longest = max(longest, len(records._ends), len(records._listed))
    assert longest <= 2 * len(kept) + memory_records._STEP_WHEN_FULL + 3
    for _ in range(20):
        backend.put(issue("later", "later"), START + 10_000)
    assert records._live == {"p": 1, ("p", "s"): 1}


def test_a_record_that_ends_before_what_was_in_its_slot_is_dropped_in_time() -> None:
    backend = MemoryBackend(now=START)
    for lasts in (100, 10, 50):
        backend.put(issue("a", lasts=lasts), START)
    for number, left in ((20, 2), (49, 2), (50, 1), (100, 1)):
        backend.put(issue("b", "other"), START + number)
        assert len(backend._records._slots) == left
    assert (backend._records._ends, backend._records._listed) == ([], {})
    assert backend.settle(present("b"), START + 100).verdict is Verdict.OK


@pytest.mark.parametrize("lasts", [float("nan"), float("-inf"), float("inf"), 1e300])
def test_a_record_whose_end_is_no_date_does_no_harm(lasts: float) -> None:
    backend = MemoryBackend(now=START)
    backend.put(issue("odd", "odd", lasts=lasts), START)
    backend.put(issue("a"), START)
    assert backend.settle(present("a"), START).verdict is Verdict.OK
    expected = Verdict.OK if lasts > 0 else Verdict.UNKNOWN
    assert backend.settle(present("odd"), START + 1e9).verdict is expected
    backend.put(issue("next", "odd"), START)
    assert backend.settle(present("odd"), START).verdict is Verdict.UNKNOWN


class Watched:
    """Stands before a part of the backend, and sees that whoever comes has the lock."""

    def __init__(self, backend: MemoryBackend, part: object) -> None:
        self._backend = backend
        self._part = part

    def __getattr__(self, name: str) -> object:
        assert self._backend._lock.locked()
        return getattr(self._part, name)


def test_nonces_and_records_are_touched_by_who_has_the_lock_alone() -> None:
    # A step of a microsecond is broken off too seldom for a race to show each lapse.
    backend = MemoryBackend(now=START)
    for part in ("_nonces", "_records"):
        setattr(backend, part, Watched(backend, getattr(backend, part)))
    backend.put(issue("a"), START)
    assert backend.settle(present("a", issued_at=START, nonce=owe("n").nonce), START).record
    assert backend.spent("p", "s", [b"n"], START) == frozenset()
    assert backend.rotate(issue("a").name, issue("b"), START).verdict is Verdict.OK
    assert backend.drop(0, issue("b").slot, START)
    assert not backend._lock.locked()


# One process


@pytest.mark.parametrize("workers", ["2", "16"])
def test_several_workers_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, workers: str
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    MemoryBackend(now=START)
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.WARNING)
    assert "per process" in record.getMessage()


@pytest.mark.parametrize("workers", ["", "1", "0", "many", "-3"])
def test_one_worker_is_not_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, workers: str
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    MemoryBackend(now=START)
    assert caplog.records == []


FORKING = """
import logging, os, sys, threading
sys.path.insert(0, sys.argv[1])
from backends.kinds import START, issue, owe, present
from rpcguard.backends import memory
from rpcguard.backends.memory import MemoryBackend
from rpcguard.owed import Answer, Verdict

memory._FORK_PATIENCE = 30.0  # the machine may be busy
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
backend = MemoryBackend(now=START)
gone = MemoryBackend(now=START)
del gone
stop = threading.Event()
settled = threading.Event()

def keep_settling(me):
    number = 0
    while not stop.is_set():
        backend.settle(owe(f"{me} {number}", subject=f"{me} {number // 9999}"), START)
        backend.put(issue(f"{me} {number}", f"{me}", lasts=number % 90), START)
        number += 1
        settled.set()

threads = [threading.Thread(target=keep_settling, args=(me,)) for me in range(4)]
for thread in threads:
    thread.start()
settled.wait(30)
assert backend.settle(owe("before"), START) is Answer.OK
backend.put(issue("a", "a"), START)
epoch = backend.epoch(0)
ends = []
for child in range(10):
    pid = os.fork()
    if pid == 0:
        again = backend.settle(owe("before"), START) is Answer.REPLAYED
        fresh = backend.settle(owe("after"), START) is Answer.OK
        whole = backend._nonces._projects["p"] == len(backend._nonces._live)
        known = backend.settle(present("a"), START).verdict is Verdict.OK
        records = backend._records
        whole = whole and len(records._slots) == len(records._names) <= 5
        alone = backend.epoch(0) != epoch
        os._exit(0 if again and fresh and whole and known and alone else 1)
    ends.append(os.waitpid(pid, 0)[1])
stop.set()
for thread in threads:
    thread.join(30)
assert backend.settle(owe("after"), START) is Answer.OK
assert backend.epoch(0) == epoch
print(ends)
"""


def test_a_forked_child_goes_on_and_says_that_it_is_alone() -> None:
    environment = {name: text for name, text in os.environ.items() if name != "WEB_CONCURRENCY"}
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", FORKING, tests],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.stdout == f"{[0] * 10}\n", done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith(LOGGER)]
    assert len(warnings) == 10
    assert all("WARNING memory:// is per process" in line for line in warnings)
