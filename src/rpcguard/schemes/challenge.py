"""
Sign-in challenges that are derived, never stored: strangers who ask for them write nothing,
displace nothing and fill nothing.

A challenge is an HMAC under a key of the session secret over project, public key, a time rounded
down to `STEP` and one of `SLOTS` slots. `verify` derives the few that can be meant and tries them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rpcguard import owed

STEP = 100  # seconds to which the time is rounded down
STEPS = 3  # the current time and the two before: a challenge lives between 200 and 300 s
LIFETIME = STEP * STEPS
SLOTS = 16  # different challenges for one key at one time


@dataclass(frozen=True, slots=True)
class Challenge:
    """
    One challenge.

    Attributes:
        text: What the wallet signs, as UTF-8.
        name: What it is spent as.
        ends: Unix seconds after which it is not tried any more.
    """

    text: str
    name: bytes
    ends: float


class Challenges:
    """The challenges of one project."""

    __slots__ = ("_key", "_project", "_service")

    def __init__(self, project: str, service: str, secret: bytes) -> None:
        """
        Args:
            project: Name of the project.
            service: First word of the text.
            secret: A session secret; the challenges' key is derived from it (RFC 5869).
        """
        self._project = project
        self._service = service
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"rpcguard challenge v1")
        self._key = kdf.derive(secret)

    def at(self, pubkey: str, now: float, epoch: bytes) -> tuple[Challenge, ...]:
        """
        Return the challenges, one for each slot, that *pubkey* can be given at *now*.

        Args:
            pubkey: The wallet's key as text.
            now: Unix seconds.
            epoch: The backend's: challenges end with what the backend remembers of them.
        """
        return tuple(self._derive(pubkey, int(now) // STEP * STEP, epoch))

    def recent(self, pubkey: str, now: float, epoch: bytes) -> tuple[Challenge, ...]:
        """Return every challenge that *pubkey* may be answering at *now*, the latest first."""
        latest = int(now) // STEP * STEP
        return tuple(
            challenge
            for step in range(STEPS)
            for challenge in self._derive(pubkey, latest - step * STEP, epoch)
        )

    def _derive(self, pubkey: str, when: int, epoch: bytes) -> Iterator[Challenge]:
        for slot in range(SLOTS):
            parts = owed.framed(self._project, pubkey, str(when), str(slot), epoch)
            random = hmac.digest(self._key, parts, hashlib.sha256)[:16].hex()
            text = f"{self._service}:challenge:{random}:{when}"
            name = owed.digest("challenge", self._project, pubkey, text)
            yield Challenge(text, name, float(when + LIFETIME))
