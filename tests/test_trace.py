"""What `rpcguard explain` says was looked at: every check of a good credential, in its order."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from minting import (
    CALL,
    NOW,
    OTHER_SECRET,
    SECRET,
    Headers,
    Wallet,
    bearer,
    hour,
    key_digest,
    order_token,
    token,
)
from sealing import DIR_SECRET, seal

from rpcguard import AuthError, Request
from rpcguard.authenticator import Authenticator
from rpcguard.pending import Pending
from rpcguard.registry.compile import load
from rpcguard.steps import Asked
from rpcguard.trace import Trace

ALICE = Wallet(1)
API_KEY = "k" * 32
SESSION = "a session secret of more than 32 bytes"
MEGANODE = {"preset": "meganode", "secrets": [{"id": "a", "secret": SECRET}]}
PROJECTS: dict[str, Any] = {
    "main": {
        **MEGANODE,
        "require_https": True,
        "api_keys": [{"id": "ops", "digest": key_digest(API_KEY)}],
        "allow": {"methods": ["eth_*"], "ips": ["10.0.0.0/8"]},
    },
    "turned": {
        "preset": "meganode",
        "secrets": [{"id": "new", "secret": OTHER_SECRET}, {"id": "old", "secret": SECRET}],
    },
    "own": {
        "preset": "bearer",
        "issuer": ["https://b.example", "https://a.example"],
        "audience": ["bots", "apps"],
        "required": ["exp", "sub"],
        "keys": [{"kid": "k", "alg": "HS256", "secret": SECRET}],
        "encryption": {"keys": [{"kid": "e", "alg": "dir", "secret": DIR_SECRET}]},
    },
    "sealed": {
        **MEGANODE,
        "encryption": {
            "required": True, "keys": [{"kid": "e", "alg": "dir", "secret": DIR_SECRET}]
        },
    },
    "atn": {
        "preset": "allthatnode",
        "audience_suffix": "example.com",
        "keys": [{"kid": "k", "alg": "HS256", "secret": SECRET}],
        "algorithms": ["HS256"],
        "max_ahead": "2h",
    },
    "pay": {
        "preset": "oppiwallet",
        "keys": [{"auth_key": "merchant-1", "enc_key": SECRET}],
        "digest_fields": {"/pay/withdraw": ["currency", "amount", "orderId"]},
        "unbound_paths": "allow",
    },
    "engine": {"preset": "engine-api", "secrets": [{"id": "a", "secret": "00" * 31 + "01"}]},
    "wallet": {
        "preset": "nodius",
        "wallets": [{"pubkey": ALICE.pubkey, "name": "alice"}],
        "session": {"secret": SESSION},
    },
}  # fmt: skip
ORDER = b'{"currency":"BTC","amount":"0.001","orderId":"12345"}'
OWN = hour(iss="https://a.example", aud="bots", sub="me", nbf=NOW - 5, jti="j")
OF_SESSION = {"iss": "rpcguard", "aud": "wallet", "sub": ALICE.pubkey, "jti": "j", **hour()}
SESSION_TOKEN = jwt.encode(
    OF_SESSION, SESSION, headers={"typ": "rpcguard-session+jwt", "kid": "session"}
)
GOOD: dict[str, tuple[tuple[Any, ...], str]] = {
    "a JWT, with policy": (
        ("POST", "/main", bearer(token(hour())), CALL, "10.0.0.1", "https"),
        """
        target: a path that all parsers read alike
        project: by host and path; main
        https
        credential: exactly one of jwt, api_key; found jwt
        token: 128 characters; limit 8192; in canonical form
        typ: none, or jwt
        algorithm: one of HS256
        key: every active secret, or the one that kid names
        signature: HS256, by a
        claims: required: exp
        exp: 3600.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        audience: no aud: none is configured
        caller: address, origin and user agent
        body: 70 bytes; limit 5242880; not encoded
        calls: methods and addresses
        """,
    ),
    "an API key in the path": (
        ("POST", f"/main/{API_KEY}", [], CALL, "10.0.0.1", "https"),
        """
        target: a path that all parsers read alike
        project: by host and path; main
        https
        credential: exactly one of jwt, api_key; found api_key
        form: one API key; limit 8192 characters
        key: by its digest
        caller: address, origin and user agent
        body: 70 bytes; limit 5242880; not encoded
        calls: methods and addresses
        """,
    ),
    "every claim": (
        ("POST", "/own", bearer(token(OWN, kid="k")), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; own
        credential: exactly one of jwt; found jwt
        token: 245 characters; limit 8192; in canonical form
        encryption: optional
        typ: none, or at+jwt or jwt
        algorithm: one of ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256, RS384, RS512
        key: named by kid
        signature: HS256, by k
        claims: required: exp, sub
        exp: 3600.000 s ahead; leeway 0 s
        nbf: 5.000 s behind; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        issuer: iss is https://a.example or https://b.example
        audience: aud is apps or bots
        """,
    ),
    "an encrypted JWT": (
        ("POST", "/sealed", bearer(seal(token(hour()), kid="e")), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; sealed
        credential: exactly one of jwt; found jwt
        token: 281 characters; limit 8192; in canonical form
        encryption: required
        typ: none, or jwt
        algorithm: one of HS256
        key: every active secret, or the one that kid names
        signature: HS256, by a
        claims: required: exp
        exp: 3600.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        audience: no aud: none is configured
        """,
    ),
    "claims before the signature": (
        ("POST", "/atn", bearer(token(hour(aud="x.example.com"), kid="k")), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; atn
        credential: exactly one of jwt; found jwt
        token: 171 characters; limit 8192; in canonical form
        typ: none, or jwt
        claims: types and units, before the signature
        algorithm: one of HS256
        key: named by kid
        signature: HS256, by k
        claims: required: none
        exp: 3600.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        exp ahead: limit 7200 s
        audience: aud, if any, ends with example.com
        """,
    ),
    "a bound order": (
        (
            "POST",
            "/pay/withdraw",
            [*bearer(order_token("/pay/withdraw")), ("x-auth-key", "merchant-1")],
            ORDER,
        ),
        """
        target: a path that all parsers read alike
        project: by host and path; pay
        credential: exactly one of jwt; found jwt
        body: 53 bytes; limit 5242880; not encoded
        token: 296 characters; limit 8192; in canonical form
        typ: none, or jwt
        algorithm: one of HS256
        key: named by a header
        signature: HS256, by merchant-1
        claims: required: url, iat, exp, key, signature
        exp: 60.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        lifetime: exp - iat; limit 60 s
        audience: no aud: none is configured
        key claim: key is x-auth-key
        url: url is the path
        digest: signature covers currency, amount, orderId
        """,
    ),
    "an order without fields": (
        (
            "POST",
            "/pay/else",
            [*bearer(order_token("/pay/else")), ("x-auth-key", "merchant-1")],
            None,
        ),
        """
        target: a path that all parsers read alike
        project: by host and path; pay
        credential: exactly one of jwt; found jwt
        token: 291 characters; limit 8192; in canonical form
        typ: none, or jwt
        algorithm: one of HS256
        key: named by a header
        signature: HS256, by merchant-1
        claims: required: url, iat, exp, key, signature
        exp: 60.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        lifetime: exp - iat; limit 60 s
        audience: no aud: none is configured
        key claim: key is x-auth-key
        url: url is the path
        digest: signature covers no fields here
        """,
    ),
    "a time on both sides": (
        ("POST", "/engine", bearer(token({"iat": NOW - 3}, bytes(31) + b"\1")), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; engine
        credential: exactly one of jwt; found jwt
        token: 105 characters; limit 8192; in canonical form
        typ: none, or jwt
        algorithm: one of HS256
        key: every active secret, or the one that kid names
        signature: HS256, by a
        claims: required: iat
        iat: 3.000 s behind; limit 60 s ahead, 60 s behind
        """,
    ),
    "a wallet": (
        ("POST", "/wallet", ALICE.v1(timestamp=NOW - 2), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; wallet
        credential: exactly one of signature, session, api_key; found signature
        body: 70 bytes; limit 5242880; not encoded
        form: x-pubkey, x-signature, x-timestamp, x-nonce
        version: 0 or later
        timestamp: 2.000 s behind; limit 30 s either way
        signature: Ed25519 over {timestamp}:{nonce}:{sha256_hex_of_body}
        wallet: may call, with this version
        """,
    ),
    "a wallet, bound": (
        ("POST", "/wallet", ALICE.v2("POST", "/wallet"), CALL),
        """
        target: a path that all parsers read alike
        project: by host and path; wallet
        credential: exactly one of signature, session, api_key; found signature
        body: 70 bytes; limit 5242880; not encoded
        form: x-pubkey, x-signature, x-timestamp, x-nonce
        version: 0 or later
        binding: x-http-method is the method, x-http-path is the target
        timestamp: 0.000 s ahead; limit 30 s either way
        signature: Ed25519 over {method}:{target}:{timestamp}:{nonce}:{sha256_hex_of_body}
        wallet: may call, with this version
        """,
    ),
    "a session on a WebSocket": (
        (
            "GET",
            "/wallet",
            [("Sec-WebSocket-Protocol", f"auth.{SESSION_TOKEN}")],
            b"",
            None,
            "https",
            True,
        ),
        """
        target: a path that all parsers read alike
        project: by host and path; wallet
        credential: exactly one of signature, session, api_key; found session
        subprotocol: one token at most, the bearer's if there is one
        token: 299 characters; limit 8192; in canonical form
        typ: none, or rpcguard-session+jwt
        algorithm: one of HS256
        key: named by kid
        signature: HS256, by session
        claims: required: iss, aud, sub, jti, iat, exp
        exp: 3600.000 s ahead; leeway 0 s
        iat: 0.000 s ahead; limit 5 s ahead
        issuer: iss is rpcguard
        audience: aud is wallet
        wallet: still allowed
        """,
    ),
}


@pytest.fixture(scope="module")
def authenticator(tmp_path_factory: pytest.TempPathFactory) -> Authenticator:
    """Return the projects, each at the path of its name."""
    path: Path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    placed = {name: {**each, "match": {"path": f"/{name}"}} for name, each in PROJECTS.items()}
    path.write_text(json.dumps({"version": 1, "backend": "memory://", "projects": placed}))
    return load(path, {}).authenticator


@pytest.mark.parametrize(("request_", "checks"), GOOD.values(), ids=GOOD)
def test_every_check_is_noted_before_it_is_made(
    authenticator: Authenticator, request_: tuple[Any, ...], checks: str
) -> None:
    trace = Trace()
    step = authenticator.authenticate(Request(*request_), float(NOW), Asked(trace=trace))

    assert isinstance(step, Pending)
    noted = [f"{step.check}: {step.fact}" if step.fact else step.check for step in trace.steps]
    assert noted == [line.strip() for line in checks.strip().splitlines()]


def test_times_are_measured(authenticator: Authenticator) -> None:
    trace = Trace()
    request = Request("POST", "/own", bearer(token({**OWN, "iat": NOW - 2.5}, kid="k")), CALL)
    authenticator.authenticate(request, NOW + 1.0, Asked(trace=trace))

    measured = {step.check: step.seconds for step in trace.steps if step.seconds is not None}
    assert measured == {"exp": 3599.0, "nbf": -6.0, "iat": -3.5}


def test_the_last_check_is_the_one_that_refused(authenticator: Authenticator) -> None:
    trace = Trace()
    request = Request("POST", "/own", bearer(token(OWN, SECRET[::-1], kid="k")), CALL)
    with pytest.raises(AuthError):
        authenticator.authenticate(request, float(NOW), Asked(trace=trace))

    assert trace.steps[-1].check == "signature"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], "none"),
        (bearer(token(hour())), "session"),
        ([*bearer(token(hour())), *ALICE.v1()], "signature and session"),
    ],
)
def test_the_kinds_of_credential_that_are_there_are_named(
    authenticator: Authenticator, headers: Headers, found: str
) -> None:
    trace = Trace()
    with pytest.raises(AuthError):
        authenticator.authenticate(
            Request("POST", "/wallet", headers, CALL), float(NOW), Asked(trace=trace)
        )
    note = next(step.fact for step in trace.steps if step.check == "credential")

    assert note == f"exactly one of signature, session, api_key; found {found}"


def test_of_several_secrets_the_one_that_signed_is_named(authenticator: Authenticator) -> None:
    def signature(secret: str) -> str:
        trace = Trace()
        request = Request("POST", "/turned", bearer(token(hour(), secret)), CALL)
        with contextlib.suppress(AuthError):
            authenticator.authenticate(request, float(NOW), Asked(trace=trace))
        return next(step.fact for step in trace.steps if step.check == "signature")

    assert signature(SECRET) == "HS256, by new or old; it is old"
    assert signature(OTHER_SECRET) == "HS256, by new or old; it is new"
    assert signature(SECRET[::-1]) == "HS256, by new or old"


def test_a_route_may_name_its_project(authenticator: Authenticator) -> None:
    trace = Trace()
    request = Request("POST", "/x", bearer(token(OWN, kid="k")), CALL)
    authenticator.authenticate(request, float(NOW), Asked("own", trace=trace))

    assert trace.steps[1].fact == "by name; own"
