"""Collects problems of the compile step, each at its place in the file."""

from __future__ import annotations

from collections.abc import Callable

from rpcguard.errors import Problem

Loc = tuple[str | int, ...]


class Report:
    """
    Problems and warnings found so far.

    Attributes:
        problems: What keeps the registry from loading.
        warnings: What does not.
    """

    def __init__(
        self, places: Callable[..., Problem], damaged: frozenset[str] = frozenset()
    ) -> None:
        """
        Args:
            places: (loc, message, warning=…) to a `Problem` that knows where it stands.
            damaged: Projects of which parts were left out: what would be said of one as a whole
                (it has no keys) need not be true of the file, and is not said.
        """
        self._places = places
        self._damaged = damaged
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, loc: Loc, message: str) -> None:
        """Add a problem at *loc*."""
        if len(loc) == 2 and loc[1] in self._damaged:
            return
        self.problems.append(self._places(loc, message))

    def warning(self, loc: Loc, message: str) -> None:
        """Add a warning at *loc*."""
        self.warnings.append(self._places(loc, message, warning=True))
