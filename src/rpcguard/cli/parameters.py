"""Parameters that several commands take, and how their texts are read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rpcguard.registry import grammars

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Registry = Annotated[Path, typer.Argument(help="The registry, a YAML file.", metavar="REGISTRY")]
Project = Annotated[str, typer.Option("--project", help="Name of the project in the registry.")]


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


def later(text: str) -> float:
    """Return the Unix seconds of an instant that has not passed; raises as `instant`."""
    found = instant(text)
    if found <= time.time():
        raise typer.BadParameter("this instant has passed")
    return found
