"""The demo's own WebSocket client, against a real server."""

from __future__ import annotations

import http.client
import json
import socket
import threading

import pytest
from websockets.sync.server import serve

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


def test_the_early_refusal_of_a_large_body_is_read(echo):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=refuse)
        thread.start()
        reply = send(listener.getsockname()[1], Shot("/", (), b" " * 20_000_000))
        thread.join()
    assert (reply.status, reply.document) == (413, {})
