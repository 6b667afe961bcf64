"""A page, from its first block to its last."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from pages import registries
from pages.addresses import Addresses
from pages.blocks import ROOT, Block, Instruction, steps
from pages.interpreter import Interpreter
from pages.printed import agrees, cut, one_json
from pages.shell import Shell
from rpcguard.strict_json import loads

START = 60.0  # seconds for a server to accept its first connection


@dataclass(frozen=True)
class Difference:
    """A place where a page shows something else than what was printed."""

    line: int
    count: int
    printed: str
    told: str


class PageError(AssertionError):
    """A block that does not do what its page says, or that nobody executes."""


def run(path: Path) -> list[Difference]:
    """
    Run the page *path*; return where it shows something else than what was printed.

    Raises:
        PageError: If a block fails, or is of a kind that nobody executes and has no reason for it.
    """
    with ExitStack() as stack:
        return _Page(path, stack).differences()


class _Page:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        text = path.read_text(encoding="utf-8")
        self._steps = steps(text)
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rpcguard-page-")))
        self._logs = own / "logs"
        self._home = own / "srv"
        self._logs.mkdir()
        self._home.mkdir()
        self._shell = stack.enter_context(Shell(self._home, _environ(self._home)))
        self._python = stack.enter_context(Interpreter())
        self._addresses = Addresses(_ports(self._steps), text)
        self._running: dict[int, int] = {}  # shown port -> process id
        stack.callback(self._end_all)
        self._said = ""  # what the last Python block printed

    def differences(self) -> list[Difference]:
        found: list[Difference] = []
        for step in self._steps:
            try:
                if isinstance(step, Instruction):
                    self._instruct(step)
                else:
                    found += self._execute(step)
            except Exception as error:
                raise PageError(f"{self._name}:{step.line}: {error}") from error
        return found

    def _instruct(self, step: Instruction) -> None:
        if step.word == "server":
            registry, *framework = step.value.split()
            script = ROOT / "examples" / f"{(framework or ['flask'])[0]}_app.py"
            port = self._addresses.port(8000)
            command = f"{sys.executable} {script} --port {port} --registry {registry}"
            self._start(8000, command)
        elif step.word == "alias":
            self._addresses.add_alias(step.value)
        else:
            source, target = ROOT / step.value, self._home / step.value
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)

    def _execute(self, block: Block) -> Iterator[Difference]:
        """Execute *block* by its mark, else by its language."""
        marks = block.marks
        if "not run" in marks:
            return
        if "from" in marks:
            _must_hold((ROOT / marks["from"]).read_text(encoding="utf-8"), block.text)
        elif "save" in marks:
            self._save(block, marks["save"])
        elif "background" in marks:
            *before, (last, _, _) = _commands(block)
            for command, _, shown in before:
                self._run(command, shown)
            self._start(int(marks["background"]), self._addresses.real(last))
        elif "printed by" in marks:
            yield from self._compare(block, marks["printed by"])
        elif block.language == "console":
            yield from self._type(block)
        elif block.language == "text" and block.after == "python":
            yield from _difference(block, block.line, block.text, self._said, "the code before")
        else:
            self._by_language(block)

    def _by_language(self, block: Block) -> None:
        known: dict[str, Callable[[Block], None]] = {
            "python": self._run_python,
            "sh": self._paste,
            "yaml": self._load,
            "json": _parse,
        }
        if block.language.startswith("{") and not block.language.startswith(("{code", "{source")):
            return  # a directive, which `make docs` executes
        if block.language not in known:
            raise PageError(f"nobody executes a block of {block.language or 'no language'}")
        known[block.language](block)

    def _run_python(self, block: Block) -> None:
        self._said = self._addresses.shown(
            self._python.run(
                self._addresses.real(block.text),
                page=self._name,
                line=block.line,
                directory=self._shell.directory,
                environ=self._shell.environ(),
            )
        )

    def _load(self, block: Block) -> None:
        text = registries.whole(block.text, block.marks.get("preset", "bearer"))
        registries.load(text, self._shell.directory, self._shell.environ())

    def _save(self, block: Block, name: str) -> None:
        text = self._addresses.real(block.text)
        path = self._shell.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if block.language == "python":
            compile(text, name, "exec")
        if block.language == "yaml" and re.search(r"^version: 1$", text, re.MULTILINE):
            registries.load(text, path.parent, self._shell.environ())

    def _type(self, block: Block) -> Iterator[Difference]:
        """Run the commands of a transcript."""
        for command, line, shown in _commands(block):
            printed = self._run(command, shown)
            yield from _difference(block, line, shown, printed, command)

    def _paste(self, block: Block) -> None:
        """Run the commands of a block that shows no output."""
        self._run(f"failed=0; trap 'failed=1' ERR\n{block.text}trap - ERR; (exit $failed)\n", "")

    def _compare(self, block: Block, command: str) -> Iterator[Difference]:
        """Compare *block* with what *command* prints."""
        printed, shown = self._run(command, block.text), block.text
        if block.language == "json" and one_json(shown) == one_json(printed):
            return
        yield from _difference(block, block.line, shown, printed, command)

    def _run(self, command: str, shown: str) -> str:
        """
        Return what *command* prints, as a page shows it.

        Raises:
            PageError: If it fails, unless *shown* is all that it prints: then readers see why.
        """
        printed, status = self._shell.run(self._addresses.real(command))
        home = str(self._home)
        printed = cut(self._addresses.shown(printed).replace(home, "/srv")).replace("\r\n", "\n")
        if status and ("..." in shown or not shown or not agrees(shown, printed)):
            raise PageError(f"{command.rstrip()}: exit status {status}\n{printed}")
        return printed

    def _start(self, shown: int, command: str) -> None:
        """Start a server for the port *shown*, in the place of an earlier one."""
        if shown in self._running:
            self._shell.end(self._running.pop(shown))
        log = self._logs / str(shown)
        pid = self._shell.start(command, log)
        self._running[shown] = pid
        until = time.monotonic() + START
        while not _accepts(self._addresses.port(shown)):
            if not self._shell.runs(pid) or time.monotonic() > until:
                raise PageError(f"nothing listens: {command}\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.05)  # between two looks; what is waited for is looked at, not hoped for

    def _end_all(self) -> None:
        for pid in self._running.values():
            self._shell.end(pid)


def _environ(home: Path) -> dict[str, str]:
    """Return the variables of a page: those of the machine, but for what is about the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": scripts, "HOME": str(home), "COLUMNS": "100", "TERM": "dumb"}
    return kept | own | {"LC_ALL": "C.UTF-8"}


def _parse(block: Block) -> None:
    loads(block.text.encode())


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _ports(found: list[Block | Instruction]) -> Iterator[int]:
    for step in found:
        if isinstance(step, Block) and "background" in step.marks:
            yield int(step.marks["background"])
        elif isinstance(step, Instruction) and step.word == "server":
            yield 8000


def _commands(block: Block) -> Iterator[tuple[str, int, str]]:
    """Yield each command of a transcript, the line where its output begins, and that output."""
    command, shown, start, waiting = "", "", 0, False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("> " if waiting else "$ "):
            if not waiting and command:
                yield command, start, shown
                command, shown = "", ""
            command += line[2:] + "\n"
            start, waiting = number + 1, line.endswith("\\")
        elif not command or waiting:
            raise PageError(f"line {number} of a transcript comes before any command")
        else:
            shown += line + "\n"
    if command:
        yield command, start, shown


def _must_hold(whole: str, part: str) -> None:
    lines, count = whole.splitlines(), part.count("\n")
    runs = ("\n".join(lines[at : at + count]) for at in range(len(lines)))
    if not any(dedent(f"{run}\n") == dedent(part) for run in runs):
        raise PageError("the file that it comes from has something else")


def _difference(
    block: Block, line: int, shown: str, printed: str, command: str
) -> Iterator[Difference]:
    """Yield a difference unless the page, which shows *shown* from *line* on, may do so."""
    if agrees(shown, printed):
        return
    told = difflib.unified_diff(
        shown.splitlines(), printed.splitlines(), "the page", "what is printed", lineterm=""
    )
    fresh = "".join(f"{block.indent}{one}\n" for one in printed.splitlines())
    yield Difference(
        line, shown.count("\n"), fresh, f"line {line}: {command.rstrip()}\n" + "\n".join(told)
    )
