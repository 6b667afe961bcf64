"""
Refuses to release what is not ready: `python release/ready.py vX.Y.Z`.

The tag, the version and the changelog must say the same, nothing may be left under Unreleased, and
the package must say where its source is.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(tag: str, init: str, changelog: str, pyproject: str) -> list[str]:
    """
    Return what keeps *tag* from being released.

    Args:
        tag: The tag's name.
        init: The text of the package's `__init__.py`.
        changelog: The text of CHANGELOG.md.
        pyproject: The text of pyproject.toml.
    """
    found: list[str] = []
    version = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)
    if version is None or tag != f"v{version[1]}":
        found.append(f"the tag {tag} is not the package's version")
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    titles = [section.partition("\n")[0] for section in sections]
    if not re.fullmatch(rf"\[{re.escape(tag[1:])}\] - \d{{4}}-\d\d-\d\d", [*titles, "", ""][1]):
        found.append(f"CHANGELOG.md: the section after Unreleased is not [{tag[1:]}] with its date")
    if titles[:1] != ["[Unreleased]"] or "\n- " in sections[0]:
        found.append("CHANGELOG.md: does not begin with an empty section Unreleased")
    # On PyPI the README's relative links lead nowhere; these are what a reader has
    missing = {"Source", "Documentation", "Changelog"} - tomllib.loads(pyproject)["project"].get(
        "urls", {}
    ).keys()
    if missing:
        found.append(f"pyproject.toml: [project.urls] lacks {', '.join(sorted(missing))}")
    return found


def main(tag: str) -> int:
    """Print what is missing."""
    init = (ROOT / "src/rpcguard/__init__.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = faults(tag, init, changelog, pyproject)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
