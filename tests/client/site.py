"""The example applications as servers, and what a test can learn of them and do to them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from contrib.servers import aio, asgi, wsgi

from client import registry
from rpcguard.verifier import Verifier

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMEWORKS = ["fastapi", "flask", "aiohttp"]


@dataclass
class Site:
    """
    A guarded server.

    Attributes:
        framework: Its name.
        port: On 127.0.0.1.
        verifier: Its verifier.
        seen: How often each path was asked for.
    """

    framework: str
    port: int
    verifier: Verifier
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def revoke(self, **what: Any) -> None:
        """Revoke something of project `solana`."""
        self.verifier.revoke(project="solana", **what)


def create(framework: str, verifier: Verifier) -> Any:
    """Return the example application of *framework*."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    module = __import__(f"{framework}_app")
    return module.create_app(verifier)


def _moved(path: str) -> tuple[int, str] | None:
    """Return where `/moved/<status>/<path>` is redirected to, or None."""
    if not path.startswith("/moved/"):
        return None
    status, _, rest = path.removeprefix("/moved/").partition("/")
    return int(status), f"/{rest}"


class _Asgi:
    def __init__(self, app: Any, seen: Counter[str]) -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        self._seen[path] += 1
        moved = _moved(path.replace("/ws/moved/", "/moved/"))
        if moved is None:
            await self._app(scope, receive, send)
            return
        prefix, kind = ("/ws", "websocket.http") if scope["type"] == "websocket" else ("", "http")
        headers = [(b"location", (prefix + moved[1]).encode()), (b"content-length", b"0")]
        await send({"type": f"{kind}.response.start", "status": moved[0], "headers": headers})
        await send({"type": f"{kind}.response.body", "body": b""})


class _Wsgi:
    def __init__(self, app: Any, seen: Counter[str]) -> None:
        self._app, self._seen = app, seen

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self._seen[path] += 1
        moved = _moved(path.replace("/ws/moved/", "/moved/"))
        if moved is None:
            return self._app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        prefix = "/ws" if path.startswith("/ws/") else ""
        headers = [("Location", prefix + moved[1]), ("Content-Length", "0")]
        start_response(f"{moved[0]} Moved", headers)
        return [b""]


def _aiohttp(app: web.Application, seen: Counter[str]) -> web.Application:
    @web.middleware
    async def count(request: web.Request, handler: Any) -> Any:
        seen[request.path] += 1
        moved = _moved(request.path.replace("/ws/moved/", "/moved/"))
        if moved is None:
            return await handler(request)
        await request.read()
        prefix = "/ws" if request.path.startswith("/ws/") else ""
        return web.Response(status=moved[0], headers={"Location": prefix + moved[1]})

    app.middlewares.insert(0, count)
    return app


@contextmanager
def running(framework: str, folder: Path, refresh: str = "off") -> Iterator[Site]:
    """
    Serve the example application of *framework* with its own server.

    `/moved/<status>/<path>` there redirects to `/<path>`.
    """
    path = registry.write(folder, "memory://?restart_guard=off", refresh)
    seen: Counter[str] = Counter()
    with closing(Verifier.from_yaml(path, watch=False)) as verifier:
        if framework == "fastapi":
            with asgi(_Asgi(create(framework, verifier), seen)) as port:
                yield Site(framework, port, verifier, seen)
        elif framework == "flask":
            with wsgi(_Wsgi(create(framework, verifier), seen)) as port:
                yield Site(framework, port, verifier, seen)
        else:
            with aio(lambda: _aiohttp(create(framework, verifier), seen)) as port:
                yield Site(framework, port, verifier, seen)
