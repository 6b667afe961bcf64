"""What docs/cli.md shows is what the commands print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.timeout(600)  # forty commands and a server, one after the other
def test_the_document_shows_what_its_commands_print():
    command = [sys.executable, str(DOCS / "record.py"), "--check", str(DOCS / "cli.md")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.stdout.strip() == ""
    assert told.returncode == 0
