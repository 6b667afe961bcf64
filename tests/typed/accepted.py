"""The public API as its users write it; both type checkers must accept every line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, assert_type

from aiohttp import web
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from flask import Blueprint, Flask, Response

import rpcguard
from rpcguard import AuthError, BackendError, ConfigError, Principal, Request, Verifier
from rpcguard.client import meganode
from rpcguard.contrib import aiohttp as for_aiohttp
from rpcguard.contrib import fastapi as for_fastapi
from rpcguard.contrib import flask as for_flask
from rpcguard.testing import FrozenClock, RegistryBuilder, as_principal

Caller = Annotated[Principal, Depends(for_fastapi.require_rpc_auth)]
Signed = Annotated[
    Principal, Depends(for_fastapi.require_rpc_auth(schemes=["signature"], project="payouts"))
]


def without_a_framework() -> str:
    request = Request(
        method="POST", target="/v1/", headers=[("Authorization", "Bearer x")], body=b""
    )
    try:
        with Verifier.from_yaml("registry.yaml", clock=lambda: 0.0, environ={}) as verifier:
            principal = verifier.verify(request)
    except AuthError as error:
        assert_type(error.status, int)
        assert_type(error.code, int)
        return error.reason
    except (BackendError, ConfigError) as error:
        return str(error)
    assert_type(principal, Principal)
    assert_type(principal.subject, str)
    assert_type(principal.name, str | None)
    assert_type(principal.expires_at, float | None)
    claims: Mapping[str, Any] = principal.claims
    return str(claims)


async def in_an_event_loop(verifier: Verifier, request: Request) -> Principal:
    return await verifier.averify(request)


def fastapi_application() -> FastAPI:
    app = FastAPI()
    guard = for_fastapi.RPCGuard(app, "registry.yaml", recheck=10)
    router: APIRouter = guard.router(project=None, prefix="")
    app.include_router(router)

    @app.post("/v1/")
    async def rpc(principal: Caller, payer: Signed) -> dict[str, str]:
        return {"caller": principal.subject, "payer": payer.subject}

    @app.websocket("/ws/v1/")
    async def ws(websocket: WebSocket, principal: Caller) -> None:
        text = await websocket.receive_text()
        try:
            await guard.check_message(principal, text)
        except AuthError as error:
            await websocket.send_text(guard.refusal_text(error, text))

    return app


def flask_application(verifier: Verifier) -> Flask:
    app = Flask(__name__)
    guard = for_flask.RPCGuard(app, verifier)
    blueprint: Blueprint = guard.blueprint(project="solana", prefix="/login")
    app.register_blueprint(blueprint)

    @app.post("/v1/")
    @rpcguard.protect
    def rpc() -> dict[str, str]:
        return {"caller": for_flask.current_principal.subject}

    @app.post("/payouts")
    @rpcguard.protect(schemes=["jwt"], project="payouts")
    def payouts(amount: int) -> str:
        return str(amount)

    assert_type(payouts(1), str | Response)
    return app


def aiohttp_application() -> web.Application:
    middleware = for_aiohttp.rpc_auth_middleware("registry.yaml", exempt=["/healthz"])
    app = web.Application(middlewares=[middleware])
    for_aiohttp.add_auth_routes(app, project=None, prefix="")

    async def rpc(request: web.Request) -> web.Response:
        return web.json_response({"caller": for_aiohttp.principal_of(request).subject})

    app.router.add_post("/v1/", rpc)
    return app


def in_tests(app: Flask) -> None:
    clock = FrozenClock()
    with RegistryBuilder() as registry, as_principal(app, Principal("alice", "bots", "jwt")):
        registry.verifier(clock)
    meganode("x" * 32)
