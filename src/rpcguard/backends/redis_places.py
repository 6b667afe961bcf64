"""How many questions of a process may be under way: who finds no place left is refused."""

from __future__ import annotations

from rpcguard.errors import BackendError


class Places:
    """
    The places of a process; threads and event loops share them.

    A context that has a place while it lasts, too.
    """

    __slots__ = ("_free",)

    def __init__(self, most: int) -> None:
        """Take how many there are at *most*."""
        # A list takes and gives in one step, in C. A lock could be held by the very thread that the
        # garbage collector interrupts, to end somebody who gives a place back.
        self._free = [None] * most

    def take(self) -> None:
        """
        Take a place.

        Raises:
            BackendError: If there is none left.
        """
        try:
            self._free.pop()
        except IndexError:
            raise BackendError("redis: as many questions as may wait are waiting") from None

    def give_back(self, count: int = 1) -> None:
        """Give *count* places back."""
        self._free.extend([None] * count)

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give_back()
