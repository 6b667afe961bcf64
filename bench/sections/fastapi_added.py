"""What a guard adds to a request of FastAPI: direct ASGI calls, no server, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.added import RefusedError, compare
from bench.apps.fastapi_apps import APPS
from bench.material import BODY, TARGET, headers
from bench.run import Figures, Run
from bench.timing import Work


def measure(run: Run) -> Figures:
    """Return what rpcguard and its peers add."""
    with asyncio.Runner() as runner:

        def way(app: Any, tokens: Sequence[str]) -> Work:
            scopes = [_scope(token) for token in tokens]
            return lambda: runner.run(_call(app, scopes))

        return compare(run, "fastapi", APPS, way)


def _scope(token: str) -> dict[str, Any]:
    pairs = headers({"Authorization": f"Bearer {token}"})
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "",
        "path": TARGET,
        "raw_path": TARGET.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
        "state": {},
    }


async def _call(app: Any, scopes: list[dict[str, Any]]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RefusedError(f"answered {message['status']}")

    for scope in scopes:
        await app(scope, receive, send)
