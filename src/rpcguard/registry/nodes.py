"""
YAML as rpcguard keeps it: mappings, sequences and texts, each with its place.

A scalar stays the text that the operator wrote (`0123`, `off` and `12:30:45` are what they look
like); what it means is decided by the schema. Trees are never changed once built: presets share
them, and an alias is the same node twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias, final

# File, line and column, both counted from 1.
Place: TypeAlias = tuple[str, int, int]
# Steps from the root: mapping keys and list positions.
Path: TypeAlias = tuple[str | int, ...]


class Node:
    """
    One value of a file.

    Attributes:
        place: Where it stands.
        shared: Whether an anchor names it, so that aliases may lead here.
    """

    __slots__ = ("place", "shared")

    kind = "a value"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.shared = False

    def child(self, step: str | int) -> Node | None:
        """Return the value at *step* below this one, or None."""
        del step
        return None


@final
class Text(Node):
    """A scalar; `text` is None for a null, written `~`, `null` or as nothing at all."""

    __slots__ = ("text",)

    kind = "text"

    def __init__(self, place: Place, text: str | None) -> None:
        self.place = place
        self.shared = False
        self.text = text


@final
class Broken(Node):
    """A value that cannot be used, and of which the operator was told."""

    __slots__ = ()


@final
class Items(Node):
    """
    A sequence.

    Attributes:
        items: Its values.
        numbers: The position of each in the file, which is not its index here once faulty ones are
            left out.
    """

    __slots__ = ("items", "numbers")

    kind = "a list"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.items: list[Node] = []
        self.numbers: Sequence[int] | None = None

    def child(self, step: str | int) -> Node | None:
        """Return the value at *step*, or None."""
        return self.items[step] if isinstance(step, int) and step < len(self.items) else None


@final
class Mapping(Node):
    """
    A mapping.

    Attributes:
        entries: Its values by key.
        keys: The place of each key.
        faulty: Whether something was left out that may have been a key the schema asks for.
    """

    __slots__ = ("entries", "faulty", "keys")

    kind = "a mapping"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.entries: dict[str, Node] = {}
        self.keys: dict[str, Place] = {}
        self.faulty = False

    def child(self, step: str | int) -> Node | None:
        """Return the value at *step*, or None."""
        return self.entries.get(step) if isinstance(step, str) else None


# What a key looks like. A misspelling (`secret:"…"` in braces, `secret=…`) makes a key of a value,
# and a secret has 32 characters or more.
_KEY = re.compile(r"[A-Za-z0-9_./-]{1,31}")
_WORD = re.compile(r"[A-Za-z_]{0,8}")


def show(path: Iterable[str | int]) -> str:
    """
    Return *path* as messages show it: ``projects.bsc.secrets[0].secret``. Safe to log: of what does
    not look like a key, the first letters alone are shown.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if _KEY.fullmatch(step) else _WORD.match(step)[0] + "…"  # type: ignore[index]
            text += ("." if text else "") + shown
    return text


def printable(name: str, limit: int = 1024) -> str:
    """Return *name* with control characters escaped, cut to *limit* characters: safe to log."""
    if len(name) > limit:
        name = name[: limit - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in name)
