"""
Where the values of a YAML text begin and end, so that one of them can be edited and all others stay
byte for byte as they are: comments, order, quoting, line ends.

Positions are indexes of characters. Only texts that `rpcguard.registry.reader` finds no fault with
come here, so that depth and size are bounded.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from yaml import scan
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    StreamStartEvent,
)
from yaml.tokens import BlockEntryToken, FlowEntryToken, FlowSequenceStartToken

from rpcguard.registry.reader import LOADER

BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 parsers take for a line's end
_REST = re.compile(r"[ \t]*(?:(?<=[ \t\]}\"'])[#][^\n\r\x85\u2028\u2029]*)?")


@dataclass(slots=True)
class Span:
    """
    One value of the text.

    Attributes:
        start: Where it begins, its anchor or tag included.
        end: Where it ends; comments behind it are not its own.
        kind: "mapping", "items", "text" or "alias".
        flow: Whether it is written with brackets.
        items: The values of a sequence.
        entries: Key and value of each entry of a mapping, by the key's text.
    """

    start: int
    end: int
    kind: str
    flow: bool = False
    items: list[Span] = field(default_factory=list)
    entries: dict[str, tuple[Span, Span]] = field(default_factory=dict)


class Spans:
    """
    The values of one text.

    Attributes:
        text: The text.
        root: Its top value.
    """

    def __init__(self, text: str) -> None:
        """Take a text that is known to be good."""
        self.text = text
        source = LOADER(text)
        try:
            self.root = self._first(source)
        finally:
            source.dispose()
        tokens: Iterator[Any] = scan(text, Loader=LOADER)
        located = [(one.start_mark.index, one.end_mark.index, type(one)) for one in tokens]
        self._tokens: list[tuple[int, int, type]] = [one for one in located if one[1] > one[0]]
        self._starts = [token[0] for token in self._tokens]

    def dash(self, item: Span) -> int:
        """Return where the dash of *item*, one of a block sequence, stands."""
        at = bisect.bisect_right(self._starts, item.start) - 1
        while self._tokens[at][2] is not BlockEntryToken:
            at -= 1
        return self._tokens[at][0]

    def before(self, position: int) -> int:
        """Return the end of the last token in front of *position*."""
        return self._tokens[bisect.bisect_left(self._starts, position) - 1][1]

    def bracket(self, items: Span) -> int:
        """Return the end of the opening bracket of *items*, a flow sequence."""
        at = bisect.bisect_left(self._starts, items.start)
        while self._tokens[at][2] is not FlowSequenceStartToken:
            at += 1
        return self._tokens[at][1]

    def comma(self, item: Span) -> int | None:
        """Return the end of the comma that follows *item* in a flow sequence; None without one."""
        at = bisect.bisect_left(self._starts, item.end)
        return self._tokens[at][1] if self._tokens[at][2] is FlowEntryToken else None

    def line_start(self, position: int) -> int:
        """Return where the line of *position* begins."""
        breaks = [found.end() for found in BREAK.finditer(self.text, 0, position)]
        return breaks[-1] if breaks else 0

    def line_end(self, position: int) -> int | None:
        """
        Return where the line of *position* ends, its line break not included.

        None if anything but blanks and a comment stands behind *position*.
        """
        found = _REST.match(self.text, position)
        end = found.end() if found else position
        return end if end == len(self.text) or BREAK.match(self.text, end) else None

    def next_line(self, position: int) -> int | None:
        """Return where the line after that of *position* begins; None as in `line_end`."""
        if position and BREAK.match(self.text, position - 1):
            return position  # a block scalar ends with its line
        end = self.line_end(position)
        if end is None:
            return None
        found = BREAK.match(self.text, end)
        return found.end() if found else end

    def line_break(self) -> str:
        """Return the line break that the text uses."""
        found = BREAK.search(self.text)
        return found[0] if found else "\n"

    def _first(self, source: Any) -> Span:
        while isinstance(event := source.get_event(), StreamStartEvent | DocumentStartEvent):
            pass
        return self._span(source, event)

    def _span(self, source: Any, event: Any) -> Span:
        start: int
        end: int
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, AliasEvent):
            return Span(start, end, "alias")
        if not isinstance(event, CollectionStartEvent):
            return Span(start, end, "text")
        flow = bool(event.flow_style)
        span = Span(start, end, "items", flow)
        if isinstance(event, MappingStartEvent):
            span.kind = "mapping"
        while not isinstance(event := source.get_event(), CollectionEndEvent):
            child = self._span(source, event)
            if span.kind == "mapping":
                value = self._span(source, source.get_event())
                span.entries[event.value] = child, value
                child = value
            else:
                span.items.append(child)
            span.end = child.end
        closing: Any = event.end_mark
        if flow:
            span.end = closing.index
        return span
