"""A server that loads its application and forks: each worker says which challenge it gives first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # a script has its own directory on the path, not that of the tests
    sys.path.insert(0, str(Path(__file__).parent.parent))

from issuing.site import OPEN, Site

WORKERS = 8


def main(directory: str) -> None:
    site = Site(Path(directory), OPEN, f"sqlite:///{directory}/store.db")
    children = []
    for _ in range(WORKERS):
        child = os.fork()
        if not child:
            os.write(1, f"{site.challenge()}\n".encode())
            site.verifier.close()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    site.verifier.close()


if __name__ == "__main__":
    main(sys.argv[1])
