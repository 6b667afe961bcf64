"""The demo's own WebSocket client, against a real server."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import threading

import pytest
from websockets.sync.server import serve

from rpcguard.cli.demo import wire
from rpcguard.cli.demo.wire import Shot, send


@pytest.fixture
def echo():
    """A WebSocket server that sends back what it gets; on /binary as bytes."""

    def handle(connection):
        for message in connection:
            binary = connection.request.path == "/binary"
            connection.send(message.encode() if binary else message)

    with serve(handle, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


@pytest.mark.parametrize("size", [0, 123, 124, 1000, 65_533])
def test_text_of_any_size_comes_back(echo, size):
    text = "x" * size
    reply = send(echo, Shot("/", (), json.dumps(text).encode(), websocket=True))
    assert (reply.status, reply.document) == (101, text)


def test_what_is_not_text_is_refused(echo):
    with pytest.raises(http.client.HTTPException, match="no text frame"):
        send(echo, Shot("/binary", (), b"{}", websocket=True))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "not an HTTP response"),
        (b"nonsense\r\n\r\n", "not an HTTP response"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "does not speak WebSocket"),
    ],
)
def test_a_handshake_that_goes_wrong_is_an_error_of_http(answer, said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_once():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve_once)
        thread.start()
        with pytest.raises(http.client.HTTPException, match=said):
            send(listener.getsockname()[1], Shot("/", (), b"{}", websocket=True))
        thread.join()


def head(stream) -> bytes:
    """Read one request up to its body."""
    return b"".join(iter(stream.readline, b"\r\n"))


@pytest.mark.parametrize("asked", [False, True])
def test_a_large_body_is_sent_only_when_the_server_asks_for_it(monkeypatch, asked):
    monkeypatch.setattr(wire, "PATIENCE", 60)  # on a busy machine the server may be slow to refuse
    body, seen = b" " * 2_000_000, []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                assert b"Expect: 100-continue" in head(stream)
                if asked:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    seen.append(stream.read(len(body)))
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}")
                seen.append(stream.read())

        thread = threading.Thread(target=answer)
        thread.start()
        reply = send(listener.getsockname()[1], Shot("/", (), body))
        thread.join()
    assert (reply.status, reply.document) == (413, {})
    assert seen == ([body, b""] if asked else [b""])


def test_a_large_body_is_sent_to_a_server_that_stays_silent(monkeypatch):
    monkeypatch.setattr(wire, "PATIENCE", 0.1)
    body = b" " * 2_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                head(stream)
                assert stream.read(len(body)) == body
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        reply = send(listener.getsockname()[1], Shot("/", (), body))
        thread.join()
    assert (reply.status, reply.document) == (200, {})


@pytest.mark.parametrize("chosen", ["auth.x", "jsonrpc"])
def test_a_subprotocol_that_was_offered_may_be_chosen(chosen):
    def choose(_, offered):
        assert offered == ["auth.x", "jsonrpc"]
        return chosen

    assert offering(choose).document == 1


def test_a_server_that_chooses_no_subprotocol_has_lost_a_browser():
    with pytest.raises(http.client.HTTPException, match="chose no subprotocol"):
        offering(lambda *_: None)


def offering(choose):
    """What comes of two subprotocols offered to a server that chooses so."""

    def handle(connection):
        for message in connection:
            connection.send(message)

    headers = (("Sec-WebSocket-Protocol", "auth.x, jsonrpc"),)
    with serve(handle, "127.0.0.1", 0, select_subprotocol=choose) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            port = server.socket.getsockname()[1]
            return send(port, Shot("/", headers, b"1", websocket=True))
        finally:
            server.shutdown()


def ending(status, last):
    """What comes of a WebSocket whose server answers *status* to a request meanwhile, and *last*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_both():
            opened, _ = listener.accept()
            with opened, opened.makefile("rb") as stream:
                key = head(stream).partition(b"Sec-WebSocket-Key: ")[2].split()[0]
                digest = hashlib.sha1(key + wire._MAGIC.encode()).digest()
                fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                fields += b"Sec-WebSocket-Accept: " + base64.b64encode(digest)
                opened.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n\r\n")
                stream.read(8)  # a masked frame of two bytes; unread, the connection would be reset
                opened.sendall(b"\x81\x02{}")
                posted, _ = listener.accept()
                with posted, posted.makefile("rb") as request:
                    assert head(request).startswith(b"POST /logout ")
                    posted.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status)
                opened.sendall(last)

        thread = threading.Thread(target=serve_both)
        thread.start()
        port = listener.getsockname()[1]
        try:
            shot = Shot("/ws", (), b"{}", websocket=True, ending=Shot("/logout", (), b""))
            return send(port, shot)
        finally:
            thread.join()


def test_a_server_closes_what_a_request_has_ended_meanwhile():
    reply = ending(200, b"\x88\x02\x03\xf0")
    assert (reply.status, reply.document) == (101, {"closed": 1008})


@pytest.mark.parametrize(
    ("status", "last", "said"),
    [
        (401, b"\x88\x02\x03\xf0", "/logout answered 401"),
        (200, b"\x81\x02{}", "no close frame"),
        (200, b"", "no close frame"),
    ],
)
def test_a_server_that_does_not_close_it_is_an_error_of_http(status, last, said):
    with pytest.raises(http.client.HTTPException, match=said):
        ending(status, last)
