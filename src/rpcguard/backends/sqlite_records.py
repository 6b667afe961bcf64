"""
The records of `sqlite://`: API keys and refresh tokens that rpcguard issued.

As in `rpcguard.backends.sqlite_ledger`, each function is one transaction. All are on the disk when
they return; what is refused writes nothing and does not wait for the disk.
"""

from __future__ import annotations

import math
import sqlite3

from rpcguard.backends.sqlite_ledger import STEP, durable, look
from rpcguard.owed import Answer, Owed, Record, Verdict


def put(connection: sqlite3.Connection, record: Record, now: float) -> None:
    """Write *record* in the place of what its slot holds; a name that is taken is an error."""
    durable(connection, lambda: _put(connection, record, now))


def rotate(connection: sqlite3.Connection, name: bytes, record: Record, now: float) -> Answer:
    """Let the record *name* be spent and write *record*, if *name* is live."""

    def work() -> Answer:
        answer = look(connection, Owed(record=name), now)
        if answer.verdict is Verdict.OK:
            connection.execute("UPDATE record SET slot = NULL WHERE name = ?", (name,))
            _put(connection, record, now)
        return answer

    return durable(connection, work)


def drop(connection: sqlite3.Connection, slot: bytes, now: float) -> bool:
    """End the record in *slot*; return whether there was one that had not ended."""

    def work() -> bool:
        _prune(connection, now)
        sql = "SELECT count(*) FROM record WHERE slot = ? AND expires > ?"
        (live,) = connection.execute(sql, (slot, now)).fetchone()
        connection.execute("DELETE FROM record WHERE slot = ?", (slot,))
        return bool(live)

    return durable(connection, work)


def _put(connection: sqlite3.Connection, record: Record, now: float) -> None:
    _prune(connection, now)
    connection.execute("DELETE FROM record WHERE slot = ?", (record.slot,))
    expires = math.inf if record.expires_at is None else record.expires_at
    connection.execute(
        "INSERT INTO record(name, slot, value, issued, expires) VALUES(?, ?, ?, ?, ?)",
        (record.name, record.slot, record.value, record.issued_at, expires),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO revocable(record, name) VALUES(?, ?)",
        [(record.name, name) for name in record.revocable],
    )


def _prune(connection: sqlite3.Connection, now: float) -> None:
    """Drop some that have ended, the earliest first."""
    sql = """DELETE FROM record WHERE name IN (
        SELECT name FROM record WHERE expires <= ? ORDER BY expires LIMIT ?)"""
    connection.execute(sql, (now, STEP))
