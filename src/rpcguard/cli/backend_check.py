"""
Whether a server could open the backend of a registry, found out without touching its file.

Opening a SQLite backend makes the file, perhaps for a user that the server is not; so a file in a
temporary directory is opened with the same URL, and of the real one only its place is looked at.
Servers of Redis are asked, as at each start; they must answer and be fit for use.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from rpcguard.backends.open import open_backend
from rpcguard.errors import ConfigError

_SCRATCH = "/check.db"


def fault(url: str, base: Path, now: float) -> str | None:
    """
    Return what is wrong with the backend's *url*, or None. Never quotes it: it may hold a password.

    Args:
        url: As in the registry.
        base: The registry's directory.
        now: Unix seconds.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="rpcguard-check-") as scratch:
            file = _sqlite_file(url)
            used = urlunsplit(urlsplit(url)._replace(path=_SCRATCH)) if file else url
            where = Path(scratch) if file else base
            open_backend(used, now=now, base=where, must_answer=True).close()
    except ConfigError as error:
        return error.problems[0].message
    return _misplaced(base / file) if file else None


def absent(url: str, base: Path) -> str:
    """
    Return why another process than the server has nothing to ask of the backend, or "".

    Args:
        url: As in the registry.
        base: The registry's directory.
    """
    if url.partition(":")[0].lower() == "memory":
        return "memory:// is in the server's own process"
    file = _sqlite_file(url)
    if file and not (base / file).exists():
        return "the backend's file does not exist yet"
    return ""


def _sqlite_file(url: str) -> str:
    """Return the path in a URL of SQLite, or "" where opening it makes no file."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    path = unquote(parts.path)[1:]
    return path if parts.scheme == "sqlite" and path != ":memory:" and "\0" not in path else ""


def _misplaced(file: Path) -> str | None:
    if not file.parent.is_dir():
        return f"sqlite: the directory {file.parent} does not exist"
    if file.exists() and not file.is_file():
        return f"sqlite: {file} is not a regular file"
    return None
