"""What the issuing routes refuse: bodies, callers, and the form in which they say so."""

from __future__ import annotations

import json

import pytest
from minting import NOW, bearer

from issuing.site import ALICE, BOB, OPEN, ROTATING, proof, registry
from rpcguard import AuthError
from rpcguard.contrib._http import issued, refusal
from rpcguard.issuing import MAX_BODY
from rpcguard.request import Request

WITH_BODY = {
    "/auth/challenge": "pubkey",
    "/auth/verify": "signature",
    "/auth/refresh": "refreshToken",
}

NOT_JSON = [
    b"",
    b" ",
    b"null",
    b"true",
    b"7",
    b'"pubkey"',
    b"[]",
    b'[{"pubkey": "x"}]',
    b"{",
    b"{}",
    b"{'pubkey': 1}",
    b'{"pubkey": "a", "pubkey": "a", "signature": "a", "refreshToken": "a"}',
    b'{"pubkey": NaN}',
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"pubkey": "\\ud800", "signature": "\\ud800", "refreshToken": "\\ud800"}',
    b"pubkey=x&signature=y",
    b"[" * 4000,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
]


@pytest.mark.parametrize("route", WITH_BODY)
@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:20]))
def test_bodies_that_are_not_what_the_route_reads(make, route, body):
    error = make(ROTATING).refuses(route, body)
    assert (error.status, error.reason, error.code) == (400, "invalid_body", -32600)


@pytest.mark.parametrize("route", WITH_BODY)
@pytest.mark.parametrize("value", [None, True, 7, 1.5, [], ["x"], {}, {"x": "y"}])
def test_values_of_a_wrong_type(make, route, value):
    site = make(ROTATING)
    body = proof(site.challenge()) | {WITH_BODY[route]: value}
    assert site.refuses(route, body).status == 400


@pytest.mark.parametrize("value", [True, 7, [], ["x"], {"x": "y"}])
def test_a_challenge_of_a_wrong_type_is_not_passed_over(make, value):
    """The client meant one challenge; taking another is not what it asked for."""
    site = make(OPEN)
    body = proof(site.challenge(), challenge=value)
    error = site.refuses("/auth/verify", body)
    assert (error.status, error.reason) == (400, "invalid_body")


@pytest.mark.parametrize("text", ["", "é", "\x00", "x" * 5000, "nodius:challenge::"])
def test_a_challenge_of_any_text_is_compared(make, text):
    site = make(OPEN)
    assert site.refuses("/auth/verify", proof(site.challenge(), challenge=text)).status == 401


def test_members_that_nobody_reads_are_passed_over(make):
    site = make(ROTATING)
    extra = {"wallet": "phantom", "n": [1]}
    text = site.serve("/auth/challenge", {"pubkey": ALICE.pubkey} | extra)["challenge"]
    session = site.serve("/auth/verify", proof(text) | extra)
    assert site.serve("/auth/refresh", {"refreshToken": session["refreshToken"]} | extra)["token"]


@pytest.mark.parametrize("route", [*WITH_BODY, "/account/api-key"])
def test_bodies_that_are_too_large(make, route):
    site = make(ROTATING)
    # An adapter that stopped reading passes None.
    headers = site.asks_for_key() if route == "/account/api-key" else []
    error = site.refuses(route, None, headers)
    assert (error.status, error.reason, error.code) == (413, "body_too_large", -32600)
    if route in WITH_BODY:
        body = json.dumps({WITH_BODY[route]: "x" * MAX_BODY}).encode()
        assert site.refuses(route, body).reason == "body_too_large"


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY, MAX_BODY + 1])
def test_the_bound_is_exact(make, size):
    site = make(OPEN)
    body = json.dumps({"pubkey": ALICE.pubkey}).encode().ljust(size)
    if size <= MAX_BODY:
        assert site.serve("/auth/challenge", body)["challenge"]
    else:
        assert site.refuses("/auth/challenge", body).status == 413


# The project's own form

OWN_FORM = """wallets: open
refusal: {status: 403, code: -32013, messages: {invalid_credentials: no such thing}}"""


@pytest.mark.parametrize("bare", [False, True])
def test_refusals_have_the_projects_own_form_and_no_id(make, bare):
    site = make(registry(OWN_FORM + ("\nrefusals: bare" if bare else "")))
    body = json.dumps(proof("x") | {"id": 7, "jsonrpc": "2.0"}).encode()
    reply = issued(site.verifier, "/auth/verify", Request("POST", "/auth/verify", [], body), None)
    assert reply.status == 403
    answer = json.loads(reply.body)
    if bare:
        assert answer == {"code": -32013, "message": "no such thing", "project": "sol-1"}
    else:
        assert answer == {
            "jsonrpc": "2.0",
            "id": None,
            "error": {
                "code": -32013,
                "message": "no such thing",
                "data": {"reason": "invalid_credentials", "project": "sol-1"},
            },
        }
    assert ("Cache-Control", "no-store") in reply.headers


def test_413_429_and_503_keep_their_status(make):
    site = make(registry(OWN_FORM))
    assert site.refuses("/auth/challenge", None).status == 413
    for _ in range(16):
        site.sign_in()
    assert site.refuses("/auth/challenge", {"pubkey": ALICE.pubkey}).status == 429
    site.verifier.close()
    assert site.refuses("/auth/challenge", {"pubkey": BOB.pubkey}).status == 503


def test_each_401_has_a_challenge_for_each_kind_of_credential(make):
    site = make(ROTATING)
    for route, body in (
        ("/auth/verify", proof("x")),
        ("/auth/refresh", {"refreshToken": "x"}),
        ("/auth/logout", b""),
    ):
        error = site.refuses(route, body)
        assert error.status == 401
        assert [text.split()[0] for text in error.challenges] == ["Signature", "Bearer"]
        headers = refusal(error).headers
        assert sum(name == "WWW-Authenticate" for name, _ in headers) == 2


def test_answers_are_not_to_be_kept_by_caches(make):
    site = make(OPEN)
    request = Request("POST", "/auth/challenge", [], json.dumps({"pubkey": ALICE.pubkey}).encode())
    reply = issued(site.verifier, "/auth/challenge", request, None)
    assert reply.status == 200
    assert ("Cache-Control", "no-store") in reply.headers
    assert ("Content-Type", "application/json") in reply.headers


# Policy


ROUTES = ["/auth/challenge", "/auth/verify", "/auth/refresh", "/auth/logout", "/account/api-key"]


def _use(site, route, credential, **facts):
    """Use *route* as it should be used; *credential* was got before the policy came."""
    if route == "/auth/challenge":
        return site.challenge(**facts)
    if route == "/auth/verify":
        return site.serve(route, proof(credential["challenge"]), **facts)
    if route == "/auth/refresh":
        return site.refresh(credential["refreshToken"], **facts)
    if route == "/auth/logout":
        headers = bearer(credential["token"]) + facts.pop("headers", [])
        return site.serve(route, b"", headers, **facts)
    headers = site.asks_for_key() + facts.pop("headers", [])
    return site.serve(route, b"", headers, **facts)


def _refused(site, route, credential, **facts):
    with pytest.raises(AuthError) as caught:
        _use(site, route, credential, **facts)
    return caught.value.reason


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("policy", "reason", "wrong", "right"),
    [
        (
            "allow: {ips: [10.0.0.0/8]}",
            "forbidden_ip",
            {"client": "192.0.2.1"},
            {"client": "10.1.2.3"},
        ),
        ("require_https: true", "https_required", {"scheme": "http"}, {"scheme": "https"}),
        (
            'allow: {origins: ["https://app.example.com"]}',
            "forbidden_origin",
            {"headers": [("Origin", "https://evil.example.com")]},
            {"headers": [("Origin", "https://app.example.com")]},
        ),
        (
            "allow: {user_agents: [wallet]}",
            "forbidden_user_agent",
            {"headers": [("User-Agent", "curl")]},
            {"headers": [("User-Agent", "wallet/1.0")]},
        ),
    ],
)
def test_the_projects_policy_applies_to_the_routes(make, route, policy, reason, wrong, right):
    site = make(ROTATING)
    credential = site.sign_in() | {"challenge": site.challenge()}
    site.reload(registry(f"wallets: open\n{policy}", ", refresh: rotating, refresh_ttl: 1d"))
    for facts in (wrong, {k: v for k, v in wrong.items() if k != "scheme"}):
        if facts:
            assert _refused(site, route, credential, **facts) == reason
    assert _use(site, route, credential, **right)  # the refusal has spent nothing


@pytest.mark.parametrize("route", ROUTES)
def test_a_methods_policy_is_about_json_rpc_and_leaves_the_routes_alone(make, route):
    text = registry("wallets: open\nallow: {methods: [getSlot]}", ", refresh: rotating")
    site = make(text)
    credential = site.sign_in() | {"challenge": site.challenge()}
    assert _use(site, route, credential)


def test_https_may_be_told_by_a_trusted_proxy_alone(make):
    text = registry("wallets: open\nrequire_https: true") + "\ntrusted_proxies: [127.0.0.1/32]"
    site = make(text)
    forwarded = {"headers": [("X-Forwarded-Proto", "https")], "scheme": "http"}
    assert site.challenge(client="127.0.0.1", **forwarded)
    body = {"pubkey": ALICE.pubkey}
    error = site.refuses("/auth/challenge", body, client="192.0.2.1", **forwarded)
    assert error.reason == "https_required"


def test_the_projects_match_has_no_say(make):
    """The routes belong to the project wherever they are mounted."""
    site = make(registry("wallets: open\nmatch: {path: /solana, host: node.example}"))
    session = site.sign_in()["token"]
    headers = [*bearer(session), ("Host", "other.example")]
    assert site.serve("/auth/logout", b"", headers) == {"revoked": True}
    assert site.key_for()


def test_with_two_projects_the_route_says_which(make):
    first = registry("wallets: open\nmatch: {path: /a}")
    both = first + first.partition("projects:")[2].replace("solana", "other").replace(
        "/a", "/b"
    ).replace("sol-1", "sol-2")
    site = make(both)
    for project in (None, "third"):
        with pytest.raises(AuthError) as caught:
            site.challenge(project=project)
        assert caught.value.reason == "no_project"
    session = site.sign_in(project="other")["token"]
    assert site.admits(session, "/b").claims["aud"] == "sol-2"
    site.reload(first)
    assert site.sign_in()


def test_a_reload_that_takes_the_session_away_is_a_refusal_and_no_crash(make):
    """The routes were mounted while there was one; callers must get an answer."""
    site = make(OPEN)
    session = site.sign_in()["token"]
    site.reload(OPEN.partition("    session:")[0])
    for route, body in (("/auth/challenge", {"pubkey": ALICE.pubkey}), ("/auth/logout", b"")):
        request = Request("POST", route, bearer(session), json.dumps(body or {}).encode())
        assert issued(site.verifier, route, request, "solana").status == 403
        assert issued(site.verifier, route, request, None).status in (403, 503)


def test_a_clock_that_is_wrong_by_far_is_no_crash(make):
    site = make(OPEN)
    text = site.challenge()
    for site.now in (0.0, 1.0, NOW * 1000):
        assert site.refuses("/auth/verify", proof(text)).status in (401, 503)


@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/verify", "/auth/refresh"])
def test_a_compressed_body_is_415(make, route):
    error = make(ROTATING).refuses(route, proof("x"), [("Content-Encoding", "gzip")])
    assert (error.status, error.reason) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "claims", [{"n": "\ud800"}, {"n": float("nan")}, {"n": {1, 2}}], ids=["surrogate", "nan", "set"]
)
def test_claims_that_no_verifier_takes_are_not_issued(make, claims):
    with pytest.raises(ValueError, match="claims"):
        make(ROTATING).verifier.issue("solana", ALICE.pubkey, claims)
