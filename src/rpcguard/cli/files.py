"""Writing what `init` makes, without following what others may have left in the way."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644
PRIVATE_DIRECTORY = 0o700


def in_the_way(directory: Path, names: Iterable[str]) -> list[str]:
    """Return which of *names* exist below *directory*, in their order; a dangling link counts."""
    return [name for name in names if os.path.lexists(directory / name)]


def write(directory: Path, files: Mapping[str, str], public: frozenset[str]) -> None:
    """
    Write *files* below *directory*, replacing what is there.

    Each file appears whole or not at all, with mode 0600 from its first byte; those named in
    *public* get 0644. Subdirectories are made, or narrowed to, 0700.

    Raises:
        OSError: If something cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for subdirectory in sorted({(directory / name).parent for name in files} - {directory}):
        subdirectory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        subdirectory.chmod(PRIVATE_DIRECTORY)
    for name, text in files.items():
        _write_one(directory / name, text, PUBLIC if name in public else PRIVATE)


def _write_one(path: Path, text: str, mode: int) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        draft.chmod(mode)
        draft.replace(path)
    except OSError as error:
        error.filename = os.fspath(path)  # the draft's name would say nothing to anybody
        error.filename2 = None
        raise
    finally:
        draft.unlink(missing_ok=True)
