"""What was found out about tokens and requests, for as long as there is room."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """
    A bounded cache in two halves: when the younger is full it becomes the older, which is dropped.

    What is asked for again stays: who finds something in `younger` need not call `get`. Nothing is
    searched or sorted to make room, and there is no lock, which a fork could leave held: two
    threads at once may lose an entry, never mix two up.
    """

    __slots__ = ("_half", "_older", "younger")

    def __init__(self, most: int) -> None:
        """
        Args:
            most: Entries to keep, at least 2.
        """
        self._half = most // 2
        self.younger: dict[Hashable, T] = {}
        self._older: dict[Hashable, T] = {}

    def __len__(self) -> int:
        return len(self.younger) + len(self._older.keys() - self.younger.keys())

    def get(self, name: Hashable) -> T | None:
        """Return what is known of *name*."""
        found = self.younger.get(name)
        if found is None:
            found = self._older.get(name)
            if found is not None:
                self.put(name, found)
        return found

    def put(self, name: Hashable, found: T) -> None:
        """Remember *found*."""
        if len(self.younger) >= self._half:
            self._older, self.younger = self.younger, {}
        self.younger[name] = found


class Watched(Remembered[T]):
    """A cache that tells whether each look-up found something."""

    __slots__ = ("_tell",)

    def __init__(self, most: int, tell: Callable[[bool], None]) -> None:
        """
        Args:
            most: Entries to keep, at least 2.
            tell: Told at each look-up whether it found something.
        """
        super().__init__(most)
        self._tell = tell

    def get(self, name: Hashable) -> T | None:
        """Return what is known of *name*."""
        found = super().get(name)
        self._tell(found is not None)
        return found
