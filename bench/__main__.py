"""
`python -m bench` measures everything and writes `bench/results.json` and the figures of the docs.

`--short` runs every section with few rounds and writes nothing: it shows that the benchmarks work.
`--only SECTION` runs one section, or several when it is given again, and writes nothing either.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import plot, report
from bench.redis_server import serving
from bench.run import ROOT, BrokenError, Figures, Run, fresh
from bench.sections import SECTIONS

RESULTS = ROOT / "bench" / "results.json"
DIGITS = 5  # that count; no measurement is more exact
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"


def main() -> int:
    """Return 0, or 1 if a benchmark is broken; no figure is a failure."""
    options = _options()
    try:
        figures = _measure(options.only or SECTIONS, options.short)
    except BrokenError as error:
        _say(f"broken: {error}")
        return 1
    print(report.terminal(figures))
    whole = not options.short and not options.only
    if whole:
        report.write(PAGE, figures)
        PLOT.write_text(plot.svg(figures), encoding="utf-8")
    results = options.results or (RESULTS if whole else None)
    if results is not None:
        results.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="few rounds; figures mean nothing")
    parser.add_argument("--only", action="append", choices=SECTIONS, metavar="SECTION",
                        help=", ".join(SECTIONS))  # fmt: skip
    parser.add_argument("--results", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def _measure(sections: Sequence[str], short: bool) -> Figures:
    """
    Return the figures of *sections*, each measured in a fresh process.

    Raises:
        BrokenError: If one of them ends badly, or gives a figure that can be none.
    """
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="rpcguard-bench-") as folder:
        for section in sections:
            directory = Path(folder) / section
            directory.mkdir()
            start = time.monotonic()
            with serving(directory) as redis:  # each section its own: nobody else's keys in it
                run = (Run.short if short else Run)(str(directory), redis)
                found = fresh(f"bench.sections.{section}", "measure", run)
            _say(f"{section}: {time.monotonic() - start:.0f} s")
            for name, value in found.items():
                if not math.isfinite(value) or name in figures:
                    raise BrokenError(f"{section}: {name} is {value}")
                figures[name] = float(f"{value:.{DIGITS}g}")
    return figures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
