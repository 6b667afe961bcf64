"""Every command of `rpcguard`, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from docs.generated.tables import code, table
from rpcguard.cli.app import app


def commands() -> str:
    """Return a section for each command: what it does, how it is called, and its options."""
    return "\n".join(_sections(typer.main.get_command(app), "rpcguard", None))


def _sections(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    for inner in getattr(command, "commands", {}).values():
        if getattr(inner, "commands", None):
            yield from _sections(inner, f"{name} {inner.name}", context)
        else:
            yield _section(inner, f"{name} {inner.name}", context)


def _section(command: Any, name: str, parent: Any) -> str:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    shown = (parameter.get_help_record(context) for parameter in command.params)
    options = table(
        ("argument or option", "meaning"),
        ((code(left), right) for left, right in filter(None, shown)),
    )
    return f"## {name}\n\n{command.help}\n\n```text\n{usage}\n```\n\n{options}"
