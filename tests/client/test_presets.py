"""Each preset's signer is accepted by a verifier of that preset."""

from __future__ import annotations

import jwt
import pytest

from client.registry import API_KEY, CASES, HEX, HS, ORDER, SECRET, WALLET, WITHDRAWAL, key, write
from rpcguard import AuthError, Request, client
from rpcguard.client import SignIn

NOW = 1_760_000_000.5
EVERY = [*CASES, WITHDRAWAL]


@pytest.fixture
def verifier(guard, tmp_path):
    text = write(tmp_path).read_text()
    return guard(text, now=NOW, backend="memory://?restart_guard=off")


def send(verifier, signer, target, now=NOW):
    headers = signer.headers("POST", target, ORDER, now)
    return verifier.verify(Request("POST", target, list(headers.items()), ORDER))


@pytest.mark.parametrize(("signer", "target"), EVERY)
def test_a_verifier_of_the_preset_accepts_it(verifier, signer, target):
    project = target.partition("?")[0].split("/")[1]
    assert send(verifier, signer, target).project == project


@pytest.mark.parametrize(
    ("signer", "target"), [case for case in EVERY if getattr(case[0], "reuse", 0)]
)
def test_headers_are_still_good_at_the_end_of_their_reuse(verifier, signer, target):
    assert send(verifier, signer, target, NOW - signer.reuse)


@pytest.mark.parametrize(
    ("signer", "target"), [case for case in EVERY if not getattr(case[0], "reuse", 0)]
)
def test_what_is_not_reused_is_accepted_a_second_time_only_when_made_anew(verifier, signer, target):
    headers = list(signer.headers("POST", target, ORDER, NOW).items())
    verifier.verify(Request("POST", target, headers, ORDER))
    if signer == client.api_key(API_KEY, "X-Api-Key"):
        return
    with pytest.raises(AuthError, match="replayed"):
        verifier.verify(Request("POST", target, headers, ORDER))
    assert send(verifier, signer, target, NOW + 0.001)


def test_single_use_tokens_of_one_second_differ():
    signer = client.bearer(HS, {"sub": "bot"}, single_use=True)
    made = [signer.headers("POST", "/", b"", NOW)["Authorization"] for _ in range(2)]
    claims = [jwt.decode(each[7:], options={"verify_signature": False}) for each in made]
    assert claims[0]["jti"] != claims[1]["jti"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: client.nodius(WALLET, "signature-v3"), "signature-v2"),
        (lambda: client.nodius_2026(WALLET, "signature-v2"), "signature"),
        (lambda: client.allthatnode(key("ES256", None)), "kid"),
        (lambda: client.allthatnode(key("EdDSA")), "RS256 or ES256"),
        (lambda: client.engine_api("no hex"), "hex"),
        (lambda: client.nodius(WALLET, "session", prefix="solana"), "prefix"),
        (lambda: client.nodius(WALLET, "session", prefix="/solana/"), "prefix"),
    ],
)
def test_what_a_preset_does_not_have_is_an_error_at_once(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("make", [client.nodius, client.nodius_2026])
def test_a_session_is_a_way_to_sign_in(make):
    assert make(WALLET, "session", prefix="/solana") == SignIn(WALLET, "/solana")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://bsc.example/v1/", f"https://bsc.example/v1/{API_KEY}"),
        ("https://bsc.example/v1", f"https://bsc.example/v1/{API_KEY}"),
        ("wss://bsc.example:8443/ws/v1/?a=b", f"wss://bsc.example:8443/ws/v1/{API_KEY}?a=b"),
        ("https://bsc.example", f"https://bsc.example/{API_KEY}"),
    ],
)
def test_an_api_key_in_the_url_is_the_last_segment(endpoint, url):
    assert client.meganode_url(endpoint, API_KEY) == url


def test_a_verifier_accepts_the_api_key_in_the_url(verifier):
    target = client.meganode_url("https://h/bsc/", API_KEY).removeprefix("https://h")
    assert verifier.verify(Request("POST", target, [], b"{}")).scheme == "api_key"


@pytest.mark.parametrize("bad", ["", "a/b", "a?b", "a#b", "../a/", "a b", "%2F", "é"])
def test_an_api_key_that_is_no_segment_is_refused_and_not_quoted(bad):
    with pytest.raises(ValueError) as caught:
        client.meganode_url("https://bsc.example/v1/", bad)
    assert len(bad) < 4 or bad not in str(caught.value)


@pytest.mark.parametrize(("signer", "target"), EVERY)
def test_nothing_secret_is_shown(signer, target):
    shown = repr(signer)
    assert SECRET not in shown
    assert API_KEY not in shown
    assert HEX[2:] not in shown
