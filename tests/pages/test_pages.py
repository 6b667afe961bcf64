"""What the documentation shows is so: every block of every page is executed, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages.blocks import ROOT, pages
from pages.run import PageError, run


@pytest.mark.timeout(600)  # forty commands and a server, one after the other
@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_shows_what_happens(path: Path):
    try:
        told = [found.told for found in run(path)]
    except PageError as error:
        told = [str(error)]
    if told:
        pytest.fail("\n\n".join(told), pytrace=False)
