"""
Runs the commands of the `console` blocks of a document and writes down what they print.

    python docs/record.py docs/cli.md            # records anew
    python docs/record.py --check docs/cli.md    # fails where the document shows something else

The blocks share one empty directory. A line `<!-- server: PATH -->` starts an example server on the
registry PATH there; in the document its address is http://127.0.0.1:8000. Credentials are cut.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ADDRESS = "127.0.0.1:8000"
EXAMPLE = Path(__file__).parents[1] / "examples" / "flask_app.py"
_SERVER = re.compile(r"<!-- server: (\S+) -->")
# What differs from one run to the next, and what stands for it when two are compared.
_VOLATILE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT"),
    (r"\d+\.\d{3} s", "N s"),
    (r'"(now|seconds)": -?[\d.]+', r'"\1": N'),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "UUID"),
    (r"[A-Za-z0-9+/_-]{8,}…", "CUT"),
    (r"SHA256:\S+", "FINGERPRINT"),
    (r"[0-9a-f]{16}", "NONCE"),
    (r"\d{10}", "SECONDS"),
    (r" {2,}", "  "),
)
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])(?<!SHA256:)([A-Za-z0-9+/_-]{12})[A-Za-z0-9+/_.=-]{28,}")


class Recorder:
    """Runs commands in one directory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._address = ADDRESS
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environ = {**os.environ, "PATH": path, "COLUMNS": "100", "TERM": "dumb"}

    def serve(self, registry: str) -> None:
        """Start a server on *registry*."""
        command = [sys.executable, str(EXAMPLE), "--port", "0", "--registry", registry]
        process = self._stack.enter_context(
            subprocess.Popen(
                command,
                cwd=self._directory,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        self._address = process.stdout.readline().split("//")[1].strip()

    def run(self, command: str) -> list[str]:
        """Return the lines that *command* prints."""
        done = subprocess.run(
            ["bash", "-c", command.replace(ADDRESS, self._address)],
            cwd=self._directory,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        text = done.stdout.replace(self._address, ADDRESS)
        text = text.replace(str(self._directory), "/srv")
        return _LONG.sub(_cut, text).splitlines()


def _cut(match: re.Match[str]) -> str:
    whole = match[0]
    is_name = "/" in whole or whole.count("-") == 4 or whole.endswith((".pem", ".yaml"))
    return whole if is_name else f"{match[1]}…"


def recorded(text: str) -> str:
    """Return the document *text* with what its commands print now."""
    lines: list[str] = []
    inside, waiting = False, ""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rpcguard-docs-"))
        recorder = Recorder(Path(directory), stack)
        for line in text.splitlines():
            server = _SERVER.fullmatch(line)
            if server:
                recorder.serve(server[1])
            if line.startswith("```"):
                inside = line == "```console"
            typed = line.startswith("> " if waiting else "$ ")
            if not inside or typed or line.startswith("```"):
                lines.append(line)
            if inside and typed:
                waiting += line[2:] + "\n"
                if not line.endswith("\\"):
                    lines += recorder.run(waiting)
                    waiting = ""
    return "\n".join(lines) + "\n"


def comparable(text: str) -> list[str]:
    """Return the lines of *text* without what differs from one run to the next."""
    for pattern, stands_for in _VOLATILE:
        text = re.sub(pattern, stands_for, text)
    return text.splitlines()


def main() -> int:
    """Record, or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Record the commands of a document.")
    parser.add_argument("document", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    text = given.document.read_text(encoding="utf-8")
    fresh = recorded(text)
    if not given.check:
        given.document.write_text(fresh, encoding="utf-8")
        return 0
    old, new = comparable(text), comparable(fresh)
    print(*difflib.unified_diff(old, new, "the document", "what is printed", lineterm=""), sep="\n")
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main())
