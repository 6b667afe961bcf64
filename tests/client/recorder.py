"""A server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it came off the wire."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Told:
    """What to answer; a document that is not bytes is sent as JSON."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Recorder:
    """
    The server.

    Attributes:
        port: On 127.0.0.1.
        scheme: http or https.
        tell: Request to answer; a test may set it.
        asked: The requests, in order.
    """

    port: int
    scheme: str = "http"
    tell: Callable[[Asked], Told] = lambda _: Told()
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextmanager
def recording(context: ssl.SSLContext | None = None) -> Iterator[Recorder]:
    """Run a recorder, behind TLS if there is a *context*."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ssl.SSLError):
                self.close_connection = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            recorder.asked.append(asked)
            told = recorder.tell(asked)
            content = json.dumps(told.document).encode()
            self.send_response_only(told.status)
            headers = {"Content-Type": "application/json", **told.headers}
            # A client that kept the connection would keep the server's thread
            headers |= {"Connection": "close", "Content-Length": str(len(content))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    recorder = Recorder(server.server_address[1], "http" if context is None else "https")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
        assert not thread.is_alive(), "the recorder did not stop"
