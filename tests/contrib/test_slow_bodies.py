"""Bodies that come slowly, and those that are refused while the client is still sending."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from issuing.apps import create_aiohttp, create_fastapi

from contrib import credentials as cred
from contrib.servers import Served, aio, asgi, serve
from contrib.wire import TIMEOUT, Headers, connection, head, read_head, request
from rpcguard.contrib import _asgi_body

ASYNC = ["fastapi", "aiohttp"]  # WSGI servers own their sockets
REGISTRY = """\
version: 1
backend: "memory://?restart_guard=off"
bounds: {body_timeout: 300ms}
projects:
  solana:
    preset: nodius
    match: {path: /solana}
    wallets: open
    session: {secret: "a session secret of more than 32 bytes"}
  evm:
    preset: allthatnode
    match: {path: /evm}
    when_no_keys: allow
    allow: {methods: [eth_call]}
"""


@pytest.fixture(scope="module", params=ASYNC)
def slow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("slow") / "registry.yaml"
    path.write_text(REGISTRY)
    if request.param == "fastapi":
        with asgi(create_fastapi(str(path), {})) as port:
            yield port
    else:  # aiohttp waits another 10 s, by default, before it closes
        with aio(lambda: create_aiohttp(str(path), {}), lingering_time=0.1) as port:
            yield port


def _trickle(sock: socket.socket, target: str, headers: Headers, sent: bytes) -> None:
    fields = [*headers, ("Content-Length", "1000"), ("Connection", "keep-alive")]
    sock.sendall(head("POST", target, fields) + sent)


def _refused_and_closed(sock: socket.socket) -> str:
    answer = read_head(sock)
    assert answer.status == 400
    assert answer.one("Connection") == "close"
    assert sock.recv(1) == b""
    return answer.reason


@pytest.mark.parametrize("sent", [b"", b"x", b"x" * 999])
def test_a_body_that_does_not_come_is_refused_and_the_connection_closed(
    slow: int, sent: bytes
) -> None:
    headers = cred.nodius(b"x" * 1000)
    with connection(slow) as sock:
        _trickle(sock, "/solana", headers, sent)
        assert _refused_and_closed(sock) == "invalid_body"
    # The nonce was not spent
    assert request(slow, "POST", "/solana", headers, b"x" * 1000).status == 200


def test_it_is_refused_in_the_projects_own_form(slow: int) -> None:
    with connection(slow) as sock:
        _trickle(sock, "/evm", [], b'{"method":')
        answer = read_head(sock)
        assert (answer.status, set(answer.json)) == (400, {"code", "message", "project"})
        assert sock.recv(1) == b""


@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/logout", "/account/api-key"])
def test_a_route_that_issues_waits_no_longer(slow: int, route: str) -> None:
    with connection(slow) as sock:
        _trickle(sock, route, [], b'{"pubkey":')
        assert _refused_and_closed(sock) == "invalid_body"


def test_a_slow_body_that_the_guard_does_not_read_is_the_applications(slow: int) -> None:
    with connection(slow) as sock:
        _trickle(sock, "/solana", [], b"x")
        answer = read_head(sock)
    assert (answer.status, answer.reason) == (401, "missing_credentials")


@pytest.mark.parametrize("server", ["uvicorn", "aiohttp", "werkzeug"], indirect=True)
@pytest.mark.parametrize(("status", "reason"), [(413, b"body_too_large"), (401, b"missing_cred")])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("close", [False, True])
def test_a_client_that_sends_all_before_it_reads_gets_its_refusal(
    server: Served,
    chunked: bool,
    close: bool,
    status: int,
    reason: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`http.client` reads no answer when the connection breaks while it sends."""
    monkeypatch.setattr(_asgi_body, "_LINGER", TIMEOUT)  # the machine may be busy
    size = cred.MAX_BODY + (10 << 20)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    headers = {"Connection": "close" if close else "keep-alive"}
    if status == 413:
        headers.update(cred.nodius(b""))
    body = iter([b"x" * 65536] * (size // 65536)) if chunked else b"x" * size
    try:
        client.request("POST", "/solana", body, headers, encode_chunked=chunked)
        answer = client.getresponse()
        assert answer.status == status
        assert reason in answer.read()
    finally:
        client.close()


def test_a_client_that_never_stops_is_not_read_for_ever(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_body, "_LINGER", 0.3)
    with serve("uvicorn", registry) as served, connection(served.port) as sock:
        headers = [*cred.nodius(b""), ("Content-Length", str(1 << 30))]
        sock.sendall(head("POST", "/solana", headers) + b"x")
        assert read_head(sock).status == 413
        assert sock.recv(1) == b""
