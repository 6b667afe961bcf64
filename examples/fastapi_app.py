"""FastAPI behind rpcguard: `python examples/fastapi_app.py --port 8000 --registry PATH`."""

from __future__ import annotations

import base64
import hashlib
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import uvicorn
from _command_line import listen, parse, ready, redact
from _jsonrpc import answer
from fastapi import Depends, FastAPI, Request, Response, WebSocket, WebSocketDisconnect

from rpcguard import AuthError, ConfigError, Principal
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Caller = Annotated[Principal, Depends(require_rpc_auth)]
SocketCaller = Annotated[Principal, Depends(require_rpc_auth(frames=True))]
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def hashed(tag: str) -> str:
    """Return the CSP source of the page's inline script or style."""
    text = PAGE.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CSP = (
    f"default-src 'none'; script-src {hashed('script')}; style-src {hashed('style')};"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(registry: str, recheck: float = 30.0) -> FastAPI:
    """Return the application, guarded by *registry*."""
    app = FastAPI(openapi_url=None)
    guard = RPCGuard(app, registry, recheck=recheck)
    redact(guard.verifier, "uvicorn.access", "uvicorn.error")
    with suppress(LookupError):  # not exactly one project has a session
        app.include_router(guard.router())

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/page")
    async def page() -> Response:
        """Sign in with a key of the browser: open to all."""
        headers = {"Content-Security-Policy": CSP, "Cache-Control": "no-store"}
        return Response(PAGE, headers=headers, media_type="text/html")

    @app.api_route("/{path:path}", methods=METHODS)
    async def rpc(request: Request, caller: Caller) -> Response:
        text = answer(await request.body(), caller)
        if text is None:
            return Response(status_code=204)
        return Response(text, media_type="application/json")

    @app.websocket("/ws/{path:path}")
    async def ws(websocket: WebSocket, caller: SocketCaller) -> None:
        await websocket.accept()
        try:
            while (received := await websocket.receive())["type"] == "websocket.receive":
                message = received.get("text")
                if message is None:  # a binary frame, which `receive_text` does not expect
                    continue
                try:
                    await guard.check_message(caller, message)
                    text = answer(message, caller)
                except AuthError as error:
                    text = guard.refusal_text(error, message)
                if text is not None:
                    await websocket.send_text(text)
        except WebSocketDisconnect:
            pass

    return app


class Server(uvicorn.Server):
    """uvicorn that says when it is ready, and ends with status 0 when told to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started and sockets:
            ready(sockets[0])


def serve(app: FastAPI, port: int, *, access_log: bool) -> None:
    """Serve *app* on 127.0.0.1 until SIGINT or SIGTERM."""
    # Without proxy_headers=False uvicorn would take the peer's address from X-Forwarded-For
    level = "info" if access_log else "warning"
    server = Server(uvicorn.Config(app, proxy_headers=False, log_level=level))
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again when it has stopped
        signal.signal(number, server.handle_exit)
    with listen(port) as listener:
        server.run([listener])


def main() -> int:
    """Serve until told to stop."""
    options = parse(__doc__ or "")
    try:
        app = create_app(options.registry, options.recheck)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    serve(app, options.port, access_log=options.access_log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
