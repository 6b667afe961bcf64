"""
One endpoint, unguarded and guarded by rpcguard and by its peers, each as its documentation says.

A module for each framework; its `APPS` makes each application from a `Given`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

# What the peers are called, by their names here
PEERS = {
    "nothing": "*a dependency that does nothing*",
    "everywhere": "rpcguard, `everywhere=`",
    "pyjwt": "PyJWT",
    "joserfc": "joserfc",
    "authlib": "Authlib",
    "tutorial": "FastAPI's tutorial",
    "bare_pyjwt": "a bearer and PyJWT",
    "fastapi_users": "fastapi-users",
    "authx": "authx",
    "flask_jwt_extended": "Flask-JWT-Extended",
    "flask_httpauth": "Flask-HTTPAuth",
    "aiohttp_jwt": "aiohttp-jwt",
    "plain_pyjwt": "a middleware with PyJWT",
}

OPEN = ("unguarded", "nothing")  # the applications that let everybody in

REPLY = b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'


@dataclass(frozen=True)
class Given:
    """
    What an application verifies tokens with.

    Attributes:
        algorithm: HS256 or RS256.
        text: The secret, or the public key in PEM.
        registry: Path of rpcguard's registry with the same key.
    """

    algorithm: str
    text: str
    registry: str

    def key(self) -> Any:
        """Return the key parsed, for those who can take it so: the kindest way to use PyJWT."""
        if self.algorithm == "HS256":
            return self.text
        return load_pem_public_key(self.text.encode())
