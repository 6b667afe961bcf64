"""The body: read by the guard only if needed, bounded, and the same bytes for the handler."""

from __future__ import annotations

import hashlib
import os

import pytest

from contrib import credentials as cred
from contrib.servers import Served
from contrib.wire import chunked, chunked_request, connection, head, read_answer, read_head, request

BODIES = {
    "binary": bytes(range(256)) * 8,
    "empty": b"",
    "one byte": b"x",
    "large": os.urandom(cred.MAX_BODY - 7),
    "as large as may be": bytes(cred.MAX_BODY),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_E18_the_handler_reads_the_bytes_that_were_signed(server: Served, body: bytes) -> None:
    answer = request(server.port, "POST", "/solana", cred.nodius(body), body)
    assert answer.status == 200
    assert answer.body == body


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_E15_a_chunked_body_hashes_as_one_piece(server: Served, size: int) -> None:
    body = os.urandom(300 if size == 1 else 200_000)
    answer = chunked_request(server.port, "/solana", cred.nodius(body), body, size)
    assert answer.status == 200
    assert answer.body == body


def test_a_chunked_body_may_be_empty(server: Served) -> None:
    answer = chunked_request(server.port, "/solana", cred.nodius(), b"", 1)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("size", [None, 8192])
def test_the_handler_may_stream_what_the_guard_has_read(server: Served, size: int | None) -> None:
    body = os.urandom(150_000)
    headers = cred.nodius(body)
    if size is None:
        answer = request(server.port, "POST", "/solana/stream", headers, body)
    else:
        answer = chunked_request(server.port, "/solana/stream", headers, body, size)
    assert answer.body.decode() == hashlib.sha256(body).hexdigest()


def test_the_handler_may_parse_what_the_guard_has_read(server: Served) -> None:
    body = '{"text":"Zürich"}'.encode()
    headers = [*cred.nodius(body), ("Content-Type", "application/json")]
    answer = request(server.port, "POST", "/solana/json", headers, body)
    assert answer.body.decode() == "Zürich"


def test_E17_no_content_length_is_an_empty_body(server: Served) -> None:
    answer = request(server.port, "POST", "/solana", cred.nodius(), None)
    assert answer.status == 200
    assert answer.body == b""


def test_an_upload_that_the_guard_need_not_read_has_no_limit_of_ours(server: Served) -> None:
    body = os.urandom(1 << 20) * 24
    answer = request(server.port, "POST", "/v1/x/stream", cred.meganode(), body)
    assert answer.body.decode() == hashlib.sha256(body).hexdigest()


def test_an_upload_that_the_guard_need_not_read_reaches_the_handler_as_it_comes(
    server: Served,
) -> None:
    headers = [*cred.meganode(), ("Content-Length", str(24 << 20))]
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/v1/x/first", headers) + b"y" * (2 << 20))
        answer = read_answer(sock)  # though 22 MiB are yet to come
    assert (answer.status, answer.body) == (200, b"y")


def test_E16_a_refusal_does_not_wait_for_a_body_that_it_does_not_need(server: Served) -> None:
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/v1/", [("Content-Length", str(1 << 30))]))
        answer = read_answer(sock)
    assert (answer.status, answer.reason) == (401, "missing_credentials")


def test_E16_a_declared_length_above_the_limit_is_refused_unread(server: Served) -> None:
    headers = [*cred.nodius(b""), ("Content-Length", str(1 << 30))]
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/solana", headers) + b"x" * 1000)
        answer = read_answer(sock)
    assert (answer.status, answer.reason) == (413, "body_too_large")
    assert answer.json["error"]["code"] == -32600
    assert answer.json["error"]["data"]["project"] == "solana"


def test_E16_a_chunked_body_above_the_limit_is_refused_before_its_end(server: Served) -> None:
    headers = [*cred.nodius(b""), ("Transfer-Encoding", "chunked")]
    unfinished = chunked(bytes(cred.MAX_BODY + 65536), 65536).removesuffix(b"0\r\n\r\n")
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/solana", headers) + unfinished)
        answer = read_answer(sock)
    assert (answer.status, answer.reason) == (413, "body_too_large")


def test_one_byte_above_the_limit_is_too_much(server: Served) -> None:
    body = bytes(cred.MAX_BODY + 1)
    answer = chunked_request(server.port, "/solana", cred.nodius(body), body, 1 << 20)
    assert answer.status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_E14_an_encoded_body_that_must_be_read_is_refused(server: Served, coding: str) -> None:
    headers = [*cred.nodius(b"x"), ("Content-Encoding", coding)]
    answer = request(server.port, "POST", "/solana", headers, b"x")
    assert answer.status in (
        400,
        415,
    )  # aiohttp refuses a coding that it does not know or a bad body
    if answer.status == 415:
        assert answer.reason == "unsupported_encoding"


def test_the_identity_encoding_is_none(server: Served) -> None:
    headers = [*cred.nodius(b"x"), ("Content-Encoding", "identity")]
    assert request(server.port, "POST", "/solana", headers, b"x").status == 200


def test_E18_a_client_that_leaves_in_mid_body_spends_no_nonce(server: Served) -> None:
    body = b"0123456789" * 100
    headers = cred.nodius(body)
    length = ("Content-Length", str(len(body)))
    for sent in (b"", body[:10], body[:-1]):
        with connection(server.port) as sock:
            sock.sendall(head("POST", "/solana", [*headers, length]) + sent)
    assert request(server.port, "POST", "/solana", headers, body).status == 200


def test_E15_E18_a_client_that_leaves_in_mid_chunk_spends_no_nonce(server: Served) -> None:
    body = b"0123456789" * 100
    headers = cred.nodius(body)
    coding = ("Transfer-Encoding", "chunked")
    for cut in (3, 200, 6):
        with connection(server.port) as sock:
            sock.sendall(head("POST", "/solana", [*headers, coding]) + chunked(body, 100)[:-cut])
    assert request(server.port, "POST", "/solana", headers, body).status == 200


def test_E19_expect_100_continue_is_answered_before_the_guard_reads(server: Served) -> None:
    body = b"after the continue"
    headers = [
        *cred.nodius(body),
        ("Expect", "100-continue"),
        ("Content-Length", str(len(body))),
    ]
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/solana", headers))
        assert read_head(sock).status == 100
        sock.sendall(body)
        answer = read_answer(sock)
    assert (answer.status, answer.body) == (200, body)


def test_two_guards_on_one_request_spend_one_nonce(server: Served) -> None:
    body = b"x"
    answer = request(server.port, "POST", "/twice/solana", cred.nodius(body), body)
    assert (answer.status, answer.body) == (200, body)


def test_an_open_route_takes_uploads_above_the_limit(server: Served) -> None:
    body = bytes(cred.MAX_BODY + 10)
    answer = request(server.port, "POST", "/open-upload", body=body)
    assert (answer.status, answer.body.strip()) == (200, str(len(body)).encode())
