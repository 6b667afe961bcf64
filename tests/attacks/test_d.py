"""D: wallet signatures, Ed25519 and base58."""

from __future__ import annotations

import json
import re
import threading

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import CALL, NOW, Wallet, replaced, sha256, without

from attacks.site import MEMORY, projects

MALFORMED, INVALID, REPLAYED = "malformed_credentials", "invalid_credentials", "replayed"
BINDING, UNSUPPORTED = "invalid_binding", "unsupported_algorithm"
L = 2**252 + 27742317777372353535851937790883648493
ALICE, BOB = Wallet(1), Wallet(2)
IDENTITY = "01" + "00" * 31
SMALL_ORDER = [
    IDENTITY,
    "ec" + "ff" * 30 + "7f",
    "00" * 32,
    "00" * 31 + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
NOT_CANONICAL = [
    "ee" + "ff" * 30 + "7f",  # y = p + 1, the identity once more
    "ed" + "ff" * 30 + "7f",  # y = p, which is 0
    "ed" + "ff" * 30 + "ff",
    "ec" + "ff" * 30 + "ff",
    "01" + "00" * 30 + "80",
    "ff" * 32,
]


def b58(raw):
    return base58.b58encode(raw).decode()


def nonce(number):
    return f"{number:016x}"


@pytest.fixture
def wallets(make):
    """A site for what spends nonces: each test has its own."""
    return make()


def test_D1_a_signature_with_another_multiple_of_the_order_is_refused(wallets):
    headers = ALICE.v1()
    raw = base58.b58decode(dict(headers)["X-Signature"])
    s = int.from_bytes(raw[32:], "little")
    for multiple in (1, 2, 7):
        twin = raw[:32] + (s + multiple * L).to_bytes(32, "little")
        assert wallets.denies("/wallet", replaced(headers, "X-Signature", b58(twin))) == INVALID
    assert wallets.told("/wallet", headers) == ""


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_D2_a_key_of_small_order_signs_nothing(wallets, key):
    for tried in range(32):  # one message in two, four or eight would fit
        for r in (IDENTITY, key):
            headers = [
                ("X-Pubkey", b58(bytes.fromhex(key))),
                ("X-Signature", b58(bytes.fromhex(r) + bytes(32))),
                ("X-Timestamp", str(NOW)),
                ("X-Nonce", nonce(tried)),
            ]
            assert wallets.denies("/wallet", headers) in (INVALID, MALFORMED)


@pytest.mark.parametrize("key", NOT_CANONICAL)
def test_D3_a_point_has_one_encoding(wallets, key):
    point = bytes.fromhex(key)
    headers = ALICE.v1()
    raw = base58.b58decode(dict(headers)["X-Signature"])
    forged = [
        replaced(headers, "X-Pubkey", b58(point)),
        replaced(headers, "X-Signature", b58(point + raw[32:])),
        replaced(replaced(headers, "X-Pubkey", b58(point)), "X-Signature", b58(point + bytes(32))),
    ]
    for each in forged:
        assert wallets.denies("/wallet", each) in (INVALID, MALFORMED)


@pytest.mark.parametrize(("size", "name"), [(31, "X-Pubkey"), (33, "X-Pubkey"), (0, "X-Pubkey"),
    (63, "X-Signature"), (65, "X-Signature"), (0, "X-Signature"), (64, "X-Pubkey")])  # fmt: skip
def test_D5_keys_and_signatures_have_their_exact_size(wallets, size, name):
    raw = (base58.b58decode(dict(ALICE.v1())[name]) + bytes(40))[:size]
    assert wallets.denies("/wallet", replaced(ALICE.v1(), name, b58(raw))) == MALFORMED


@pytest.mark.parametrize("name", ["X-Pubkey", "X-Signature"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: "1" + text,
        lambda text: text + "1",
        lambda text: text[:-1] + "0",
        lambda text: text[:-1] + "O",
        lambda text: text[:-1] + "I",
        lambda text: text[:-1] + "l",
        lambda text: text[:-1] + "é",
        lambda text: text + " ",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text + "\u3000",
        lambda text: text[:5] + " " + text[5:],
        lambda text: text[:5] + "\0" + text[5:],
        lambda text: text.swapcase(),
    ],
)
def test_D6_base58_has_one_spelling(wallets, name, change):
    headers = ALICE.v1()
    text = change(dict(headers)[name])
    reason = wallets.denies("/wallet", replaced(headers, name, text))
    assert reason in (MALFORMED, INVALID)
    if text.swapcase() != dict(headers)[name]:
        assert reason == MALFORMED


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["X-Pubkey", "X-Signature"])
@pytest.mark.parametrize("letter", ["1", "z"])
def test_D7_endless_base58_is_refused_by_its_length(site, name, letter):
    for size in (200, 100_000, 3_000_000):
        headers = replaced(ALICE.v1(), name, letter * size)
        assert site.denies("/wallet", headers) == MALFORMED


def test_D8_no_other_encoding_is_guessed(site):
    import base64

    for name in ("X-Pubkey", "X-Signature"):
        raw = base58.b58decode(dict(ALICE.v1())[name])
        for text in (
            raw.hex(),
            raw.hex().upper(),
            "0x" + raw.hex(),
            base64.b64encode(raw).decode(),
        ):
            assert site.denies("/wallet", replaced(ALICE.v1(), name, text)) == MALFORMED


@pytest.mark.parametrize("backend", [MEMORY, "sqlite:///nonces.db"])
def test_D9_a_nonce_is_spent_once(make, backend):
    site = make(json.dumps({"version": 1, "backend": backend,
                            "projects": {"wallet": projects()["wallet"]}}))  # fmt: skip
    assert [site.told("/wallet", ALICE.v1()) for _ in range(3)] == ["", REPLAYED, REPLAYED]
    again = ALICE.v1(timestamp=NOW + 1)  # signed anew
    assert site.denies("/wallet", again) == REPLAYED


def test_D10_a_nonce_has_one_letter_case(wallets):
    assert wallets.told("/wallet", ALICE.v1(nonce="00000000000000ff")) == ""
    for other in ("00000000000000FF", "00000000000000fF"):
        assert wallets.denies("/wallet", ALICE.v1(nonce=other)) == MALFORMED


@pytest.mark.parametrize("offset", [-30, 0, 30])
def test_D11_a_nonce_is_remembered_until_no_clock_can_accept_its_proof(make, offset):
    site = make()
    signed = ALICE.v1(timestamp=NOW + offset)
    assert site.told("/wallet", signed) == ""
    for passed in range(0, 62, 3):
        site.now = NOW + passed
        assert site.denies("/wallet", signed) in (REPLAYED, "expired")
    site.now = NOW + 3600
    assert site.denies("/wallet", signed) == "expired"
    assert site.told("/wallet", ALICE.v1(timestamp=NOW + 3600)) == ""  # the same nonce, signed anew


def test_D12_a_bad_signature_spends_nobodys_nonce(wallets):
    forged = replaced(ALICE.v1(), "X-Signature", BOB.sign("anything"))
    for _ in range(3):
        assert wallets.denies("/wallet", forged) == INVALID
    assert wallets.told("/wallet", ALICE.v1()) == ""


def test_D13_nonces_are_each_keys_own(wallets):
    assert [wallets.told("/wallet", wallet.v1()) for wallet in (ALICE, BOB)] == ["", ""]
    assert [wallets.told("/wallet", wallet.v1()) for wallet in (ALICE, BOB)] == [REPLAYED] * 2


@pytest.mark.parametrize(
    "text",
    ["", "0" * 15, "0" * 17, "g" * 16, "0x" + "0" * 14, "0" * 15 + ":", "0" * 7 + ":" + "0" * 8,
     "０" * 16, "0" * 16 + "\n", " " + "0" * 15, "0" * 100_000, "٠" * 16, "0" * 15 + "é",
     "00000000-0000-000", "0" * 15 + "\0"],
)  # fmt: skip
def test_D14_a_nonce_is_sixteen_hex_digits_throughout(site, text):
    for signed in (ALICE.v1(nonce=text), replaced(ALICE.v1(), "X-Nonce", text)):
        assert site.denies("/wallet", signed) == MALFORMED


@pytest.mark.parametrize("backend", [MEMORY, "sqlite:///race.db?timeout=10s"])
def test_D15_of_many_copies_at_one_moment_one_is_accepted(make, backend):
    text = json.dumps({"version": 1, "backend": backend,
                       "projects": {"wallet": projects()["wallet"]}})  # fmt: skip
    site = make(text)
    seen: list[str] = []
    barrier = threading.Barrier(12)

    def send():
        barrier.wait(30)
        seen.append(site.told("/wallet", ALICE.v1()))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == [""] + [REPLAYED] * 11


@pytest.mark.parametrize(
    "text",
    [f"+{NOW}", f" {NOW}", f"{NOW} ", f"0{NOW}", "1.76e9", f"{NOW}.0", "1_760_000_000", hex(NOW),
     "١٧٦٠٠٠٠٠٠٠", "1760000000²", "²", "", "-1", "0", "9" * 5000, f"{NOW}\n", f"{NOW},{NOW}",
     "nan", "inf", "１７６０００００００"],
)  # fmt: skip
def test_D16_a_timestamp_is_plain_digits(site, text):
    for signed in (ALICE.v1(timestamp=text), replaced(ALICE.v1(), "X-Timestamp", text)):
        assert site.denies("/wallet", signed) in (MALFORMED, "expired")
        if text != "0":
            assert site.denies("/wallet", signed) == MALFORMED


@pytest.mark.parametrize(
    ("offset", "reason"),
    [(-30, ""), (30, ""), (-31, "expired"), (31, "not_yet_valid"), (-3600, "expired")],
)
def test_D17_the_window_is_thirty_seconds_either_way(wallets, offset, reason):
    assert wallets.told("/wallet", ALICE.v1(timestamp=NOW + offset)) == reason
    assert wallets.denies("/wallet", ALICE.v1(timestamp=(NOW + offset) * 1000)) in (
        MALFORMED, "not_yet_valid",
    )  # fmt: skip


def test_D18_the_body_is_the_one_that_was_signed_byte_for_byte(wallets):
    for body in (CALL + b" ", b" " + CALL, CALL.replace(b" ", b""), b"", CALL[:-1], CALL + b"\n"):
        assert wallets.denies("/wallet", ALICE.v1(), body) == INVALID
        assert wallets.denies("/v2", ALICE.v2("POST", "/v2"), body) == INVALID
    payload = f"{NOW}:{nonce(0)}:{sha256(CALL).upper()}"
    assert wallets.denies("/wallet", ALICE.fields(payload, NOW, nonce(0))) == INVALID
    assert wallets.told("/wallet", ALICE.v1(b""), b"") == ""


def test_D19_fields_cannot_move_across_a_colon(wallets):
    honest = f"POST:/v2:{NOW}:{nonce(0)}:{sha256(CALL)}"
    claims = [
        ("POST:/v2", f"{NOW}", f"{NOW}", nonce(0)),
        ("POST", f"/v2:{NOW}", f"{NOW}", nonce(0)),
        ("POST", "/v2", f"{NOW}:{nonce(0)}", ""),
        ("", "POST:/v2", f"{NOW}", nonce(0)),
    ]
    for method, path, timestamp, text in claims:
        headers = [
            *ALICE.fields(honest, timestamp, text),
            ("X-Auth-Version", "2"),
            ("X-Http-Method", method),
            ("X-Http-Path", path),
        ]
        assert wallets.denies("/v2", headers) in (MALFORMED, BINDING)
    moved = ALICE.v2026("POST", "/next", nonce=f"{NOW}:x")
    assert wallets.denies("/next", moved) == MALFORMED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda signed: without(signed, "X-Auth-Version"), UNSUPPORTED),
        (lambda signed: ALICE.v1(), UNSUPPORTED),
        (lambda signed: replaced(ALICE.v1(), "X-Auth-Version", "2"), MALFORMED),
        (lambda signed: replaced(signed, "X-Auth-Version", "1"), UNSUPPORTED),
        (lambda signed: replaced(signed, "X-Auth-Version", "3"), UNSUPPORTED),
        (lambda signed: replaced(signed, "X-Auth-Version", "02"), MALFORMED),
        (lambda signed: replaced(signed, "X-Auth-Version", "two"), MALFORMED),
        (lambda signed: replaced(signed, "X-Auth-Version", "2 "), MALFORMED),
        (lambda signed: replaced(signed, "X-Auth-Version", "２"), MALFORMED),
        (lambda signed: [*signed, ("X-Auth-Version", "2")], MALFORMED),
        (lambda signed: [*signed, ("x-auth-version", "1")], MALFORMED),
    ],
)
def test_D20_a_version_cannot_be_lowered(wallets, change, reason):
    signed = ALICE.v2("POST", "/v2")
    assert wallets.denies("/v2", change(signed)) == reason
    assert wallets.told("/v2", signed) == ""


def test_D21_a_v1_signature_binds_no_path_and_is_refused_where_v2_is_demanded(make):
    site = make()
    assert site.told("/wallet/any/where", ALICE.v1(), method="PUT") == ""  # the document's own rule
    assert site.denies("/wallet/else", ALICE.v1()) == REPLAYED
    assert site.denies("/v2", BOB.v1()) == UNSUPPORTED
    headers = BOB.v1(b"")
    assert site.refuses("/account/api-key", b"", headers, project="v2").reason == UNSUPPORTED


def test_D22_no_signature_binds_the_host_which_is_a_documented_limit(make):
    here, there = make(), make()
    assert [
        here.told("/v2", ALICE.v2("POST", "/v2")),
        there.told("/v2", ALICE.v2("POST", "/v2")),
    ] == ["", ""]
    # the successor's text has a tag of its own, so that no other protocol's signature passes
    assert here.denies("/next", without(ALICE.v2("POST", "/next"), "X-Auth-Version")) == INVALID


CHALLENGE = re.compile(r"[a-z][a-z0-9-]{0,31}:challenge:[0-9a-f]{32}:[0-9]+")


def test_D23_no_challenge_is_a_request_and_no_request_a_challenge(make):
    site = make()
    challenge = site.serve("/auth/challenge", {"pubkey": ALICE.pubkey})["challenge"]
    assert CHALLENGE.fullmatch(challenge)
    signature = ALICE.sign(challenge)
    assert site.denies("/wallet", replaced(ALICE.v1(), "X-Signature", signature)) == INVALID
    for payload in (f"{NOW}:{nonce(0)}:{sha256(CALL)}", challenge + ":", challenge.upper()):
        proof = {"pubkey": ALICE.pubkey, "signature": ALICE.sign(payload)}
        assert site.refuses("/auth/verify", proof).reason == INVALID


@given(
    method=st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True),
    target=st.from_regex(r"/[!-~]{0,60}", fullmatch=True),
    timestamp=st.from_regex(r"[1-9][0-9]{0,11}", fullmatch=True),
    text=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
)
def test_D23_the_two_grammars_have_no_text_in_common(method, target, timestamp, text):
    digest = sha256(target)
    for payload in (
        f"{timestamp}:{text}:{digest}",
        f"{method}:{target}:{timestamp}:{text}:{digest}",
        f"solana-nodius:v2:{method}:{target}:{timestamp}:{text}:{digest}",
    ):
        assert not CHALLENGE.fullmatch(payload)
