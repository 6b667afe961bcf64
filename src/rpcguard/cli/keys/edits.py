"""
Adding an entry to a list of a project, and taking one away, as edits of the text.

An edit says beforehand what the file must mean afterwards. The text that comes out is read again
and compared with that: where the layout is one that these rules do not foresee, or where anchors
let one list stand in two projects, nothing is edited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as AnyMapping
from typing import Any

from rpcguard.cli.keys.spans import Span, Spans
from rpcguard.registry.nodes import Items, Mapping, Node, Text
from rpcguard.registry.reader import parse

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9_])?")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_NUMBER = re.compile(r"[0-9.][0-9._eE-]*|0[xob][0-9A-Fa-f_]+")  # to other readers of the file


class LayoutError(Exception):
    """The text is laid out in a way that is not edited; the argument says what to do."""


def added(text: str, project: str, member: str, entry: AnyMapping[str, str]) -> str:
    """
    Return *text* with *entry* at the end of the list *member* of *project*, made if missing.

    Args:
        text: A registry, found good by `rpcguard.registry.reader`.
        project: Name of a project that it has.
        member: "keys", "secrets" or "api_keys".
        entry: The entry's members in their order.

    Raises:
        LayoutError: If that cannot be done without touching anything else.
    """
    wanted = plain(text)
    spans = Spans(text)
    model = wanted["projects"][project]
    model[member] = [*(model.get(member) or []), dict(entry)]
    splices = _adding(spans, _project(spans, project), member, entry)
    return _spliced(text, splices, wanted)


def removed(text: str, project: str, member: str, index: int) -> str:
    """
    Return *text* without the entry at *index* of the list *member* of *project*.

    The last one leaves an empty list behind: a project without `keys` may be an open one.

    Raises:
        LayoutError: If that cannot be done without touching anything else.
    """
    wanted = plain(text)
    spans = Spans(text)
    del wanted["projects"][project][member][index]
    splices = _removing(spans, _project(spans, project).entries[member][1], index)
    return _spliced(text, splices, wanted)


def plain(text: str) -> Any:
    """Return what *text* says, as mappings, lists and texts; None for a null."""
    document = parse(text.encode("utf-8", "surrogatepass"), "")
    if document.root is None or document.problems:
        raise LayoutError
    return _plain(document.root)


def _plain(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {key: _plain(child) for key, child in node.entries.items()}
    if isinstance(node, Items):
        return [_plain(child) for child in node.items]
    return node.text if isinstance(node, Text) else None


def _project(spans: Spans, name: str) -> Span:
    projects = spans.root.entries["projects"][1]
    project = projects.entries[name][1] if projects.kind == "mapping" else projects
    if project.kind != "mapping":
        raise LayoutError
    return project


_Splice = tuple[int, int, str]


def _spliced(text: str, splices: list[_Splice], wanted: Any) -> str:
    for start, end, replacement in sorted(splices, reverse=True):
        text = text[:start] + replacement + text[end:]
    if plain(text) != wanted:
        raise LayoutError
    return text


def _adding(spans: Spans, project: Span, member: str, entry: AnyMapping[str, str]) -> list[_Splice]:
    inline = f"{{{', '.join(_pairs(entry))}}}"
    if member not in project.entries:
        if project.flow:
            end = list(project.entries.values())[-1][1].end
            return [(end, end, f", {member}: [{inline}]")]
        indent = _indent(spans, next(iter(project.entries.values()))[0].start)
        return [_line(spans, project.end, [f"{indent}{member}:", f"{indent}  - {inline}"])]
    items = project.entries[member][1]
    if items.kind == "text":  # a null: written as nothing at all, or as a word
        gap = "" if items.end > items.start else " "
        return [(items.start, items.end, f"{gap}[{inline}]")]
    if items.kind != "items":
        raise LayoutError
    if not items.items:
        inside = spans.bracket(items)
        return [(inside, inside, inline)]
    last = items.items[-1]
    if items.flow:
        return _adding_to_flow(spans, last, inline)
    dash = spans.dash(last)
    indent = _indent(spans, dash)
    if last.kind != "mapping" or last.flow:
        return [_line(spans, last.end, [f"{indent}- {inline}"])]
    first = next(iter(last.entries.values()))[0].start
    gap = spans.text[dash + 1 : first]
    gap = gap if gap.strip(" ") == "" else " "
    lead, *rest = _pairs(entry)
    return [
        _line(
            spans,
            last.end,
            [f"{indent}-{gap}{lead}", *(f"{indent} {gap}{pair}" for pair in rest)],
        )
    ]


def _adding_to_flow(spans: Spans, last: Span, inline: str) -> list[_Splice]:
    comma = spans.comma(last)
    end = spans.line_end(comma or last.end)
    start = spans.line_start(last.start)
    indent = spans.text[start : last.start]
    if end is None or indent.strip(" \t"):  # not on a line of its own
        return [(last.end, last.end, f", {inline}")]
    line = f"{spans.line_break()}{indent}{inline}"
    if comma:
        return [(end, end, line + ",")]
    if end == last.end:
        return [(end, end, "," + line)]
    return [(last.end, last.end, ","), (end, end, line)]


def _line(spans: Spans, end: int, lines: list[str]) -> _Splice:
    """Return the splice that puts *lines* below the line in which *end* stands."""
    at = spans.next_line(end)
    if at is None:
        raise LayoutError
    line_break = spans.line_break()
    whole = line_break.join(lines)
    if spans.line_start(at) != at:  # the last line of a text that does not end with a break
        return at, at, line_break + whole
    return at, at, whole + line_break


def _indent(spans: Spans, position: int) -> str:
    indent = spans.text[spans.line_start(position) : position]
    if indent.strip(" "):
        raise LayoutError
    return indent


def _removing(spans: Spans, items: Span, index: int) -> list[_Splice]:
    if items.kind != "items":
        raise LayoutError
    item = items.items[index]
    if items.flow:
        return [_removing_from_flow(spans, items.items, index)]
    dash = spans.dash(item)
    start = spans.line_start(dash)
    end = spans.next_line(item.end)
    if end is None or spans.text[start:dash].strip(" "):
        raise LayoutError
    splices = [(start, end, "")]
    if len(items.items) == 1:
        head = spans.before(dash)  # the colon, or an anchor behind it
        splices.append((head, head, " []"))
    return splices


def _removing_from_flow(spans: Spans, items: list[Span], index: int) -> _Splice:
    item, text = items[index], spans.text
    comma = spans.comma(item)
    start, end = spans.line_start(item.start), spans.next_line(comma or item.end)
    if end is not None and not text[start : item.start].strip(" \t"):
        return start, end, ""  # it has lines of its own
    if comma is not None:
        stop = comma
        while text[stop : stop + 1] in (" ", "\t"):
            stop += 1
        return item.start, stop, ""
    if index:
        before = items[index - 1].end
        if text[before : item.start].strip(" \t") == ",":
            return before, item.end, ""
    return item.start, item.end, ""


def _pairs(entry: AnyMapping[str, str]) -> list[str]:
    return [f"{name}: {_scalar(value)}" for name, value in entry.items()]


def _scalar(text: str) -> str:
    plain_text = _PLAIN.fullmatch(text) and not _NUMBER.fullmatch(text)
    return (
        text if plain_text and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)
    )
