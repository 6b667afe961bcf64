"""
Notices that the registry's files have changed, and says so from a thread of its own.

Polling, not a notification service: it sees what a service does not (network file systems, mounted
volumes, a Kubernetes `..data` link that now leads elsewhere) and needs nothing installed. A file
that was replaced as a whole is reported at once. One that was changed in place, removed or made
anew is reported when two more polls have seen it unchanged: its writer may not have finished.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

from rpcguard.errors import ConfigError
from rpcguard.registry.files import Files, Stamp, look

POLL = 0.25  # seconds
_QUIET_POLLS = 2  # how often a file must be seen unchanged
_PATIENCE = 12  # polls that a finished file waits for unfinished ones before it is reported anyway
_LONGEST_RELOAD = 5.0  # seconds; neither `stop` nor a fork waits longer for one that is under way

_log = logging.getLogger("rpcguard.registry")


class Watcher:
    """
    Calls *changed* once for each settled change of *files*.

    Callables that are methods do not keep their object alive: when it is gone, the thread ends. In
    the child after a fork the thread starts again, from what was last seen.

    Attributes:
        polling: Held by a poll, by whoever forks, and by whoever else does what a poll does.
    """

    def __init__(
        self,
        files: Callable[[], tuple[str, ...]],
        changed: Callable[[], None],
        poll: float = POLL,
    ) -> None:
        """
        Take what to watch.

        Args:
            files: Gives the absolute paths, asked at each poll. `Files` also tell what each looked
                like when it was read, so that an edit made since then is noticed.
            changed: Called in the watcher's thread. What it raises is logged.
            poll: Seconds between two looks.
        """
        self._files = _weakly(files, self._end)
        self._changed = _weakly(changed, self._end)
        self._poll = poll
        self._paths: tuple[str, ...] = ()
        self._seen: dict[str, Stamp | None] = {}
        self._unsettled: dict[str, tuple[Stamp | None, int]] = {}
        self._waited = 0
        self._complaint = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.polling = threading.RLock()
        _all.add(self)

    def start(self) -> None:
        """Start the thread. Once started, this does nothing."""
        if self._thread is None:
            with self.polling:
                self._adopt()
            self._run()

    def stop(self) -> None:
        """Stop the thread and wait for it. Harmless when it does not run."""
        self._end()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_RELOAD)

    def _end(self) -> None:
        self._ending.set()

    def _run(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(
            target=self._loop, args=(self._ending,), name="rpcguard-watcher", daemon=True
        )
        self._thread.start()

    def _loop(self, ending: threading.Event) -> None:
        while not ending.wait(self._poll):
            self.look()

    def look(self) -> None:
        """Look at the files once, and report if that is due. What the thread does at each poll."""
        with self.polling:
            try:
                if self._adopt() and self._is_due():
                    self._report()
            except Exception as error:  # noqa: BLE001  (the thread must live; the operator is told)
                self._complain(error)

    def _adopt(self) -> bool:
        """Take over the files and what they were like when read; false when the owner is gone."""
        ask = self._files()
        if ask is None:
            return False
        paths = ask()
        if paths is not self._paths:
            known = paths.stamps if isinstance(paths, Files) else self._seen
            self._seen = {path: known[path] if path in known else look(path) for path in paths}
            self._paths = paths
        return True

    def _is_due(self) -> bool:
        """Look at every file; return whether there is a change to report."""
        ripe = False
        unsettled: dict[str, tuple[Stamp | None, int]] = {}
        for path, before in self._seen.items():
            now = look(path, before)
            if now == before:
                continue
            if now and before and now.replaces(before):
                ripe = True
                continue
            last, polls = self._unsettled.get(path, (now, -1))
            polls = polls + 1 if last == now else 0
            ripe = ripe or polls >= _QUIET_POLLS
            unsettled[path] = now, polls
        self._unsettled = unsettled
        self._waited = self._waited + 1 if ripe else 0
        unfinished = any(polls < _QUIET_POLLS for _, polls in unsettled.values())
        return ripe and (not unfinished or self._waited > _PATIENCE)

    def _report(self) -> None:
        self._seen = {path: look(path, before) for path, before in self._seen.items()}
        self._unsettled = {}
        self._waited = 0
        changed = self._changed()
        if changed is not None:
            changed()
        self._complaint = ""

    def _complain(self, error: Exception) -> None:
        # An error that is not ours may quote what it choked on: name its kind and place alone.
        text = str(error)
        if not isinstance(error, ConfigError):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
        if text != self._complaint:
            self._complaint = text
            _log.error("the registry could not be reloaded: %s", text)

    def hold(self) -> bool:
        """Wait until no poll is under way and keep the next from starting; false after 5 s."""
        return self.polling.acquire(timeout=_LONGEST_RELOAD)

    def release(self) -> None:
        """End what `hold` began."""
        self.polling.release()

    def restart(self) -> None:
        """Run in a child after a fork, where the thread and the holder of the lock are no more."""
        self.polling = threading.RLock()
        if self._thread is not None:
            self._run()


def _weakly(call: Callable[..., Any], lost: Callable[[], None]) -> Callable[[], Any]:
    """Return a function that returns *call*, or None once the object it is a method of is gone."""
    if isinstance(call, MethodType):
        return weakref.WeakMethod(call, lambda _: lost())
    return lambda: call


_all: weakref.WeakSet[Watcher] = weakref.WeakSet()


class _Held(threading.local):
    """The watchers that the forking thread holds."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []


_held = _Held()


def _before_fork() -> None:
    # A child that is made in the middle of a reload would keep that reload's locks for ever.
    _held.watchers = [watcher for watcher in list(_all) if watcher.hold()]


def _after_fork_in_parent() -> None:
    for watcher in _held.watchers:
        watcher.release()
    _held.watchers = []


def _after_fork_in_child() -> None:
    _held.watchers = []
    for watcher in list(_all):
        try:
            watcher.restart()
        except RuntimeError:  # the interpreter is ending; nothing will be asked of the registry
            _log.debug("no watcher in this child")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
