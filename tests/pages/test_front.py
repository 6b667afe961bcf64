"""The README and the front page of the site begin with the same lines."""

from __future__ import annotations

from pages.blocks import ROOT, Block, steps


def _first_python(page: str) -> str:
    blocks = steps((ROOT / page).read_text(encoding="utf-8"))
    return next(
        each.text for each in blocks if isinstance(each, Block) and each.language == "python"
    )


def test_the_ten_lines_of_the_readme_are_those_of_the_front_page():
    assert _first_python("README.md") == _first_python("docs/index.md")
    lines = [line for line in _first_python("README.md").splitlines() if line]
    assert len(lines) <= 10
