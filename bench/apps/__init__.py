"""
One endpoint, unguarded and guarded by rpcguard and by its peers, each as its documentation says.

A module for each framework; its `APPS` makes each application from a `Given`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
