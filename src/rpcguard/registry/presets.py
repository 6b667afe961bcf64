"""Presets: a provider's protocol as a YAML file, in the vocabulary of a project."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from rpcguard.errors import Problem
from rpcguard.registry.composer import MAX_PROBLEMS
from rpcguard.registry.files import Reading
from rpcguard.registry.nodes import Mapping, Node, Text, show
from rpcguard.registry.reader import Document, parse, read

# `importlib.resources` would do the same, and take a twentieth of the time that a start takes.
_FOLDER = Path(__file__).parents[1] / "presets"

# What belongs to one project and never to a protocol.
_NOT_IN_A_PRESET = frozenset({"preset", "match", "id", "secrets", "keys", "api_keys"})


@functools.cache
def shipped() -> tuple[str, ...]:
    """Return the names of the presets that come with rpcguard, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


@functools.cache
def _shipped(name: str) -> Document:
    source = _FOLDER / f"{name}.yaml"
    return parse(source.read_bytes(), str(source))


def overlay(over: Node, under: Node) -> Node:
    """
    Return *over* laid over *under*: mappings merge, all else replaces. Neither is changed; every
    value keeps the place in the file that it came from.
    """
    if not isinstance(over, Mapping) or not isinstance(under, Mapping):
        return over
    merged = _copy(over)
    merged.faulty = over.faulty or under.faulty
    merged.keys = {**under.keys, **over.keys}
    merged.entries = dict(under.entries)
    for key, node in over.entries.items():
        below = under.entries.get(key)
        merged.entries[key] = node if below is None else overlay(node, below)
    return merged


def _copy(node: Mapping) -> Mapping:
    copied = Mapping(node.place)
    copied.entries, copied.keys, copied.faulty = node.entries, node.keys, node.faulty
    return copied


def similar(name: str, known: Iterable[str]) -> str:
    """Return a question after the one of *known* that resembles *name*, or nothing."""
    import difflib  # noqa: PLC0415  only who has made a mistake waits for it

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class Presets:
    """
    Lays projects over their presets.

    Attributes:
        problems: What is wrong with the presets, or with the choice of one.
        bare: Names of the projects whose preset cannot be used.
    """

    def __init__(self, base: Path, reading: Reading) -> None:
        """
        Take where relative paths start, and what remembers the files.

        Args:
            base: Directory of the registry.
            reading: Reads presets of the operator's own.
        """
        self.problems: list[Problem] = []
        self.bare: set[str] = set()
        self._base = base
        self._reading = reading
        self._own: dict[Path, Document] = {}

    def under(self, root: Mapping) -> Mapping:
        """Return *root* with every project that names a preset laid over it."""
        projects = root.child("projects")
        if not isinstance(projects, Mapping):
            return root
        merged = _copy(projects)
        merged.entries = {
            name: self._project(name, node) for name, node in projects.entries.items()
        }
        whole = _copy(root)
        whole.entries = {**root.entries, "projects": merged}
        return whole

    def _project(self, name: str, project: Node) -> Node:
        choice = project.child("preset")
        if not isinstance(choice, Text) or not choice.text:
            return project  # missing, empty or no text: the schema says so
        preset = self._load(choice.text)
        if preset is None and len(self.problems) < MAX_PROBLEMS:
            known = ", ".join(shipped())
            self.problems.append(
                Problem(
                    f"no such preset{similar(choice.text, shipped())} (there are {known};"
                    " or a file such as ./mine.yaml)",
                    *choice.place,
                    show(("projects", name, "preset")),
                )
            )
        if preset is None or preset.root is None:
            self.bare.add(name)
            return project
        return overlay(project, preset.root)

    def _load(self, choice: str) -> Document | None:
        if choice.endswith(".yaml"):
            path = Path(self._base, choice)
            if path not in self._own:
                self._own[path] = self._checked(
                    read(str(path.absolute()), self._reading, str(path))
                )
            return self._own[path]
        return _shipped(choice) if choice in shipped() else None

    def _checked(self, preset: Document) -> Document:
        self.problems.extend(preset.problems)
        for key, place in preset.root.keys.items() if preset.root else ():
            if key in _NOT_IN_A_PRESET:
                self.problems.append(
                    Problem("belongs to a project, not into a preset", *place, key)
                )
        return preset
