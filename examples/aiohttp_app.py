"""aiohttp behind rpcguard: `python examples/aiohttp_app.py --port 8000 --registry PATH`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress

from _command_line import listen, parse, ready, redact
from _jsonrpc import answer
from aiohttp import WSMsgType, web

from rpcguard import AuthError, ConfigError
from rpcguard.contrib.aiohttp import (
    RPCAuthMiddleware,
    add_auth_routes,
    checks_frames,
    principal_of,
    rpc_auth_middleware,
)

GUARD = web.AppKey("guard", RPCAuthMiddleware)
HEADER_LIMIT = 16 * 1024  # bytes; aiohttp's own 8190 are less than a credential may have


async def healthz(_: web.Request) -> web.Response:
    """Answer the load balancer."""
    return web.json_response({"status": "ok"})


async def rpc(request: web.Request) -> web.Response:
    """Answer one JSON-RPC request or batch."""
    text = answer(await request.read(), principal_of(request))
    if text is None:
        return web.Response(status=204)
    return web.Response(text=text, content_type="application/json")


@checks_frames
async def ws(request: web.Request) -> web.StreamResponse:
    """Answer JSON-RPC requests, one text per frame."""
    websocket = web.WebSocketResponse()
    if not websocket.can_prepare(request):
        return await rpc(request)
    await websocket.prepare(request)
    guard, caller = request.config_dict[GUARD], principal_of(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            try:
                await guard.check_message(caller, message.data)
                text = answer(message.data, caller)
            except AuthError as error:
                text = guard.refusal_text(error, message.data)
            if text is not None:
                await websocket.send_str(text)
    return websocket


def create_app(registry: str, recheck: float = 30.0) -> web.Application:
    """Return the application, guarded by *registry*."""
    guard = rpc_auth_middleware(registry, exempt=["healthz"], recheck=recheck)
    redact(guard.verifier, "aiohttp.access", "aiohttp.server")
    app = web.Application(middlewares=[guard], client_max_size=8 * 1024 * 1024)
    app[GUARD] = guard
    app.router.add_get("/healthz", healthz, name="healthz")
    with suppress(LookupError):  # not exactly one project has a session
        add_auth_routes(app)
    app.router.add_get("/ws/{path:.*}", ws)
    app.router.add_route("*", "/{path:.*}", rpc)
    return app


async def serve(app: web.Application, port: int, access_log: logging.Logger | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app,
        access_log=access_log,
        max_line_size=HEADER_LIMIT,
        max_field_size=HEADER_LIMIT,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    with listen(port) as listener:
        await web.SockSite(runner, listener).start()
        ready(listener)
        await stop.wait()
        await runner.cleanup()


def main() -> int:
    """Serve until told to stop."""
    options = parse(__doc__ or "")
    try:
        app = create_app(options.registry, options.recheck)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.INFO if options.access_log else logging.WARNING)
    access_log = logging.getLogger("aiohttp.access") if options.access_log else None
    asyncio.run(serve(app, options.port, access_log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
