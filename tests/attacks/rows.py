"""The rows, and the tests that carry their numbers: `test_A14_…`, or `test_E6_E7_…` for several."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
_NAME = re.compile(r"test((?:_[A-J][0-9]{1,2})+)_")


def rows() -> dict[str, str]:
    """Return the title of each row by its number."""
    lines = (HERE / "rows.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {row: title for row, _, title in pairs}


def covered() -> dict[str, list[str]]:
    """Return the names of the tests of each row, as `file::test`."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (match := _NAME.match(node.name)):
                for row in match[1].strip("_").split("_"):
                    name = f"{path.relative_to(HERE.parent)}::{node.name}"
                    found.setdefault(row, []).append(name)
    return found
