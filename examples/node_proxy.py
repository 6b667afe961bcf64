"""
Nodes behind rpcguard: what the registry lets through goes to the node of its project.

    python examples/node_proxy.py --registry PATH --node evm=http://127.0.0.1:8545 --node evm=ws://127.0.0.1:8546

Nothing of the caller's request reaches a node but the body: no header, no path, no credential.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from _command_line import options, redact
from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    WSCloseCode,
    WSMsgType,
    web,
)
from aiohttp_app import serve

from rpcguard import AuthError, ConfigError
from rpcguard.contrib.aiohttp import (
    RPCAuthMiddleware,
    add_auth_routes,
    checks_frames,
    principal_of,
    rpc_auth_middleware,
)

GUARD = web.AppKey("guard", RPCAuthMiddleware)
NODES = web.AppKey("nodes", Mapping[tuple[str, str], str])  # (project, "http" or "ws"): URL
KINDS = {"http": "http", "https": "http", "ws": "ws", "wss": "ws"}
CLIENT = web.AppKey("client", ClientSession)
MAX_BODY = 8 * 1024 * 1024  # bytes, of a request and of one message
TIMEOUT = ClientTimeout(total=None, connect=5.0, sock_read=60.0)  # seconds
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
NO_NODE = '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no answer from the node"}}'


def unreachable() -> web.Response:
    """Say that there is no node, or that it does not answer."""
    return web.Response(text=NO_NODE, status=502, content_type="application/json")


def node_of(request: web.Request, kind: str) -> str | None:
    """Return the URL of the caller's node."""
    return request.app[NODES].get((principal_of(request).project, kind))


async def rpc(request: web.Request) -> web.StreamResponse:
    """Send the very bytes that were judged to the node, and its answer back as it comes."""
    url = node_of(request, "http")
    if url is None:
        return unreachable()
    body, response = await request.read(), None
    try:
        asked = request.app[CLIENT].post(url, data=body, headers=HEADERS, allow_redirects=False)
        async with asked as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
    except (ClientError, TimeoutError):
        if response is not None and response.prepared:
            raise  # aiohttp closes the connection: nobody takes a part for the whole
        return unreachable()
    return response


@checks_frames
async def ws(request: web.Request) -> web.StreamResponse:
    """Judge each message, and send it on; what the node sends comes back, subscriptions too."""
    url = node_of(request, "ws")
    if url is None:
        return unreachable()
    try:  # before the handshake is accepted
        node = await request.app[CLIENT].ws_connect(url, max_msg_size=0)
    except (ClientError, TimeoutError):
        return unreachable()
    async with node:
        websocket = web.WebSocketResponse(max_msg_size=MAX_BODY)
        await websocket.prepare(request)
        answers = asyncio.create_task(send_back(node, websocket))
        try:
            with suppress(ConnectionError):
                await send_on(request, websocket, node)
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
    return websocket


async def send_on(
    request: web.Request, websocket: web.WebSocketResponse, node: ClientWebSocketResponse
) -> None:
    """Send what the caller may send to the node, and answer the rest."""
    guard, caller = request.app[GUARD], principal_of(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            try:
                await guard.check_message(caller, message.data)
            except AuthError as error:
                await websocket.send_str(guard.refusal_text(error, message.data))
            else:
                await node.send_str(message.data)


async def send_back(node: ClientWebSocketResponse, websocket: web.WebSocketResponse) -> None:
    """Send the node's messages to the caller until the node goes away; the caller goes then too."""
    with suppress(ConnectionError):
        async for message in node:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
    await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER)


async def client(app: web.Application) -> AsyncIterator[None]:
    """Keep connections to the nodes while the application runs."""
    async with ClientSession(timeout=TIMEOUT, cookie_jar=DummyCookieJar()) as app[CLIENT]:
        yield


def create_app(registry: str, nodes: list[str], recheck: float = 30.0) -> web.Application:
    """
    Return the application, guarded by *registry*.

    Args:
        registry: Path of the registry.
        nodes: `PROJECT=URL`, http or ws, each.
        recheck: Seconds between two rechecks of an open WebSocket.

    Raises:
        ConfigError: If the registry does not load.
        ValueError: If one of *nodes* is something else, or of a project that there is not.
    """
    guard = rpc_auth_middleware(registry, recheck=recheck)
    redact(guard.verifier, "aiohttp.access", "aiohttp.server")
    urls = {}
    for node in nodes:
        project, _, url = node.partition("=")
        kind = KINDS.get(url.partition("://")[0])
        if kind is None or project not in guard.verifier.registry.projects:
            raise ValueError(f"--node {project}: not a project of {registry} and a URL")
        urls[project, kind] = url
    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app[GUARD], app[NODES] = guard, urls
    app.cleanup_ctx.append(client)
    with suppress(LookupError):  # not exactly one project has a session
        add_auth_routes(app)
    app.router.add_get("/ws/{path:.*}", ws)
    app.router.add_post("/{path:.*}", rpc)
    return app


def main() -> int:
    """Serve until told to stop."""
    parser = options(__doc__ or "")
    parser.add_argument("--node", action="append", default=[], metavar="PROJECT=URL")
    given = parser.parse_args()
    try:
        app = create_app(given.registry, given.node, given.recheck)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.INFO if given.access_log else logging.WARNING)
    access_log = logging.getLogger("aiohttp.access") if given.access_log else None
    asyncio.run(serve(app, given.port, access_log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
