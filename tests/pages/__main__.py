"""Runs pages and writes down what their commands print: `make record PAGES=docs/cli.md`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pages.run import run


def record(path: Path) -> None:
    """Put what was printed in the place of what the page *path* shows, where the two differ."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for found in reversed(run(path.resolve())):
        lines[found.line - 1 : found.line - 1 + found.count] = [found.printed]
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Record every page that is named."""
    parser = argparse.ArgumentParser(description="Write down what the commands of pages print.")
    parser.add_argument("page", type=Path, nargs="+")
    for path in parser.parse_args().page:
        record(path)


if __name__ == "__main__":
    main()
