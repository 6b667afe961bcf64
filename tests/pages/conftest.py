"""The site, built once, and a browser to look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from browser.conftest import browser  # noqa: F401 - a fixture

from pages.blocks import ROOT


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the site's pages, built as `make docs` builds it."""
    build = ROOT / "docs" / "_build"
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going"]
    folders = ["-d", str(build / "doctrees"), str(ROOT / "docs"), str(build / "html")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    return build / "html"
