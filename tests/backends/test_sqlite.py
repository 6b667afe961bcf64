"""`sqlite://`: its file, what may be wrong with it, and the restart of the machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backends.kinds import START, ask, issue, owe, present
from backends.stores import assert_whole, locked, opened, unlock
from rpcguard.backends import sqlite_file, sqlite_ledger, sqlite_nonces, sqlite_schema
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.backends.sqlite_file import boot_id
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Answer, Record, Revocation, Verdict

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
TOKEN = b"t" * 16


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
        backend.put(issue("a"), START)
        backend.rotate(issue("a").name, issue("b"), START)
        backend.put(issue("c", "other", revocable=(TOKEN,)), START)
        epoch = backend.epoch(0)
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]
    with opened(path, START + 5) as backend:
        assert backend.epoch(0) == epoch
        assert backend.settle(present("a", "slot"), START + 5).verdict is Verdict.REPLAYED
        assert backend.settle(present("b"), START + 5).verdict is Verdict.OK
        assert backend.settle(present("c"), START + 5) is Answer.REVOKED
        assert backend.settle(owe("n"), START + 5) is REPLAYED
        assert backend.settle(ask(TOKEN), START + 5) is Answer.REVOKED


def test_how_far_was_pruned_outlives_the_backend(path: Path) -> None:
    with opened(path) as backend:
        backend.settle(owe("old", lasts=90), START)
    with opened(path, START + 100) as backend:
        for number in range(sqlite_nonces.RECENT + 1):  # with the last, what has ended is dropped
            backend.settle(owe(f"new {number}", lasts=190), START + 100)
    with opened(path) as backend:
        assert backend.settle(owe("old", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("unknown", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("unknown", lasts=90.5), START) is OK


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda backend: backend.revoke([Revocation(TOKEN)], START), id="revoke"),
        pytest.param(lambda backend: backend.put(issue("b"), START), id="put"),
        pytest.param(
            lambda backend: backend.rotate(issue("a").name, issue("b"), START), id="rotate"
        ),
        pytest.param(lambda backend: backend.drop(0, issue("a").slot, START), id="drop"),
    ],
)
def test_all_but_a_nonce_is_on_the_disk_when_it_is_recorded(path: Path, write) -> None:
    with opened(path) as backend:
        backend.put(issue("a"), START)
        backend.settle(owe("n"), START)
        statements: list[str] = []
        connection = backend._writers[0]._connection
        assert connection is not None
        connection.set_trace_callback(statements.append)
        backend.settle(owe("m"), START)
        assert [each for each in statements if each.startswith("PRAGMA")] == []
        statements.clear()
        write(backend)
        assert statements[:2] == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"]
        assert statements[-2:] == ["COMMIT", "PRAGMA synchronous = NORMAL"]
        assert statements.count("COMMIT") == 1
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_refused_rotation_writes_nothing(path: Path) -> None:
    with opened(path) as backend:
        backend.put(issue("a"), START)
        backend.rotate(issue("a").name, issue("b"), START)
        log = path.with_name("store.db-wal")
        size = log.stat().st_size
        for name in ("a", "never put"):
            backend.rotate(issue(name).name, issue("c"), START)
        assert log.stat().st_size == size


def test_a_record_is_read_in_one_statement_and_by_a_connection_that_writes_nothing(
    path: Path,
) -> None:
    with opened(path) as backend:
        backend.put(issue("a", revocable=(TOKEN,)), START)
        backend.settle(present("a"), START)
        statements: list[str] = []
        connection = backend._readers[0]._connection
        assert connection is not None
        connection.set_trace_callback(statements.append)
        assert backend.settle(present("a", revocable=(b"x",)), START).verdict is Verdict.OK
        (statement,) = statements
        assert statement.startswith("SELECT")


def test_records_that_have_ended_are_dropped_in_bounded_steps(path: Path) -> None:
    def kept() -> tuple[int, int]:
        with closing(sqlite3.connect(path)) as connection:
            sql = "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM revocable)"
            records, names = connection.execute(sql).fetchone()
            return records, names

    with opened(path) as backend:
        for number in range(100):
            record = issue(str(number), str(number), lasts=1, revocable=(TOKEN, b"u"))
            backend.put(record, START)
        assert kept() == (100, 200)
        backend.put(issue("a"), START + 1)
        assert kept() == (100 - sqlite_ledger.STEP + 1, 2 * (100 - sqlite_ledger.STEP))
        backend.drop(0, issue("a").slot, START + 1)
        assert kept() == (0, 0)
    assert_whole(path)


def test_the_file_holds_no_two_live_records_of_a_slot(path: Path) -> None:
    with opened(path) as backend:
        backend.put(issue("a"), START)
        with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO record SELECT slot, x'00', value, issued, expires, account FROM record"
            )


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
                _foreign(path, f"PRAGMA user_version = {sqlite_schema.SCHEMA_VERSION + 1}"),
            ),
            id="later schema",
        ),
        pytest.param(
            lambda path: (
                SqliteBackend(path, now=START).close(),
                _foreign(path, "PRAGMA user_version = 1"),
            ),
            id="earlier schema",
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
        "DROP TABLE spent",
        "DROP TABLE recent",
        "DROP TABLE budget",
        "DROP TABLE revocation",
        "INSERT INTO budget SELECT account, project, 'junk' FROM recent",
        "INSERT INTO budget SELECT project, NULL, x'00' FROM recent",
        "INSERT INTO spent VALUES(x'6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e', 'junk', 0)",
        "INSERT INTO recent VALUES(x'6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e', 'junk', 0, 0)",
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


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM state",
        "DROP TABLE state",
        "DROP TABLE record",
        "DROP TABLE revocable",
        "DROP TABLE revocation",
        "UPDATE record SET value = x'00ff'",
        "UPDATE record SET value = x'7b7d'",
        "UPDATE record SET issued = 'junk'",
        "UPDATE record SET expires = 'junk'",
        "UPDATE record SET expires = x'00'",
    ],
)
def test_junk_among_the_records_refuses(path: Path, damage: str) -> None:
    with opened(path) as backend:
        backend.put(issue("a", revocable=(TOKEN,)), START)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(damage)
            connection.commit()
        for owed in (present("a"), present("a", nonce=owe("n").nonce, issued_at=START)):
            with pytest.raises(BackendError):
                backend.settle(owed, START)
            with pytest.raises(BackendError):
                asyncio.run(backend.asettle(owed, START))
        with pytest.raises(BackendError):
            backend.rotate(issue("a").name, issue("b"), START)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM state", "DROP TABLE state", "UPDATE state SET epoch = 'junk'"]
)
def test_where_the_epoch_is_junk_there_is_none(path: Path, damage: str) -> None:
    with opened(path) as backend:
        assert len(backend.epoch(0)) == 16
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(damage)
            connection.commit()
        with pytest.raises(BackendError):
            backend.epoch(0)


@pytest.mark.parametrize(
    "record",
    [
        issue("a", lasts=float("nan")),
        replace(issue("a"), expires_at=10**400),
        replace(issue("a"), value="\ud800"),
        replace(issue("a"), value=None),
    ],
    ids=["no end", "an end beyond all numbers", "no text", "no value"],
)
def test_what_the_file_cannot_hold_is_an_error_and_the_previous_one_stands(
    path: Path, record: Record
) -> None:
    with opened(path) as backend:
        backend.put(issue("before"), START)
        with pytest.raises(BackendError):
            backend.put(record, START)
        with pytest.raises(BackendError):
            backend.rotate(issue("before").name, record, START)
        assert backend.settle(present("before"), START).verdict is Verdict.OK
        assert backend.settle(owe("n"), START) is OK
    assert_whole(path)


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
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'spent'"
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
        with pytest.raises(BackendError, match="SQLITE_CANTOPEN|replaced"):
            backend.settle(owe("n"), START)
        assert not path.exists()


def test_closing_leaves_no_connection_and_no_thread(path: Path) -> None:
    def open_files() -> set[str]:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return {os.readlink(link) for link in links if os.path.lexists(link)}

    before = set(threading.enumerate())  # of earlier tests
    with opened(path, timeout=0.25) as backend, locked(path) as holder:
        backend.settle(ask(TOKEN), START)
        with pytest.raises(BackendError):
            asyncio.run(backend.asettle(owe("n"), START))
        assert str(path) in open_files()
        unlock(holder)
    assert not {each for each in open_files() if each.startswith(str(path))}
    left = set(threading.enumerate()) - before
    assert not [each for each in left if each.name.startswith("rpcguard-sqlite")]


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


def _epoch(backend: SqliteBackend) -> bytes:
    with closing(backend):
        return backend.epoch(0)


def test_the_epoch_is_another_after_a_restart_of_the_machine(path: Path) -> None:
    first, second = (_epoch(_reopened(path, "a", START)) for _ in range(2))
    third, fourth = (_epoch(_reopened(path, "b", START)) for _ in range(2))
    assert first == second != third == fourth


def test_where_the_boot_has_no_name_each_opening_has_another_epoch_and_all_agree(
    path: Path,
) -> None:
    with closing(_reopened(path, None, START)) as one:
        first = one.epoch(0)
        with closing(_reopened(path, None, START)) as other:
            assert one.epoch(0) == other.epoch(0) != first


def test_records_outlive_a_restart_of_the_machine(path: Path) -> None:
    with closing(_reopened(path, "a", START)) as backend:
        backend.put(issue("a"), START)
    with closing(_reopened(path, "b", START + 50)) as backend:
        assert backend.settle(present("a"), START + 50).verdict is Verdict.OK


def test_where_the_boot_has_no_name_each_opening_guards(path: Path) -> None:
    _reopened(path, None, START).close()
    assert _answers(_reopened(path, None, START + 100), START + 100) == GUARDED
    assert _answers(_reopened(path, None, START + 105), START + 105) == GUARDED
