"""The one bash of a page: what a reader types goes on to hold, `cd` and `export` included."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 10.0  # seconds for a program to end by itself once it was asked to


class Shell:
    """
    A bash that runs commands one after the other, without a terminal and without input.

    Attributes:
        directory: Where it stands now.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self._mark = secrets.token_hex(16)  # ends each command's output
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that all that it started can be ended with it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._bash.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._bash.communicate()

    def run(self, command: str) -> tuple[str, int]:
        """
        Run *command*; return what it printed, on both streams, and its exit status.

        Raises:
            RuntimeError: If the command ended the shell, or is no command.
        """
        stdin, stdout = self._bash.stdin, self._bash.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{{\n{command}\n}} </dev/null\n")
        stdin.write(f"""printf '\\n{self._mark} %s %s\\n' "$?" "$PWD"\n""")
        stdin.flush()
        printed = ""
        for line in stdout:
            if line.startswith(self._mark):
                _, status, directory = line.rstrip("\n").split(" ", 2)
                self.directory = Path(directory)
                return printed.removesuffix("\n"), int(status)
            printed += line
        raise RuntimeError(f"the shell has ended: {printed}")

    def environ(self) -> dict[str, str]:
        """Return the variables that its commands get."""
        printed, _ = self.run("env -0")
        return dict(entry.split("=", 1) for entry in printed.split("\0") if "=" in entry)

    def start(self, command: str, log: Path) -> int:
        """Start *command* beside the others, its output into *log*; return its process id."""
        printed, _ = self.run(f"{command.rstrip()} >'{log}' 2>&1 &\necho $!")
        return int(printed)

    def end(self, pid: int) -> None:
        """End what `start` started, and wait until it has."""
        self.run(f"kill {pid}; wait {pid}; true")

    def runs(self, pid: int) -> bool:
        """Return whether what `start` started still runs."""
        return self.run(f"kill -0 {pid} 2>/dev/null")[1] == 0

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._bash.pid, number)
        except ProcessLookupError:
            pass
