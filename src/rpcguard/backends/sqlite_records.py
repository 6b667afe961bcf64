"""
The records of `sqlite://`: API keys and refresh tokens that rpcguard issued.

As in `rpcguard.backends.sqlite_ledger`, each function is one transaction. All are on the disk when
they return.
"""

from __future__ import annotations

import math
import sqlite3

from rpcguard.backends.sqlite_budgets import accounts, full, give_back, live, take
from rpcguard.backends.sqlite_ledger import STEP, durable, look
from rpcguard.owed import Answer, Owed, Record, Verdict

STEP_WHEN_FULL = 256  # records that have ended dropped where there is no room for another
_ENDED = "expires <= ? ORDER BY expires LIMIT ?"


def put(connection: sqlite3.Connection, record: Record, now: float) -> Answer:
    """Write *record* in the place of what its slot holds; a name that is taken is an error."""
    return durable(connection, lambda: _put(connection, record, now))


def rotate(connection: sqlite3.Connection, name: bytes, record: Record, now: float) -> Answer:
    """Write *record* in the place of the record *name*, if its slot holds that."""

    def work() -> Answer:
        answer = look(connection, Owed(record=name, slot=record.slot), now)
        if answer.verdict is Verdict.OK:
            _put(connection, record, now)  # which takes a place and needs no room
        return answer

    return durable(connection, work)


def drop(connection: sqlite3.Connection, slot: bytes, now: float) -> bool:
    """End the record in *slot*; return whether there was one that had not ended."""

    def work() -> bool:
        _drop(connection, _ENDED, (now, STEP))
        found = _is_live(connection, slot, now)
        _drop(connection, "slot = ?", (slot,))
        return found

    return durable(connection, work)


def _put(connection: sqlite3.Connection, record: Record, now: float) -> Answer:
    ids = accounts(record.project, record.subject, "records")
    expires = math.inf if record.expires_at is None else record.expires_at
    _drop(connection, _ENDED, (now, STEP))
    if expires > now and not _is_live(connection, record.slot, now):
        limits = record.subject_limit, record.project_limit
        if full(live(connection, ids), *limits):
            _drop(connection, _ENDED, (now, STEP_WHEN_FULL))
            refusal = full(live(connection, ids), *limits)
            if refusal is not None:
                return refusal
    _drop(connection, "slot = ?", (record.slot,))
    if expires <= now:
        return Answer.OK
    connection.execute(
        "INSERT INTO record(slot, name, value, issued, expires, account) VALUES(?, ?, ?, ?, ?, ?)",
        (record.slot, record.name, record.value, record.issued_at, expires, ids[0]),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO revocable(record, name) VALUES(?, ?)",
        [(record.name, name) for name in record.revocable],
    )
    take(connection, ids)
    return Answer.OK


def _is_live(connection: sqlite3.Connection, slot: bytes, now: float) -> bool:
    sql = "SELECT EXISTS(SELECT 1 FROM record WHERE slot = ? AND expires > ?)"
    (found,) = connection.execute(sql, (slot, now)).fetchone()
    return bool(found)


def _drop(connection: sqlite3.Connection, which: str, parameters: tuple[object, ...]) -> None:
    sql = f"SELECT slot, account FROM record WHERE {which}"  # noqa: S608 - text of this module
    rows = connection.execute(sql, parameters).fetchall()
    connection.executemany("DELETE FROM record WHERE slot = ?", [(slot,) for slot, _ in rows])
    give_back(connection, (account for _, account in rows))
