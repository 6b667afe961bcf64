"""
The nonces of `sqlite://`.

What a transaction costs is the pages that it changes: the log takes each of them whole. A new nonce
is therefore written to `recent`, which is a page or two, together with nothing else. When it holds
`RECENT`, one transaction moves them all to `spent`, counts them in the budgets, and drops nonces
that have ended. Who asks whether a name is spent, or how many are live, looks at both tables.
"""

from __future__ import annotations

import functools
import math
import sqlite3
from collections.abc import Sequence

from rpcguard.backends.base import LATEST
from rpcguard.backends.sqlite_budgets import accounts, full, give_back, live
from rpcguard.backends.sqlite_ledger import atomic, look, revoked_sql
from rpcguard.owed import Answer, Nonce, Owed, Verdict

RECENT = 96  # nonces that `recent` holds at most
STEP = 2 * RECENT  # ended nonces dropped when they are moved
STEP_WHEN_FULL = 256  # and where a request would be refused for want of room

# OR ROLLBACK: so that a statement of many rows could be undone by itself, SQLite would first copy
# each page that it changes, and moving them took half as long again.
# Junk stays what it is, so that whoever asks for its account is refused.
_COUNT = """
    INSERT OR ROLLBACK INTO budget SELECT {}, count(*) FROM recent GROUP BY 1
    ON CONFLICT(id) DO UPDATE
    SET live = CASE typeof(live) WHEN 'integer' THEN live + excluded.live ELSE live END
"""
_MOVE = (
    "INSERT OR ROLLBACK INTO spent SELECT name, deadline, account FROM recent",
    _COUNT.format("account, project"),
    _COUNT.format("project, NULL"),
    "DELETE FROM recent",
)


def _room_sql(column: str, account: str, limit: str) -> str:
    """Return whether *account* has room; `recent` is counted only where its *limit* is near."""
    known = f"ifnull((SELECT live FROM budget WHERE id = {account}), 0)"  # noqa: S608 - marks
    recent = f"(SELECT count(*) FROM recent WHERE {column} = {account})"  # noqa: S608
    return f"({known} < {limit} - {RECENT} OR {known} < {limit} - {recent})"


@functools.lru_cache(maxsize=64)
def _add_sql(names: int) -> str:
    """
    Return what adds a nonce to `recent` if it is plainly to be accepted, and else nothing.

    The row without its project breaks a rule of the table and is ignored. `VALUES` with a question
    in it takes 9 us, and `INSERT … SELECT`, which copies what it reads from the table that it
    writes to, 12. Parameters: `issued_at`, `now`, those of the row, `expires_at`, the limits of the
    subject and of the project, the revocable names.
    """
    return f"""
        INSERT OR IGNORE INTO recent(name, deadline, account, project) VALUES(?3, ?4, ?5, (
            SELECT ?6 FROM state
            WHERE guard_from <= ?1 AND pruned_through < ?7
            AND NOT EXISTS(SELECT 1 FROM spent WHERE name = ?3)
            AND {_room_sql("account", "?5", "?8")}
            AND {_room_sql("project", "?6", "?9")}
            AND (SELECT count(*) FROM recent) < {RECENT}
            AND NOT {revoked_sql(names, 10)}
        ))
    """  # noqa: S608 - marks alone


@functools.lru_cache(maxsize=64)
def _state_sql(names: int) -> str:
    """Parameters: `issued_at`, `now`, the nonce's name, the revocable names."""
    return (
        "SELECT guard_from, pruned_through,"  # noqa: S608 - marks alone
        " (SELECT deadline FROM recent WHERE name = ?3),"
        " (SELECT deadline FROM spent WHERE name = ?3),"
        f" {revoked_sql(names, 4)} FROM state"
    )


def spend(connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float) -> Answer:
    """Answer an *owed* with a *nonce*."""
    # Nearly always this one statement is all; what it does not add is judged at length.
    if owed.record is None and _add(connection, owed, nonce, now):
        return Answer.OK
    return atomic(connection, lambda: _answer(connection, owed, nonce, now))


def spent_of(
    connection: sqlite3.Connection, names: Sequence[bytes], now: float
) -> frozenset[bytes]:
    """Return those of *names* that are spent nonces: one statement."""
    marks = ", ".join(f"?{number}" for number in range(2, len(names) + 2))
    which = f"WHERE name IN ({marks}) AND deadline > ?1"
    sql = f"SELECT name FROM spent {which} UNION ALL SELECT name FROM recent {which}"  # noqa: S608 - marks alone
    return frozenset(name for (name,) in connection.execute(sql, (now, *names)))


def _add(connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float) -> bool:
    """Spend *nonce* if nothing speaks against it, and return whether it is spent now."""
    name, expires_at, project_limit, subject_limit = nonce
    if not now < expires_at < LATEST:
        return False
    of_subject, of_project = accounts(owed.project, owed.subject)
    names = owed.revocable
    values = (
        owed.issued_at, now, name, math.ceil(expires_at), of_subject, of_project, expires_at,
        subject_limit, project_limit, *names,
    )  # fmt: skip
    return connection.execute(_add_sql(len(names)), values).rowcount == 1


def _answer(connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float) -> Answer:
    """Answer where `_add` alone could not; the caller has begun a transaction."""
    answer = Answer.OK
    if owed.record is not None:
        answer = look(connection, owed, now)
        if answer.verdict is not Verdict.OK or _add(connection, owed, nonce, now):
            return answer
    spent = _refusal(connection, owed, nonce, now) or _make_room(connection, owed, nonce, now)
    if spent is not None:
        return spent
    ids = accounts(owed.project, owed.subject)
    row = (nonce.name, math.ceil(nonce.expires_at), *ids)
    sql = "INSERT INTO recent(name, deadline, account, project) VALUES(?, ?, ?, ?)"
    connection.execute(sql, row)
    return answer


def _refusal(connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float) -> Answer | None:
    names = owed.revocable
    question = (owed.issued_at, now, nonce.name, *names)
    row = connection.execute(_state_sql(len(names)), question).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the row of state is missing")
    guard_from, pruned_through, *deadlines, revoked = row
    if revoked:
        return Answer.REVOKED
    if not (now < nonce.expires_at < LATEST and pruned_through < nonce.expires_at):
        return Answer.FORGOTTEN
    if owed.issued_at < guard_from:
        return Answer.FORGOTTEN
    if any(deadline is not None and now < deadline for deadline in deadlines):
        return Answer.REPLAYED
    return None


def _make_room(
    connection: sqlite3.Connection, owed: Owed, nonce: Nonce, now: float
) -> Answer | None:
    """See that there is room for *nonce*, and that nothing of its name is left; or refuse it."""
    for statement in _MOVE:
        connection.execute(statement)
    _drop(connection, *_ended(now, STEP))
    _drop(connection, "name = ?", (nonce.name,))  # which has ended, and is to be spent anew
    ids = accounts(owed.project, owed.subject)
    limits = nonce.subject_limit, nonce.project_limit
    if full(live(connection, ids), *limits) is None:
        return None
    _drop(connection, *_ended(now, STEP_WHEN_FULL))
    return full(live(connection, ids), *limits)


def _ended(now: float, steps: int) -> tuple[str, tuple[float, int]]:
    """Say for `_drop` which have ended: at most *steps*, the earliest first."""
    return "deadline <= ? ORDER BY deadline LIMIT ?", (now, steps)


def _drop(connection: sqlite3.Connection, which: str, parameters: tuple[object, ...]) -> None:
    """Drop nonces that have ended, and remember how far: by another clock they may be live."""
    sql = f"SELECT name, account, deadline FROM spent WHERE {which}"  # noqa: S608 - text of this module
    rows = connection.execute(sql, parameters).fetchall()
    if not rows:
        return
    connection.executemany("DELETE FROM spent WHERE name = ?", [(name,) for name, *_ in rows])
    give_back(connection, (account for _, account, _ in rows))
    sql = "UPDATE state SET pruned_through = max(pruned_through, ?)"
    connection.execute(sql, (max(deadline for *_, deadline in rows),))
