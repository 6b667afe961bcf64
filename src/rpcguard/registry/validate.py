"""
A tree to the models of `schema`, with every problem at its place.

A schema stops at what it cannot read: rules between fields are not looked at while a field is
wrong. So that one load names every problem, what is wrong is left out and the rest validated again;
what then stands can still be compiled, to find what only shows there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rpcguard.errors import Problem
from rpcguard.registry import schema
from rpcguard.registry.composer import MAX_PROBLEMS
from rpcguard.registry.expand import BROKEN, NULL
from rpcguard.registry.nodes import Items, Mapping, Node, Path
from rpcguard.registry.places import Places
from rpcguard.registry.presets import similar

_ROUNDS = 12  # each leaves out one level more, and there are eight

_KINDS = {
    "string_type": "one value",
    "not_text": "one value",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
# Steps to what is left out; an empty branch is what ends there.
_Branches: TypeAlias = dict[str | int, Any]


@dataclass(slots=True)
class Validated:
    """
    What validation gives.

    Attributes:
        root: The tree without what is wrong.
        registry: The models of that, or None if nothing that stands alone remains.
        problems: Everything wrong.
    """

    root: Mapping
    registry: schema.Registry | None = None
    problems: list[Problem] = field(default_factory=list)
    _left_out: set[Path] = field(default_factory=set)

    def run(self, data: dict[str, Any]) -> None:
        """Validate *data*, the plain values of the tree, leaving out what is wrong."""
        for _ in range(_ROUNDS):
            self.registry, errors = schema.validate(data)
            if not errors:
                return
            places = Places(self.root)
            branches: _Branches = {}
            for error in errors[:MAX_PROBLEMS]:
                for loc, message in self._faults(error, data, places):
                    if message:
                        of_key = error["type"] == "extra_forbidden" or "[key]" in error["loc"]
                        self.problems.append((places.key if of_key else places)(loc, message))
                    if loc != ("version",):
                        _branch(branches, loc)
            if len(errors) > MAX_PROBLEMS:
                return
            rest = self._without(self.root, {**data, "version": "1"}, branches, ())
            if rest is None or not isinstance(rest[0], Mapping):
                return
            self.root, data = rest

    def _faults(
        self, error: dict[str, Any], data: Any, places: Places
    ) -> Iterator[tuple[Path, str]]:
        """Give what one of pydantic's errors says; "" where the operator was told already."""
        loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
        if loc[-1:] == ("[key]",):
            loc = loc[:-1]
        if kind == "faults":
            told = _is_faulty(places.node(loc))
            for steps, message in context["faults"]:
                yield (*loc, *steps), "" if told else message
            return
        value = _value(data, loc)
        if value is NULL:
            yield loc, "empty: give a value, or leave the key out"
        elif value is BROKEN:
            yield loc, ""
        elif kind == "missing":
            told = _is_faulty(places.node(loc[:-1])) or places.original(loc) in self._left_out
            yield loc, "" if told else "required"
        elif kind == "too_short" and self._anything_left_out(places.original(loc)):
            yield loc, ""
        elif kind == "extra_forbidden":
            yield loc, f"unknown key{similar(str(loc[-1]), schema.known_keys(loc[:-1]))}"
        else:
            yield loc, _message(kind, context, places.node(loc))

    def _anything_left_out(self, path: Path) -> bool:
        return any(left[: len(path)] == path for left in self._left_out)

    def _without(self, node: Node, value: Any, branches: _Branches, path: Path) -> Any:
        """Return (node, value) without the *branches*, or None if it cannot stand without them."""
        if isinstance(node, Mapping) and branches:
            rest = Mapping(node.place)
            rest.keys, rest.faulty = node.keys, node.faulty
            values = {}
            for key, child in node.entries.items():
                kept = child, value[key]
                if key in branches:
                    kept = self._without(child, value[key], branches[key], (*path, key))
                if kept is not None:
                    rest.entries[key], values[key] = kept
            if node.entries.keys() >= branches.keys():  # else a key is missing
                return rest, values
        elif isinstance(node, Items) and branches:
            numbers = node.numbers or range(len(node.items))
            kept_ones = [index for index in range(len(node.items)) if index not in branches]
            items = Items(node.place)
            items.items = [node.items[index] for index in kept_ones]
            items.numbers = [numbers[index] for index in kept_ones]
            self._left_out.update((*path, numbers[int(index)]) for index in branches)
            return items, [value[index] for index in kept_ones]
        self._left_out.add(path)
        return None


def _branch(branches: _Branches, loc: Path) -> None:
    for step in loc[:-1]:
        branches = branches.setdefault(step, {})
    branches[loc[-1]] = {}


def _value(data: Any, loc: Path) -> Any:
    for step in loc:
        if isinstance(data, dict):
            data = data.get(str(step))
        elif isinstance(data, list):
            data = data[int(step)]
        else:
            return data
    return data


def _is_faulty(node: Node | None) -> bool:
    return isinstance(node, Mapping) and node.faulty


def _message(kind: str, context: dict[str, Any], node: Node | None) -> str:
    """Return what is wrong in the operator's words; nothing of it comes from the input."""
    if kind == "grammar":
        return str(context["message"])
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, found {node.kind if node else 'something else'}"
    if kind == "literal_error":
        return f"expected {context['expected']}".replace("'", "")
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    if kind == "string_too_long":
        return f"longer than {context['max_length']} characters"
    if kind == "string_pattern_mismatch":
        return "must not hold control characters"
    return f"not acceptable ({kind})"
