"""
The suite's application in FastAPI: each route with a guard of its own, or one in front of them all.
"""

# ruff: noqa: FAST003 - the routes differ by path, and no handler needs it

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection

from rpcguard import Principal
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth

METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS"]
OPEN = ["/open", "/open-upload", "/mnt/open", "/mnt/open-upload"]
Caller = Annotated[Principal, Depends(require_rpc_auth)]
Narrow = Annotated[Principal, Depends(require_rpc_auth(schemes=["signature"], project="solana"))]


def let_in(connection: HTTPConnection) -> Principal:
    """Return whom the guard in front has let in."""
    principal: Principal = connection.state.principal
    return principal


def _seen(content: bytes, principal: Principal) -> Response:
    headers = {
        "X-Subject": principal.subject,
        "X-Project": principal.project,
        "X-Scheme": principal.scheme,
    }
    return Response(content, headers=headers, media_type="application/octet-stream")


def _routes(app: FastAPI) -> None:
    @app.get("/open")
    async def open_to_all() -> str:
        return "open"

    @app.post("/open-upload")
    async def open_upload(request: Request) -> int:
        return len(await request.body())

    @app.post("/model/{path:path}")
    async def model(body: Annotated[dict[str, Any], Body()], caller: Caller) -> dict[str, Any]:
        return {"body": body, "subject": caller.subject}

    @app.post("/narrow/{path:path}")
    async def narrow(request: Request, caller: Narrow) -> Response:
        return _seen(await request.body(), caller)

    @app.post("/twice/{path:path}", dependencies=[Depends(require_rpc_auth)])
    async def twice(request: Request, caller: Narrow) -> Response:
        return _seen(await request.body(), caller)

    @app.post("/{path:path}/first")
    async def first(request: Request, caller: Caller) -> Response:
        async for chunk in request.stream():
            return _seen(chunk[:1], caller)
        return _seen(b"", caller)

    @app.post("/{path:path}/stream")
    async def stream(request: Request, caller: Caller) -> Response:
        digest = hashlib.sha256()
        async for chunk in request.stream():
            digest.update(chunk)
        return _seen(digest.hexdigest().encode(), caller)

    @app.post("/{path:path}/json")
    async def as_json(request: Request, caller: Caller) -> Response:
        return _seen((await request.json())["text"].encode(), caller)

    @app.api_route("/{path:path}", methods=METHODS)
    async def echo(request: Request, caller: Caller) -> Response:
        return _seen(await request.body(), caller)

    @app.websocket("/{path:path}")
    async def ws(websocket: WebSocket, caller: Caller) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_json([await websocket.receive_json(), caller.project])
        except WebSocketDisconnect:
            pass


def create(registry: Any = None, *, whole: bool = False) -> FastAPI:
    """
    Return the application, with the same routes again in an application mounted at /mnt.

    Args:
        registry: As `RPCGuard` takes it.
        whole: It is guarded as a whole, and its routes, narrower ones aside, judge nobody.
    """
    app, sub = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    if whole:
        RPCGuard(app, registry, everywhere=require_rpc_auth, exempt=OPEN)
        for each in (app, sub):
            each.dependency_overrides[require_rpc_auth] = let_in
    else:
        RPCGuard(app, registry)
    _routes(sub)
    app.mount("/mnt", sub)
    _routes(app)
    return app
