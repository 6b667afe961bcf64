"""The signature scheme: forms, encodings, versions, and what is owed."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest
from minting import CALL, NOW, Headers, Wallet, replaced, sha256

from rpcguard import AuthError, Principal
from rpcguard.owed import digest
from rpcguard.policy import Policy
from rpcguard.schemes.base import NEED_BODY, Proof
from rpcguard.schemes.signature import KNOWN_SIGNERS, KNOWN_TIMES, SignatureScheme
from rpcguard.schemes.signature_rules import DECODERS, SignatureRules, Version
from rpcguard.schemes.wallets import Wallet as Listed
from rpcguard.schemes.wallets import Wallets

WALLET = Wallet()
RULES = SignatureRules(
    project="one",
    pubkey="x-pubkey",
    signature="x-signature",
    timestamp="x-timestamp",
    nonce="x-nonce",
    version_header="x-auth-version",
    versions={
        "1": Version("{timestamp}:{nonce}:{sha256_hex_of_body}"),
        "2": Version(
            "{method}:{target}:{timestamp}:{nonce}:{sha256_hex_of_body}",
            (("x-http-method", "method"), ("x-http-path", "target")),
        ),
    },
    default_version="1",
    min_version=0,
    decode=DECODERS["base58"],
    timestamp_form=re.compile("[1-9][0-9]{0,11}"),
    nonce_form=re.compile("[0-9a-f]{16}"),
    nonce_refused=None,
    window=30,
    skew=30,
    wallets=Wallets(None),
)


def proof(incoming, headers: Headers, rules: SignatureRules = RULES, **facts: Any) -> Proof:
    found = SignatureScheme(rules).prove(incoming(headers, **facts), NOW)
    assert isinstance(found, Proof)
    return found


def reason(incoming, headers: Headers, rules: SignatureRules = RULES, **facts: Any) -> str:
    with pytest.raises(AuthError) as caught:
        SignatureScheme(rules).prove(incoming(headers, **facts), NOW)
    return caught.value.reason


def respelt(headers: Headers, spell: Any) -> Headers:
    """Return *headers* with key and signature spelt by *spell*."""
    import base58

    for name in ("X-Pubkey", "X-Signature"):
        headers = replaced(headers, name, spell(base58.b58decode(dict(headers)[name])))
    return headers


def standard(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# --- Encodings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "spell"), [("base64", standard), ("hex", bytes.hex)])
def test_key_and_signature_in_other_encodings(incoming, encoding, spell):
    rules = replace(RULES, decode=DECODERS[encoding])
    found = proof(incoming, respelt(WALLET.v1(), spell), rules)
    assert found.principal.subject == spell(WALLET.raw)
    assert reason(incoming, WALLET.v1(), rules) == "malformed_credentials"


@pytest.mark.parametrize(
    ("encoding", "spell"),
    [
        ("base64", lambda raw: standard(raw).rstrip("=")),
        ("base64", lambda raw: standard(raw) + "="),
        ("base64", lambda raw: standard(raw) + "\n"),
        ("base64", lambda raw: base64.urlsafe_b64encode(raw[:-2] + b"\xff\xfe").decode()),
        ("base64", lambda raw: standard(raw + b"x")),
        ("base64", lambda raw: "é" * 44),
        ("base64", lambda raw: "A" * 100_000),
        ("hex", lambda raw: "0x" + raw.hex()),
        ("hex", lambda raw: raw.hex()[:-1]),
        ("hex", lambda raw: raw.hex(" ")),
        ("hex", lambda raw: "é" * len(raw) * 2),
        ("hex", lambda raw: " " * len(raw) * 2),
        ("base58", bytes.hex),
        ("base58", standard),
    ],
)
def test_other_spellings_are_malformed(incoming, encoding, spell):
    rules = replace(RULES, decode=DECODERS[encoding])
    assert reason(incoming, respelt(WALLET.v1(), spell), rules) == "malformed_credentials"


@pytest.mark.parametrize("text", ["", "00", "58585858", "ab" * 31, "ab" * 33])
@pytest.mark.parametrize("encoding", sorted(DECODERS))
def test_a_key_of_another_length_is_malformed(encoding, text):
    with pytest.raises(ValueError, match=" "):
        DECODERS[encoding](text, 32)


@pytest.mark.parametrize("spell", [str.upper, str.title, lambda text: text[:-1] + text[-1].upper()])
def test_one_key_has_one_spelling_so_that_its_nonces_are_spent_once(incoming, spell):
    """The key is not in the signed text: whoever respells it replays the request."""
    rules = replace(RULES, decode=DECODERS["hex"])
    wallet = next(w for w in map(Wallet, range(99)) if w.raw.hex()[-1].isalpha())
    headers = respelt(wallet.v1(), bytes.hex)
    spent = proof(incoming, headers, rules).owed
    twin = replaced(headers, "X-Pubkey", spell(dict(headers)["X-Pubkey"]))
    try:
        again = proof(incoming, twin, rules).owed
    except AuthError as error:
        assert error.reason == "malformed_credentials"
    else:
        assert again.nonce is not None and spent.nonce is not None
        assert (again.nonce.name, again.subject) == (spent.nonce.name, spent.subject)


# --- The payload --------------------------------------------------------------------------------------


def test_the_words_of_a_payload(incoming):
    text = "{method}|{path}|{target}|{timestamp}|{nonce}|{sha256_hex_of_body}"
    rules = replace(RULES, versions={"1": Version(text)})
    nonce = "0123456789abcdef"
    signed = f"PUT|/a|/a?b={{nonce}}|{NOW}|{nonce}|{sha256(CALL)}"
    headers = WALLET.fields(signed, NOW, nonce)
    proof(incoming, headers, rules, target="/a?b={nonce}", method="PUT")
    assert reason(incoming, headers, rules, target="/a?b=c", method="PUT") == "invalid_credentials"


@pytest.mark.parametrize(("word", "is_"), [("method", "PUT"), ("path", "/a"), ("target", "/a?b")])
def test_a_field_echoes_what_its_version_says(incoming, word, is_):
    payload = "{timestamp}:{nonce}:{sha256_hex_of_body}"
    rules = replace(RULES, versions={"1": Version(payload, (("x-echo", word),))})
    request = {"target": "/a?b", "method": "PUT"}
    proof(incoming, [*WALLET.v1(), ("X-Echo", is_)], rules, **request)
    for other in ("", "/a?", "PUT ", "/A"):
        headers = [*WALLET.v1(), ("X-Echo", other)]
        assert reason(incoming, headers, rules, **request) == "invalid_binding"


def test_braces_of_a_payload_that_are_no_word_stay_as_they_are(incoming):
    rules = replace(RULES, versions={"1": Version("{{{nonce}}}{{}}|{timestamp}|{nonce}")})
    nonce = "0123456789abcdef"
    headers = WALLET.fields(f"{{{nonce}}}{{}}|{NOW}|{nonce}", NOW, nonce)
    proof(incoming, headers, rules)


@pytest.mark.parametrize(
    "method", ["", "GET POST", "{nonce}", "é", "\udc80", "\0", "x" * 100_000, "%s"]
)
def test_any_method_is_text(incoming, method):
    proof(incoming, WALLET.v1(), method=method)
    headers = WALLET.v2("POST", "/rpc")
    assert reason(incoming, headers, method=method) == "invalid_binding"
    echoed = replaced(headers, "X-Http-Method", method)
    assert reason(incoming, echoed, method=method) == "invalid_credentials"


def test_without_a_version_header_there_is_one_version(incoming):
    rules = replace(RULES, version_header="")
    proof(incoming, [*WALLET.v1(), ("X-Auth-Version", "9")], rules)


def test_the_body_is_wanted_last(incoming):
    scheme = SignatureScheme(RULES)
    assert scheme.prove(incoming(WALLET.v1(), body=None), NOW) is NEED_BODY
    for headers in (
        replaced(WALLET.v1(), "X-Pubkey", "x"),
        replaced(WALLET.v1(), "X-Timestamp", str(NOW - 99)),
        replaced(WALLET.v1(), "X-Nonce", "x"),
        replaced(WALLET.v2("POST", "/rpc"), "X-Http-Path", "/x"),
    ):
        with pytest.raises(AuthError):
            scheme.prove(incoming(headers, body=None), NOW)


# --- Who, and what is owed --------------------------------------------------------------------------


def test_what_is_owed(incoming):
    found = proof(incoming, WALLET.v1(timestamp=NOW + 20))
    assert (found.owed.project, found.owed.subject) == ("one", WALLET.pubkey)
    assert found.owed.issued_at == NOW + 20
    assert found.owed.nonce is not None
    assert found.owed.nonce.expires_at == NOW + 20 + 30 + 30
    assert found.principal.expires_at is None  # it ends no socket that it opened
    assert found.owed.revocable


def test_a_nonce_is_named_by_project_key_and_nonce(incoming):
    def name(headers: Headers, **changes: Any) -> bytes:
        nonce = proof(incoming, headers, replace(RULES, **changes)).owed.nonce
        assert nonce is not None
        return nonce.name

    first = name(WALLET.v1())
    assert name(WALLET.v1(timestamp=NOW + 1)) == first
    assert name(WALLET.v2("POST", "/rpc")) == first
    assert name(WALLET.v1(nonce="1" * 16)) != first
    assert name(Wallet(1).v1()) != first
    assert name(WALLET.v1(), project="two") != first


def test_a_spent_nonce_is_found_by_every_release(incoming):
    spent = proof(incoming, WALLET.v1(nonce="0" * 16)).owed.nonce
    assert spent is not None
    assert spent.name == digest("nonce", "one", WALLET.pubkey, "0" * 16)


def test_without_revocation_the_nonce_is_owed_still(incoming):
    owed = proof(incoming, WALLET.v1(), replace(RULES, revocable=False)).owed
    assert owed.revocable == ()
    assert owed.nonce is not None


def test_a_list_of_wallets(incoming):
    rules = replace(RULES, wallets=Wallets({WALLET.pubkey: Listed("desk", 2)}))
    assert proof(incoming, WALLET.v2("POST", "/rpc"), rules).principal.name == "desk"
    assert reason(incoming, WALLET.v1(), rules) == "unsupported_algorithm"
    assert reason(incoming, Wallet(1).v1(), rules) == "not_listed"


def test_any_of_the_four_fields_claims_the_scheme(incoming):
    scheme = SignatureScheme(RULES)
    for name, value in WALLET.v1():
        assert scheme.present(incoming([(name, value)]))
        assert scheme.present(incoming([(name.replace("-", "_"), "")]))
    for name in ("X-Auth-Version", "X-Http-Method", "Authorization"):
        assert not scheme.present(incoming([(name, "2")]))
    assert scheme.wants_body(incoming())


def test_openapi_says_all_four_fields_together():
    def field(name: str) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": name}

    assert SignatureScheme(RULES).security == (
        {
            "rpcXPubkey": field("x-pubkey"),
            "rpcXSignature": field("x-signature"),
            "rpcXTimestamp": field("x-timestamp"),
            "rpcXNonce": field("x-nonce"),
        },
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "abc", "1e9", "1_760", "٣", "", "0x1"])
def test_a_lax_pattern_for_the_timestamp_lets_no_other_text_through(incoming, value):
    """`nan` is within every window."""
    rules = replace(RULES, timestamp_form=re.compile("(?s).*"))
    headers = WALLET.v1(timestamp=value)
    with pytest.raises(AuthError):
        SignatureScheme(rules).prove(incoming(headers), NOW)


def test_a_timestamp_may_have_sixteen_digits(incoming):
    rules = replace(RULES, timestamp_form=re.compile("[0-9]+"))
    assert reason(incoming, WALLET.v1(timestamp="9" * 16), rules) == "not_yet_valid"
    assert reason(incoming, WALLET.v1(timestamp="9" * 17), rules) == "malformed_credentials"


def test_a_bad_signature_is_told_apart_in_the_log_alone(incoming):
    with pytest.raises(AuthError) as caught:
        proof(incoming, WALLET.v1(b"another body"))
    assert (caught.value.reason, caught.value.cause) == ("invalid_credentials", "bad_signature")


def test_a_wallet_that_was_let_in_brings_its_policy_as_it_is_now():
    allow = Policy(networks=())
    listed = Wallets({WALLET.pubkey: Listed(allow=allow)})
    scheme = SignatureScheme(replace(RULES, wallets=listed))
    assert scheme.policies(Principal(WALLET.pubkey, "one", "signature"), NOW) == (allow,)
    with pytest.raises(AuthError):
        scheme.policies(Principal("another", "one", "signature"), NOW)


def test_signers_are_remembered_within_a_bound():
    scheme = SignatureScheme(RULES)
    assert scheme._signer.cache_info().maxsize == KNOWN_SIGNERS
    assert scheme._time.cache_info().maxsize == KNOWN_TIMES


# --- One of the four fields is not there once ---------------------------------------------------------

OWN = ("X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce")


def detail(incoming, headers: Headers) -> str:
    with pytest.raises(AuthError) as caught:
        SignatureScheme(RULES).prove(incoming(headers), NOW)
    assert caught.value.reason == "malformed_credentials"
    return caught.value.detail


@pytest.mark.parametrize("name", OWN)
def test_a_refusal_tells_which_field_is_missing_or_repeated(incoming, name):
    headers = WALLET.v1()
    without = [field for field in headers if field[0] != name]
    assert detail(incoming, without) == f"{name.lower()} is missing"
    twice = [*headers, (name, dict(headers)[name])]
    assert detail(incoming, twice) == f"{name.lower()} is repeated"
    assert detail(incoming, replaced(headers, name, "")) != f"{name.lower()} is missing"


@pytest.mark.parametrize("name", OWN[1:])
def test_the_fields_are_judged_in_their_order(incoming, name):
    headers = replaced(WALLET.v1(), "X-Pubkey", "0")
    without = [field for field in headers if field[0] != name]
    assert detail(incoming, without).startswith("key or signature: ")
