"""A service that issues credentials, and how its callers sign in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from minting import CALL, NOW, Headers, Wallet, bearer

from rpcguard import AuthError, Principal, Request
from rpcguard.verifier import Verifier

SECRETS = {
    "A": "session secret a, of more than 32 bytes",
    "B": "session secret b, of more than 32 bytes",
    "C": "session secret c, of more than 32 bytes",
    "JWT": "a secret of the project's own JWTs, 32 bytes",
}
ALICE, BOB, MALLORY = Wallet(1), Wallet(2), Wallet(3)

Answer = dict[str, Any]


def registry(lines: str = "wallets: open", session: str = "", *more: str) -> str:
    """
    Return a registry with the one project `solana`.

    Args:
        lines: Its lines, but for preset and session.
        session: What follows the secret in its session.
        more: Lines of the registry behind it.
    """
    parts = ["version: 1", "projects:", "  solana:", "    preset: nodius", "    id: sol-1"]
    parts += [f"    {line}" for line in lines.splitlines()]
    parts.append(f'    session: {{secrets: [{{id: a, secret: "${{env:A}}"}}]{session}}}')
    return "\n".join([*parts, *more])


OPEN = registry()
ROTATING = registry(session=", refresh: rotating, refresh_ttl: 1d")


class Site:
    """
    One process of the service.

    Attributes:
        now: What its clock says; a test may set it.
        verifier: The verifier itself.
    """

    def __init__(self, directory: Path, text: str, backend: Any, now: float = NOW) -> None:
        self.now: float = now
        self._path = directory / "registry.yaml"
        self._path.write_text(text, encoding="utf-8")
        self.verifier = Verifier.from_yaml(
            self._path, backend=backend, clock=lambda: self.now, environ=SECRETS, watch=False
        )

    def reload(self, text: str) -> None:
        """Use another registry from now on."""
        self._path.write_text(text, encoding="utf-8")
        self.verifier.reload()

    def serve(
        self,
        route: str,
        body: Any = b"",
        headers: Headers | None = None,
        *,
        project: str | None = None,
        **facts: Any,
    ) -> Answer:
        """Return what *route* answers to *body*: bytes, None, or what is sent as JSON."""
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = Request("POST", route, headers or [], raw, **facts)
        return self.verifier.serve(route, request, project)

    def refuses(self, route: str, *args: Any, **facts: Any) -> AuthError:
        """Return why *route* refuses."""
        with pytest.raises(AuthError) as caught:
            self.serve(route, *args, **facts)
        return caught.value

    def challenge(self, wallet: Wallet = ALICE, **facts: Any) -> str:
        """Return a challenge for *wallet*, which must get one."""
        answer = self.serve("/auth/challenge", {"pubkey": wallet.pubkey}, **facts)
        assert list(answer) == ["challenge"]
        text: str = answer["challenge"]
        return text

    def verify(
        self, text: str, wallet: Wallet = ALICE, *, challenge: str | None = None, **facts: Any
    ) -> Answer:
        """Return the session for *wallet*'s signature over *text*, naming *challenge* or not."""
        named = {} if challenge is None else {"challenge": challenge}
        return self.serve("/auth/verify", proof(text, wallet, **named), **facts)

    def sign_in(self, wallet: Wallet = ALICE, **facts: Any) -> Answer:
        """Return a session of *wallet*."""
        return self.verify(self.challenge(wallet, **facts), wallet, **facts)

    def refresh(self, text: str, **facts: Any) -> Answer:
        """Return the next pair for a refresh token."""
        return self.serve("/auth/refresh", {"refreshToken": text}, **facts)

    def refuses_refresh(self, text: str, **facts: Any) -> str:
        """Return why a refresh token is refused."""
        return self.refuses("/auth/refresh", {"refreshToken": text}, **facts).reason

    def key_for(self, wallet: Wallet = ALICE, nonce: int = 1, **facts: Any) -> str:
        """Return a new API key of *wallet*, asked for by a version 2 signature."""
        answer = self.serve("/account/api-key", b"", self.asks_for_key(wallet, nonce), **facts)
        assert list(answer) == ["apiKey"]
        text: str = answer["apiKey"]
        return text

    def asks_for_key(self, wallet: Wallet = ALICE, nonce: int = 1) -> Headers:
        """Return what *wallet* signs to get an API key."""
        return wallet.v2(
            "POST", "/account/api-key", b"", timestamp=int(self.now), nonce=f"{nonce:016x}"
        )

    def admits(self, credential: str | Headers, target: str = "/", **facts: Any) -> Principal:
        """Return who calls with *credential*: a bearer token, or header fields."""
        headers = bearer(credential) if isinstance(credential, str) else credential
        narrowed = {name: facts.pop(name) for name in ("project", "standing") if name in facts}
        return self.verifier.verify(Request("POST", target, headers, CALL, **facts), **narrowed)

    def denies(self, credential: str | Headers, target: str = "/", **facts: Any) -> str:
        """Return why *credential* is refused."""
        with pytest.raises(AuthError) as caught:
            self.admits(credential, target, **facts)
        return caught.value.reason


def proof(text: str, wallet: Wallet = ALICE, **more: Any) -> Answer:
    """Return the body by which *wallet* answers the challenge *text*."""
    return {"pubkey": wallet.pubkey, "signature": wallet.sign(text), **more}


def slot_of(challenge: str) -> str:
    """Return the part of *challenge* that differs from slot to slot."""
    return challenge.split(":")[2]
