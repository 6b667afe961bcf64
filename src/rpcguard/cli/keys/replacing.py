"""
Replacing a registry as a whole, so that no reader ever sees half of an edit or a broken file.

The new text is checked as the server would load it, next to the old one; only then it takes its
place, with the old one's mode, owner and attributes. Two edits at once wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rpcguard.errors import ConfigError, Problem
from rpcguard.registry.compile import load
from rpcguard.registry.files import Reading, UnreadableError, look
from rpcguard.registry.reader import MAX_BYTES, parse

_BOM = b"\xef\xbb\xbf"


class ChangedError(Exception):
    """Somebody else has written the file meanwhile; nothing was written."""


def read_text(file: Path) -> str:
    """
    Return the text of the registry *file*, without its byte order mark.

    Raises:
        ConfigError: If it cannot be read, or is not the YAML of a registry.
    """
    try:
        data, _ = Reading().read(str(file.absolute()), MAX_BYTES)
    except UnreadableError as error:
        raise ConfigError(Problem(str(error), str(file))) from None
    document = parse(data, str(file))
    if document.problems:
        raise ConfigError(*document.problems)
    return data.removeprefix(_BOM).decode()


@contextlib.contextmanager
def editing(file: Path) -> Iterator[None]:
    """Keep other edits of registries in the directory of *file* waiting until the end."""
    handle = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replaced(
    file: Path,
    edit: Callable[[str], str],
    environ: Mapping[str, str],
    ready: Callable[[], None] = lambda: None,
) -> None:
    """
    Put what *edit* makes of the registry *file* in its place, if it loads.

    Args:
        file: The registry; a link is followed.
        edit: Old text to new text.
        environ: Where `${env:NAME}` looks.
        ready: Called when all else is done; what it raises leaves the old text in place.

    Raises:
        ConfigError: If the new text would not load. The places are those of the new text.
        ChangedError: If another program has changed the file meanwhile.
        OSError: If it cannot be written with the old one's owner and mode.
    """
    real = file.resolve()
    seen = look(str(real))
    old = read_text(file)
    marked = _BOM if real.read_bytes().startswith(_BOM) else b""
    data = marked + edit(old).encode()
    with _draft(file, data) as draft:
        try:
            load(draft, environ)
        except ConfigError as error:
            raise ConfigError(
                *(_named(problem, draft, file) for problem in error.problems)
            ) from None
    with _draft(real, data) as draft:
        _dress_like(real, draft)
        ready()
        if seen is None or look(str(real)) != seen:
            raise ChangedError
        draft.replace(real)
        # Not every file system can; the edit is made, and no key file of it may go again
        with contextlib.suppress(OSError):
            _sync(real.parent)


def _named(problem: Problem, draft: Path, file: Path) -> Problem:
    return replace(problem, file=str(file)) if problem.file == str(draft) else problem


@contextlib.contextmanager
def _draft(beside: Path, data: bytes) -> Iterator[Path]:
    draft = beside.with_name(f".{beside.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    except OSError as error:
        if error.filename == str(draft):  # its name would say nothing to anybody
            error.filename, error.filename2 = str(beside), None
        raise
    finally:
        draft.unlink(missing_ok=True)


def _dress_like(model: Path, draft: Path) -> None:
    """Give *draft* the owner, mode and extended attributes (so its access list) of *model*."""
    wanted = model.stat()
    if (wanted.st_uid, wanted.st_gid) != (draft.stat().st_uid, draft.stat().st_gid):
        os.chown(draft, wanted.st_uid, wanted.st_gid)
    shutil.copystat(model, draft)
    os.utime(draft)  # it is new, whatever the old one's time


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
