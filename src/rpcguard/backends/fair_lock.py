"""
A lock that is handed on in the order of asking.

`threading.Lock` goes to whoever comes first when it is free, and under load that is the thread
that has just given it back: others wait for seconds, and a wait with a bound becomes a refusal.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable


class FairLock:
    """
    A lock that threads get in the order in which they asked for it.

    Attributes:
        try_acquire: Takes the lock if nobody has it, and returns whether; the inner lock's own, in
            C, since most questions find it free.
    """

    __slots__ = ("_inner", "_mutex", "_waiting", "try_acquire")

    def __init__(self) -> None:
        self._inner = threading.Lock()
        self._mutex = threading.Lock()  # to wait, or to hand on: who finds nobody, or is not found
        self._waiting: deque[threading.Lock] = deque()
        self.try_acquire: Callable[[], bool] = functools.partial(self._inner.acquire, False)

    def acquire(self, timeout: float) -> bool:
        """Take the lock, waiting at most *timeout* seconds; return whether it was had."""
        with self._mutex:
            if self.try_acquire():
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=timeout):
                return True
        except BaseException:  # a signal's handler raised: nobody is there to give the lock back
            if self._leave(turn):
                self.release()
            raise
        return self._leave(turn)

    def _leave(self, turn: threading.Lock) -> bool:
        """Wait no longer; return whether the lock was handed on all the same."""
        with self._mutex:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
            return True

    def release(self) -> None:
        """Hand the lock to the thread that waits longest: the inner one stays taken for it."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._inner.release()
