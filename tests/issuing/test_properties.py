"""Whatever is sent to the issuing routes: an answer or an `AuthError`, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from minting import NOW

from issuing.site import ALICE, ROTATING, Site, proof
from rpcguard import AuthError, Request
from rpcguard.contrib._http import issued
from rpcguard.errors import REASONS
from rpcguard.issuing import ROUTES

NAMES = ["pubkey", "signature", "challenge", "refreshToken", "token", "id"]
HEADERS = ["Authorization", "X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce", "X-Auth-Version"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from(NAMES) | st.text(), json_values, max_size=6)
routes = st.sampled_from(sorted(ROUTES))
headers = st.lists(
    st.tuples(st.sampled_from(HEADERS), st.text(max_size=60) | st.just(f"Bearer {'x.' * 2}y")),
    max_size=6,
)
clocks = st.floats(min_value=0, max_value=4e9)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), ROTATING, "memory://")
    with closing(site.verifier):
        yield site


def _answers(site: Site, route: str, request: Request) -> dict | AuthError:
    try:
        answer = site.verifier.serve(route, request)
    except AuthError as error:
        assert error.reason in REASONS
        assert error.project == "sol-1"
        assert "Traceback" not in error.detail
        return error
    assert isinstance(answer, dict)
    json.dumps(answer)
    return answer


@given(routes, bodies, headers)
def test_any_json_object(site, route, body, headers):
    site.now = NOW
    raw = json.dumps(body).encode()
    _answers(site, route, Request("POST", route, headers, raw))


@given(routes, st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
@example("/auth/verify", b'{"pubkey": "\\ud800", "signature": "\\ud800", "challenge": "\\ud800"}')
def test_any_bytes(site, route, body):
    site.now = NOW
    request = Request("POST", route, [], body)
    _answers(site, route, request)
    reply = issued(site.verifier, route, request, None)
    answer = json.loads(reply.body)
    assert reply.status == 200 or answer["id"] is None


@given(json_values, clocks)
@settings(max_examples=60)
def test_a_good_proof_with_any_challenge_and_any_clock(site, value, clock):
    site.now = clock
    answer = _answers(site, "/auth/challenge", Request("POST", "/", [], _pubkey()))
    text = answer["challenge"] if isinstance(answer, dict) else "x"
    body = json.dumps(proof(text, challenge=value)).encode()
    found = _answers(site, "/auth/verify", Request("POST", "/", [], body))
    if isinstance(value, str):
        assert isinstance(found, AuthError)
    site.now = NOW


@given(st.text(max_size=200))
def test_any_text_as_a_credential_for_logging_out(site, text):
    site.now = NOW
    for value in (text, f"Bearer {text}"):
        request = Request("POST", "/auth/logout", [("Authorization", value)], b"")
        assert isinstance(_answers(site, "/auth/logout", request), AuthError)


@given(st.text(max_size=60))
def test_any_target(site, target):
    site.now = NOW
    for route in ROUTES:
        _answers(site, route, Request("POST", target, ALICE.v2("POST", target, b""), b""))


def _pubkey() -> bytes:
    return json.dumps({"pubkey": ALICE.pubkey}).encode()
