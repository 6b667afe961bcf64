"""
A page as the steps to execute: its fenced blocks, and the marks in HTML comments.

Pages are parsed by markdown-it, which is what builds the site too, so that no block is seen here
and not there. A comment such as `<!-- save: app.py -->` marks the block after it; fences inside a
comment are blocks that readers do not see, whose marks are lines of the comment (`save: app.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
MARKS = ("save", "background", "printed by", "from", "preset", "not run")  # of the next block
INSTRUCTIONS = ("server", "alias", "copy")  # by themselves
_MARK = re.compile(rf"({'|'.join((*MARKS, *INSTRUCTIONS))}):[ \t]*(\S.*?)[ \t]*")
_COMMENT = re.compile(r"\A(\s*<!--)(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """
    A fenced block.

    Attributes:
        language: The first word after the fence, in lower case; "" where there is none.
        text: What is inside, with its last line's end.
        line: The line of the page where the inside begins, counted from 1.
        marks: What comments before it say.
        after: The language of the block right before it, with nothing but blank lines between.
        indent: How far the block is indented, in a list for one.
    """

    language: str
    text: str
    line: int
    marks: Mapping[str, str] = field(default_factory=dict)
    after: str = ""
    indent: str = ""


@dataclass(frozen=True)
class Instruction:
    """A mark that stands by itself: something to do between two blocks."""

    word: str
    value: str
    line: int


def pages() -> list[Path]:
    """Return every page of the repository that people read."""
    folders = (ROOT / "docs", ROOT / "examples")
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]
    return sorted(path for path in found if "_build" not in path.parts)


def steps(text: str) -> list[Block | Instruction]:
    """Return the steps of the page *text*, in order."""
    return list(_steps(text, 1, "", hidden=False))


def _steps(text: str, first: int, after: str, *, hidden: bool) -> Iterator[Block | Instruction]:
    """Yield the steps of *text*, which begins at line *first* of the page, *after* such a block."""
    marks: dict[str, str] = {}
    lines = text.splitlines()
    for token in MarkdownIt("commonmark").parse(text):
        start = token.map[0] if token.map else 0
        if token.type == "fence":
            opening = lines[start]
            language = token.info.split()[0].lower() if token.info.strip() else ""
            indent = opening[: len(opening) - len(opening.lstrip())]
            yield Block(language, token.content, first + start + 1, marks, after, indent)
            marks, after = {}, language
        elif token.type == "html_block" and (comment := _COMMENT.match(token.content)):
            inside, line = comment[2], first + start
            if "```" in inside:
                yield from _steps(inside, line, after, hidden=True)
                marks, after = {}, ""
            elif mark := _MARK.fullmatch(inside.strip()):
                if mark[1] in INSTRUCTIONS:
                    yield Instruction(mark[1], mark[2], line)
                else:
                    marks[mark[1]] = mark[2]
        elif token.type == "inline" and hidden and _all_marks(token.content):
            for mark in map(_MARK.fullmatch, token.content.splitlines()):
                assert mark is not None
                if mark[1] in INSTRUCTIONS:
                    yield Instruction(mark[1], mark[2], first + start)
                else:
                    marks[mark[1]] = mark[2]
        elif token.type == "code_block":
            yield Block("", token.content, first + start, {}, "", "    ")
        elif token.type not in ("paragraph_open", "paragraph_close") or not hidden:
            marks, after = {}, ""


def _all_marks(text: str) -> bool:
    return all(_MARK.fullmatch(line) for line in text.splitlines())
