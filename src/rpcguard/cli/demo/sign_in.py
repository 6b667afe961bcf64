"""
`python -m rpcguard.cli.demo.sign_in DIRECTORY PORT` signs in at the server on that port and prints
the header of the session for ``curl -H @-``.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import Any

from rpcguard.cli.demo.kit import load
from rpcguard.cli.demo.wire import Shot, send
from rpcguard.cli.output import complain, say
from rpcguard.client.session import Session, challenge_body, verify_body
from rpcguard.client.wallet import Wallet


def sign_in(wallet: Wallet, port: int) -> Session:
    """
    Return a session of *wallet* at the server on *port* of the loopback interface.

    Raises:
        OSError: If the connection fails.
        ValueError: If the server refuses.
    """
    asked = _post(port, "/auth/challenge", challenge_body(wallet))
    return Session.of(_post(port, "/auth/verify", verify_body(wallet, str(asked.get("challenge")))))


def _post(port: int, route: str, body: bytes) -> dict[str, Any]:
    document = send(port, Shot(route, (), body)).document
    return document if isinstance(document, dict) else {}


def main(arguments: list[str]) -> int:
    """Print the header and return the exit code."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        complain("usage: DIRECTORY PORT")
        return 2
    try:
        session = sign_in(load(Path(arguments[0])).wallet, int(arguments[1]))
    except (OSError, ValueError, http.client.HTTPException) as error:
        complain(f"cannot sign in: {error}")
        return 1
    say(*(f"{name}: {value}" for name, value in session.headers.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
