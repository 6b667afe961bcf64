"""The checklists of docs/extending name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages.blocks import ROOT

PAGES = sorted((ROOT / "docs" / "extending").glob("*.md"))
# Where a file may be that a page names without its folder.
FOLDERS = ("", "src/rpcguard", "tests", "tests/backends", "tests/contrib", "tests/attacks")
_FILE = re.compile(r"`([a-z_]+(?:/[\w.-]+)*\.(?:py|txt))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_checklist_names_is_there(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {name for name in _FILE.findall(text) if "NAME" not in name}
    missing = {
        name for name in names if not any((ROOT / folder / name).exists() for folder in FOLDERS)
    }
    assert missing == set()


def test_the_checklists_name_files():
    assert len({name for page in PAGES for name in _FILE.findall(page.read_text("utf-8"))}) > 20
