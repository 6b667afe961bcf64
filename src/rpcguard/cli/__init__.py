"""
The command line. It needs the extra `cli` (Typer and Rich), and says so where that is missing.

Exit codes: 0; 1 where something is refused or invalid; 2 for wrong usage; 130 after Ctrl-C.
"""

from __future__ import annotations

import sys

_EXTRA = frozenset({"typer", "rich"})
_MISSING = 'rpcguard: the command line needs an extra: pip install "rpcguard[cli]"\n'


def main() -> int:
    """Run the command line on `sys.argv` and return the exit code; never prints a traceback."""
    try:
        from rpcguard.cli.app import run  # noqa: PLC0415 - Typer may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(_MISSING)
        return 2
    except KeyboardInterrupt:
        return 130
    return run()
