"""Reads `explained.txt`: the mutants that no test can tell from the code, and why."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).with_name("explained.txt")
Change = tuple[str, tuple[str, ...], tuple[str, ...]]


def explained() -> dict[str, dict[Change, str]]:
    """Return for each file why a change (function, removed and added lines) changes nothing."""
    found: dict[str, dict[Change, str]] = {}
    for entry in PATH.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        (place,), removed, added, why = (_marked(lines, mark) for mark in ("@ ", "- ", "+ ", "= "))
        file, function = place.split()
        assert why, f"{place}: no reason"
        assert len(removed) + len(added) + len(why) + 1 == len(lines), f"{place}: a stray line"
        known = found.setdefault(file, {})
        assert (function, removed, added) not in known, f"{place}: twice"
        known[function, removed, added] = " ".join(why)
    return found


def _marked(lines: list[str], mark: str) -> tuple[str, ...]:
    return tuple(line.removeprefix(mark) for line in lines if line.startswith(mark))
