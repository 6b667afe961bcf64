"""
A FastAPI application that rpcguard guards as a whole: an RPC endpoint, and files below it.

    python examples/files_app.py --registry PATH --at /v1/files --files DIRECTORY

The files are a mounted application, which no dependency would guard.
"""

from __future__ import annotations

import sys

from _command_line import options, redact
from _jsonrpc import answer
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from fastapi_app import serve

from rpcguard import ConfigError
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth


def create_app(registry: str, at: str, files: str) -> FastAPI:
    """Return the application, guarded by *registry*, with the files of *files* at the path *at*."""
    app = FastAPI(openapi_url=None)
    guard = RPCGuard(app, registry, everywhere=require_rpc_auth, exempt=["/healthz"])
    redact(guard.verifier, "uvicorn.access", "uvicorn.error")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.mount(at, StaticFiles(directory=files))

    @app.api_route("/{path:path}", methods=["POST"])
    async def rpc(request: Request) -> Response:
        text = answer(await request.body(), request.state.principal)
        if text is None:
            return Response(status_code=204)
        return Response(text, media_type="application/json")

    return app


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = options(__doc__ or "")
    parser.add_argument("--at", default="/v1/files", help="path of the files, of some project")
    parser.add_argument("--files", default=".", metavar="DIRECTORY")
    given = parser.parse_args()
    try:
        app = create_app(given.registry, given.at, given.files)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    serve(app, given.port, access_log=given.access_log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
