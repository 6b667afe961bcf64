"""`sqlite://`: full and read-only disks, killed processes, forks."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.kinds import START, issue, owe, present
from backends.racers import racing
from backends.stores import assert_whole, opened, run_script
from rpcguard.backends.sqlite_nonces import RECENT
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Verdict

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
TOKEN = b"t" * 16


# Disks


def test_a_full_disk_refuses_and_loses_nothing(path: Path) -> None:
    # The limit that SQLite itself keeps: the error is that of a full disk, SQLITE_FULL.
    with opened(path) as backend:
        backend.settle(owe("first"), START)
        connection = backend._writers[0]._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        spent = []

        def spend_on() -> None:
            while len(spent) < 1000:
                assert backend.settle(owe(str(len(spent))), START) is OK
                spent.append(len(spent))

        with pytest.raises(BackendError, match="SQLITE_FULL"):
            spend_on()
        assert spent
        # The connection was dropped, and the limit with it.
        assert backend.settle(owe("room again"), START) is OK
        assert {backend.settle(owe(str(number)), START) for number in spent} == {REPLAYED}
    assert_whole(path)


def test_on_a_full_disk_the_previous_record_stands(path: Path) -> None:
    with opened(path) as backend:
        backend.put(issue("a"), START)
        backend.put(issue("b", "other"), START)
        large = replace(issue("large"), value="x" * 100_000)
        for write in (
            lambda: backend.put(large, START),
            lambda: backend.rotate(issue("a").name, large, START),
        ):
            connection = backend._writers[0]._connection or backend._writers[0]._open()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")
            with pytest.raises(BackendError, match="SQLITE_FULL"):
                write()
            assert backend.settle(present("large"), START) is Answer.UNKNOWN
            assert backend.settle(present("a"), START).verdict is Verdict.OK
            assert backend.settle(present("b"), START).verdict is Verdict.OK
        backend.put(large, START)
        assert backend.settle(present("large"), START).record == large.value
    assert_whole(path)


def test_a_log_that_cannot_grow_refuses_and_loses_nothing(path: Path) -> None:
    # A limit of the system, in a process of its own: RLIMIT_FSIZE makes the write itself fail.
    answers = run_script("full_disk.py", path).split()
    assert answers == ["refused"] * 10 + ["recovered"]
    assert_whole(path)


def test_a_read_only_file_refuses() -> None:
    # Root is stopped by no permission bits, so the script becomes somebody else where it can.
    directory = Path(tempfile.mkdtemp())
    try:
        assert run_script("read_only.py", directory).splitlines() == ["refused"] * 7 + [
            "not opened"
        ]
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)


# Signals


class Signalled(BaseException):
    """What the handler raises."""


class Interrupted(sqlite3.Connection):
    """Gets a signal, whose handler raises, while some statement runs: it ends, and then raises."""

    left = 1000

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Signalled

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        self._count()
        return cursor

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().executemany(*arguments)
        self._count()
        return cursor


@pytest.mark.parametrize("what", ["nonce", "record"])
def test_one_that_a_signal_breaks_off_leaves_no_transaction_open(path: Path, what: str) -> None:
    """Within it, nonces would be accepted that are gone with it, and no other process could."""
    interrupted = 0
    with opened(path) as backend, opened(path) as other:
        lane = backend._writers[0]
        for number in range(1, 21):
            after = 10.0 * number
            now = START + after
            for recent in range(RECENT - _recent(path)):  # the next will move and drop some
                assert other.settle(owe(f"{number} {recent}", lasts=after + 5), now) is OK
            lane.drop()
            connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, factory=Interrupted
            )
            connection.left = number
            lane._connection = connection
            try:
                if what == "nonce":
                    backend.settle(owe(f"n {number}", lasts=after + 20), now)
                else:
                    backend.put(issue(f"n {number}", str(number)), now)
            except Signalled:
                interrupted += 1
            connection.left = 1000
            spent = [owe(f"m {number} {each}", lasts=after + 20) for each in range(3)]
            assert [backend.settle(each, now) for each in spent] == [OK] * 3
            assert other.settle(owe(f"o {number}", lasts=after + 20), now) is OK
            lane.drop()
            assert {other.settle(each, now) for each in spent} == {REPLAYED}
    assert interrupted > 6
    assert_whole(path)


def _recent(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (recent,) = connection.execute("SELECT count(*) FROM recent").fetchone()
        return int(recent)


# Processes


def test_what_a_killed_process_acknowledged_stays_spent(path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(3):
        with racing(f"sqlite:///{path}?timeout=10s", "stream", 1) as race:
            (racer,) = race.racers
            assert racer.stdout is not None
            for _ in range(200):
                acknowledged.append(int(racer.stdout.readline()))
            racer.kill()
            acknowledged += [int(line) for line in racer.stdout.read().split("\n")[:-1]]
    with opened(path) as backend:
        for number in acknowledged:
            assert backend.settle(owe(str(number), lasts=number + 1000), START) is REPLAYED
        assert_whole(path)
        for number in range(len(acknowledged)):  # and all of it goes when its time comes
            backend.settle(owe(f"later {number}", lasts=1e9 + 90), START + 1e9)
        with closing(sqlite3.connect(path)) as connection:
            sql = "SELECT count(*) FROM spent WHERE deadline < ?"
            assert connection.execute(sql, (START + 1e9,)).fetchone() == (0,)
    assert len(acknowledged) == len(set(acknowledged)) >= 600
    assert_whole(path)


def test_processes_that_are_killed_accept_nothing_twice(path: Path) -> None:
    """A proof is a name with its end; where it ended, its name may come anew with a later one."""
    answers: Counter[str] = Counter()
    accepted: Counter[tuple[str, str]] = Counter()
    for _ in range(4):
        with racing(f"sqlite:///{path}?timeout=10s", "share", 3) as race:
            for racer in race.racers:
                assert racer.stdout is not None
                lines = [racer.stdout.readline() for _ in range(1500)]
                racer.kill()
                lines += racer.stdout.read().split("\n")[:-1]
                for line in lines:
                    number, end, answer = line.split()
                    answers[answer] += 1
                    accepted[number, end] += answer == "ok"
    assert max(accepted.values()) == 1
    assert {"ok", "replayed", "forgotten", "subject_full"} <= answers.keys()
    assert_whole(path)
    with opened(path) as backend:
        for number, end in accepted:
            owed = owe(number, lasts=float(end), subject=f"s{int(number) % 3}")
            if accepted[number, end]:
                assert backend.settle(owed, START) in (REPLAYED, FORGOTTEN)


def test_what_a_killed_process_acknowledged_of_records_stands(path: Path) -> None:
    for _ in range(3):
        path.unlink(missing_ok=True)
        with racing(f"sqlite:///{path}?timeout=10s", "stream_records", 1) as race:
            (racer,) = race.racers
            assert racer.stdout is not None
            acknowledged = [int(racer.stdout.readline()) for _ in range(50)]
            racer.kill()
            acknowledged += [int(line) for line in racer.stdout.read().split("\n")[:-1]]
        last = acknowledged[-1]
        with opened(path) as backend:
            found = {
                (word, number): backend.settle(present(f"{word} {number}", slot), START).verdict
                for number in range(last + 2)  # one more may have been under way
                for word, slot in (("put", None), ("start", "rotated"), ("dropped", None))
            }
        assert {found["put", number] for number in range(last)} == {Verdict.UNKNOWN}
        assert {found["start", number] for number in range(last)} == {Verdict.REPLAYED}
        assert {found["dropped", number] for number in range(last + 1)} == {Verdict.UNKNOWN}
        for word in ("put", "start"):
            latest = [found[word, last], found[word, last + 1]]
            assert latest.count(Verdict.OK) == 1
        assert_whole(path)


def test_parent_and_child_of_a_fork_share_the_file_and_no_connection(path: Path) -> None:
    assert run_script("fork.py", path).split() == ["won-once", "whole", "locked-by-child"]
    assert_whole(path)


def test_a_fork_in_the_midst_of_questions_leaves_both_sides_whole(path: Path) -> None:
    assert run_script("fork_threads.py", path).split() == ["ok"] * 8
    assert_whole(path)


def test_a_fork_that_carries_a_connection_along_refuses_in_the_child(path: Path) -> None:
    assert run_script("fork_carrying.py", path).split() == ["child-refused", "parent-ok"]
    assert_whole(path)


def test_a_file_that_was_replaced_accepts_nothing_more(path: Path) -> None:
    """Another process would spend the same nonce in the new file."""
    with opened(path) as backend:
        assert backend.settle(owe("a"), START) == Answer.OK
        path.rename(path.with_suffix(".away"))
        with pytest.raises(BackendError, match="replaced"):
            backend.settle(owe("b"), START)
        with opened(path) as newer:
            assert newer.settle(owe("b"), START) == Answer.OK
            with pytest.raises(BackendError, match="replaced"):
                backend.settle(owe("b"), START)
