"""The example applications as servers, and what a test can learn of them and do to them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        port: On 127.0.0.1.
        registry: Path of its registry, whose backend this process can open too.
        seen: How often each path was asked for.
    """

    port: int
    registry: Path
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def revoke(self, **what: Any) -> None:
        """Revoke something of project `solana`, as another process would."""
        with closing(Verifier.from_yaml(self.registry, watch=False)) as verifier:
            verifier.revoke(project="solana", **what)


def create(framework: str, path: Path) -> Any:
    """Return the example application of *framework*."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    module = __import__(f"{framework}_app")
    return module.create_app(str(path))


class CountingAsgi:
    """Counts paths, and redirects `/moved/<status>/<path>` to `/<path>`."""

    def __init__(self, app: Any, seen: Counter[str]) -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        self._seen[path] += 1
        if not path.startswith("/moved/"):
            await self._app(scope, receive, send)
            return
        status, _, rest = path.removeprefix("/moved/").partition("/")
        headers = [(b"location", f"/{rest}".encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def running(framework: str, folder: Path, refresh: str = "off") -> Iterator[Site]:
    """Serve the example application of *framework* with its own server."""
    path = registry.write(folder, refresh=refresh)
    seen: Counter[str] = Counter()
    if framework == "fastapi":
        app = CountingAsgi(create(framework, path), seen)
        with asgi(app) as port:
            yield Site(port, path, seen)
    elif framework == "flask":
        with wsgi(create(framework, path)) as port:
            yield Site(port, path, seen)
    else:
        with aio(lambda: create(framework, path)) as port:
            yield Site(port, path, seen)
