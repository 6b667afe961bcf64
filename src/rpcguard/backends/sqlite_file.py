"""
The file of `sqlite://`: making it, checking that it is ours, opening connections to it.

A machine that stops takes the last commits with it (`synchronous=NORMAL` writes them without
waiting for the disk). The file therefore names the boot that it was last used in; under another
boot, nonces may be lost: proofs issued before that opening are refused from then on, and the epoch
is another. Where the system does not name its boot, that is so at each opening. Nobody keeps a copy
of the epoch: processes that have the file open read the same one, whoever opens it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from urllib.parse import quote

from rpcguard.backends import sqlite_schema
from rpcguard.errors import ConfigError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EPOCH_BYTES = 16
_SMALLEST = 512  # bytes of the smallest database; SQLite would overwrite a file of one byte
_ATTEMPTS = 250  # at opening, while other workers open the same new file
_PAUSE = 0.02  # seconds between them


def boot_id() -> str | None:
    """Return what names this boot of the machine, or None where the system does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


def connect(path: Path) -> sqlite3.Connection:
    """
    Open a connection that waits for nobody; the caller sees to it that one thread uses it.

    Raises:
        sqlite3.Error: If the file is not there (it is never made anew here) or cannot be opened.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        # The backend checkpoints off the request path; this is the net below it: 32 MiB.
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -8192")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path, now: float, boot: str | None) -> None:
    """
    Make the file if there is none, and see that it is ours; leave no connection behind.

    Args:
        path: An absolute path; its directory must exist.
        now: Unix seconds.
        boot: See `boot_id`.

    Raises:
        ConfigError: If the file cannot be used, or stays locked for 5 seconds. A file that is not
            ours is not altered.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"sqlite: the directory {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise ConfigError(f"sqlite: {path} is not a regular file")
    try:
        if path.exists() and 0 < path.stat().st_size < _SMALLEST:
            raise ConfigError(f"sqlite: {path} is not a database")
        # Nobody else may read it. The -wal and -shm files take over the mode.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        for _ in range(_ATTEMPTS):
            if _try_prepare(path, now, boot):
                return
            threading.Event().wait(_PAUSE)
    except sqlite3.Error as error:
        # Not the text of the error: it may quote what stands in a file that is not ours.
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise ConfigError(f"sqlite: {path} cannot be used ({name})") from error
    except OSError as error:
        raise ConfigError(f"sqlite: {path} cannot be made ({error.strerror})") from error
    raise ConfigError(f"sqlite: {path} stays locked by another process")


def _try_prepare(path: Path, now: float, boot: str | None) -> bool:
    """
    Return False if another process is in the way.

    Waiting is done between attempts: SQLite refuses at once, however patient the connection, where
    two of them switch a new file to WAL.
    """
    try:
        with contextlib.closing(connect(path)) as connection:
            sqlite_schema.version_of(connection)  # before anything is written
            # For a new file: each commit writes whole pages, and a nonce changes three of them.
            connection.execute("PRAGMA page_size = 2048")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise ConfigError("sqlite: the file system does not support WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            if sqlite_schema.version_of(connection):
                sqlite_schema.upgrade(connection)
                _note_boot(connection, now, boot)
            else:
                sqlite_schema.create(connection, boot, os.urandom(_EPOCH_BYTES))
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return False
        raise
    return True


def is_busy(error: Exception) -> bool:
    """Return whether *error* says that another connection has the file."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _note_boot(connection: sqlite3.Connection, now: float, boot: str | None) -> None:
    row = connection.execute("SELECT boot FROM state").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the row of state is missing")
    if boot is None or row[0] != boot:
        state = (boot, now, os.urandom(_EPOCH_BYTES))
        connection.execute("UPDATE state SET boot = ?, guard_from = ?, epoch = ?", state)


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells the file at *path* from another one of that name; None for none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked for each nonce; a `Path` takes half as long again
    except OSError:
        return None
    return found.st_dev, found.st_ino
