"""
What `sqlite://` asks its file: one transaction or one statement per question. Nonces are spent in
`rpcguard.backends.sqlite_nonces`, records issued in `rpcguard.backends.sqlite_records`.

Every function takes an open connection and the time, and leaves no transaction open. They raise
`sqlite3.Error`; `rpcguard.backends.sqlite_lane` turns that into `BackendError`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rpcguard.owed import Answer, Owed, Revocation, Verdict

T = TypeVar("T")

_HOLD_OFF = 20  # milliseconds to wait for readers, and for other processes that write
STEP = 64  # revocations or records that are over dropped by one write

_RECORD = """
    INSERT INTO revocation(name, before, expires) VALUES(:name, :before, :expires)
    ON CONFLICT(name) DO UPDATE SET
        before = max(excluded.before, CASE WHEN expires > :now THEN before ELSE -9e999 END),
        expires = max(excluded.expires, expires)
"""


@functools.lru_cache(maxsize=64)
def revoked_sql(names: int, first: int) -> str:
    """
    Return whether one of some names is revoked.

    Parameters: ?1 `issued_at`, ?2 `now`, and the names from the *first* on.
    """
    # Rows to be joined: for `name IN (…)` SQLite builds a table first, at a quarter of the cost of
    # the whole statement, and for one question after the other it opens the table each time.
    if not names:
        return "0"
    asked = ", ".join(f"(?{number})" for number in range(first, first + names))
    return (
        f"EXISTS(SELECT 1 FROM (VALUES {asked}) AS asked"  # noqa: S608 - marks alone
        " CROSS JOIN revocation ON revocation.name = asked.column1"
        " WHERE before >= ?1 AND expires > ?2)"
    )


@functools.lru_cache(maxsize=64)
def _revocations_sql(names: int) -> str:
    """Parameters: `issued_at`, `now`, the names."""
    return f"SELECT {revoked_sql(names, 3)}"


@functools.lru_cache(maxsize=64)
def _record_sql(names: int, by: str) -> str:
    """Parameters: `issued_at`, `now`, the record's slot or name as *by* says, the names."""
    return (
        f"SELECT {revoked_sql(names, 4)},"  # noqa: S608 - marks and names of columns
        " record.name, record.value, record.issued, record.expires,"
        " EXISTS(SELECT 1 FROM revocable JOIN revocation ON revocation.name = revocable.name"
        " WHERE revocable.record = record.name"
        " AND revocation.before >= record.issued AND revocation.expires > ?2)"
        f" FROM state LEFT JOIN record ON record.{by} = ?3"
    )


def atomic(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Run *work* in one write transaction; whatever breaks it off, none of it stays."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        # A roll-back that fails leaves the connection `in_transaction`: its lane drops it.
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise
    return result


def durable(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """`atomic`, and on the disk when it returns."""
    # In WAL mode FULL waits for the disk at each commit, and NORMAL at checkpoints alone.
    connection.execute("PRAGMA synchronous = FULL")
    try:
        return atomic(connection, work)
    finally:
        connection.execute("PRAGMA synchronous = NORMAL")


def look(connection: sqlite3.Connection, owed: Owed, now: float) -> Answer:
    """Answer all but the nonce of *owed*: one statement, and no lock that others wait for."""
    names = owed.revocable
    if owed.record is not None:
        by, where = ("name", owed.record) if owed.slot is None else ("slot", owed.slot)
        sql = _record_sql(len(names), by)
        row = connection.execute(sql, (owed.issued_at, now, where, *names)).fetchone()
        return _standing(row, owed.record, now)
    if not names:
        return Answer.OK
    question = (owed.issued_at, now, *names)
    (found,) = connection.execute(_revocations_sql(len(names)), question).fetchone()
    return Answer.REVOKED if found else Answer.OK


def _standing(row: tuple[Any, ...] | None, asked: bytes, now: float) -> Answer:
    """Answer from a row of `_record_sql`: that it is revoked comes before that it is another."""
    if row is None:
        raise sqlite3.DatabaseError("the row of state is missing")
    revoked, name, value, issued, expires, ended = row
    if revoked:
        return Answer.REVOKED
    if name is None or expires <= now:
        return Answer.UNKNOWN
    if not (isinstance(value, str) and isinstance(issued, float)):
        raise sqlite3.DatabaseError("junk in a record")
    if ended:
        return Answer.REVOKED
    return Answer(Verdict.OK if name == asked else Verdict.REPLAYED, value)


def epoch(connection: sqlite3.Connection) -> bytes:
    """Return what was drawn when a nonce may last have been lost."""
    row = connection.execute("SELECT epoch FROM state").fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise sqlite3.DatabaseError("the row of state is missing")
    return row[0]


def record(connection: sqlite3.Connection, revocations: Sequence[Revocation], now: float) -> None:
    """Write *revocations*, and return when they are on the disk."""
    rows = [_row(one, now) for one in revocations if one.expires_at is None or one.expires_at > now]
    drop = """DELETE FROM revocation WHERE name IN (
        SELECT name FROM revocation WHERE expires <= ? ORDER BY expires LIMIT ?)"""

    def work() -> None:
        connection.execute(drop, (now, STEP + len(rows)))
        connection.executemany(_RECORD, rows)

    durable(connection, work)


def _row(one: Revocation, now: float) -> dict[str, object]:
    before = math.inf if one.before is None else one.before
    expires = math.inf if one.expires_at is None else one.expires_at
    return {"name": one.name, "before": before, "expires": expires, "now": now}


def copy_log(connection: sqlite3.Connection) -> int:
    """Copy the log into the file while others read and write on; return its length in pages."""
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)


def restart_log(connection: sqlite3.Connection) -> None:
    """Copy what is left of the log, so that it starts anew; no other can write meanwhile."""
    connection.execute(f"PRAGMA busy_timeout = {_HOLD_OFF}")
    try:
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
