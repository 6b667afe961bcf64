"""A plain HTTP client and the least of a WebSocket client, from the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import secrets
import select
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO

HOST = "127.0.0.1"
SECONDS = 15.0  # per step of a request; a server that takes longer hangs
SWITCHING_PROTOCOLS = 101
LARGE = 1024 * 1024  # bytes; a larger body is sent only when the server asks for it
PATIENCE = 5.0  # seconds, after which it is sent unasked

_CONTINUE = b"HTTP/1.1 100"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_TEXT, _CLOSE = 0x81, 0x88  # opcodes with the FIN bit
_MASKED = 0x80
_SHORT = 125  # bytes; longer payloads carry their length in two bytes more


@dataclass(frozen=True, slots=True)
class Shot:
    """
    One request to be sent.

    Attributes:
        target: Path and query as they go over the wire.
        headers: (name, value) pairs beside those of the transport; they hold credentials.
        body: The body, or for a WebSocket the text sent after the handshake.
        websocket: Open a WebSocket instead of posting.
        ending: Posted while the WebSocket is open; the server must close that by itself then.
    """

    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    websocket: bool = False
    ending: Shot | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status of the response or handshake, and the JSON document or None."""

    status: int
    document: Any


def send(port: int, shot: Shot) -> Reply:
    """
    Send *shot* to the server on *port* of the loopback interface.

    Raises:
        OSError: If the connection fails or the server is silent.
        http.client.HTTPException: If the answer is not HTTP.
    """
    return _handshake(port, shot) if shot.websocket else _post(port, shot)


def _post(port: int, shot: Shot) -> Reply:
    connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.putrequest("POST", shot.target, skip_accept_encoding=True)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(shot.body)))
        for name, value in shot.headers:
            connection.putheader(name, value)
        if len(shot.body) <= LARGE:
            connection.endheaders(shot.body)
        else:
            _send_large(connection, shot.body)
        response = connection.getresponse()
        return Reply(response.status, _json(response.read()))


def _send_large(connection: http.client.HTTPConnection, body: bytes) -> None:
    # RFC 9110 section 10.1.1. Without asking, a refusal can be lost: the server closes while more
    # of the body arrives, and the reset overtakes what it said.
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    answered, _, _ = select.select([connection.sock], [], [], PATIENCE)
    if not answered or connection.sock.recv(len(_CONTINUE), socket.MSG_PEEK) == _CONTINUE:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an answer still counts
            connection.send(body)


def _handshake(port: int, shot: Shot) -> Reply:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields = [
        ("Host", f"{HOST}:{port}"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
        *shot.headers,
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    with socket.create_connection((HOST, port), SECONDS) as connection:
        connection.sendall(f"GET {shot.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        with connection.makefile("rb") as stream:
            words = stream.readline().split(None, 2)
            if len(words) < 2 or not words[1].isdigit():
                raise http.client.BadStatusLine("not an HTTP response")
            status, answered = int(words[1]), http.client.parse_headers(stream)
            if status != SWITCHING_PROTOCOLS:
                body = stream.read(int(answered.get("Content-Length", "0")))
                return Reply(status, _json(body))
            digest = hashlib.sha1(f"{key}{_MAGIC}".encode()).digest()  # noqa: S324 - RFC 6455
            proof = base64.b64encode(digest).decode()
            if answered.get("Sec-WebSocket-Accept") != proof:
                raise http.client.HTTPException("the server does not speak WebSocket")
            _check_subprotocol(shot, answered.get("Sec-WebSocket-Protocol"))
            connection.sendall(_frame(_TEXT, shot.body))
            document = _json(_read_text(stream))
            if shot.ending is not None:
                return Reply(status, _ended(port, shot.ending, stream))
            connection.sendall(_frame(_CLOSE, (1000).to_bytes(2, "big")))
            return Reply(status, document)


def _ended(port: int, ending: Shot, stream: BinaryIO) -> dict[str, int]:
    """Send *ending*, and return with which code the server closes the WebSocket after it."""
    status = _post(port, ending).status
    if status != HTTPStatus.OK:
        raise http.client.HTTPException(f"{ending.target} answered {status}")
    frame = stream.read(2)
    if frame[:1] != bytes([_CLOSE]):
        raise http.client.HTTPException("the server sent no close frame")
    return {"closed": int.from_bytes(stream.read(frame[1])[:2], "big")}


def _check_subprotocol(shot: Shot, chosen: str | None) -> None:
    """A browser that offered subprotocols closes unless the server chooses one of them."""
    offered = [value for name, value in shot.headers if name == "Sec-WebSocket-Protocol"]
    if offered and chosen not in offered[0].split(", "):
        raise http.client.HTTPException("the server chose no subprotocol that was offered")


def _frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) > _SHORT:
        length = bytes([_MASKED | _SHORT + 1]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([_MASKED | len(payload)])
    mask = secrets.token_bytes(4)  # RFC 6455 section 5.3: a client masks every frame
    masked = bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))
    return bytes([opcode]) + length + mask + masked


def _read_text(stream: BinaryIO) -> bytes:
    opcode, length = stream.read(2)
    if opcode != _TEXT:
        raise http.client.HTTPException("the server sent no text frame")
    if length > _SHORT:
        length = int.from_bytes(stream.read(2 if length == _SHORT + 1 else 8), "big")
    return stream.read(length)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
