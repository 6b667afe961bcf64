"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose second column holds the words; a line break in a cell is a space."""
    lines = [head, ["---"] * len(head), *rows]
    text = "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)
    return f"{{.words-second}}\n{text}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Return *text* in code font."""
    return f"`{text}`"
