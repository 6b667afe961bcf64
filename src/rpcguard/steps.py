"""What the authenticator is asked, and what it answers where it cannot decide at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from rpcguard.errors import AuthError
from rpcguard.project import Project
from rpcguard.rates import Charge
from rpcguard.request import Request
from rpcguard.trace import Trace


class Asked(NamedTuple):
    """
    What is asked of one request.

    Attributes:
        project: The project, or its name, whatever the target says; None to match.
        schemes: The only kinds of credential to take, or None for all of the project.
        standing: Ask again about a handshake that was accepted; see `Scheme.prove`.
        calls: The body holds JSON-RPC calls, which policies judge.
        frames: Of a WebSocket: each message will be given to `Authenticator.message` before it is
            answered.
        counted: What `Counting` asked for is done.
        trace: Is told what is checked, before it is; None where nobody asks.
        kept: Of the `BodyWanted` that came before, for the same request.
    """

    project: str | Project | None = None
    schemes: Collection[str] | None = None
    standing: bool = False
    calls: bool = True
    frames: bool = False
    counted: bool = False
    trace: Trace | None = None
    kept: object = None


PLAIN = Asked()  # of almost every request


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """
    The answer "read the body, at most *limit* bytes, and ask again".

    Attributes:
        limit: Bytes.
        project: The project that asks; it gives a refusal to read its form.
        kept: What is known of the request already; goes into `Asked`, where it may be left out.
    """

    limit: int
    project: Project
    kept: object = field(default=None, repr=False)

    def given(self, request: Request, body: bytes | None) -> Request:
        """
        Return *request* with its *body*, None where there was no way to read it.

        Raises:
            AuthError: `invalid_body`, in that case.
        """
        if body is None:
            raise AuthError("invalid_body", detail="the body could not be read")
        return request.with_body(body)


class Counting(NamedTuple):
    """
    The answer "count this and ask again"; of a message, "count this and it may pass".

    Attributes:
        charges: What is to be counted.
        project: The project that limits it; it gives a refusal its form.
    """

    charges: tuple[Charge, ...]
    project: Project
