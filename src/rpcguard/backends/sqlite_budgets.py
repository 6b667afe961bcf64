"""
The budgets of `sqlite://`: how many nonces, and how many records, projects and subjects hold.

A budget is a row with the number of what is live; that of a subject names that of its project. Both
are changed in the transaction that writes or drops what they count.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import Counter
from collections.abc import Iterable

from rpcguard.owed import Answer, digest

_TAKE = """
    INSERT INTO budget(id, parent, live) VALUES(?, ?, 1), (?, NULL, 1)
    ON CONFLICT(id) DO UPDATE SET live = live + 1
"""
_GIVE_BACK_TO_PARENT = """
    UPDATE budget SET live = live - ? WHERE id = (SELECT parent FROM budget WHERE id = ?)
"""
_LIVE = "SELECT (SELECT live FROM budget WHERE id = ?), (SELECT live FROM budget WHERE id = ?)"


@functools.lru_cache(maxsize=4096)
def accounts(project: str, subject: str, of: str = "") -> tuple[int, int]:
    """
    Return the ids of the budgets of the subject and of the project.

    Args:
        project: Name of the project.
        subject: Who holds it.
        of: What is counted; "" for nonces.
    """
    kind = (of,) if of else ()
    names = digest(*kind, "subject", project, subject), digest(*kind, "project", project)
    one, other = (int.from_bytes(name[:8], "big") >> 1 for name in names)
    return one, other


def live(connection: sqlite3.Connection, ids: tuple[int, int]) -> tuple[int | None, int | None]:
    """Return how many the subject and the project hold; None for none."""
    of_subject, of_project = connection.execute(_LIVE, ids).fetchone()
    return of_subject, of_project


def full(
    counts: tuple[int | None, int | None], subject_limit: int, project_limit: int
) -> Answer | None:
    """Return the refusal where one of *counts*, that `live` gave, has reached its limit."""
    of_subject, of_project = counts
    if (of_subject or 0) >= subject_limit:
        return Answer.SUBJECT_FULL
    if (of_project or 0) >= project_limit:
        return Answer.PROJECT_FULL
    return None


def take(connection: sqlite3.Connection, ids: tuple[int, int]) -> None:
    """Count one more."""
    connection.execute(_TAKE, (*ids, ids[1]))


def give_back(connection: sqlite3.Connection, subjects: Iterable[int]) -> None:
    """Count one less for each of *subjects*, which are ids of subjects' budgets."""
    counts = Counter(subjects)
    changes = [(count, account) for account, count in counts.items()]
    connection.executemany(_GIVE_BACK_TO_PARENT, changes)
    connection.executemany("UPDATE budget SET live = live - ? WHERE id = ?", changes)
    idle = [(account,) for account in counts]
    connection.executemany("DELETE FROM budget WHERE id = ? AND live <= 0", idle)
