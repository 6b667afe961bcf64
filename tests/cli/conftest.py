"""The command line as people run it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 90
ENTRY_POINTS = {
    "rpcguard": [str(Path(sys.executable).with_name("rpcguard"))],
    "python -m rpcguard": [sys.executable, "-m", "rpcguard"],
}


@pytest.fixture
def cli(tmp_path):
    """Run `python -m rpcguard` with arguments in an empty directory and return what came of it."""

    def run(*arguments: object, command=ENTRY_POINTS["python -m rpcguard"], **options):
        environ = {**os.environ, "COLUMNS": "200", **options.pop("env", {})}
        return subprocess.run(
            [*command, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environ,
            timeout=SECONDS,
            **options,
        )

    return run


@pytest.fixture
def starter(cli, tmp_path):
    """A directory that `rpcguard init` has filled."""
    assert cli("init", "shop").returncode == 0
    return tmp_path / "shop"
