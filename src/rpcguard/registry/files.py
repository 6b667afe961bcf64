"""Files that are read whole and watched: what one looks like, and reading it within bounds."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_WRITE = stat.S_IWOTH
GROUP_OR_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENAMETOOLONG: "the name is too long",
}


class Stamp(NamedTuple):
    """
    What a file looked like; two looks that differ mean that it may say something else now.

    The change time is here because tools that keep a file's modification time cannot set it, and
    the mode because narrowing it is how an operator repairs a refused file.
    """

    resolved: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    mode: int

    def replaces(self, other: Stamp) -> bool:
        """Return whether this is another file than *other*, put in its place as a whole."""
        return self[:3] != other[:3]


class Files(tuple[str, ...]):  # noqa: SLOT001  (a tuple of varying length takes no slots)
    """
    Absolute paths of the files that a load has read or looked for.

    Attributes:
        stamps: What each looked like just before it was read; None where there was none. A watcher
            that starts from here cannot miss an edit made while the registry was being parsed.
    """

    stamps: Mapping[str, Stamp | None]

    def __new__(cls, stamps: Mapping[str, Stamp | None]) -> Self:
        """Return the paths of *stamps*, in their order."""
        self = super().__new__(cls, stamps)
        self.stamps = dict(stamps)
        return self

    def also(self, newer: tuple[str, ...]) -> Files:
        """Return these files and those of a *newer* load, which knows best what it has seen."""
        stamps = newer.stamps if isinstance(newer, Files) else {path: look(path) for path in newer}
        return Files({**self.stamps, **stamps})


class UnreadableError(Exception):
    """A file cannot be used; the message says why and holds nothing of its content."""


def look(path: str, before: Stamp | None = None) -> Stamp | None:
    """
    Return what the file at *path* looks like now, or None if it cannot be seen.

    Args:
        path: Where it is.
        before: What it looked like; returned itself when nothing changed. Then only one `stat` is
            made: a link that now leads elsewhere, but to the same inode, leads to the same content.
    """
    try:
        seen = os.stat(path)  # noqa: PTH116  (a Path costs more than the call, 4 times a second)
        state = (
            seen.st_dev,
            seen.st_ino,
            seen.st_size,
            seen.st_mtime_ns,
            seen.st_ctime_ns,
            seen.st_mode,
        )
        if before is not None and before[1:] == state:
            return before
        return Stamp(os.path.realpath(path, strict=True), *state)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None


@dataclass(slots=True)
class Reading:
    """Reads files and remembers which, so that a watcher knows what to wait for."""

    stamps: dict[str, Stamp | None] = field(default_factory=dict)

    def read(self, path: str, limit: int) -> tuple[bytes, int]:
        """
        Return the content of a regular file and its mode.

        Args:
            path: Where it is, absolute.
            limit: Bytes that it may have.

        Raises:
            UnreadableError: If it is missing, unreadable, larger, or no regular file. A FIFO or a
                device is not opened.
        """
        stamp = look(path)
        self.stamps.setdefault(path, stamp)  # before reading: an edit during it must show later
        try:
            if stamp is not None and not stat.S_ISREG(stamp.mode):
                raise UnreadableError(_kind(stamp.mode))
            # not blocking: between the look and here it may have become a FIFO that nobody writes
            handle = os.open(path, _OPEN)
            with os.fdopen(handle, "rb") as file:
                mode = os.fstat(handle).st_mode
                if not stat.S_ISREG(mode):
                    raise UnreadableError(_kind(mode))
                data = file.read(limit + 1)
        except OSError as error:
            raise UnreadableError(_REASONS.get(error.errno or 0, "cannot be read")) from None
        except ValueError:
            raise UnreadableError("not a file name") from None
        if len(data) > limit:
            raise UnreadableError(f"larger than {limit >> 10} KiB")
        return data, mode

    def files(self) -> Files:
        """Return all files that were read or looked for."""
        return Files(self.stamps)


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "not a regular file"
