"""The one Python of a page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

WORKER = Path(__file__).with_name("worker.py")


class Interpreter:
    """Runs blocks in one namespace; its process starts with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate()  # which ends its input, and so the process

    def run(
        self, code: str, *, page: str, line: int, directory: Path, environ: Mapping[str, str]
    ) -> str:
        """
        Run *code*, which stands at *line* of *page*; return what it printed.

        Raises:
            AssertionError: If it raised; the text is the traceback.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", str(WORKER)],
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        asked = {"code": code, "page": page, "line": line, "environ": dict(environ)}
        stdin.write(json.dumps(asked | {"directory": str(directory)}) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        if answer["failed"]:
            raise AssertionError(answer["failed"])
        return str(answer["printed"])
