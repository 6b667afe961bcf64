"""
Credentials that rpcguard issues, from the first request to the refusal at the end.

Each framework's server sees a whole life before the next one does: a wallet has one API key, so
lives that ran at once would end each other's. What a step learns, the later ones use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rpcguard.cli.demo.case import WHOAMI, Accepted, Case, Closed, Given, Make, Refused, signed
from rpcguard.cli.demo.kit import Kit
from rpcguard.cli.demo.servers import FRAMEWORKS
from rpcguard.cli.demo.wire import Shot
from rpcguard.client.session import bearer, challenge_body, verify_body
from rpcguard.client.signers import WalletSigner

TARGET, WEBSOCKET = "/solana", "/ws/solana"
API_KEY = "/account/api-key"
_REVOKED, _UNKNOWN = Refused("revoked"), Refused("invalid_credentials")
_MISSING, _NO_JWT = Refused("missing_credentials"), Refused("malformed_credentials")


@dataclass(slots=True)
class _Life:
    """What one life has learnt so far; "" where an earlier step went wrong."""

    challenge: str = ""
    token: str = ""
    key: str = ""
    old_key: str = ""

    def gets(self, name: str, member: str) -> Any:
        """Return what keeps *member* of an answer as *name*."""
        return lambda document: setattr(self, name, document[member])

    def bears(self, name: str, target: str = TARGET, body: bytes = WHOAMI) -> Make:
        """Make a request with the credential *name* behind `Bearer`."""
        return lambda _: Shot(target, tuple(bearer(getattr(self, name)).items()), body)

    def opens(self, name: str) -> Make:
        """Make a WebSocket with the credential *name* behind `Bearer`."""
        return lambda _: Shot(
            WEBSOCKET, tuple(bearer(getattr(self, name)).items()), WHOAMI, websocket=True
        )

    def ends(self, name: str, target: str) -> Make:
        """Make a WebSocket with the credential *name*, and end it at *target* meanwhile."""

        def make(now: float) -> Shot:
            return replace(self.opens(name)(now), ending=self.bears(name, target, b"")(now))

        return make

    def offers(self) -> Make:
        """Make a WebSocket as a browser does, with the token as a subprotocol."""
        return lambda _: Shot(
            WEBSOCKET, (("Sec-WebSocket-Protocol", f"auth.{self.token}"),), WHOAMI, websocket=True
        )


def session(kit: Kit) -> list[Case]:
    """A session: challenge, sign-in, use, logout, and what is refused on the way and after it."""
    return [case for here, other in _places() for case in _session(kit, here, other)]


def _session(kit: Kit, here: str, other: str) -> list[Case]:
    life, wallet = _Life(), kit.wallet
    row = partial(Case, "nodius session", framework=here)
    caller = Accepted("solana", "session", wallet.pubkey)

    def asks(_: float) -> Shot:
        return Shot("/auth/challenge", (), challenge_body(wallet))

    def answers(_: float) -> Shot:
        body = verify_body(wallet, life.challenge) if life.challenge else b"{}"
        return Shot("/auth/verify", (), body)

    return [
        row("challenge", asks, Given(("challenge",)), learn=life.gets("challenge", "challenge")),
        row(
            "its signature signs in",
            answers,
            Given(("token", "expiresAt")),
            learn=life.gets("token", "token"),
        ),
        row("the same signature again", answers, Refused("replayed")),
        row("session token", life.bears("token"), caller),
        row("the token at another server", life.bears("token"), caller, framework=other),
        row("WebSocket by Authorization", life.opens("token"), caller),
        row("WebSocket by auth.TOKEN", life.offers(), caller),
        row("the token at another project", life.bears("token", "/bots"), _NO_JWT),
        row("logout with a WebSocket open", life.ends("token", "/auth/logout"), Closed(1008)),
        row("the token after logout", life.bears("token"), _REVOKED),
        row("and at another server", life.bears("token"), _REVOKED, framework=other),
        row("WebSocket after logout", life.offers(), _REVOKED),
    ]


def api_key(kit: Kit) -> list[Case]:
    """An API key: asked for, used, rotated, and what is refused on the way and after it."""
    return [case for here, other in _places() for case in _api_key(kit, here, other)]


def _api_key(kit: Kit, here: str, other: str) -> list[Case]:
    life, given = _Life(), Given(("apiKey",))
    row = partial(Case, "nodius API key", framework=here)
    caller = Accepted("solana", "api_key", kit.wallet.pubkey)
    weak = signed(API_KEY, WalletSigner(kit.wallet, 1), b"")
    strong = signed(API_KEY, WalletSigner(kit.wallet, 2), b"")
    return [
        row("asked for with a v1 signature", weak, Refused("unsupported_algorithm")),
        row("asked for with a v2 signature", strong, given, learn=life.gets("old_key", "apiKey")),
        row("API key", life.bears("old_key"), caller),
        row("WebSocket with the key", life.opens("old_key"), caller),
        row("the key asks for another", life.bears("old_key", API_KEY, b""), _MISSING),
        row("the wallet asks for another", strong, given, learn=life.gets("key", "apiKey")),
        row("the old key", life.bears("old_key"), _UNKNOWN),
        row("and at another server", life.bears("old_key"), _UNKNOWN, framework=other),
        row("the new key", life.bears("key"), caller),
    ]


def _places() -> Iterator[tuple[str, str]]:
    """Return each framework and the next one."""
    return itertools.pairwise((*FRAMEWORKS, FRAMEWORKS[0]))
