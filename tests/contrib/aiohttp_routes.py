"""The suite's application in aiohttp."""

from __future__ import annotations

import hashlib
import json

from aiohttp import WSMsgType, web

from rpcguard.contrib.aiohttp import principal_of, rpc_auth_middleware


def _seen(request: web.Request, content: bytes) -> web.Response:
    principal = principal_of(request)
    headers = {
        "X-Subject": principal.subject,
        "X-Project": principal.project,
        "X-Scheme": principal.scheme,
    }
    return web.Response(body=content, headers=headers, content_type="application/octet-stream")


async def _open(_: web.Request) -> web.Response:
    return web.Response(text="open")


async def _open_upload(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


async def _first(request: web.Request) -> web.Response:
    return _seen(request, await request.content.read(1))


async def _stream(request: web.Request) -> web.Response:
    digest = hashlib.sha256()
    async for chunk in request.content.iter_any():
        digest.update(chunk)
    return _seen(request, digest.hexdigest().encode())


async def _json(request: web.Request) -> web.Response:
    return _seen(request, (await request.json())["text"].encode())


async def _echo(request: web.Request) -> web.StreamResponse:
    websocket = web.WebSocketResponse()
    if not websocket.can_prepare(request):
        return _seen(request, await request.read())
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_json([json.loads(message.data), principal_of(request).project])
    return websocket


def _routes(app: web.Application) -> None:
    router = app.router
    router.add_get("/open", _open)
    router.add_post("/open-upload", _open_upload, name="open-upload")
    router.add_post("/{path:.*}/first", _first)
    router.add_post("/{path:.*}/stream", _stream)
    router.add_post("/{path:.*}/json", _json)
    router.add_route("*", "/{path:.*}", _echo)


def create(registry: str | None = None) -> web.Application:
    """Return the application, with the same routes in sub-applications; /twice has two guards."""
    guard = rpc_auth_middleware(registry, exempt=["/open", "open-upload"])
    narrow = rpc_auth_middleware(guard.verifier, schemes=["signature"], project="solana")
    app = web.Application(middlewares=[guard], client_max_size=4 * 1024 * 1024)
    for prefix, middlewares in (("/mnt", []), ("/twice", [narrow])):
        sub = web.Application(middlewares=middlewares, client_max_size=4 * 1024 * 1024)
        _routes(sub)
        app.add_subapp(prefix, sub)
    _routes(app)
    return app
