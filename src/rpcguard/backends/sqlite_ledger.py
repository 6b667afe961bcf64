"""
What `sqlite://` asks its file: one transaction or one statement per question. Records are issued
in `rpcguard.backends.sqlite_records`.

Every function takes an open connection and the time, and leaves no transaction open. They raise
`sqlite3.Error`; `rpcguard.backends.sqlite_lane` turns that into `BackendError`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from rpcguard.backends.base import LATEST
from rpcguard.backends.sqlite_budgets import accounts, full, give_back, live, take
from rpcguard.owed import Answer, Nonce, Owed, Revocation, Verdict

T = TypeVar("T")

_HOLD_OFF = 20  # milliseconds to wait for readers, and for other processes that write
STEP = 64  # ended nonces dropped at once
STEP_WHEN_FULL = 256  # the same, where a request would be refused for want of room

_RECORD = """
    INSERT INTO revocation(name, before, expires) VALUES(:name, :before, :expires)
    ON CONFLICT(name) DO UPDATE SET
        before = max(excluded.before, CASE WHEN expires > :now THEN before ELSE -9e999 END),
        expires = max(excluded.expires, expires)
"""


@functools.lru_cache(maxsize=64)
def _revoked_sql(names: int) -> str:
    """Parameters: those that `_revoked_values` gives."""
    # one after the other: for `name IN (…)` SQLite builds a table first, at a quarter of the cost
    # of the whole statement
    one = "EXISTS(SELECT 1 FROM revocation WHERE name = ? AND before >= ? AND expires > ?)"
    return f"({' OR '.join([one] * names)})" if names else "0"


def _revoked_values(owed: Owed, now: float) -> tuple[object, ...]:
    values: tuple[object, ...] = ()
    for name in owed.revocable:
        values += (name, owed.issued_at, now)
    return values


@functools.lru_cache(maxsize=64)
def _state_sql(names: int) -> str:
    """Parameters: the nonce, its subject's account, its project's account, those of above."""
    return (
        "SELECT guard_from, pruned_through,"  # noqa: S608 - marks alone
        " (SELECT deadline FROM nonce WHERE name = ?),"
        " (SELECT live FROM budget WHERE id = ?),"
        " (SELECT live FROM budget WHERE id = ?),"
        f" {_revoked_sql(names)} FROM state"
    )


@functools.lru_cache(maxsize=64)
def _record_sql(names: int, by: str) -> str:
    """Parameters: those of `_revoked_sql`, `now`, the record's slot or name as *by* says."""
    return (
        f"SELECT {_revoked_sql(names)},"  # noqa: S608 - marks and names of columns
        " record.name, record.value, record.issued, record.expires,"
        " EXISTS(SELECT 1 FROM revocable JOIN revocation ON revocation.name = revocable.name"
        " WHERE revocable.record = record.name"
        " AND revocation.before >= record.issued AND revocation.expires > ?)"
        f" FROM state LEFT JOIN record ON record.{by} = ?"
    )


def atomic(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Run *work* in one write transaction; whatever breaks it off, none of it stays."""
    connection.execute("BEGIN IMMEDIATE")
    try:
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
    names, question = owed.revocable, _revoked_values(owed, now)
    if owed.record is not None:
        by, where = ("name", owed.record) if owed.slot is None else ("slot", owed.slot)
        sql = _record_sql(len(names), by)
        row = connection.execute(sql, (*question, now, where)).fetchone()
        return _standing(row, owed.record, now)
    if not names:
        return Answer.OK
    (found,) = connection.execute("SELECT " + _revoked_sql(len(names)), question).fetchone()
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


def spent_of(
    connection: sqlite3.Connection, names: Sequence[bytes], now: float
) -> frozenset[bytes]:
    """Return those of *names* that are spent nonces: one statement."""
    marks = ", ".join("?" * len(names))
    sql = f"SELECT name FROM nonce WHERE name IN ({marks}) AND deadline > ?"  # noqa: S608 - marks alone
    return frozenset(name for (name,) in connection.execute(sql, (*names, now)))


def epoch(connection: sqlite3.Connection) -> bytes:
    """Return what was drawn when a nonce may last have been lost."""
    row = connection.execute("SELECT epoch FROM state").fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise sqlite3.DatabaseError("the row of state is missing")
    return row[0]


def spend(
    connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float, prune: bool
) -> Answer:
    """Answer an *owed* with a *nonce*; on the way, if *prune*, drop some that have ended."""

    def work() -> Answer:
        if prune:
            _prune(connection, now, STEP)
        answer = Answer.OK if owed.record is None else look(connection, owed, now)
        if answer.verdict is not Verdict.OK:
            return answer
        spent = _spend(connection, owed, nonce, now)
        return answer if spent is Answer.OK else spent

    return atomic(connection, work)


def _spend(connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float) -> Answer:
    ids = accounts(owed.project, owed.subject)
    question = (nonce.name, *ids, *_revoked_values(owed, now))
    row = connection.execute(_state_sql(len(owed.revocable)), question).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the row of state is missing")
    guard_from, pruned_through, deadline, *counts, revoked = row
    if revoked:
        return Answer.REVOKED
    if not (now < nonce.expires_at < LATEST and pruned_through < nonce.expires_at):
        return Answer.FORGOTTEN
    if owed.issued_at < guard_from:
        return Answer.FORGOTTEN
    if deadline is not None:
        if now < deadline:
            return Answer.REPLAYED
        _drop_ended(connection, nonce.name)
        counts = live(connection, ids)
    limits = nonce.subject_limit, nonce.project_limit
    if full(counts, *limits):
        _prune(connection, now, STEP_WHEN_FULL)
        refusal = full(live(connection, ids), *limits)
        if refusal is not None:
            return refusal
    row = (nonce.name, math.ceil(nonce.expires_at), ids[0])
    connection.execute("INSERT INTO nonce(name, deadline, account) VALUES(?, ?, ?)", row)
    take(connection, ids)
    return Answer.OK


def _prune(connection: sqlite3.Connection, now: float, steps: int) -> None:
    """Drop at most *steps* ended nonces, the earliest first, and remember how far."""
    rows = connection.execute(
        "SELECT name, account, deadline FROM nonce WHERE deadline <= ? ORDER BY deadline LIMIT ?",
        (now, steps),
    ).fetchall()
    if rows:
        _drop(connection, ((name, account) for name, account, _ in rows))
        sql = "UPDATE state SET pruned_through = max(pruned_through, ?)"
        connection.execute(sql, (rows[-1][2],))


def _drop_ended(connection: sqlite3.Connection, name: bytes) -> None:
    """Drop one ended nonce before its name is spent anew: the new row remembers for both."""
    sql = "SELECT name, account FROM nonce WHERE name = ?"
    _drop(connection, connection.execute(sql, (name,)).fetchall())


def _drop(connection: sqlite3.Connection, rows: Iterable[tuple[bytes, int]]) -> None:
    gone = list(rows)
    connection.executemany("DELETE FROM nonce WHERE name = ?", [(name,) for name, _ in gone])
    give_back(connection, (account for _, account in gone))


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


def copy_log(connection: sqlite3.Connection) -> None:
    """Copy the log into the file while others read and write on."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def restart_log(connection: sqlite3.Connection) -> None:
    """Copy what is left of the log, so that it starts anew; no other can write meanwhile."""
    connection.execute(f"PRAGMA busy_timeout = {_HOLD_OFF}")
    try:
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
