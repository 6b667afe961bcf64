"""Limits behind every server: status, header fields, and the messages of a WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib import credentials as cred
from contrib.servers import Served, serve
from contrib.wire import request

# What a 429 tells (draft-ietf-httpapi-ratelimit-headers-11; RFC 9110 section 10.2.3)
FIELDS = ("RateLimit-Policy", "RateLimit", "Retry-After")
CALL = b'{"jsonrpc":"2.0","id":7,"method":"eth_call"}'


@pytest.fixture(scope="module", params=["uvicorn", "werkzeug", "gunicorn", "aiohttp"])
def limited(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("limited")
    path = cred.write_registry(folder)
    text = path.read_text()
    text = text.replace("    allow: {methods: [eth_call]}\n", "    limits: {per_key: 2/day}\n")
    path.write_text(text.replace("    require_https: true\n", "    limits: {per_ip: 2/day}\n"))
    with serve(request.param, path) as served:
        yield served


def test_the_third_of_two_requests_is_refused_with_the_fields_of_a_429(limited: Served) -> None:
    for _ in range(2):
        assert request(limited.port, "POST", "/limited", cred.meganode(), CALL).status == 200
    answer = request(limited.port, "POST", "/limited", cred.meganode(), CALL)
    assert (answer.status, answer.reason) == (429, "rate_limited")
    assert answer.json["error"]["code"] == -32005
    assert answer.one("ratelimit-policy") == '"per_key-86400s";q=2;w=86400'
    wait = int(answer.one("retry-after"))
    assert 0 < wait <= 86400
    assert answer.one("ratelimit") == f'"per_key-86400s";r=0;t={wait}'
    assert answer.all("www-authenticate") == []


def test_an_address_is_limited_whatever_it_sends(limited: Served) -> None:
    for _ in range(2):
        assert request(limited.port, "POST", "/secure", [], CALL).status == 401
    forged = [*cred.meganode(), ("X-Forwarded-For", "203.0.113.9"), ("X-Real-IP", "203.0.113.9")]
    for headers in ([], cred.meganode(), forged):
        answer = request(limited.port, "POST", "/secure", headers, CALL)
        assert (answer.status, answer.reason) == (429, "rate_limited")
        assert {name.lower() for name, _ in answer.headers} >= {name.lower() for name in FIELDS}
