"""
A WebSocket under a WSGI server: the server's socket, as simple-websocket takes it from the
environment and then reads and writes it by itself.
"""

from __future__ import annotations

import re
import selectors
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from rpcguard.contrib._sockets import SUBPROTOCOL, Watch, offer

VERSION: Final = "13"  # of RFC 6455

_FIELD: Final = "HTTP_SEC_WEBSOCKET_PROTOCOL"
_SOCKETS: Final = ("werkzeug.socket", "gunicorn.socket")
_FAREWELL: Final = 1.0  # seconds that the peer has to take a close frame, and to answer it
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_UNKNOWN: Final = "rpcguard guards WebSockets under werkzeug's server and gunicorn alone"


def flaw(environ: dict[str, Any]) -> str:
    """
    Return what is wrong with a handshake (RFC 6455 section 4.2.1), "" if nothing is.

    simple-websocket would raise an error of its own, which is an answer of 500.
    """
    if environ["REQUEST_METHOD"] != "GET":
        return "the method of a WebSocket handshake is GET"
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        return f"Sec-WebSocket-Version is not {VERSION}"
    if not _KEY.fullmatch(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        return "Sec-WebSocket-Key is missing or malformed"
    return "" if environ.get("HTTP_HOST") else "Host is missing"


class Wire:
    """
    Stands in for the server's socket: answers the handshake with the subprotocol that carries the
    token, if no other is selected, and ends the connection when the watch says so.

    Each connection has a thread that waits for that; it ends with the socket.
    """

    def __init__(self, raw: socket.socket, watch: Watch, carrier: str | None) -> None:
        """
        Args:
            raw: The server's socket.
            watch: Tells when to close.
            carrier: The subprotocol to select, or None.
        """
        self._raw = raw
        self._watch = watch
        self._carrier = carrier
        self._sending = threading.Lock()
        self._answered = False
        self._over = False
        self._ended = threading.Event()

    def send(self, data: bytes) -> int:
        """Send all of *data*; nothing leaves after our close frame."""
        with self._sending:
            if not self._over:
                self._raw.sendall(data if self._answered else self._answer(data))
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return what the peer sent; b"" at the end, and once the guard has ended it."""
        data = self._raw.recv(size)
        while self._over and data:  # to the end of the connection: a peer's close frame is no news
            data = self._raw.recv(size)
        return data

    def close(self) -> None:
        """Close the socket."""
        self.end()
        self._raw.close()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def adopt(self, server: Any) -> None:
        """Take the place of the socket of a simple-websocket server that has shaken hands."""
        self._answered = True
        server.sock = self
        self._start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def _answer(self, data: bytes) -> bytes:
        self._answered = True
        if not data.startswith(b"HTTP/1.1 101"):
            return data
        self._start()
        head, _, rest = data.partition(b"\r\n")
        selected = f"\r\n{SUBPROTOCOL}:".lower().encode() in data.partition(b"\r\n\r\n")[0].lower()
        if self._carrier is None or selected:
            return data
        return b"%s\r\n%s: %s\r\n%s" % (head, SUBPROTOCOL.encode(), self._carrier.encode(), rest)

    def _start(self) -> None:
        threading.Thread(target=self._run, name="rpcguard-websocket", daemon=True).start()

    def _run(self) -> None:
        while not self._ended.wait(self._watch.wait()):
            code = self._watch.check()
            if code is not None:
                self._cut(code)
                return

    def _cut(self, code: int) -> None:
        """Send a close frame; the reading thread then meets the end of the connection."""
        self._over = True
        with suppress(OSError, ValueError):  # the other end may be gone
            if self._say(code) and self._ended.wait(_FAREWELL):
                return
            self._shutdown(socket.SHUT_RDWR)

    def _say(self, code: int) -> bool:
        if not self._sending.acquire(timeout=_FAREWELL):
            return False  # a sender waits for a peer that does not read
        try:
            if not self._writable():
                return False
            self._raw.sendall(b"\x88\x02" + code.to_bytes(2, "big"))
            self._shutdown(socket.SHUT_WR)
            return True
        finally:
            self._sending.release()

    def _writable(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._raw, selectors.EVENT_WRITE)
            return bool(selector.select(_FAREWELL))

    def _shutdown(self, how: int) -> None:
        # Of the connection below: SSLSocket's own would let later bytes pass unencrypted
        socket.socket.shutdown(self._raw, how)


def attend(environ: dict[str, Any], watch: Watch) -> Wire:
    """
    Put a `Wire` into the *environ* of a handshake that was let in, and hide the subprotocol that
    carries the token from the application.

    Raises:
        RuntimeError: If the server gives no socket: nobody could close it then.
    """
    offered = offer([environ[_FIELD]] if _FIELD in environ else [])
    if offered.carries:
        del environ[_FIELD]
        if offered.plain:
            environ[_FIELD] = ", ".join(offered.plain)
    for key in _SOCKETS:
        if key in environ:
            environ[key] = wire = Wire(environ[key], watch, offered.carrier)
            return wire
    raise RuntimeError(_UNKNOWN)
