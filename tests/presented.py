"""A scheme whose credential is a header, and an authenticator that takes it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from minting import CALL, NOW

from rpcguard import AuthError, Principal, Request
from rpcguard.authenticator import Authenticator
from rpcguard.owed import Owed
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.project import Bounds, Project
from rpcguard.schemes.base import NEED_BODY, Incoming, NeedBody, Proof
from rpcguard.steps import Asked, BodyWanted
from rpcguard.target import Match, Router

OWED = Owed("one", "me", revocable=(b"name",))


class Presented:
    """A scheme whose credential is a header; its text says what comes of it."""

    def __init__(self, name: str, challenge: str, *, body: bool = False) -> None:
        self.name = name
        self.challenge = challenge
        self.fields = frozenset({f"x-{name}"})
        self.security: tuple[Any, ...] = ()
        self.proved = 0
        self._body = body

    def present(self, incoming: Incoming) -> bool:
        return f"x-{self.name}" in incoming.fields

    def wants_body(self, incoming: Incoming) -> bool:
        return self._body and isinstance(incoming, Incoming)

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        self.proved += 1
        assert now == NOW
        word = incoming.single(f"x-{self.name}")
        if word != "good":
            raise AuthError(word)
        if self._body and incoming.request.body is None:
            return NEED_BODY
        return Proof(Principal("me", "one", self.name), OWED)


def jwt() -> Presented:
    return Presented("jwt", "Bearer")


def signature() -> Presented:
    return Presented("signature", "Signature", body=True)


def guarding(
    *schemes: Presented, more: tuple[Project, ...] = (), bounds: Bounds | None = None, **facts: Any
) -> Authenticator:
    """Return an authenticator of project `one` at /one with *schemes*, and *more* projects."""
    one = Project("one", "id-1", schemes, **{"prefixes": frozenset({"/one"})} | facts)
    entries = [(Match("", f"/{project.name}"), project) for project in (one, *more)]
    projects = {project.name: project for project in (one, *more)}
    proxies = Proxies((ip_network("10.0.0.0/8"),))
    return Authenticator(projects, Router(entries, None), bounds or Bounds(), proxies)


def asked(
    guard: Authenticator, *headers: tuple[str, str], body: bytes | None = CALL, **options: Any
) -> Pending | BodyWanted:
    facts = {k: options.pop(k) for k in ("websocket", "client", "scheme") if k in options}
    target = options.pop("target", "/one")
    request = Request("POST", target, headers, body, **facts)
    return guard.authenticate(request, NOW, Asked(**options))


def refused(guard: Authenticator, *headers: tuple[str, str], **options: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        asked(guard, *headers, **options)
    return caught.value


GOOD = ("X-Jwt", "good")
SIGNED = ("X-Signature", "good")
