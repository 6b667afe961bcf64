"""
What happens to the backends of a process that forks.

A fork copies locks that threads of the parent hold, and connections that only the parent may use.
`watch` keeps a weak reference to a backend and calls it around every `os.fork`.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """A backend that can be carried across a fork."""

    def before_fork(self) -> None:
        """Come to rest, within a bounded time, so that the copy is whole."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Go on with own locks and connections; also called where nobody called `before_fork`."""
        ...


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
_resting: list[Forkable] = []
_one_at_a_time = threading.RLock()


def watch(backend: Forkable) -> None:
    """Call *backend* around every fork, for as long as it lives."""
    _watched.add(backend)


def _before() -> None:
    _one_at_a_time.acquire()
    _resting[:] = _watched
    for backend in _resting:
        backend.before_fork()


def _in_parent() -> None:
    for backend in _resting:
        backend.after_fork_in_parent()
    _resting.clear()
    _one_at_a_time.release()


def _in_child() -> None:
    global _one_at_a_time  # noqa: PLW0603 - the inherited lock belongs to a thread of the parent
    _one_at_a_time = threading.RLock()
    _resting.clear()
    for backend in list(_watched):
        backend.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
