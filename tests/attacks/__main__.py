"""Prints the rows of `rows.txt` without a test, and fails if there is one: `make attacks`."""

from __future__ import annotations

import sys

from attacks.rows import covered, rows


def main() -> int:
    """Return the exit code."""
    found = covered()
    without = [f"{row}  {title}" for row, title in rows().items() if row not in found]
    unknown = sorted(found.keys() - rows().keys())
    for line in [*without, *(f"{row}  is no row, see {', '.join(found[row])}" for row in unknown)]:
        print(line)
    print(f"{len(rows()) - len(without)} of {len(rows())} rows have a test")
    return 1 if without or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
