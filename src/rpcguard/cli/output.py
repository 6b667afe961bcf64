# ruff: noqa: T201 - printing is what this module is for
"""
What the commands print: Rich on a terminal, plain aligned text on a pipe, JSON when asked.

Nothing printed is trusted: control characters, which could drive a terminal, are shown escaped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of a table.

    Attributes:
        title: Its heading.
        style: Gives a cell's Rich style from the cell's text; "" for none.
    """

    title: str
    style: Callable[[str], str] = lambda _: ""


def visible(text: str) -> str:
    """Return *text* with every character that is not printable escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_terminal() -> bool:
    """Return whether standard output is a terminal that can do more than plain text."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def say(*lines: str) -> None:
    """Print *lines* to standard output."""
    for line in lines:
        print(visible(line), flush=True)


def complain(*lines: str) -> None:
    """Print *lines* to standard error, the first with the program's name."""
    for number, line in enumerate(lines):
        print(visible(line if number else f"rpcguard: {line}"), file=sys.stderr)


def say_json(document: Any) -> None:
    """Print *document* as JSON."""
    print(json.dumps(document, indent=2), flush=True)


def say_table(columns: Sequence[Column], groups: Iterable[Sequence[Sequence[str]]]) -> None:
    """
    Print rows of cells under *columns*.

    On a terminal a rule stands between the *groups*, and a first cell is not repeated within one.
    """
    clean = [[[visible(cell) for cell in row] for row in group] for group in groups]
    if is_terminal():
        _rich_table(columns, clean)
    else:
        _plain_table(columns, [row for group in clean for row in group])


def _rich_table(columns: Sequence[Column], groups: Sequence[Sequence[Sequence[str]]]) -> None:
    table = Table(header_style="bold", border_style="dim", box=ROUNDED)
    for column in columns:
        table.add_column(column.title, overflow="fold")
    for group in groups:
        for before, row in zip([[""], *group], group, strict=False):
            cells = ["" if row[0] == before[0] else row[0], *row[1:]]
            paired = zip(columns, cells, strict=True)
            table.add_row(*(Text(cell, style=column.style(cell)) for column, cell in paired))
        table.add_section()
    Console().print(table)


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    everything = [[column.title for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*everything, strict=True)]
    for row in everything:
        line = GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
