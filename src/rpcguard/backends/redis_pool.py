"""The connections to one server that the threads of a process share."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from rpcguard.backends.redis_flow import LostError
from rpcguard.backends.redis_links import Link
from rpcguard.backends.redis_settings import Address, Settings


class _Turn:
    """One thread that waits; it gets a link, or leave to open one."""

    __slots__ = ("called", "link")

    def __init__(self) -> None:
        self.called = threading.Lock()
        self.called.acquire()
        self.link: Link | None = None


class Pool:
    """Links that threads take, use, and give back; who waits longest is served first."""

    __slots__ = ("_address", "_closed", "_idle", "_mutex", "_open", "_settings", "_waiting")

    def __init__(self, settings: Settings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._mutex = threading.Lock()
        self._idle: list[Link] = []
        self._waiting: deque[_Turn] = deque()
        self._open = 0
        self._closed = False

    def take(self, deadline: float) -> Link:
        """
        Return a link that nobody else uses; it must be given back or dropped.

        Raises:
            LostError: If none comes free in time, or none can be opened.
        """
        with self._mutex:
            if self._idle:
                return self._idle.pop()
            if self._open < self._settings.max_connections:
                self._open += 1
                turn = None
            else:
                turn = _Turn()
                self._waiting.append(turn)
        if turn is not None:
            link = self._wait(turn, deadline)
            if link is not None:
                return link
        try:
            link = Link(self._settings, self._address, deadline)
            link.greet(guard=self._settings.restart_guard, deadline=deadline)
            return link
        except BaseException:
            self._pass_on(None)
            raise

    def give(self, link: Link) -> None:
        """Let another thread have *link*."""
        if self._closed:
            self.drop(link)
        else:
            self._pass_on(link)

    def drop(self, link: Link) -> None:
        """Close *link*, which was taken; another may be opened in its place."""
        link.close()
        self._pass_on(None)

    def clear(self) -> None:
        """Close the links that nobody uses: what has happened to one may have happened to all."""
        with self._mutex:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
        for link in idle:
            link.close()

    def close(self) -> None:
        """Close all links, those in use when they are given back."""
        self._closed = True
        self.clear()

    def _wait(self, turn: _Turn, deadline: float) -> Link | None:
        called = False
        try:
            called = turn.called.acquire(timeout=max(0.0, deadline - monotonic()))
        finally:
            if not called:
                with self._mutex:
                    called = turn not in self._waiting
                    if not called:
                        self._waiting.remove(turn)
                if called:  # it was passed on at the last moment: whoever waits next may have it
                    self._pass_on(turn.link)
                    called = False
        if not called:
            raise LostError("too many threads wait for a connection", late=True)
        return turn.link

    def _pass_on(self, link: Link | None) -> None:
        """Give *link*, or the leave to open one, to who waits longest."""
        with self._mutex:
            if self._waiting:
                turn = self._waiting.popleft()
                turn.link = link
                turn.called.release()
            elif link is None:
                self._open -= 1
            else:
                self._idle.append(link)
