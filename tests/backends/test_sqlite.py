"""`sqlite://`: its file, its locks, and what happens when things go wrong around it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backends.kinds import START, ask, owe
from backends.racers import racing
from rpcguard.backends import sqlite_file
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.backends.sqlite_file import boot_id
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Answer, Revocation

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
TOKEN = b"t" * 16
SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def opened(path: Path, now: float = START, timeout: float = 0.25) -> Iterator[SqliteBackend]:
    with closing(SqliteBackend(path, now=now, timeout=timeout)) as backend:
        yield backend


@contextmanager
def locked(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the write lock of *path*; a line on its input ends that."""
    with racing(f"sqlite:///{path}", "lock", 1, str(path)) as race:
        race.each_says("locked")
        yield race.racers[0]


def unlock(holder: subprocess.Popen[str]) -> None:
    assert holder.communicate("\n", timeout=60)[0] == "{}\n"


def assert_whole(path: Path) -> None:
    """Assert that the file is sound and its budgets count what is there."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = connection.execute("SELECT account, count(*) FROM nonce GROUP BY 1").fetchall()
        live = connection.execute("SELECT id, live FROM budget WHERE parent IS NOT NULL").fetchall()
        (total,) = connection.execute("SELECT count(*) FROM nonce").fetchone()
        (projects,) = connection.execute(
            "SELECT total(live) FROM budget WHERE parent IS NULL"
        ).fetchone()
    assert dict(counted) == dict(live)
    assert total == projects


def run_script(name: str, *arguments: str | Path) -> str:
    """Return what a script printed that ended well."""
    command = [sys.executable, SCRIPTS / name, Path(__file__).parent.parent, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# The file


def test_a_new_file_is_for_its_owner_alone_and_so_are_its_companions(path: Path) -> None:
    with opened(path) as backend:
        backend.settle(owe("n"), START)
        files = sorted(each.name for each in path.parent.iterdir())
        assert files == ["store.db", "store.db-shm", "store.db-wal"]
        assert {oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()} == {"0o600"}


def test_what_was_recorded_outlives_the_backend(path: Path) -> None:
    with opened(path) as backend:
        assert backend.settle(owe("n"), START) is OK
        backend.revoke([Revocation(TOKEN)], START)
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]
    with opened(path, START + 5) as backend:
        assert backend.settle(owe("n"), START + 5) is REPLAYED
        assert backend.settle(ask(TOKEN), START + 5) is Answer.REVOKED


def test_how_far_was_pruned_outlives_the_backend(path: Path) -> None:
    with opened(path) as backend:
        backend.settle(owe("old", lasts=90), START)
    with opened(path, START + 100) as backend:
        backend.settle(owe("new", lasts=190), START + 100)
    with opened(path) as backend:
        assert backend.settle(owe("old", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("unknown", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("unknown", lasts=90.5), START) is OK


def test_a_revocation_is_on_the_disk_and_a_nonce_need_not_be(path: Path) -> None:
    with opened(path) as backend:
        backend.settle(owe("n"), START)
        statements: list[str] = []
        connection = backend._writers[0]._connection
        assert connection is not None
        connection.set_trace_callback(statements.append)
        backend.revoke([Revocation(TOKEN)], START)
        assert statements[:2] == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"]
        assert statements[-2:] == ["COMMIT", "PRAGMA synchronous = NORMAL"]
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with opened(path) as backend:
        assert backend.settle(owe("n", issued_at=0), START) is OK


def test_a_missing_directory_is_an_error_at_opening(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        SqliteBackend(tmp_path / "missing" / "store.db", now=START)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/dev/full", "/proc/self/status", "/proc", "/"])
def test_what_is_not_a_file_of_ones_own_is_an_error_at_opening(path: str) -> None:
    with pytest.raises(ConfigError):
        SqliteBackend(Path(path), now=START)


def test_a_directory_in_which_nothing_can_be_made_is_an_error_at_opening() -> None:
    # /proc takes no file, not even from root, whom permission bits do not stop.
    with pytest.raises(ConfigError, match="cannot be made"):
        SqliteBackend(Path("/proc/store.db"), now=START)


def _foreign(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_bytes(b"x"), id="one byte"),
        pytest.param(lambda path: path.write_bytes(b"registry: yes\n" * 900), id="text"),
        pytest.param(lambda path: path.write_bytes(bytes(9000)), id="zeros"),
        pytest.param(lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(9000)), id="head"),
        pytest.param(lambda path: _foreign(path, "CREATE TABLE t(a)"), id="tables"),
        pytest.param(lambda path: _foreign(path, "PRAGMA application_id = 7"), id="application"),
        pytest.param(lambda path: _foreign(path, "PRAGMA user_version = 1"), id="version alone"),
        pytest.param(
            lambda path: (
                SqliteBackend(path, now=START).close(),
                _foreign(path, "PRAGMA user_version = 2"),
            ),
            id="later schema",
        ),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(path: Path, make) -> None:
    make(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        SqliteBackend(path, now=START)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE state SET guard_from = 'junk'",
        "UPDATE state SET pruned_through = x'00ff'",
        "DELETE FROM state",
        "DROP TABLE state",
        "DROP TABLE nonce",
        "DROP TABLE budget",
        "DROP TABLE revocation",
        "UPDATE budget SET live = 'junk'",
        "INSERT INTO nonce VALUES(x'6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e', 'junk', 0)",
    ],
)
def test_junk_in_the_store_refuses(path: Path, damage: str) -> None:
    owed = owe(b"n" * 16, revocable=(TOKEN,))
    with opened(path) as backend:
        backend.settle(owe("first"), START)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(damage)
            connection.commit()
        for _ in range(3):
            with pytest.raises(BackendError):
                backend.settle(owed, START)
            with pytest.raises(BackendError):
                asyncio.run(backend.asettle(owed, START))


def test_a_store_without_its_state_is_not_opened(path: Path) -> None:
    SqliteBackend(path, now=START).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM state")
        connection.commit()
    with pytest.raises(ConfigError):
        SqliteBackend(path, now=START)


def test_a_damaged_page_refuses(path: Path) -> None:
    with opened(path) as backend:
        for number in range(200):
            backend.settle(owe(str(number)), START)
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'nonce'"
        (root,) = connection.execute(sql).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with opened(path) as backend:
        with pytest.raises(BackendError, match="SQLITE_CORRUPT"):
            backend.settle(owe("0"), START)
        with pytest.raises(BackendError, match="SQLITE_CORRUPT"):
            backend.settle(owe("fresh"), START)


def test_a_file_that_was_taken_away_is_not_made_anew(path: Path) -> None:
    with opened(path) as backend:  # no connection is open before the first question
        path.unlink()
        with pytest.raises(BackendError, match="SQLITE_CANTOPEN"):
            backend.settle(owe("n"), START)
        assert not path.exists()


def test_closing_leaves_no_connection_and_no_thread(path: Path) -> None:
    def open_files() -> set[str]:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return {os.readlink(link) for link in links if os.path.lexists(link)}

    with opened(path) as backend, locked(path) as holder:
        backend.settle(ask(TOKEN), START)
        with pytest.raises(BackendError):
            asyncio.run(backend.asettle(owe("n"), START))
        assert str(path) in open_files()
        unlock(holder)
    assert not {each for each in open_files() if each.startswith(str(path))}
    assert not [each for each in threading.enumerate() if each.name.startswith("rpcguard")]


def test_the_log_is_bounded(path: Path) -> None:
    with opened(path) as backend:
        log = path.with_name("store.db-wal")
        for number in range(6000):  # without a checkpoint, 110 MB
            backend.settle(owe(str(number)), START)
        assert log.stat().st_size < 80_000_000


# Restart of the machine


def _reopened(path: Path, boot: str | None, now: float) -> SqliteBackend:
    return SqliteBackend(path, now=now, boot=lambda: boot)


def _answers(backend: SqliteBackend, now: float) -> dict[str, Answer]:
    """Return what proofs get that are 0, 5 and 10 seconds old, and one without a time."""
    with closing(backend):
        ages = {age: now - age for age in (0.0, 5.0, 10.0)} | {"none": 0.0}
        return {
            str(age): backend.settle(owe(f"{age} {now}", issued_at=at, lasts=1e6), now)
            for age, at in ages.items()
        }


ALL_OK = {"0.0": OK, "5.0": OK, "10.0": OK, "none": OK}
GUARDED = {"0.0": OK, "5.0": FORGOTTEN, "10.0": FORGOTTEN, "none": FORGOTTEN}


def test_this_system_names_its_boot() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("content", [None, b"", b"\xff\n"], ids=["missing", "empty", "no text"])
def test_a_system_that_does_not_name_its_boot_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "boot_id"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(sqlite_file, "_BOOT_ID", file)
    assert boot_id() is None


def test_a_new_file_guards_against_nothing(path: Path) -> None:
    assert _answers(_reopened(path, "a", START), START) == ALL_OK
    assert _answers(_reopened(path.with_name("b.db"), None, START), START) == ALL_OK


def test_in_the_same_boot_no_proof_is_refused_for_its_age(path: Path) -> None:
    _reopened(path, "a", START).close()
    assert _answers(_reopened(path, "a", START + 1), START + 1) == ALL_OK


def test_after_a_restart_of_the_machine_older_proofs_are_refused(path: Path) -> None:
    _reopened(path, "a", START).close()
    assert _answers(_reopened(path, "b", START + 100), START + 100) == GUARDED
    again = _answers(_reopened(path, "b", START + 105), START + 105)  # the guard stays where it is
    assert again == GUARDED | {"5.0": OK}
    assert _answers(_reopened(path, "b", START + 111), START + 111)["10.0"] is OK


def test_a_backend_that_was_open_already_sees_the_guard(path: Path) -> None:
    with closing(_reopened(path, "a", START)) as backend:
        assert backend.settle(owe("n"), START) is OK
        _reopened(path, "b", START + 50).close()
        assert backend.settle(owe("m"), START + 50) is FORGOTTEN


def test_where_the_boot_has_no_name_each_opening_guards(path: Path) -> None:
    _reopened(path, None, START).close()
    assert _answers(_reopened(path, None, START + 100), START + 100) == GUARDED
    assert _answers(_reopened(path, None, START + 105), START + 105) == GUARDED


# Locks


def test_a_locked_file_refuses_in_time_and_serves_again_afterwards(path: Path) -> None:
    with opened(path) as backend, locked(path) as holder:
        with pytest.raises(BackendError, match="locked"):
            backend.settle(owe("n"), START)
        with pytest.raises(BackendError, match="locked"):
            asyncio.run(backend.asettle(owe("n"), START))
        with pytest.raises(BackendError, match="locked"):
            backend.revoke([Revocation(TOKEN)], START)
        unlock(holder)
        assert backend.settle(owe("n"), START) is OK
        assert asyncio.run(backend.asettle(owe("n"), START)) is REPLAYED
        assert backend.settle(ask(TOKEN), START) is OK


def test_a_question_without_a_nonce_does_not_mind_the_lock(path: Path) -> None:
    with opened(path) as backend:
        backend.revoke([Revocation(TOKEN)], START)
        with locked(path):
            assert backend.settle(ask(TOKEN), START) is Answer.REVOKED
            assert asyncio.run(backend.asettle(ask(b"other"), START)) is OK


def test_a_lock_that_goes_in_time_delays_and_does_not_refuse(path: Path) -> None:
    answers: list[Answer] = []
    with opened(path, timeout=10) as backend, locked(path) as holder:
        asking = threading.Thread(target=lambda: answers.append(backend.settle(owe("n"), START)))
        asking.start()
        unlock(holder)
        asking.join(30)
    assert answers == [OK]


def test_many_threads_at_a_locked_file_are_all_refused_in_time(path: Path) -> None:
    answers: list[str] = []

    def run(number: int) -> None:
        try:
            answers.append(backend.settle(owe(str(number)), START).value)
        except BackendError:
            answers.append("refused")

    with opened(path) as backend, locked(path):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)  # one after the other would take 8 seconds
        assert answers == ["refused"] * 32


def test_a_file_that_stays_locked_cannot_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_ATTEMPTS", 10)
    with opened(path), locked(path), pytest.raises(ConfigError, match="locked"):
        SqliteBackend(path, now=START)


def test_many_tasks_at_a_locked_file_are_all_refused_in_time(path: Path) -> None:
    async def ask_fifty(backend: SqliteBackend, word: str) -> list[object]:
        questions = [backend.asettle(owe(f"{word} {number}"), START) for number in range(50)]
        async with asyncio.timeout(5):  # one after the other would take 12 seconds
            return await asyncio.gather(*questions, return_exceptions=True)

    with opened(path) as backend, locked(path) as holder:
        refused = asyncio.run(ask_fifty(backend, "a"))
        assert {type(each) for each in refused} <= {BackendError, *BackendError.__subclasses__()}
        unlock(holder)
        assert asyncio.run(ask_fifty(backend, "b")) == [OK] * 50
    assert_whole(path)


def test_a_locked_file_does_not_stop_the_event_loop(path: Path) -> None:
    async def tick(ticks: list[None]) -> None:
        while True:
            ticks.append(None)
            await asyncio.sleep(0.01)

    async def run(backend: SqliteBackend) -> int:
        ticks: list[None] = []
        ticking = asyncio.create_task(tick(ticks))
        with pytest.raises(BackendError):
            await backend.asettle(owe("n"), START)
        ticking.cancel()
        return len(ticks)

    with opened(path, timeout=0.5) as backend, locked(path):
        assert asyncio.run(run(backend)) >= 10


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

    with opened(path) as backend:
        with locked(path):
            asyncio.run(run(backend))
        answers = [backend.settle(owe(str(number)), START) for number in range(20)]
        assert Counter(answers)[OK] >= 19  # one may have been under way
        assert {backend.settle(owe(str(number)), START) for number in range(20)} == {REPLAYED}
    assert_whole(path)


def test_thirty_two_threads_share_a_few_connections(path: Path) -> None:
    answers: list[Answer] = []

    def run(me: int) -> None:
        for number in range(50):
            answers.append(backend.settle(owe(f"{me} {number}"), START))
            answers.append(backend.settle(ask(TOKEN), START))

    with opened(path) as backend:
        threads = [threading.Thread(target=run, args=(me,)) for me in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert Counter(answers) == {OK: 3200}
        assert len(backend._lanes) == 6
    assert_whole(path)


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


def test_a_log_that_cannot_grow_refuses_and_loses_nothing(path: Path) -> None:
    # A limit of the system, in a process of its own: RLIMIT_FSIZE makes the write itself fail.
    answers = run_script("full_disk.py", path).split()
    assert answers[-1] == "recovered"
    assert set(answers[:-1]) == {"refused"}
    assert_whole(path)


def test_a_read_only_file_refuses() -> None:
    # Root is stopped by no permission bits, so the script becomes somebody else where it can.
    directory = Path(tempfile.mkdtemp())
    try:
        assert run_script("read_only.py", directory).splitlines() == ["refused"] * 4 + [
            "not opened"
        ]
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)


# Processes


def test_what_a_killed_process_acknowledged_stays_spent(path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(3):
        with racing(f"sqlite:///{path}", "stream", 1) as race:
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
            sql = "SELECT count(*) FROM nonce WHERE deadline < ?"
            assert connection.execute(sql, (START + 1e9,)).fetchone() == (0,)
    assert len(acknowledged) == len(set(acknowledged)) >= 600
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
