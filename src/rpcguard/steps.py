"""What the authenticator is asked, and what it answers where it cannot decide at once."""

from __future__ import annotations

from dataclasses import dataclass

from rpcguard.project import Project
from rpcguard.rates import Charge


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one request: see `Authenticator.authenticate`."""

    standing: bool
    calls: bool
    frames: bool
    counted: bool


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """
    The answer "read the body, at most *limit* bytes, and ask again".

    Attributes:
        limit: Bytes.
        project: The project that asks; it gives a refusal to read its form.
    """

    limit: int
    project: Project


@dataclass(frozen=True, slots=True)
class Counting:
    """
    The answer "count this and ask again"; of a message, "count this and it may pass".

    Attributes:
        charges: What is to be counted.
        project: The project that limits it; it gives a refusal its form.
    """

    charges: tuple[Charge, ...]
    project: Project
