"""`rpcguard init`: a registry that works, with fresh keys."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from rpcguard.cli import files, starter
from rpcguard.cli.output import complain, say, say_json

_PUBLIC = frozenset({starter.REGISTRY})


def init(directory: Path, *, force: bool, as_json: bool) -> int:
    """
    Make the starter files in *directory* and return the exit code.

    Raises:
        OSError: If something cannot be written.
    """
    made = starter.make()
    occupied = [] if force else files.in_the_way(directory, made)
    if occupied:
        if as_json:
            say_json({"error": "files exist", "files": occupied})
        else:
            complain(
                f"nothing written: these files exist in {directory} (--force replaces them):",
                *(f"  {name}" for name in occupied),
            )
        return 1
    files.write(directory, made, _PUBLIC)
    projects = list(json.loads(made[starter.CREDENTIALS])["projects"])
    following = f"rpcguard check {shlex.quote(str(directory / starter.REGISTRY))}"
    if as_json:
        document = {"directory": str(directory), "files": list(made), "projects": projects}
        say_json({**document, "next": following})
    else:
        _report(directory, list(made), projects, following)
    return 0


def _report(directory: Path, names: list[str], projects: list[str], following: str) -> None:
    keys = [name for name in names if name.startswith("keys/")]
    say(
        f"Made in {directory}:",
        f"  {starter.REGISTRY:<17} {len(projects)} projects: {', '.join(projects)}",
        f"  {'keys/':<17} {len(keys)} fresh keys and secrets, readable by you alone",
        f"  {starter.CREDENTIALS:<17} what a caller needs to try each project: keep it secret",
        "",
        f"Next: {following}",
    )
