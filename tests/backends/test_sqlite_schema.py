"""A file that an earlier rpcguard made."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backends.kinds import START, ask, issue, owe, present
from backends.stores import assert_whole, opened
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.backends.sqlite_budgets import accounts
from rpcguard.backends.sqlite_file import boot_id
from rpcguard.backends.sqlite_nonces import RECENT
from rpcguard.backends.sqlite_schema import SCHEMA_VERSION
from rpcguard.errors import ConfigError
from rpcguard.owed import Answer, Revocation, Verdict, digest

# What versions 2 and 3 had, word for word.
_BOTH = """
CREATE TABLE state(
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot TEXT,
    guard_from REAL NOT NULL,
    pruned_through REAL NOT NULL,
    epoch BLOB NOT NULL
);
CREATE TABLE nonce(
    name BLOB PRIMARY KEY,
    deadline INTEGER NOT NULL,
    account INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX nonce_deadline ON nonce(deadline);
CREATE TABLE budget(id INTEGER PRIMARY KEY, parent INTEGER, live INTEGER NOT NULL);
CREATE TABLE revocation(
    name BLOB PRIMARY KEY,
    before REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX revocation_expires ON revocation(expires);
CREATE TABLE revocable(
    record BLOB,
    name BLOB,
    PRIMARY KEY(record, name)
) WITHOUT ROWID;
PRAGMA application_id = 0x72706367;
"""
_INDEX_AND_TRIGGER = """
CREATE INDEX record_expires ON record(expires);
CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
    DELETE FROM revocable WHERE record = old.name;
END;
"""
VERSION_2 = f"""
{_BOTH}
CREATE TABLE record(
    name BLOB PRIMARY KEY,
    slot BLOB UNIQUE,
    value TEXT NOT NULL,
    issued REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
{_INDEX_AND_TRIGGER}
PRAGMA user_version = 2;
"""
VERSION_3 = f"""
{_BOTH}
CREATE TABLE record(
    slot BLOB PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    value TEXT NOT NULL,
    issued REAL NOT NULL,
    expires REAL NOT NULL,
    account INTEGER NOT NULL
) WITHOUT ROWID;
{_INDEX_AND_TRIGGER}
PRAGMA user_version = 3;
"""
API_KEY = json.dumps({"subject": "s", "kid": "k", "expires_at": None})
REFRESH = json.dumps({"sub": "s", "sid": "x", "claims": {"kid": "k"}})
OF_KEY = b"k" * 16


def _begin(connection: sqlite3.Connection, version: str) -> None:
    """Make the tables of *version*, with a nonce of (p, s) that has 90 seconds, and a revocation."""
    connection.executescript("PRAGMA journal_mode = WAL;" + version)
    guard = -float("inf")
    state = (boot_id(), guard, guard, b"e" * 16)
    connection.execute("INSERT INTO state VALUES(1, ?, ?, ?, ?)", state)
    subject, project = accounts("p", "s")
    nonce = (digest("p", "s", "n"), START + 90, subject)
    connection.execute("INSERT INTO nonce VALUES(?, ?, ?)", nonce)
    rows = ((subject, project, 1), (project, None, 1))
    connection.executemany("INSERT INTO budget VALUES(?, ?, ?)", rows)
    connection.execute("INSERT INTO revocation VALUES(?, 9e999, 9e999)", (b"t" * 16,))


@pytest.fixture
def of_3(path: Path) -> Path:
    """Return a file of version 3: a nonce, a revocation, an API key."""
    with closing(sqlite3.connect(path)) as connection:
        _begin(connection, VERSION_3)
        row = (digest("slot"), digest("record", "key"), API_KEY, START, START + 100, 7)
        connection.execute("INSERT INTO record VALUES(?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO budget VALUES(7, 8, 1), (8, NULL, 1)")
        connection.commit()
    return path


@pytest.fixture
def old(path: Path) -> Path:
    """Return a file of version 2: a nonce, a revocation, two API keys, a family of two tokens."""
    with closing(sqlite3.connect(path)) as connection:
        _begin(connection, VERSION_2)
        records = (
            ("key", "slot", API_KEY, START + 100),
            ("other key", "other", API_KEY, float("inf")),
            ("spent", None, REFRESH, START + 100),
            ("current", "family", REFRESH, START + 100),
        )
        for name, slot, value, end in records:
            row = (digest("record", name), slot and digest(slot), value, START, end)
            connection.execute("INSERT INTO record VALUES(?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO revocable VALUES(?, ?)", (row[0], OF_KEY))
        connection.commit()
    return path


def _version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)


def test_what_it_knows_still_counts(old: Path) -> None:
    with opened(old) as backend:
        assert backend.settle(owe("n"), START) is Answer.REPLAYED
        assert backend.settle(owe("m"), START) is Answer.OK
        assert backend.settle(ask(b"t" * 16), START) is Answer.REVOKED
        assert backend.epoch(0) == b"e" * 16
        for name in ("key", "other key"):
            assert backend.settle(present(name), START) == Answer(Verdict.OK, API_KEY)
        assert backend.settle(present("key"), START + 100) is Answer.UNKNOWN
        backend.revoke([Revocation(OF_KEY)], START)
        assert backend.settle(present("other key"), START) is Answer.REVOKED
    assert _version(old) == SCHEMA_VERSION


def test_its_api_keys_are_replaced_and_end_as_ever(old: Path) -> None:
    with opened(old) as backend:
        assert backend.put(issue("new", subject_limit=1), START) is Answer.OK
        assert backend.settle(present("key"), START) is Answer.UNKNOWN
        assert (
            backend.put(issue("full", "elsewhere", subject_limit=1), START) is Answer.SUBJECT_FULL
        )
        assert backend.drop(0, issue("", "other").slot, START)
    assert_whole(old)


def test_its_refresh_families_end(old: Path) -> None:
    with opened(old) as backend:
        for name in ("spent", "current"):
            assert backend.settle(present(name), START) is Answer.UNKNOWN
            assert backend.settle(present(name, "family"), START) is Answer.UNKNOWN
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT count(*) FROM revocable").fetchone() == (2,)


@pytest.mark.parametrize("version", ["old", "of_3"])
def test_it_becomes_what_a_new_file_is(
    version: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    old = request.getfixturevalue(version)
    new = tmp_path / "new.db"
    schemas = []
    for path in (old, new):
        SqliteBackend(path, now=START).close()
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
            schemas.append([(*row[:2], " ".join((row[2] or "").split())) for row in rows])
    assert schemas[0] == schemas[1]


def test_a_process_of_the_version_before_is_refused_and_breaks_nothing(old: Path) -> None:
    with opened(old) as backend, closing(sqlite3.connect(old)) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO record(name, slot, value, issued, expires) VALUES('n', 's', '', 0, 0)"
            )
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE record SET slot = NULL")
        connection.rollback()
        assert backend.settle(present("key"), START).verdict is Verdict.OK


def test_many_workers_may_open_it_at_once(old: Path) -> None:
    with opened(old) as one, opened(old) as other:
        for backend in (one, other):
            assert backend.settle(present("key"), START).verdict is Verdict.OK


def test_one_that_cannot_be_upgraded_is_left_as_it_is(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE record SET value = 'not JSON'")
        connection.commit()
    with pytest.raises(ConfigError):
        SqliteBackend(old, now=START)
    assert _version(old) == 2


def test_a_nonce_that_version_3_spent_stays_spent_and_counts(of_3: Path) -> None:
    with opened(of_3) as backend:
        assert backend.settle(owe("n"), START) is Answer.REPLAYED
        assert backend.spent("p", "s", [digest("p", "s", "n")], START)
        assert backend.settle(owe("m", subject_limit=1), START) is Answer.SUBJECT_FULL
        assert backend.settle(owe("m", subject_limit=2), START) is Answer.OK
        assert backend.settle(owe("l", subject_limit=2), START) is Answer.SUBJECT_FULL
        assert backend.settle(owe("l", lasts=190, subject_limit=1), START + 90) is Answer.OK
        assert backend.settle(owe("n"), START) is Answer.FORGOTTEN
    assert_whole(of_3)


def test_the_budgets_of_version_3_stay_exact_until_all_of_it_has_ended(of_3: Path) -> None:
    subjects = [f"s{number}" for number in range(5)]
    with closing(sqlite3.connect(of_3)) as connection:
        for number in range(300):  # one ends after the other; of the fifth, all have
            subject, project = accounts("q", subjects[number % 5])
            end = START + (10 + number // 10 if number % 5 else 1)
            row = (digest("q", subjects[number % 5], str(number)), end, subject)
            connection.execute("INSERT INTO nonce VALUES(?, ?, ?)", row)
            connection.execute("INSERT OR IGNORE INTO budget VALUES(?, ?, 0)", (subject, project))
            connection.execute("INSERT OR IGNORE INTO budget VALUES(?, NULL, 0)", (project,))
            sql = "UPDATE budget SET live = live + 1 WHERE id IN (?, ?)"
            connection.execute(sql, (subject, project))
        connection.commit()

    def more(number: int, now: float, subject: str) -> Answer:
        name = f"more {number} {now} {subject}"
        return backend.settle(
            owe(name, lasts=90, project="q", subject=subject, subject_limit=60), START + now
        )

    with opened(of_3) as backend:
        assert {more(0, 0, each) for each in subjects} == {Answer.SUBJECT_FULL}
        assert {more(number, 2, "s0") for number in range(60)} == {Answer.OK}
        assert more(60, 2, "s0") is more(0, 2, "s1") is Answer.SUBJECT_FULL
        for number in range(300):
            owed = owe(str(number), lasts=40, project="q", subject=subjects[number % 5])
            if number % 5:
                assert backend.settle(owed, START + 2) is Answer.REPLAYED
        assert {more(number, 40, "s1") for number in range(60)} == {Answer.OK}
        assert more(60, 40, "s1") is Answer.SUBJECT_FULL
        assert backend.settle(owe("last", lasts=300), START + 200) is Answer.OK
        assert backend.settle(owe("last", lasts=600), START + 300) is Answer.OK
    with closing(sqlite3.connect(of_3)) as connection:
        subject, project = accounts("q", "s0")
        sql = "SELECT total(live) FROM budget WHERE id = ? OR parent = ?"
        assert connection.execute(sql, (project, project)).fetchone() == (0,)
    assert_whole(of_3)


def test_what_version_3_had_issued_and_revoked_stands(of_3: Path) -> None:
    with opened(of_3) as backend:
        assert backend.settle(present("key"), START) == Answer(Verdict.OK, API_KEY)
        assert backend.settle(ask(b"t" * 16), START) is Answer.REVOKED
        assert backend.epoch(0) == b"e" * 16
    assert _version(of_3) == SCHEMA_VERSION


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT deadline FROM nonce WHERE name = x'00'",
        "INSERT INTO nonce(name, deadline, account) VALUES(x'00', 0, 0)",
        "SELECT name, account, deadline FROM nonce WHERE deadline <= 0",
    ],
)
def test_a_process_of_version_3_accepts_no_nonce_any_more(of_3: Path, statement: str) -> None:
    """It would not see those that are in `recent` alone."""
    with closing(sqlite3.connect(of_3)) as connection:
        connection.execute(statement).fetchall()
        connection.rollback()
        with opened(of_3) as backend:
            for number in range(RECENT // 2):
                assert backend.settle(owe(str(number)), START) is Answer.OK
            with pytest.raises(sqlite3.OperationalError, match="no such table: nonce"):
                connection.execute(statement)
