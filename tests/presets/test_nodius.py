"""Nodius: each request signed by a Solana wallet, or an API key behind the bearer prefix."""

from __future__ import annotations

import threading

import base58
import pytest
from minting import (
    CALL,
    NOW,
    Wallet,
    bearer,
    hour,
    key_digest,
    replaced,
    sha256,
    token,
    without,
)

from rpcguard import AuthError, ConfigError, Request

WALLET = Wallet()
OTHER = Wallet(1)
API_KEY = "nod_0123456789abcdef"
FIELDS = ("X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce")


def registry(extra: str = "", wallets: str = "open") -> str:
    return f"""
version: 1
projects:
  solana:
    preset: nodius
    match: {{path: [/solana, /ws/solana]}}
    wallets: {wallets}
{extra}
"""


KEYS = f"    api_keys: [{{id: bot, digest: '{key_digest(API_KEY)}'}}]"


def listed(more: str = "") -> str:
    return f"[{{pubkey: {WALLET.pubkey}, name: desk{more}}}]"


# --- Version 1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [[], [("X-Auth-Version", "1")]], ids=["absent", "1"])
def test_version_1_signs_time_nonce_and_body(service, version):
    principal = service(registry()).accepts("/solana", [*WALLET.v1(), *version])
    assert (principal.subject, principal.scheme) == (WALLET.pubkey, "signature")
    assert (principal.project, principal.key_id) == ("solana", WALLET.pubkey)
    assert (principal.name, principal.claims) == (None, {})


def test_any_valid_key_pair_is_an_identity(service):
    guarded = service(registry())
    for number in range(3):
        wallet = Wallet(number)
        assert guarded.accepts("/solana", wallet.v1()).subject == wallet.pubkey


@pytest.mark.parametrize("body", [b"", b"{}", b"\0\xff", CALL * 100], ids=len)
def test_the_body_hash_is_over_the_bytes_an_empty_body_included(service, body):
    service(registry()).accepts("/solana", WALLET.v1(body), body)


@pytest.mark.parametrize("target", ["/solana", "/solana/x?y=1"])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_version_1_binds_neither_method_nor_path(service, method, target):
    service(registry()).accepts(target, WALLET.v1(), method=method)


def test_the_handshake_of_a_websocket_signs_the_empty_body(service):
    guarded = service(registry())
    guarded.accepts("/ws/solana", WALLET.v1(b""), b"", method="GET", websocket=True)


@pytest.mark.parametrize(
    "body", [CALL + b" ", b"", CALL.upper(), CALL.replace(b" ", b"")], ids=["space", "", "A", "-"]
)
def test_another_body_is_refused(service, body):
    error = service(registry()).refuses("/solana", WALLET.v1(), body)
    assert error.reason == "invalid_credentials"


def test_a_hash_in_upper_case_is_another_text(service):
    payload = f"{NOW}:{'0' * 16}:{sha256(CALL).upper()}"
    error = service(registry()).refuses("/solana", WALLET.fields(payload, NOW, "0" * 16))
    assert error.reason == "invalid_credentials"


# --- Version 2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/solana"),
        ("POST", "/solana?x=1&y=%2F"),
        ("GET", "/solana/a%20b?q"),
        ("post", "/solana"),
        ("POST", "/solana/"),
    ],
)
def test_version_2_signs_method_and_raw_target_too(service, method, target):
    guarded = service(registry())
    assert guarded.accepts(target, WALLET.v2(method, target), method=method).scheme == "signature"


BOUND = [
    ({"method": "POST", "target": "/solana/other"}, "/solana"),
    ({"method": "POST", "target": "/solana"}, "/solana/"),
    ({"method": "POST", "target": "/solana/"}, "/solana"),
    ({"method": "POST", "target": "/solana"}, "/solana?"),
    ({"method": "POST", "target": "/solana"}, "/solana?x=1"),
    ({"method": "POST", "target": "/solana?x=1"}, "/solana"),
    ({"method": "POST", "target": "/solana?a=1&b=2"}, "/solana?b=2&a=1"),
    ({"method": "POST", "target": "/Solana"}, "/solana"),
    ({"method": "POST", "target": "/solana/a b"}, "/solana/a%20b"),
    ({"method": "POST", "target": "/solana/%c3%a9"}, "/solana/%C3%A9"),
    ({"method": "post", "target": "/solana"}, "/solana"),
    ({"method": "GET", "target": "/solana"}, "/solana"),
]


@pytest.mark.parametrize(("signed", "target"), BOUND)
def test_a_method_or_target_that_differs_from_the_real_one(service, signed, target):
    error = service(registry()).refuses(target, WALLET.v2(**signed))
    assert (error.reason, error.status) == ("invalid_binding", 401)


@pytest.mark.parametrize("name", ["X-Http-Method", "X-Http-Path"])
def test_the_headers_must_be_right_whatever_was_signed(service, name):
    """Echo and signature are both checked against the request, not against each other."""
    guarded = service(registry())
    good = WALLET.v2("POST", "/solana")
    assert guarded.refuses("/solana", replaced(good, name, "x")).reason == "invalid_binding"
    assert guarded.refuses("/solana", without(good, name)).reason == "malformed_credentials"
    signed = WALLET.v2("GET", "/solana/else")
    for header, value in (("X-Http-Method", "POST"), ("X-Http-Path", "/solana")):
        signed = replaced(signed, header, value)
    assert guarded.refuses("/solana", signed).reason == "invalid_credentials"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3", "unsupported_algorithm"),
        ("0", "unsupported_algorithm"),
        ("11", "unsupported_algorithm"),
        ("02", None),
        ("two", None),
        ("", None),
        (" 2", None),
        ("2,2", None),
        ("2.0", None),
        ("٢", None),
        ("9" * 5000, None),
    ],
)
def test_any_other_version_is_refused(service, version, reason):
    headers = replaced(WALLET.v2("POST", "/solana"), "X-Auth-Version", version)
    error = service(registry()).refuses("/solana", headers)
    assert error.reason in ({reason} if reason else {"malformed_credentials"})


def test_a_version_2_signature_without_its_version_header_is_no_version_1(service):
    headers = without(WALLET.v2("POST", "/solana"), "X-Auth-Version")
    assert service(registry()).refuses("/solana", headers).reason == "invalid_credentials"


def test_fields_cannot_move_between_method_path_and_time(service):
    nonce, body = "0" * 16, sha256(CALL)
    payload = f"POST:/solana:1:{NOW}:{nonce}:{body}"
    headers = [
        *WALLET.fields(payload, NOW, nonce),
        ("X-Auth-Version", "2"),
        ("X-Http-Method", "POST"),
        ("X-Http-Path", "/solana:1"),
    ]
    guarded = service(registry())
    assert guarded.refuses("/solana", headers).reason == "invalid_binding"
    headers = replaced(replaced(headers, "X-Http-Method", "POST:/solana"), "X-Http-Path", "1")
    assert guarded.refuses("/solana", headers).reason == "invalid_binding"


def test_a_registry_can_demand_version_2_for_all_wallets(service):
    guarded = service(registry("    min_version: 2"))
    guarded.accepts("/solana", WALLET.v2("POST", "/solana"))
    for headers in (WALLET.v1(), [*WALLET.v1(), ("X-Auth-Version", "1")]):
        assert guarded.refuses("/solana", headers).reason == "unsupported_algorithm"


def test_a_registry_can_demand_version_2_of_one_wallet(service):
    wallets = f"{listed(', min_version: 2')[:-1]}, {{pubkey: {OTHER.pubkey}}}]"
    guarded = service(registry(wallets=wallets))
    guarded.accepts("/solana", OTHER.v1())
    guarded.accepts("/solana", WALLET.v2("POST", "/solana"))
    assert guarded.refuses("/solana", WALLET.v1()).reason == "unsupported_algorithm"


def test_a_version_that_the_preset_does_not_have_cannot_be_demanded(service):
    with pytest.raises(ConfigError, match="min_version"):
        service(registry("    min_version: 3"))


def test_the_public_prefix_that_a_proxy_strips_is_part_of_the_target(service):
    guarded = service(registry("    public_prefix: /rpc"))
    guarded.accepts("/solana?x=1", WALLET.v2("POST", "/rpc/solana?x=1"))
    error = guarded.refuses("/solana?x=1", WALLET.v2("POST", "/solana?x=1"))
    assert error.reason == "invalid_binding"
    headers = [*WALLET.v2("POST", "/else/solana"), ("X-Forwarded-Prefix", "/else")]
    assert guarded.refuses("/solana", headers).reason == "invalid_binding"


# --- The four fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", FIELDS)
def test_any_one_of_the_headers_claims_the_scheme_and_a_missing_one_is_malformed(service, kept):
    guarded = service(registry())
    alone = [field for field in WALLET.v1() if field[0] == kept]
    assert guarded.refuses("/solana", alone).reason == "malformed_credentials"
    but_one = without(WALLET.v1(), kept)
    assert guarded.refuses("/solana", but_one).reason == "malformed_credentials"


@pytest.mark.parametrize("name", [*FIELDS, "X-Auth-Version", "X-Http-Method", "X-Http-Path"])
@pytest.mark.parametrize("twin", [str, str.lower, lambda name: name.replace("-", "_")])
def test_a_header_that_occurs_twice_is_refused_even_if_equal(service, name, twin):
    headers = WALLET.v2("POST", "/solana")
    value = dict(headers)[name]
    error = service(registry()).refuses("/solana", [*headers, (twin(name), value)])
    assert error.reason == "malformed_credentials"


RAW = WALLET.raw
PUBKEYS = {
    "empty": "",
    "a zero in front": "1" + WALLET.pubkey,
    "31 bytes": base58.b58encode(RAW[:31]).decode(),
    "33 bytes": base58.b58encode(RAW + b"\1").decode(),
    "hex": RAW.hex(),
    "a letter outside the alphabet": "0" + WALLET.pubkey[1:],
    "I": "I" + WALLET.pubkey[1:],
    "space behind": WALLET.pubkey + " ",
    "ideographic space behind": WALLET.pubkey + "\u3000",
    "not ASCII": "é" + WALLET.pubkey[1:],
    "lone surrogate": "\udc80" + WALLET.pubkey[1:],
    "long": "1" * 100_000,
    "two": f"{WALLET.pubkey}, {WALLET.pubkey}",
}


@pytest.mark.parametrize("value", PUBKEYS.values(), ids=PUBKEYS.keys())
def test_x_pubkey_is_base58_of_32_bytes(service, value):
    headers = replaced(WALLET.v1(), "X-Pubkey", value)
    assert service(registry()).refuses("/solana", headers).reason == "malformed_credentials"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1" * 63,
        "1" * 65,
        "1" * 100_000,
        "0" * 88,
        base58.b58encode(b"\1" * 63).decode(),
        base58.b58encode(b"\1" * 65).decode(),
        (b"\1" * 64).hex(),
        base58.b58encode(b"\1" * 64).decode() + "\n",
    ],
)
def test_x_signature_is_base58_of_64_bytes(service, value):
    headers = replaced(WALLET.v1(), "X-Signature", value)
    assert service(registry()).refuses("/solana", headers).reason == "malformed_credentials"


TIMESTAMPS = [
    "",
    "0",
    f"0{NOW}",
    f"+{NOW}",
    f"-{NOW}",
    f" {NOW}",
    f"{NOW} ",
    f"{NOW}\n",
    f"{NOW}.0",
    "1.76e9",
    "0x68e77810",
    "1_760_000_000",
    "١٧٦٠٠٠٠٠٠٠",
    "1²60000000",
    str(NOW * 1000),
    "9" * 5000,
]


@pytest.mark.parametrize("value", TIMESTAMPS)
def test_x_timestamp_is_a_plain_number_of_at_most_12_digits(service, value):
    headers = WALLET.v1(timestamp=value)
    assert service(registry()).refuses("/solana", headers).reason == "malformed_credentials"


NONCES = [
    "",
    "0" * 15,
    "0" * 17,
    "0123456789ABCDEF",
    "0123456789abcdeg",
    "0x23456789abcdef",
    "0123456789abcde:",
    "0123456789abcde\n",
    "0123456789abcdef\n",
    " 123456789abcdef",
    "０123456789abcde",
    "0" * 100_000,
]


@pytest.mark.parametrize("nonce", NONCES)
def test_x_nonce_is_16_lower_case_hex_digits(service, nonce):
    headers = WALLET.v1(nonce=nonce)
    assert service(registry()).refuses("/solana", headers).reason == "malformed_credentials"


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        (0, None),
        (-30, None),
        (30, None),
        (-31, "expired"),
        (31, "not_yet_valid"),
        (-3600, "expired"),
        (3600, "not_yet_valid"),
    ],
)
def test_30_seconds_or_less_either_way_are_accepted(service, offset, reason):
    guarded = service(registry())
    headers = WALLET.v1(timestamp=NOW + offset)
    if reason is None:
        assert guarded.accepts("/solana", headers).expires_at is None  # of one request
    else:
        assert guarded.refuses("/solana", headers).reason == reason


def test_the_window_is_exact_below_the_second(service):
    guarded = service(registry())
    guarded.now = NOW + 30.001
    assert guarded.refuses("/solana", WALLET.v1()).reason == "expired"
    guarded.now = NOW + 30
    guarded.accepts("/solana", WALLET.v1())


def test_another_wallets_signature_is_refused(service):
    headers = replaced(WALLET.v1(), "X-Pubkey", OTHER.pubkey)
    assert service(registry()).refuses("/solana", headers).reason == "invalid_credentials"


ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_malleated_signature_is_refused(service):
    headers = WALLET.v1()
    raw = base58.b58decode(dict(headers)["X-Signature"])
    scalar = int.from_bytes(raw[32:], "little") + ORDER
    twin = base58.b58encode(raw[:32] + scalar.to_bytes(32, "little")).decode()
    error = service(registry()).refuses("/solana", replaced(headers, "X-Signature", twin))
    assert error.reason == "invalid_credentials"


@pytest.mark.parametrize(
    "point", [b"\1" + bytes(31), bytes(32), b"\xee" + b"\xff" * 30 + b"\x7f"], ids=bytes.hex
)
def test_a_key_that_fits_every_message_is_refused(service, point):
    forged = base58.b58encode(b"\1" + bytes(63)).decode()
    headers = replaced(WALLET.v1(), "X-Pubkey", base58.b58encode(point).decode())
    error = service(registry()).refuses("/solana", replaced(headers, "X-Signature", forged))
    assert error.reason == "invalid_credentials"


# --- The nonce ------------------------------------------------------------------------------------


def test_a_nonce_is_spent_once(service):
    guarded = service(registry())
    guarded.accepts("/solana", WALLET.v1())
    error = guarded.refuses("/solana", WALLET.v1())
    assert (error.reason, error.status, error.code) == ("replayed", 401, -32001)


def test_a_nonce_is_spent_for_any_later_signature_too(service):
    guarded = service(registry())
    guarded.accepts("/solana", WALLET.v1())
    for headers in (WALLET.v1(timestamp=NOW + 1), WALLET.v2("POST", "/solana")):
        assert guarded.refuses("/solana", headers).reason == "replayed"
    assert guarded.refuses("/solana", WALLET.v1(b"x"), b"x").reason == "replayed"


def test_a_nonce_is_spent_per_public_key(service):
    guarded = service(registry())
    guarded.accepts("/solana", WALLET.v1())
    guarded.accepts("/solana", OTHER.v1())
    guarded.accepts("/solana", WALLET.v1(nonce="1" * 16))


@pytest.mark.parametrize(
    "headers",
    [
        replaced(WALLET.v1(), "X-Signature", OTHER.sign("x")),
        WALLET.v1(timestamp=NOW - 31),
        replaced(WALLET.v2("POST", "/solana"), "X-Http-Path", "/x"),
        [*WALLET.v1(), *bearer(API_KEY)],
    ],
    ids=["bad signature", "too old", "other path", "ambiguous"],
)
def test_a_refused_request_spends_no_nonce(service, headers):
    guarded = service(registry(KEYS))
    guarded.refuses("/solana", headers)
    guarded.accepts("/solana", WALLET.v1())


class Untouchable:
    """A backend that must not be asked."""

    def settle(self, owed, now):
        raise AssertionError("asked")

    def close(self):
        pass


def test_without_a_proof_and_leave_the_backend_is_not_asked(service):
    guarded = service(registry("    allow: {methods: [getSlot]}", listed()), backend=Untouchable())
    assert guarded.refuses("/solana", OTHER.v1()).reason == "not_listed"
    assert guarded.refuses("/solana", WALLET.v1()).reason == "forbidden_method"


def test_a_nonce_is_remembered_as_long_as_any_clock_could_accept_the_proof(service):
    """A proof made 30 s ahead ends 60 s later, and another server's clock may be 30 s behind."""
    guarded = service(registry())
    headers = WALLET.v1(timestamp=NOW + 30)
    guarded.accepts("/solana", headers)
    for later in (1, 30, 59, 60):
        guarded.now = NOW + later
        assert guarded.refuses("/solana", headers).reason == "replayed"
    guarded.now = NOW + 89  # the clock that pruned ...
    guarded.refuses("/solana", headers)
    guarded.accepts("/solana", OTHER.v1(timestamp=NOW + 89, nonce="2" * 16))
    guarded.now = NOW + 60  # ... and one that is behind it
    assert guarded.refuses("/solana", headers).reason == "replayed"


def test_of_many_copies_at_once_one_is_accepted(service):
    guarded = service(registry())
    headers = WALLET.v1()
    start = threading.Barrier(16)
    outcomes = []

    def ask() -> None:
        start.wait()
        try:
            guarded.verifier.verify(Request("POST", "/solana", headers, CALL))
        except AuthError as error:
            outcomes.append(error.reason)
        else:
            outcomes.append("accepted")

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted", *["replayed"] * 15]


def test_the_nonces_of_a_subject_and_of_a_project_are_budgeted(service):
    guarded = service(registry("    max_nonces: 3\n    max_subject_nonces: 2"))
    for nonce in ("1" * 16, "2" * 16):
        guarded.accepts("/solana", WALLET.v1(nonce=nonce))
    error = guarded.refuses("/solana", WALLET.v1(nonce="3" * 16))
    assert (error.reason, error.status) == ("rate_limited", 429)
    guarded.accepts("/solana", OTHER.v1())
    error = guarded.refuses("/solana", Wallet(2).v1())
    assert error.status in (429, 503)
    assert guarded.refuses("/solana", WALLET.v1(nonce="1" * 16)).reason == "replayed"


# --- Who may call ---------------------------------------------------------------------------------


def test_a_listed_wallet_has_its_name(service):
    principal = service(registry(wallets=listed())).accepts("/solana", WALLET.v1())
    assert (principal.subject, principal.name) == (WALLET.pubkey, "desk")


def test_a_wallet_that_is_not_listed_is_refused_after_its_signature_verifies(service):
    guarded = service(registry(wallets=listed()))
    error = guarded.refuses("/solana", OTHER.v1())
    assert (error.reason, error.status, error.code) == ("not_listed", 403, -32003)
    forged = replaced(OTHER.v1(), "X-Signature", WALLET.sign("x"))
    assert guarded.refuses("/solana", forged).reason == "invalid_credentials"


def test_an_empty_list_is_nobody(service):
    assert service(registry(wallets="[]")).refuses("/solana", WALLET.v1()).reason == "not_listed"


@pytest.mark.parametrize("pubkey", ["1" * 32, "x", WALLET.raw.hex(), "1" + WALLET.pubkey])
def test_a_list_holds_good_keys_alone(service, pubkey):
    with pytest.raises(ConfigError, match=r"wallets\[0\]\.pubkey"):
        service(registry(wallets=f"[{{pubkey: '{pubkey}'}}]"))


def test_wallets_must_be_said(service):
    with pytest.raises(ConfigError, match="wallets"):
        service(registry().replace("    wallets: open\n", ""))


def test_a_wallet_has_its_own_policy_besides_the_projects(service):
    guarded = service(
        registry("    allow: {ips: [10.0.0.0/8]}", listed(", allow: {methods: [eth_blockNumber]}"))
    )
    guarded.accepts("/solana", WALLET.v1(), client="10.1.2.3")
    error = guarded.refuses("/solana", WALLET.v1(nonce="1" * 16), client="192.0.2.1")
    assert error.reason == "forbidden_ip"
    other = CALL.replace(b"eth_blockNumber", b"sendTransaction")
    error = guarded.refuses("/solana", WALLET.v1(other), other, client="10.1.2.3")
    assert error.reason == "forbidden_method"


@pytest.mark.parametrize("named", ["subject", "key"])
def test_a_wallet_can_be_revoked(service, named):
    guarded = service(registry())
    guarded.accepts("/solana", WALLET.v1())
    guarded.verifier.revoke("solana", **{named: WALLET.pubkey})
    assert guarded.refuses("/solana", WALLET.v1(nonce="1" * 16)).reason == "revoked"
    guarded.accepts("/solana", OTHER.v1())


# --- Challenges, API keys, and two kinds at once ------------------------------------------------


def test_without_a_credential_there_is_one_challenge_per_enabled_scheme(service):
    error = service(registry()).refuses("/solana")
    assert (error.reason, error.status) == ("missing_credentials", 401)
    assert error.challenges == ('Signature realm="solana"', 'Bearer realm="solana"')
    error = service(registry(KEYS)).refuses("/solana")
    assert sorted(error.challenges) == ['Bearer realm="solana"', 'Signature realm="solana"']


def test_a_bearer_with_the_prefix_is_an_api_key(service):
    principal = service(registry(KEYS)).accepts("/solana", bearer(API_KEY))
    assert (principal.scheme, principal.subject) == ("api_key", "bot")


@pytest.mark.parametrize("text", [API_KEY + "x", API_KEY[:-1], "nod_", API_KEY.upper()[:4] + "x"])
def test_another_key_is_refused(service, text):
    guarded = service(registry(KEYS))
    error = guarded.refuses("/solana", bearer(text))
    wanted = "invalid_credentials" if text.startswith("nod_") else "missing_credentials"
    assert error.reason == wanted


def test_the_prefix_is_compared_exactly(service):
    digest = key_digest("NOD_0123")
    guarded = service(registry(f"    api_keys: [{{id: bot, digest: '{digest}'}}]"))
    guarded.refuses("/solana", bearer("NOD_0123"))


def test_an_api_key_covers_nothing_of_the_body(service):
    guarded = service(registry(KEYS))
    request = Request("POST", "/solana", bearer(API_KEY), None)
    assert guarded.verifier.wants_body(request) is False
    assert guarded.verifier.verify(request).subject == "bot"


@pytest.mark.parametrize(
    "headers",
    [
        [*WALLET.v1(), *bearer(API_KEY)],
        [*WALLET.v1(), *bearer("nod_bad")],
        [("X-Nonce", "bad"), *bearer(API_KEY)],
    ],
    ids=["both good", "bad key", "bad signature"],
)
def test_signature_and_api_key_together_are_ambiguous(service, headers):
    error = service(registry(KEYS)).refuses("/solana", headers)
    assert (error.reason, error.status, error.code) == ("ambiguous_credentials", 400, -32600)


def test_a_kind_that_is_not_enabled_is_not_looked_at(service):
    guarded = service(registry())
    other = bearer(token(hour()))  # no session is configured, and it is no API key
    assert guarded.accepts("/solana", [*WALLET.v1(), *other]).scheme == "signature"
    assert guarded.refuses("/solana", bearer(token(hour()))).reason == "missing_credentials"


@pytest.mark.parametrize(
    "field", [bearer(API_KEY) * 2, [("Authorization", "Bearer")], bearer(f"{API_KEY} {API_KEY}")]
)
def test_a_doubled_or_broken_bearer_is_refused_and_never_passed_over(service, field):
    """Where a bearer is a credential of the project, a bad one is final."""
    guarded = service(registry(KEYS))
    assert guarded.refuses("/solana", field).reason == "malformed_credentials"
    guarded.refuses("/solana", [*WALLET.v1(), *field])


def test_the_subprotocol_is_never_a_credential_on_ordinary_http(service):
    headers = [("Sec-WebSocket-Protocol", f"auth.{API_KEY}")]
    guarded = service(registry(KEYS))
    assert guarded.refuses("/solana", headers).reason == "missing_credentials"
    error = guarded.refuses("/ws/solana", headers, b"", method="GET", websocket=True)
    assert error.status == 401  # session tokens alone


def test_a_compressed_body_is_refused_with_415(service):
    headers = [*WALLET.v1(), ("Content-Encoding", "gzip")]
    error = service(registry()).refuses("/solana", headers)
    assert (error.reason, error.status, error.code) == ("unsupported_encoding", 415, -32600)
    service(registry()).accepts("/solana", [*WALLET.v1(), ("Content-Encoding", "Identity")])
