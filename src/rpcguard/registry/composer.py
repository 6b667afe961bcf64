"""
libyaml's events to a tree of nodes, iteratively and bounded.

Not `yaml.compose`: it recurses in C, and a file of 100 000 brackets ends the interpreter. Here the
first value that is too deep ends the reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from rpcguard.errors import Problem
from rpcguard.registry.nodes import Broken, Items, Mapping, Node, Place, Text, show

MAX_DEPTH = 32  # a registry nests eight levels
MAX_VALUES = 500_000  # 100 000 keys of four fields each
MAX_ALIASED = 200_000  # values that aliases add: a policy shared by 20 000 keys, but no alias bomb
MAX_PROBLEMS = 1000  # nobody reads more, and a file that is no registry can have millions

_CORE = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"!", *(_CORE + name for name in ("str", "int", "float", "bool", "null"))})
_ITEMS_TAGS = frozenset({"!", _CORE + "seq"})
_MAPPING_TAGS = frozenset({"!", _CORE + "map"})
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Neither the tag nor the alias is quoted: a secret that begins with ! or * looks like one.
_BAD_TAG = "tags are not supported (quote a text that begins with !)"
_BAD_ALIAS = "no such anchor (quote a text that begins with *)"

_DISCARD = (
    ""  # stands for a refused key, so that its value is read and dropped; no real key is empty
)


class StopComposing(Exception):  # noqa: N818  (not an error of its own: the problem is noted)
    """There is no point in reading on."""


@dataclass(slots=True)
class _Frame:
    """
    A collection that is still open.

    Attributes:
        node: It.
        anchor: Its own anchor.
        values: How many values the document had before it.
        key: In a mapping, the key whose value comes next; None where a key comes next.
        height: Levels below it so far.
    """

    node: Items | Mapping
    anchor: str | None
    values: int
    key: str | None = None
    height: int = 0


class _Anchor(NamedTuple):
    """What an alias stands for; no node while it is still open."""

    node: Node | None = None
    size: int = 0
    height: int = 0


@dataclass(slots=True)
class Composer:
    """
    Builds the tree of one file.

    Attributes:
        file: How messages name the file.
        problems: What is wrong with it.
        root: The finished top value, or None.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    root: Node | None = None
    _frames: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, _Anchor] = field(default_factory=dict)
    _documents: int = 0
    _values: int = 0
    _aliased: int = 0

    def run(self, source: Any) -> None:
        """
        Take every event of *source*, a PyYAML loader.

        Raises:
            StopComposing: If reading on is pointless.
            yaml.YAMLError: If the text is not YAML.
        """
        next_event = source.get_event
        while (event := next_event()) is not None:
            if type(event) is ScalarEvent:
                self._scalar(event)
            elif isinstance(event, CollectionEndEvent):
                self._close()
            elif isinstance(event, CollectionStartEvent):
                self._open(event)
            elif isinstance(event, AliasEvent):
                self._alias(event)
            elif isinstance(event, DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    self._stop("a second document; a registry is one", self._place(event))

    def note(self, message: str, place: Place, *key: str) -> None:
        """Note a problem at *place*, at *key* below the collections that are open."""
        path: list[str | int] = []
        for frame in self._frames:
            if isinstance(frame.node, Items):
                path.append(len(frame.node.items))
            elif frame.key:
                path.append(frame.key)
        self.problems.append(Problem(message, *place, show([*path, *key])))
        if len(self.problems) >= MAX_PROBLEMS:
            raise StopComposing

    def _stop(self, message: str, place: Place) -> NoReturn:
        self.note(message, place)
        raise StopComposing

    def _place(self, event: Event) -> Place:
        mark: Any = event.start_mark  # never None on a parser's events
        return self.file, mark.line + 1, mark.column + 1

    def _awaiting_key(self) -> Mapping | None:
        if self._frames:
            frame = self._frames[-1]
            if frame.key is None and type(frame.node) is Mapping:
                return frame.node
        return None

    def _scalar(self, event: ScalarEvent) -> None:
        mark: Any = event.start_mark
        place = (self.file, mark.line + 1, mark.column + 1)
        text, tag, style = event.value, event.tag, event.style
        node: Node
        if tag is not None and tag not in _TEXT_TAGS:
            self.note(_BAD_TAG, place)
            node = Broken(place)
        elif style == '"' and not text.isascii() and _has_surrogate(text):
            self.note("half of an escaped character", place)
            node = Broken(place)
        elif (mapping := self._awaiting_key()) is not None:
            self._frames[-1].key = self._key(mapping, text, style, place)
            return
        elif text in _NULLS and (tag == _CORE + "null" or not (tag or style)):
            node = Text(place, None)
        else:
            node = Text(place, text)
        if event.anchor is not None:
            self._name(event.anchor, node, 1, 0)
        self._add(node)

    def _key(self, node: Mapping, text: str, style: str | None, place: Place) -> str:
        if not text:
            self.note("an empty key", place)
        elif text == "<<" and not style:
            self.note("merge keys (<<) are not supported", place)
        elif text in node.keys:
            self.note(f"duplicate key, first on line {node.keys[text][1]}", place, text)
        else:
            node.keys[text] = place
            return text
        node.faulty = True
        return _DISCARD

    def _open(self, event: CollectionStartEvent) -> None:
        place = self._place(event)
        if len(self._frames) >= MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", place)
        if self._awaiting_key() is not None:
            self.note("a key must be text", place)
        node: Items | Mapping
        if isinstance(event, MappingStartEvent):
            node, tags = Mapping(place), _MAPPING_TAGS
        else:
            node, tags = Items(place), _ITEMS_TAGS
        if event.tag is not None and event.tag not in tags:
            self.note(_BAD_TAG, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor()
        self._frames.append(_Frame(node, event.anchor, self._values))

    def _close(self) -> None:
        frame = self._frames.pop()
        height = frame.height + 1
        if frame.anchor is not None:
            self._name(frame.anchor, frame.node, self._values - frame.values + 1, height)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, height)
        self._add(frame.node)

    def _alias(self, event: AliasEvent) -> None:
        place = self._place(event)
        if self._awaiting_key() is not None:
            self.note("a key must be text, not an alias", place)
            self._add(Broken(place))
            return
        named = self._anchors.get(event.anchor or "")
        if named is None:
            self.note(_BAD_ALIAS, place)
            self._add(Broken(place))
            return
        if named.node is None:
            self._stop("an alias inside the value that it names", place)
        self._values += named.size - 1
        self._aliased += named.size
        if self._aliased > MAX_ALIASED:
            self._stop(f"aliases add more than {MAX_ALIASED} values", place)
        if len(self._frames) + named.height > MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", place)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, named.height)
        self._add(named.node)

    def _name(self, anchor: str, node: Node, size: int, height: int) -> None:
        node.shared = True
        self._anchors[anchor] = _Anchor(node, size, height)

    def _add(self, node: Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop(f"more than {MAX_VALUES} values", node.place)
        if not self._frames:
            self.root = node if self.root is None else self.root
            return
        frame = self._frames[-1]
        parent = frame.node
        if type(parent) is Items:
            parent.items.append(node)
        elif type(parent) is Mapping:
            if frame.key is None:  # a complex key has ended: drop its value too
                parent.faulty = True
                frame.key = _DISCARD
                return
            if frame.key:
                parent.entries[frame.key] = node
            frame.key = None


def _has_surrogate(text: str) -> bool:
    # libyaml refuses such an escape; PyYAML's own parser lets it through
    return any("\ud800" <= character <= "\udfff" for character in text)
