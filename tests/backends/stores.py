"""What the tests of `sqlite://` do to a store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backends.kinds import START
from backends.racers import racing
from rpcguard.backends.sqlite import SqliteBackend

SCRIPTS = Path(__file__).parent / "scripts"


@contextmanager
def opened(path: Path, now: float = START, timeout: float = 10.0) -> Iterator[SqliteBackend]:
    """Open a backend that is more patient than the default."""
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
    """Assert that the file is sound, its budgets count what is there, and nothing is left over."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = connection.execute(
            "SELECT account, count(*) FROM (SELECT account FROM spent UNION ALL SELECT account"
            " FROM record) GROUP BY 1"
        ).fetchall()
        live = connection.execute("SELECT id, live FROM budget WHERE parent IS NOT NULL").fetchall()
        projects = connection.execute(
            "SELECT id, live, (SELECT total(live) FROM budget WHERE parent = project.id)"
            " FROM budget AS project WHERE parent IS NULL AND live > 0"
        ).fetchall()
        orphans = connection.execute(
            "SELECT count(*) FROM revocable WHERE record NOT IN (SELECT name FROM record)"
        ).fetchone()
    assert orphans == (0,)
    assert dict(counted) == dict(live)
    assert {each: of_project for each, of_project, _ in projects} == {
        each: of_subjects for each, _, of_subjects in projects
    }
    assert sum(of_project for _, of_project, _ in projects) == sum(dict(counted).values())


def run_script(name: str, *arguments: str | Path) -> str:
    """Return what a script printed that ended well."""
    command = [sys.executable, SCRIPTS / name, Path(__file__).parent.parent, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
