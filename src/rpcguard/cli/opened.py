"""What an operator does with the backend of a registry, and how it is said that it was not done."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rpcguard.cli.output import complain, say_json
from rpcguard.errors import AuthError, BackendError, ConfigError
from rpcguard.registry import schema
from rpcguard.registry.merge import load_models
from rpcguard.verifier import Verifier

STDIN = "-"
LONGEST = 64 * 1024  # bytes of a credential; no registry accepts one as long
_PER_PROCESS = (
    "the backend of this registry is memory://, which each process has for itself:"
    " no server would see what is written here"
)

Work = Callable[[Verifier, schema.Registry], dict[str, Any]]


class RefusalError(Exception):
    """What was asked for cannot be done. Its argument is text for the operator."""


def carry_out(
    file: Path, work: Work, show: Callable[[dict[str, Any]], None], *, as_json: bool
) -> int:
    """
    Do *work* with the registry *file* and its backend, say what was done, return the exit code.

    Args:
        file: The registry.
        work: Returns what was done as a JSON object.
        show: Prints it for people.
        as_json: Print the object instead.

    Raises:
        OSError: If a file cannot be read.
    """
    return answered(file, lambda: _do(file, work), show, as_json=as_json)


def answered(
    file: Path,
    work: Callable[[], dict[str, Any] | None],
    show: Callable[[dict[str, Any]], None],
    *,
    as_json: bool,
) -> int:
    """
    Do *work* with a registry, say what was done or why it was not, return the exit code.

    Args:
        file: The registry.
        work: Returns what was done as a JSON object; None where it has said so itself.
        show: Prints it for people.
        as_json: Print the object instead.

    Raises:
        OSError: If a file cannot be read.
    """
    # Warnings are what `rpcguard check` shows; without a handler logging would print them here.
    logging.getLogger("rpcguard").addHandler(logging.NullHandler())
    try:
        return completed(work, show, as_json=as_json)
    except ConfigError as error:
        count = len(error.problems)
        said = f"{file} is not valid: {count} problem{'s' if count > 1 else ''}"
        if as_json:
            say_json({"error": said, "problems": list(map(asdict, error.problems))})
        else:
            complain(said, *(f"  {problem}" for problem in error.problems))
        return 1


def completed(
    work: Callable[[], dict[str, Any] | None],
    show: Callable[[dict[str, Any]], None],
    *,
    as_json: bool,
) -> int:
    """
    Do *work*, say what was done or why it was not, return the exit code.

    Args:
        work: Returns what was done as a JSON object; None where it has said so itself.
        show: Prints it for people.
        as_json: Print the object instead.

    Raises:
        OSError: If a file cannot be read.
    """
    try:
        done = work()
    except RefusalError as error:
        return refuse(str(error), as_json=as_json)
    if done is None:
        return 0
    if as_json:
        say_json(done)
    else:
        show(done)
    return 0


def refuse(said: str, *, as_json: bool) -> int:
    """Print why nothing was done, and return the exit code."""
    if as_json:
        say_json({"error": said})
    else:
        complain(said)
    return 1


def _do(file: Path, work: Work) -> dict[str, Any]:
    registry = load_models(file, os.environ).registry
    if registry.backend.partition(":")[0].lower() == "memory":
        raise RefusalError(_PER_PROCESS)
    with Verifier.from_yaml(file, watch=False) as verifier:
        try:
            return work(verifier, registry)
        except (LookupError, ValueError) as error:
            raise RefusalError(str(error.args[0])) from None
        except AuthError as error:
            raise RefusalError(f"no credential of this project: {error.reason}") from None
        except BackendError as error:
            raise RefusalError(f"nothing was written, the backend failed: {error}") from None


def read_credential(source: str) -> str:
    """
    Return the credential in the file *source*, or on standard input for "-".

    White space around it is dropped.

    Raises:
        OSError: If it cannot be read.
        RefusalError: If it is empty, too long, or not plain ASCII. It is never quoted.
    """
    if source == STDIN:
        raw = sys.stdin.buffer.read(LONGEST + 1)
    else:
        with Path(source).open("rb") as file:
            raw = file.read(LONGEST + 1)
    text = raw.strip()
    if not text or len(raw) > LONGEST or not text.isascii() or len(text.split()) > 1:
        raise RefusalError("what was read is no single credential")
    return text.decode("ascii")
