"""`python -m rpcguard`."""

from __future__ import annotations

import sys

from rpcguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
