"""What a row of the demo's table is made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rpcguard.cli.demo.wire import SWITCHING_PROTOCOLS, Shot
from rpcguard.client.signers import Signer
from rpcguard.client.signing_key import SigningKey
from rpcguard.errors import REASONS

Make = Callable[[float], Shot]
Learn = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request reaches the handler, as this caller of this project."""

    status: ClassVar[int] = 200

    project: str
    scheme: str
    subject: str

    @property
    def answer(self) -> str:
        """What the outcome shows."""
        return f"{self.subject} ({self.project}, {self.scheme})"


@dataclass(frozen=True, slots=True)
class Given:
    """One of rpcguard's own routes answers, with a JSON object of these members."""

    status: ClassVar[int] = 200

    members: tuple[str, ...]

    @property
    def answer(self) -> str:
        """What the outcome shows."""
        return f"gives {', '.join(self.members)}"


@dataclass(frozen=True, slots=True)
class Closed:
    """The server closes a WebSocket that was open, with this code."""

    status: ClassVar[int] = SWITCHING_PROTOCOLS

    code: int

    @property
    def answer(self) -> str:
        """What the outcome shows."""
        return f"closed with {self.code}"


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is refused; *answer* is a reason of the closed set."""

    answer: str

    @property
    def status(self) -> int:
        """The HTTP status that goes with the reason."""
        return REASONS[self.answer][0]


@dataclass(frozen=True, slots=True)
class RefusedBare:
    """The request is refused in All That Node's own form; *answer* is its message."""

    status: ClassVar[int] = 403

    answer: str


def _forget(_: Any) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Case:
    """
    One thing to send.

    Attributes:
        protocol: The preset.
        sent: What it is, for people.
        make: Unix seconds to the request; called when it is sent.
        expect: What must come back.
        spent: The very same request is accepted once before: here, or by another server.
        framework: Whose server it goes to; "" leaves that to the runner.
        learn: Gets the document of an answer that is as expected.
    """

    protocol: str
    sent: str
    make: Make
    expect: Accepted | Given | Closed | Refused | RefusedBare
    spent: Literal["", "here", "elsewhere"] = ""
    framework: str = ""
    learn: Learn = _forget


def rpc(method: str, **members: str) -> bytes:
    """Return the JSON-RPC request for *method*; *members* stand beside its own."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [], **members}
    return json.dumps(call, separators=(",", ":")).encode()


WHOAMI = rpc("rpcguard_whoami")


def bearer(target: str, token: str, *, websocket: bool = False, body: bytes = WHOAMI) -> Shot:
    """Return the request with *token* as its bearer."""
    return Shot(target, (("Authorization", f"Bearer {token}"),), body, websocket)


def bare(target: str, *, websocket: bool = False) -> Make:
    """Make a request without any header of ours."""
    return lambda _: Shot(target, (), WHOAMI, websocket)


def fresh(target: str, mint: Callable[[float], str], *, websocket: bool = False) -> Make:
    """Make a request with a token that *mint* makes when it is sent."""
    return lambda now: bearer(target, mint(now), websocket=websocket)


def minted(
    target: str, key: SigningKey, claims: dict[str, str] | None = None, **ahead: int
) -> Make:
    """Make a request with a token of *claims*, and of times *ahead* seconds of the sending."""

    def make(now: float) -> Shot:
        times = {name: int(now) + seconds for name, seconds in ahead.items()}
        return bearer(target, key.mint({**times, **(claims or {})}))

    return make


def signed(target: str, signer: Signer, body: bytes = WHOAMI, ahead: float = 0.0) -> Make:
    """Make a request that *signer* proves, by a clock that is *ahead* seconds."""

    def make(now: float) -> Shot:
        headers = signer.headers("POST", target, body, now + ahead)
        return Shot(target, tuple(headers.items()), body)

    return make
