"""
The scripts that Redis runs, and the bytes by which one is called.

A script is called by its hash, and in full where the server does not know it yet. The files are
put together here: `bucket.lua` comes first in each.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"

BULK = b"$%d\r\n%b\r\n"


def bulk(*texts: bytes) -> bytes:
    """Return *texts* as arguments of a command (RESP, "bulk string")."""
    return (BULK * len(texts)) % tuple(part for text in texts for part in (len(text), text))


class Script:
    """
    One script.

    Attributes:
        by_hash: The first two arguments of a call by hash.
        in_full: Those of a call with the whole text.
    """

    __slots__ = ("by_hash", "in_full")

    def __init__(self, *files: str) -> None:
        """Put the script together from *files*, without their suffix."""
        text = b"\n".join((_FOLDER / f"{file}.lua").read_bytes() for file in files)
        name = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode("ascii")
        self.by_hash = bulk(b"EVALSHA", name)
        self.in_full = bulk(b"EVAL", text)


OPEN = Script("bucket", "state", "open")
SETTLE = Script("bucket", "owed", "usual", "state", "records", "settle")
READ = Script("bucket", "state", "read")
REVOKE = Script("bucket", "state", "revoke")
PUT = Script("bucket", "state", "records", "writing", "put")
ROTATE = Script("bucket", "state", "records", "writing", "rotate")
DROP = Script("bucket", "state", "records", "writing", "drop")
