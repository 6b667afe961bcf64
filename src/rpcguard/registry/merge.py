"""One registry file to validated models: read, laid over its presets, expanded, checked."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import NamedTuple

from rpcguard.errors import ConfigError, Problem
from rpcguard.registry.composer import MAX_PROBLEMS
from rpcguard.registry.expand import Expander
from rpcguard.registry.files import Files, Reading
from rpcguard.registry.places import Places
from rpcguard.registry.presets import Presets
from rpcguard.registry.reader import read
from rpcguard.registry.schema import Registry
from rpcguard.registry.validate import Validated


class Loaded(NamedTuple):
    """
    A registry whose every field is right.

    Attributes:
        registry: The models.
        places: (loc, message, *, warning=False) to the `Problem` at that place of the files.
        files: Every file that was read or looked for.
        warnings: What is worth telling the operator.
    """

    registry: Registry
    places: Places
    files: Files
    warnings: tuple[Problem, ...]


class Examined(NamedTuple):
    """
    A registry that may have problems, and what remains of it without them.

    Attributes:
        registry: The models of what is right; None if that is not enough to stand alone.
        places: As in `Loaded`; None where `registry` is.
        files: Every file that was read or looked for.
        warnings: What is worth telling the operator.
        problems: Everything wrong, in the order of the files.
        damaged: Names of the projects from which something is missing: what is said of such a
            project as a whole (it has no match, no keys) may not be true of the file.
    """

    registry: Registry | None
    places: Places | None
    files: Files
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    damaged: frozenset[str]


def load_models(path: Path, environ: AnyMapping[str, str]) -> Loaded:
    """
    Return the registry at *path*.

    Args:
        path: The YAML file.
        environ: Where `${env:NAME}` looks.

    Raises:
        ConfigError: With every problem found and every file looked for.
    """
    found = examine(path, environ)
    if found.problems or found.registry is None or found.places is None:
        raise ConfigError(*found.problems, files=found.files)
    return Loaded(found.registry, found.places, found.files, found.warnings)


def examine(path: Path, environ: AnyMapping[str, str]) -> Examined:
    """
    Return what can be told of the registry at *path*, right or wrong. Never raises.

    Args:
        path: The YAML file.
        environ: Where `${env:NAME}` looks.
    """
    shown = str(path)
    reading = Reading()
    document = read(str(path.absolute()), reading, shown)
    if document.root is None:
        problems = in_order(document.problems)
        return Examined(None, None, reading.files(), (), problems, frozenset())
    presets = Presets(path.parent, reading)
    root = presets.under(document.root)
    expander = Expander(environ, reading)
    validated = Validated(root)
    validated.run(expander.plain(root))
    problems = in_order(
        (*document.problems, *presets.problems, *expander.problems, *validated.problems), shown
    )
    registry = validated.registry and _without(validated.registry, presets.bare)
    return Examined(
        registry,
        Places(validated.root) if registry else None,
        reading.files(),
        in_order(expander.warnings, shown),
        problems,
        _damaged(registry, problems, shown),
    )


def in_order(problems: tuple[Problem, ...] | list[Problem], first: str = "") -> tuple[Problem, ...]:
    """Return *problems* without repetitions, by place, those of the file *first* before others."""
    unique = {(p.file, p.line, p.column, p.message): p for p in reversed(problems)}
    ordered = sorted(unique.values(), key=lambda p: (p.file != first, p.file, p.line, p.column))
    return tuple(ordered[:MAX_PROBLEMS])


def _without(registry: Registry, names: set[str]) -> Registry | None:
    """Return *registry* without the projects *names*, of which next to nothing is known."""
    if not names:
        return registry
    projects = {name: model for name, model in registry.projects.items() if name not in names}
    return registry.model_copy(update={"projects": projects}) if projects else None


def _damaged(registry: Registry | None, problems: tuple[Problem, ...], file: str) -> frozenset[str]:
    names = tuple(registry.projects) if registry else ()
    keys = {problem.key + "." for problem in problems} | {
        problem.key.partition("[")[0] + "." for problem in problems
    }
    if any(
        problem.file != file and not problem.key.startswith("projects.") for problem in problems
    ):
        return frozenset(names)  # a preset could not be read
    return frozenset(n for n in names if any(k.startswith(f"projects.{n}.") for k in keys))
