"""A client that sends exactly the bytes it is told to, and reads what comes back."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 60.0  # seconds until a test is a hang: a busy machine starts a server in ten

Headers = list[tuple[str, str]]

HANDSHAKE: Headers = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("Sec-WebSocket-Version", "13"),
]


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        """Return the only value of a header."""
        (value,) = self.all(name)
        return value

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The refusal's reason, of a refusal in the JSON-RPC form."""
        reason: str = self.json["error"]["data"]["reason"]
        return reason


def head(method: str, target: str, headers: Headers) -> bytes:
    """Return a request's head; the connection closes after the answer."""
    lines = [f"{method} {target} HTTP/1.1"]
    names = {name.lower() for name, _ in headers}
    for name, value in (("Host", "node.example"), ("Connection", "close")):
        if name.lower() not in names:
            lines.append(f"{name}: {value}")
    lines.extend(f"{name}: {value}" for name, value in headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(body: bytes, size: int) -> bytes:
    """Return *body* in the chunked transfer coding, *size* bytes per chunk."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """Open a connection, and close it afterwards."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def read_answer(sock: socket.socket, *, method: str = "POST") -> Answer:
    """Read one response, skipping interim ones: to its length, or to the end of the connection."""
    with sock.makefile("rb") as stream:
        status = 100
        while status in (100, 103):
            status = int(stream.readline().split()[1])
            headers: Headers = []
            while line := stream.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
        answer = Answer(status, headers, b"")
        length = answer.all("content-length")
        if method == "HEAD" or status in (101, 204, 304):
            return answer
        body = stream.read(int(length[0])) if length else stream.read()
        return Answer(status, headers, body)


def request(
    port: int,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = b"",
    *,
    raw_body: bytes | None = None,
) -> Answer:
    """
    Send one request and return its answer.

    Args:
        port: Port on 127.0.0.1.
        method: Method.
        target: Raw request target.
        headers: Header fields; `Content-Length` is added.
        body: Body; None for none at all.
        raw_body: What to send instead, as it is, without adding `Content-Length`.
    """
    fields = list(headers)
    if raw_body is None and body is not None:
        fields.append(("Content-Length", str(len(body))))
    with connection(port) as sock:
        sock.sendall(head(method, target, fields) + (raw_body or body or b""))
        return read_answer(sock, method=method)


def chunked_request(
    port: int, target: str, headers: Iterable[tuple[str, str]], body: bytes, size: int
) -> Answer:
    """POST *body* in the chunked transfer coding."""
    fields = [*headers, ("Transfer-Encoding", "chunked")]
    return request(port, "POST", target, fields, raw_body=chunked(body, size))


def handshake(port: int, target: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Try a WebSocket handshake, and hang up."""
    with websocket(port, target, headers) as (_, answer):
        return answer


@contextmanager
def websocket(
    port: int, target: str, headers: Iterable[tuple[str, str]] = ()
) -> Iterator[tuple[WebSocket, Answer]]:
    """Try a WebSocket handshake; gives the socket and the answer to the handshake."""
    with connection(port) as sock:
        sock.sendall(head("GET", target, [*HANDSHAKE, *headers]))
        answer = read_head(sock)
        yield WebSocket(sock), answer


def read_head(sock: socket.socket) -> Answer:
    """Read one response and no byte more; without a length, its head alone."""
    # Byte by byte: what follows a 101 are frames, and belongs to the WebSocket
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError("the server closed the connection in the head")
        data += byte
    first, *lines = data.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    answer = Answer(int(first.split()[1]), [(name, value.strip()) for name, _, value in pairs], b"")
    length = answer.all("content-length")
    if answer.status == 101 or not length:
        return answer
    body = _exactly(sock, int(length[0]))
    return Answer(answer.status, answer.headers, body)


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data


class WebSocket:
    """The client's end of an accepted WebSocket: frames, and the close code."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, text: str, *, binary: bool = False) -> None:
        """Send one frame, of text unless *binary*."""
        data, mask = text.encode(), os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        if len(data) < 126:
            length = bytes([0x80 | len(data)])
        else:
            length = bytes([0x80 | 126]) + struct.pack(">H", len(data))
        self._sock.sendall((b"\x82" if binary else b"\x81") + length + mask + masked)

    def receive(self) -> str | int:
        """Return the next text, or the close code."""
        first, second = _exactly(self._sock, 2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", _exactly(self._sock, 2))
        data = _exactly(self._sock, length)
        if first & 0x0F == 8:
            return int.from_bytes(data[:2], "big") if data else 1005
        if first & 0x0F == 9:
            return self.receive()
        return data.decode()

    def call(self, text: str) -> Any:
        """Send one JSON text and return the answer to it."""
        self.send(text)
        answer = self.receive()
        assert isinstance(answer, str), f"closed with {answer}"
        return json.loads(answer)
