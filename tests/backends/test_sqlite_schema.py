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
from rpcguard.backends.sqlite_file import boot_id
from rpcguard.backends.sqlite_schema import SCHEMA_VERSION
from rpcguard.errors import ConfigError
from rpcguard.owed import Answer, Revocation, Verdict, digest

# What version 2 had, word for word.
VERSION_2 = """
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
CREATE TABLE record(
    name BLOB PRIMARY KEY,
    slot BLOB UNIQUE,
    value TEXT NOT NULL,
    issued REAL NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX record_expires ON record(expires);
CREATE TABLE revocable(
    record BLOB,
    name BLOB,
    PRIMARY KEY(record, name)
) WITHOUT ROWID;
CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
    DELETE FROM revocable WHERE record = old.name;
END;
PRAGMA application_id = 0x72706367;
PRAGMA user_version = 2;
"""
API_KEY = json.dumps({"subject": "s", "kid": "k", "expires_at": None})
REFRESH = json.dumps({"sub": "s", "sid": "x", "claims": {"kid": "k"}})
OF_KEY = b"k" * 16


@pytest.fixture
def old(path: Path) -> Path:
    """Return a file of version 2: a nonce, a revocation, two API keys, a family of two tokens."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL;" + VERSION_2)
        guard = -float("inf")
        state = (boot_id(), guard, guard, b"e" * 16)
        connection.execute("INSERT INTO state VALUES(1, ?, ?, ?, ?)", state)
        connection.execute("INSERT INTO nonce VALUES(?, ?, 5)", (digest("p", "s", "n"), START + 90))
        connection.execute("INSERT INTO budget VALUES(5, 6, 1), (6, NULL, 1)")
        connection.execute("INSERT INTO revocation VALUES(?, 9e999, 9e999)", (b"t" * 16,))
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


def test_it_becomes_what_a_new_file_is(old: Path, tmp_path: Path) -> None:
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
