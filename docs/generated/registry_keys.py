"""Every key of the registry, from the JSON Schema that `rpcguard schema` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generated.tables import code, table
from rpcguard.registry import grammars
from rpcguard.registry.editor import json_schema

Schema = Mapping[str, Any]
TOP = "Registry"
_DEFAULT = re.compile(r"(?:;|\.) default (?P<value>.+?)\.?$", re.IGNORECASE)
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def registry_keys() -> str:
    """Return a section for each mapping of the registry: where it stands, and its keys."""
    whole = json_schema()
    places = dict(_places(whole, whole["$defs"]))
    kinds: dict[str, Schema] = {TOP: whole} | whole["$defs"]
    return "\n".join(_section(name, kinds[name], where) for name, where in places.items())


def _places(whole: Schema, kinds: Mapping[str, Schema]) -> dict[str, list[str]]:
    """Return where each kind of mapping stands, outer ones first."""
    places: dict[str, list[str]] = {TOP: []}
    waiting = [("", whole)]
    while waiting:
        prefix, kind = waiting.pop(0)
        for key, schema in kind["properties"].items():
            for name, steps in _inner(schema):
                place = f"{prefix}{key}{steps}"
                if name not in places:
                    places[name] = []
                places[name].append(place)
                waiting.append((f"{place}.", kinds[name]))
    return places


def _inner(schema: Schema, steps: str = "") -> Iterator[tuple[str, str]]:
    """Yield the kinds of mapping that a value may be or hold, with the steps to them."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2], steps
    for choice in schema.get("anyOf", ()):
        yield from _inner(choice, steps)
    if "items" in schema:
        yield from _inner(schema["items"], f"{steps}[]")
    for inside in _values(schema):
        yield from _inner(inside, f"{steps}.NAME")


def _values(schema: Schema) -> list[Schema]:
    """Return the schemas of the values of a mapping whose keys the operator chooses."""
    found = list(schema.get("patternProperties", {}).values())
    other = schema.get("additionalProperties")
    return [*found, other] if isinstance(other, dict) else found


def _section(name: str, kind: Schema, where: list[str]) -> str:
    required = kind.get("required", ())
    rows = []
    for key, schema in kind["properties"].items():
        meaning, default = _meaning(schema)
        told = "required" if key in required else default or "–"
        rows.append((code(key), meaning, _type(schema), told))
    place = f"Stands at {', '.join(map(code, where))}." if where else "The file itself."
    keys = table(("key", "meaning", "type", "default"), rows)
    return f"## {name}\n\n{kind['description']} {place}\n\n{keys}"


def _meaning(schema: Schema) -> tuple[str, str]:
    """Return what a key means, and its default, which its description ends with."""
    text = schema["description"]
    told = _DEFAULT.search(text)
    if told:
        return f"{text[: told.start()]}.", _value(told["value"])
    default = schema.get("default")
    return text, _value(default) if isinstance(default, str) else ""


def _value(text: str) -> str:
    return code(text) if " " not in text else text


def _type(schema: Schema) -> str:
    """Return what a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    if "anyOf" in schema:
        return _choice(schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if inside := _values(schema):
        return f"mapping of names to {_type(inside[0])}"
    return _text(schema)


def _choice(choices: list[Schema]) -> str:
    """Return the words for several forms; a number that may be written as a text is one form."""
    pattern = next((each["pattern"] for each in choices if "pattern" in each), "")
    first = choices[0]
    if first.get("type") == "boolean":
        return "`true` or `false`"
    if first.get("type") in ("number", "integer"):
        if grammars.DURATION in pattern:
            return f"duration{_bounds(first, _seconds)}"
        if grammars.SIZE in pattern:
            return f"size{_bounds(first, _bytes)}"
        return f"whole number{_bounds(first, str)}"
    words = [_type(choice) for choice in choices]
    if len(words) == 2 and words[1] == f"list of {words[0]}":
        return f"{words[0]}, or a list"
    return " or ".join(words)


def _text(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "instant"
    if schema.get("writeOnly"):
        return "secret"
    if grammars.RATE in schema.get("pattern", ""):
        return "rate"
    return "file name" if schema.get("pattern") == r"\.yaml$" else "text"


def _bounds(schema: Schema, written: Any) -> str:
    most = schema["maximum"]
    least = schema.get("minimum")
    return f" to {written(most)}" if not least else f", {written(least)} to {written(most)}"


def _seconds(value: float) -> str:
    return _largest(int(value), _UNITS) or f"{int(value)}s"


def _bytes(value: int) -> str:
    return _largest(value, _SIZES) or f"{value}B"


def _largest(value: int, units: tuple[tuple[int, str], ...]) -> str:
    """Return *value* in the largest unit that divides it, or ""."""
    return next((f"{value // n}{unit}" for n, unit in units if value and not value % n), "")
