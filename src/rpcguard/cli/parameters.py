"""Parameters that several commands take, and how their texts are read."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from rpcguard.registry import grammars
from rpcguard.registry.files import Reading
from rpcguard.registry.nodes import Mapping
from rpcguard.registry.reader import read

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Registry = Annotated[Path, typer.Argument(help="The registry, a YAML file.", metavar="REGISTRY")]


def projects() -> list[str]:
    """Return the names of the projects of the registry on the command line, for completion."""
    # as the shells pass it; what was parsed so far does not reach an option that has no value yet
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    for word in line.split():
        root = read(str(Path(word).absolute()), Reading()).root if word.endswith("ml") else None
        found = root.child("projects") if root is not None else None
        if isinstance(found, Mapping):
            return list(found.entries)
    return []


Project = Annotated[
    str,
    typer.Option("--project", help="Name of the project in the registry.", autocompletion=projects),
]


def one_of(names: list[str], value: str | None, option: str) -> None:
    """
    Accept *value* if it is one of *names*, or None.

    Raises:
        typer.BadParameter: If it is neither.
    """
    if value is not None and value not in names:
        raise typer.BadParameter(f"one of {', '.join(names)}", param_hint=option)


def instant(text: str) -> float:
    """
    Return the Unix seconds of an RFC 3339 instant.

    Raises:
        typer.BadParameter: If it is none.
    """
    try:
        return grammars.instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def instant_text(text: str) -> str:
    """Return *text*, an instant as a registry holds it; raises as `instant`."""
    instant(text)
    return text


def moment(text: str) -> float:
    """Return the Unix seconds of an instant, or of their own number; raises as `instant`."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else instant(text)


def header(text: str) -> tuple[str, str]:
    """
    Return name and value of `Name: value`.

    Raises:
        typer.BadParameter: If it is none.
    """
    name, mark, value = text.partition(":")
    if not mark or not name.strip():
        raise typer.BadParameter("expected NAME:VALUE", param_hint="--header")
    return name.strip(), value.strip()


def later(text: str) -> float:
    """Return the Unix seconds of an instant that has not passed; raises as `instant`."""
    found = instant(text)
    if found <= time.time():
        raise typer.BadParameter("this instant has passed")
    return found
