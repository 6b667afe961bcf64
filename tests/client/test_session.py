"""Signing in: what is posted is what the server asks for, and only a challenge is signed."""

from __future__ import annotations

import json

import base58
import pytest
from nacl.signing import VerifyKey

from rpcguard import Request
from rpcguard.client.session import Session, bearer, challenge_body, verify_body
from rpcguard.client.wallet import Wallet

WALLET = Wallet(bytes(range(32)))
CHALLENGE = "nodius:challenge:00112233445566778899aabbccddeeff:1760000000"
ANSWER = {
    "token": "the-token",
    "expiresAt": 1_760_003_600,
    "refreshToken": "rfr_the-next",
    "refreshExpiresAt": 1_762_592_000,
}


def test_a_challenge_is_asked_for_by_public_key():
    assert json.loads(challenge_body(WALLET)) == {"pubkey": WALLET.pubkey}


def test_a_challenge_is_answered_with_its_signature_and_itself():
    body = json.loads(verify_body(WALLET, CHALLENGE))
    assert list(body) == ["pubkey", "signature", "challenge"]
    assert (body["pubkey"], body["challenge"]) == (WALLET.pubkey, CHALLENGE)
    key = VerifyKey(base58.b58decode(WALLET.pubkey))
    key.verify(CHALLENGE.encode(), base58.b58decode(body["signature"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "None",
        CHALLENGE + "\n",
        CHALLENGE + " and more",
        CHALLENGE.replace("nodius:", ""),
        CHALLENGE.replace("nodius", "Nodius"),
        CHALLENGE.replace(":1760000000", ""),
        "nodius:challenge:short:1760000000",
        "1760000000:00112233445566ff:" + "0" * 64,  # a request of version 1
        "POST:/account/api-key:1760000000:00112233445566ff:" + "0" * 64,
        "solana-nodius:v2:POST:/:1760000000:challenge:" + "0" * 64,
    ],
)
def test_what_is_no_challenge_is_not_signed(text):
    with pytest.raises(ValueError, match="not a sign-in challenge"):
        verify_body(WALLET, text)


def test_an_answer_gives_a_session():
    session = Session.of(ANSWER)
    assert session == Session("the-token", 1_760_003_600, "rfr_the-next", 1_762_592_000)
    assert session.headers == bearer("the-token") == {"Authorization": "Bearer the-token"}
    assert session.subprotocol == "auth.the-token"
    assert json.loads(session.refresh_body()) == {"refreshToken": "rfr_the-next"}


def test_without_refresh_there_is_nothing_to_renew_with():
    session = Session.of({"token": "the-token", "expiresAt": 1_760_003_600})
    assert session.refresh_token is None
    with pytest.raises(ValueError, match="no refresh token"):
        session.refresh_body()


@pytest.mark.parametrize(
    "answer",
    [
        *({}, {"token": "t"}, {"token": 1, "expiresAt": 1}, {"token": "t", "expiresAt": "1"}),
        *({"token": token, "expiresAt": 1} for token in ("", "a b", "a\r\nX-B: c", "é", "t\n")),
        *({"token": "t", "expiresAt": end} for end in (True, -1, 1.5, 10**400)),
    ],
)
def test_an_answer_that_is_none_is_no_session(answer):
    with pytest.raises(ValueError, match="not the answer"):
        Session.of(answer)


def test_a_session_shows_no_token():
    shown = repr(Session.of(ANSWER))
    assert "the-token" not in shown
    assert "rfr_" not in shown


def test_the_server_takes_what_is_posted(guard):
    verifier = guard(REGISTRY)

    def post(route, body, headers=()):
        return verifier.serve(route, Request("POST", route, list(headers), body))

    challenge = post("/auth/challenge", challenge_body(WALLET))["challenge"]
    session = Session.of(post("/auth/verify", verify_body(WALLET, challenge)))
    session = Session.of(post("/auth/refresh", session.refresh_body()))
    request = Request("POST", "/", list(session.headers.items()), b"{}")
    assert verifier.verify(request).subject == WALLET.pubkey
    assert post("/auth/logout", b"", session.headers.items()) == {"revoked": True}


REGISTRY = """\
version: 1
backend: memory://
projects:
  solana:
    preset: nodius
    wallets: open
    session: {secret: "a-session-secret-of-more-than-32-bytes", refresh: rotating}
"""
