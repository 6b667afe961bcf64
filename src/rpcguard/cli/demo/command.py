"""`rpcguard demo`, from the temporary registry to the exit code."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rpcguard.cli import files, starter
from rpcguard.cli.demo import kit as kits
from rpcguard.cli.demo import render
from rpcguard.cli.demo.cases import cases
from rpcguard.cli.demo.interrupts import Interrupts
from rpcguard.cli.demo.runner import run
from rpcguard.cli.demo.serve import commands
from rpcguard.cli.demo.servers import FRAMEWORKS, ServerError, running
from rpcguard.cli.demo.wire import HOST
from rpcguard.cli.output import complain, say, say_json


def demo(*, as_json: bool) -> int:
    """
    Start all example servers, send them every case, print the outcomes and return the exit code.

    Raises:
        KeyboardInterrupt: On Ctrl-C or a signal that ends; nothing is left running or lying about.
        OSError: If the temporary registry cannot be written.
    """
    interrupts = Interrupts()
    try:
        with interrupts.installed(), _workspace(interrupts) as directory:
            if not as_json:
                say(f"{', '.join(FRAMEWORKS)}: three servers, one registry, one SQLite file.", "")
            with running(FRAMEWORKS, directory / starter.REGISTRY, interrupts) as servers:
                outcomes = list(run(cases(kits.load(directory)), servers))
    except ServerError as error:
        return _not_started(error, as_json=as_json)
    if as_json:
        say_json(render.document(outcomes))
    else:
        render.table(outcomes)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def serve(framework: str, port: int, *, as_json: bool) -> int:
    """
    Leave the example server of *framework* running until Ctrl-C, and print commands to paste.

    Raises:
        OSError: If the temporary registry cannot be written.
    """
    interrupts = Interrupts()
    try:
        with interrupts.installed(), _workspace(interrupts) as directory:
            registry = directory / starter.REGISTRY
            with running([framework], registry, interrupts, port=port) as servers:
                server = servers[framework]
                _announce(framework, server.port, directory, as_json=as_json)
                server.wait()
    except ServerError as error:
        return _not_started(error, as_json=as_json)
    except KeyboardInterrupt:
        return 0  # the way to end it
    return 0


def _announce(framework: str, port: int, directory: Path, *, as_json: bool) -> None:
    offered = commands(kits.load(directory), directory, port)
    url = f"http://{HOST}:{port}"
    if as_json:
        place = {"framework": framework, "url": url, "directory": str(directory)}
        say_json({**place, "commands": list(map(asdict, offered))})
    else:
        say(f"{framework} serves {url} with {directory / starter.REGISTRY}", "")
        for command in offered:
            say(f"# {command.shows}", command.command, "")
        say("Ctrl-C ends it.")


def _not_started(error: ServerError, *, as_json: bool) -> int:
    if as_json:
        say_json({"error": "\n".join(error.args)})
    else:
        complain(*error.args)
    return 1


@contextmanager
def _workspace(interrupts: Interrupts) -> Iterator[Path]:
    directory = None
    try:
        with interrupts.held():
            directory = Path(tempfile.mkdtemp(prefix="rpcguard-demo-"))
        files.write(directory, starter.make(), frozenset())
        yield directory
    finally:
        if directory is not None:
            with interrupts.held():
                shutil.rmtree(directory, ignore_errors=True)
