"""How many questions of a process may be under way: who finds no place left is refused."""

from __future__ import annotations

import threading

from rpcguard.errors import BackendError


class Places:
    """The places of a process; threads and event loops share them."""

    __slots__ = ("_lock", "_most", "_taken")

    def __init__(self, most: int) -> None:
        """Take how many there are at *most*."""
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """
        Take a place.

        Raises:
            BackendError: If there is none left.
        """
        with self._lock:
            if self._taken >= self._most:
                raise BackendError("redis: as many questions as may wait are waiting")
            self._taken += 1

    def keep(self) -> None:
        """Take a place, be there one or not, for a question that had one and is asked again."""
        with self._lock:
            self._taken += 1

    def give_back(self, count: int = 1) -> None:
        """Give *count* places back."""
        with self._lock:
            self._taken -= count
