"""
Wrong uses of the public API. Each carries the one complaint that both type checkers must have.

A checker that has another complaint, or none any more, says so: unneeded comments are errors.
"""

# pyright: standard, reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from typing import Annotated

from aiohttp import web
from fastapi import Depends, FastAPI

import rpcguard
from rpcguard import Principal, Request, Verifier
from rpcguard.contrib.aiohttp import principal_of
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth


def a_request_has_a_method_of_text(body: bytes) -> Request:
    return Request(method=b"POST", target="/", headers=[], body=body)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def headers_are_pairs_of_text() -> Request:
    return Request(method="POST", target="/", headers=[(b"a", b"b")], body=b"")  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def a_verdict_is_no_boolean(verifier: Verifier, request: Request) -> bool:
    return verifier.verify(request)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def averify_must_be_awaited(verifier: Verifier, request: Request) -> Principal:
    return verifier.averify(request)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def options_have_names(environ: dict[str, str]) -> Verifier:
    return Verifier.from_yaml("registry.yaml", environ)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_principal_is_frozen(principal: Principal) -> None:
    principal.subject = "mallory"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def an_unknown_member(principal: Principal) -> str:
    return principal.user  # type: ignore[attr-defined, no-any-return]  # pyright: ignore[reportAttributeAccessIssue]


def schemes_are_a_list_of_text() -> None:
    Annotated[Principal, Depends(require_rpc_auth(schemes=3))]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def a_guard_needs_an_application() -> RPCGuard:
    return RPCGuard("registry.yaml")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_guard_rechecks_after_seconds(app: FastAPI) -> RPCGuard:
    return RPCGuard(app, "registry.yaml", recheck="10s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@rpcguard.protect
def protected(amount: int) -> str:
    return str(amount)


def a_protected_view_keeps_its_signature() -> object:
    return protected("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def principals_are_of_requests(app: web.Application) -> Principal:
    return principal_of(app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
