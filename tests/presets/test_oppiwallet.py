"""OppiWallet: a JWT of 60 seconds, in milliseconds, bound to the path and to the order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from minting import (
    CALL,
    NOW,
    OTHER_SECRET,
    SECRET,
    bearer,
    hour,
    order_token,
    replaced,
    sha256,
    token,
    without,
)

from rpcguard import Request

MS = NOW * 1000
PATH = "/payouts/withdraw"
ORDER = {"currency": "BTC", "amount": "0.001", "orderId": "12345"}


def registry(extra: str = "") -> str:
    return f"""
version: 1
projects:
  payouts:
    preset: oppiwallet
    match: {{path: /payouts}}
    keys:
      - {{auth_key: merchant-1, enc_key: "{SECRET}", name: Shop}}
      - {{auth_key: merchant-2, enc_key: "{OTHER_SECRET}"}}
    digest_fields: {{{PATH}: [currency, amount, orderId]}}
{extra}
"""


def order(**fields: Any) -> bytes:
    """Return the body of an order; None leaves a field out."""
    merged = {**ORDER, **fields}
    return json.dumps({k: v for k, v in merged.items() if v is not None}).encode()


def sent(text: str, auth_key: str = "merchant-1") -> list[tuple[str, str]]:
    return [*bearer(text), ("x-auth-key", auth_key)]


# --- Accepted -------------------------------------------------------------------------------------


def test_the_documents_request(service):
    principal = service(registry()).accepts(PATH, sent(order_token()), order())
    assert (principal.scheme, principal.key_id, principal.name) == ("jwt", "merchant-1", "Shop")
    assert principal.subject == "merchant-1"
    assert principal.expires_at == NOW + 60
    assert principal.claims["exp"] == MS + 60_000


def test_the_document_s_own_digest():
    """JSON.stringify("BTC#0.001#12345"): the quotes are part of what is hashed."""
    assert sha256('"BTC#0.001#12345"') == (
        "3fb40efb3db0642df5ea9ba01131dd17f21c2c6a8ca59f9c4c7dddb5b14877a2"
    )


def test_the_body_may_hold_more_in_any_order(service):
    body = json.dumps({"note": "x", **dict(reversed(ORDER.items())), "n": [1, 2]}).encode()
    service(registry()).accepts(PATH, sent(order_token()), body)


def test_each_merchant_has_its_own_secret(service):
    guarded = service(registry())
    text = order_token(key="merchant-2", secret=OTHER_SECRET)
    assert guarded.accepts(PATH, sent(text, "merchant-2"), order()).key_id == "merchant-2"


def test_the_url_has_no_query(service):
    service(registry()).accepts(f"{PATH}?lang=en", sent(order_token()), order())


def test_the_public_prefix_is_part_of_the_url(service):
    guarded = service(registry("    public_prefix: /api"))
    guarded.accepts(PATH, sent(order_token(f"/api{PATH}")), order())
    assert guarded.refuses(PATH, sent(order_token()), order()).reason == "invalid_binding"


def test_bearer_and_x_auth_key_are_one_credential(service):
    service(registry()).accepts(PATH, sent(order_token()), order())


# --- Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth_key", ["merchant-3", "Merchant-1", "merchant-1 ", "", "é", "\udc80"])
def test_x_auth_key_names_a_registered_key(service, auth_key):
    error = service(registry()).refuses(PATH, sent(order_token(), auth_key), order())
    assert error.reason == "invalid_credentials"


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "seen before"])
def test_x_auth_key_of_another_merchant(service, warm):
    guarded = service(registry("    single_use: false"))
    headers = sent(order_token())
    if warm:
        guarded.accepts(PATH, headers, order())
    wrong = replaced(headers, "x-auth-key", "merchant-2")
    assert guarded.refuses(PATH, wrong, order()).reason == "invalid_credentials"


def test_the_key_claim_equals_x_auth_key(service):
    text = order_token(key="merchant-2", secret=SECRET)
    assert service(registry()).refuses(PATH, sent(text), order()).reason == "invalid_binding"


def test_a_kid_in_the_header_selects_nothing(service):
    text = order_token(header={"alg": "HS256", "kid": "merchant-2"})
    assert service(registry()).accepts(PATH, sent(text), order()).key_id == "merchant-1"


@pytest.mark.parametrize(
    "headers",
    [
        without(sent(order_token()), "x-auth-key"),
        without(sent(order_token()), "authorization"),
        [*sent(order_token()), ("X-Auth-Key", "merchant-1")],
        [*sent(order_token()), ("X_Auth_Key", "merchant-1")],
        [*sent(order_token()), *bearer(order_token())],
    ],
    ids=["no x-auth-key", "no bearer", "x-auth-key twice", "an underscore twin", "bearer twice"],
)
def test_half_a_credential_and_a_doubled_one_are_malformed(service, headers):
    assert service(registry()).refuses(PATH, headers, order()).reason == "malformed_credentials"


def test_no_credential(service):
    error = service(registry()).refuses(PATH, [], order())
    assert (error.reason, error.challenges) == ("missing_credentials", ('Bearer realm="payouts"',))


def test_only_hs256(service):
    for alg in ("HS512", "none", "RS256"):
        text = order_token(header={"alg": alg})
        assert service(registry()).refuses(PATH, sent(text), order()).reason == (
            "unsupported_algorithm"
        )


def test_another_secret(service):
    text = order_token(secret=OTHER_SECRET)
    assert service(registry()).refuses(PATH, sent(text), order()).reason == "invalid_credentials"


# --- Claims ---------------------------------------------------------------------------------------

CLAIMS = [
    ({"url": None}, "invalid_claims"),
    ({"iat": None}, "invalid_claims"),
    ({"exp": None}, "invalid_claims"),
    ({"signature": None}, "invalid_claims"),
    ({"url": 5}, "invalid_claims"),
    ({"signature": 5}, "invalid_claims"),
    ({"url": "/payouts"}, "invalid_binding"),
    ({"url": PATH + "/"}, "invalid_binding"),
    ({"url": PATH + "?x=1"}, "invalid_binding"),
    ({"url": PATH.upper()}, "invalid_binding"),
    ({"url": "https://example.com" + PATH}, "invalid_binding"),
    ({"url": ""}, "invalid_binding"),
    ({"exp": MS + 60_999}, None),  # the document reads the clock twice
    ({"exp": MS + 61_000}, "invalid_claims"),
    ({"exp": MS + 3_600_000}, "invalid_claims"),
    ({"exp": MS + 1}, None),
    ({"exp": MS}, "expired"),
    ({"iat": MS + 5_000, "exp": MS + 65_000}, None),
    ({"iat": MS + 5_001, "exp": MS + 65_000}, "not_yet_valid"),
    ({"iat": MS + 2_000, "exp": MS + 2_000}, "invalid_claims"),
    ({"iat": MS + 2_000, "exp": MS + 1_000}, "invalid_claims"),
    ({"iat": MS - 60_500, "exp": MS + 400}, None),
    ({"iat": MS - 60_500, "exp": MS + 500}, "invalid_claims"),
    ({"iat": MS - 60_000, "exp": MS}, "expired"),
    ({"iat": NOW, "exp": NOW + 60}, "invalid_claims"),  # seconds
    ({"iat": NOW}, "invalid_claims"),
    ({"exp": NOW + 60}, "invalid_claims"),
    ({"iat": MS * 1000, "exp": MS * 1000 + 60_000}, "invalid_claims"),  # microseconds
    ({"iat": str(MS)}, "invalid_claims"),
    ({"exp": True}, "invalid_claims"),
    ({"nbf": MS}, None),
    ({"nbf": MS + 1}, "not_yet_valid"),
    ({"nbf": NOW}, "invalid_claims"),
    ({"aud": "payouts"}, "invalid_audience"),
    ({"signature": sha256('"BTC#0.001#12345"').upper()}, "invalid_binding"),
    ({"signature": sha256("BTC#0.001#12345")}, "invalid_binding"),  # without the quotes
    ({"signature": sha256('"BTC#0.002#12345"')}, "invalid_binding"),
    ({"signature": sha256('"BTC#0.001#12345"')[:-1]}, "invalid_binding"),
    ({"signature": sha256('"BTC#0.001#12345"') + "\n"}, "invalid_binding"),
    ({"signature": ""}, "invalid_binding"),
]


@pytest.mark.parametrize(("claims", "reason"), CLAIMS, ids=[str(case[0])[:50] for case in CLAIMS])
def test_the_claims_one_by_one(service, claims, reason):
    guarded = service(registry())
    headers = sent(order_token(**claims))
    if reason is None:
        guarded.accepts(PATH, headers, order())
    else:
        assert guarded.refuses(PATH, headers, order()).reason == reason


def test_the_key_claim_is_required(service):
    payload = {"url": PATH, "iat": MS, "exp": MS + 60_000, "signature": "0" * 64}
    error = service(registry()).refuses(PATH, sent(token(payload)), order())
    assert error.reason == "invalid_claims"


def test_the_last_millisecond(service):
    guarded = service(registry("    single_use: false"))
    headers = sent(order_token())
    guarded.now = NOW + 59.999
    guarded.accepts(PATH, headers, order())
    guarded.now = NOW + 60
    assert guarded.refuses(PATH, headers, order()).reason == "expired"


# --- The digest -----------------------------------------------------------------------------------

# (body, the text that JavaScript's template literal gives): computed by Node, see test_ecmascript
SPELLINGS = [
    ('{"currency":"BTC","amount":0.001,"orderId":12345}', "BTC#0.001#12345"),
    ('{"currency":"BTC","amount":0.10,"orderId":"a"}', "BTC#0.1#a"),
    ('{"currency":"BTC","amount":1.0,"orderId":"a"}', "BTC#1#a"),
    ('{"currency":"BTC","amount":1e3,"orderId":"a"}', "BTC#1000#a"),
    ('{"currency":"BTC","amount":-0,"orderId":"a"}', "BTC#0#a"),
    ('{"currency":"BTC","amount":1e21,"orderId":"a"}', "BTC#1e+21#a"),
    ('{"currency":"BTC","amount":0.0000001,"orderId":"a"}', "BTC#1e-7#a"),
    ('{"currency":"","amount":"","orderId":""}', "##"),
    ('{"currency":"B\\"\\\\","amount":"\\n\\u0001","orderId":"/"}', 'B"\\#\n\x01#/'),
    ('{"currency":"é€","amount":"\U0001f600","orderId":"\u2028\x7f"}', "é€#\U0001f600#\u2028\x7f"),
    ('{"currency":"\\ud83d\\ude00","amount":"1","orderId":"2"}', "\U0001f600#1#2"),
]


@pytest.mark.parametrize(("body", "fields"), SPELLINGS)
def test_fields_count_as_javascript_prints_them(service, body, fields):
    guarded = service(registry())
    guarded.accepts(PATH, sent(order_token(fields=fields)), body.encode())


REFUSED = [
    '{"currency":"BTC#0.001","amount":"12345","orderId":""}',
    '{"currency":"BTC#","amount":"0.001","orderId":"12345"}',
    '{"currency":"BTC","amount":"0.001"}',
    '{"currency":"BTC","amount":null,"orderId":"12345"}',
    '{"currency":"BTC","amount":true,"orderId":"12345"}',
    '{"currency":"BTC","amount":[0.001],"orderId":"12345"}',
    '{"currency":"BTC","amount":{},"orderId":"12345"}',
    '{"currency":"BTC","amount":0.00100000000000000000001,"orderId":"12345"}',
    '{"currency":"BTC","amount":9007199254740993,"orderId":"12345"}',
    '{"currency":"BTC","amount":1e400,"orderId":"12345"}',
    '{"currency":"BTC","amount":1e-400,"orderId":"12345"}',
    '{"currency":"BTC","amount":1e-99999999999999999999,"orderId":"12345"}',
    '{"currency":"BTC","amount":0e99999999999999999999,"orderId":"12345"}',
    '{"currency":"BTC","amount":NaN,"orderId":"12345"}',
    '{"currency":"BTC","amount":"0.001","amount":"0.001","orderId":"12345"}',
    '{"currency":"BTC","amount":"\\ud800","orderId":"12345"}',
    '["BTC","0.001","12345"]',
    '"BTC#0.001#12345"',
    "BTC#0.001#12345",
    "",
    "\ufeff" + json.dumps(ORDER),
    json.dumps({**ORDER, "amount": "0.002"}),
    json.dumps({**ORDER, "currency": "btc"}),
    json.dumps({"data": ORDER}),
]


@pytest.mark.parametrize("body", REFUSED, ids=[body[:60] for body in REFUSED])
def test_a_body_with_other_or_unspeakable_fields_is_refused(service, body):
    error = service(registry()).refuses(PATH, sent(order_token()), body.encode())
    assert (error.reason, error.status) == ("invalid_binding", 401)


def test_a_body_of_many_digits_is_refused(service):
    body = b'{"currency":"BTC","amount":' + b"9" * 5000 + b',"orderId":"1"}'
    assert service(registry()).refuses(PATH, sent(order_token()), body).reason == "invalid_binding"


@pytest.mark.parametrize("signature", [sha256('"BTC#0.001#12345"'), "0" * 64])
def test_a_path_without_fields_is_refused_by_default(service, signature):
    other = "/payouts/balance"
    text = order_token(other, signature=signature)
    assert service(registry()).refuses(other, sent(text), b"").reason == "invalid_binding"


def test_unbound_paths_allow_takes_any_well_formed_value(service):
    guarded = service(registry("    unbound_paths: allow"))
    other = "/payouts/balance"
    guarded.accepts(other, sent(order_token(other, signature="0" * 64)), b"anything")
    for signature in ("0" * 63, "0" * 65, "G" * 64, "A" * 64, ""):
        text = order_token(other, signature=signature)
        assert guarded.refuses(other, sent(text), b"").reason == "invalid_binding"
    error = guarded.refuses(PATH, sent(order_token(signature="0" * 64)), order())
    assert error.reason == "invalid_binding"  # the bound path stays bound


def test_other_fields_of_the_body_are_not_bound(service):
    guarded = service(registry("    single_use: false"))
    headers = sent(order_token())
    for note in ("a", "b"):
        guarded.accepts(PATH, headers, order(note=note))


def test_the_body_is_read_where_fields_are_bound_and_only_there(service):
    guarded = service(registry("    unbound_paths: allow"))
    other = "/payouts/balance"
    reads: list[int] = []

    def read(limit: int) -> bytes:
        reads.append(limit)
        return order()

    unbound = sent(order_token(other, signature="0" * 64))
    assert not guarded.verifier.wants_body(Request("POST", other, unbound, None))
    guarded.verifier.verify(Request("POST", other, unbound, None), read)
    assert reads == []
    bound = Request("POST", PATH, sent(order_token()), None)
    assert guarded.verifier.wants_body(bound)
    guarded.verifier.verify(bound, read)
    assert reads == [5 * 1024 * 1024]


def test_the_body_of_a_token_that_is_bad_anyway_is_not_read(service):
    guarded = service(registry())

    def read(limit: int) -> bytes:
        raise AssertionError("read")

    for text in (order_token(secret=OTHER_SECRET), order_token(exp=MS), order_token("/else")):
        request = Request("POST", PATH, sent(text), None)
        with pytest.raises(Exception, match=r"credentials|expired|binding"):
            guarded.verifier.verify(request, read)


# --- Single use -----------------------------------------------------------------------------------


def test_each_token_is_accepted_once(service):
    guarded = service(registry())
    headers = sent(order_token())
    guarded.accepts(PATH, headers, order())
    error = guarded.refuses(PATH, headers, order())
    assert (error.reason, error.status) == ("replayed", 401)
    guarded.accepts(PATH, sent(order_token(iat=MS - 1)), order())


def test_a_token_is_remembered_as_long_as_any_clock_could_accept_it(service):
    guarded = service(registry())
    headers = sent(order_token())
    guarded.accepts(PATH, headers, order())
    guarded.now = NOW + 89
    guarded.accepts(PATH, sent(order_token(iat=MS + 89_000, exp=MS + 149_000)), order())
    guarded.now = NOW + 59
    assert guarded.refuses(PATH, headers, order()).reason == "replayed"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (sent(order_token(), "merchant-2"), order()),
        (sent(order_token()), order(amount="1000")),
        (sent(order_token(secret=OTHER_SECRET)), order()),
    ],
    ids=["other key", "other order", "other secret"],
)
def test_a_refused_request_spends_no_token(service, headers, body):
    guarded = service(registry())
    guarded.refuses(PATH, headers, body)
    guarded.accepts(PATH, sent(order_token()), order())


def test_a_token_sent_to_another_path_is_not_spent(service):
    guarded = service(registry("    unbound_paths: allow"))
    guarded.refuses("/payouts/else", sent(order_token()), order())
    guarded.accepts(PATH, sent(order_token()), order())


def test_a_millisecond_token_means_nothing_to_a_seconds_preset_and_the_reverse(service):
    text = hour(iat=MS, exp=MS + 60_000)
    meganode = f"""
version: 1
projects:
  bsc: {{preset: meganode, secrets: [{{id: a, secret: "{SECRET}"}}]}}
"""
    assert service(meganode).refuses("/", bearer(token(text)), CALL).reason == "invalid_claims"
    seconds = order_token(iat=NOW, exp=NOW + 60)
    assert service(registry()).refuses(PATH, sent(seconds), order()).reason == "invalid_claims"
