"""A: header of a JWT, choice of algorithm and key."""

from __future__ import annotations

import base64
import json
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from minting import OTHER_SECRET, SECRET, hour, private_key, public_pem, segment, token
from sealing import DIR_SECRET, seal
from trap import TRAP

from attacks.site import EC, KIDS, PUBLIC, RSA, problems, project, registry
from attacks.tokens import mac, signed

MALFORMED, UNSUPPORTED = "malformed_credentials", "unsupported_algorithm"
INVALID = "invalid_credentials"


@pytest.mark.parametrize("path", ["hs", "pub", "atn", "engine"])
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "none ", ""])
@pytest.mark.parametrize("kid", [None, RSA, "kid-mac", "a"])
def test_A1_a_token_without_a_signature_is_refused_whatever_it_calls_itself(site, path, alg, kid):
    head = {"alg": alg, "typ": "JWT", **({"kid": kid} if kid else {})}
    bare = f"{segment(head)}.{segment(hour())}."
    leftover = bare + token(hour()).rpartition(".")[2]
    for text in (bare, leftover):
        assert site.denies(f"/{path}", text) in (MALFORMED, UNSUPPORTED)


@pytest.mark.parametrize("word", ["none", "None", "HS128", "any"])
def test_A1_there_is_no_switch_that_permits_it(tmp_path, word):
    assert "algorithms" in problems(tmp_path, project(algorithms=[word]))


@pytest.mark.parametrize(
    "alg",
    [None, "", 256, ["HS256"], {"HS256": 1}, True, "hs256", "HS256 ", " HS256", "HS256\0",
     "HS256\n", "ＨS256", "Hs256"],
)  # fmt: skip
def test_A2_the_algorithm_is_compared_exactly(site, alg):
    for head in ({"alg": alg, "typ": "JWT"}, {"typ": "JWT"}):
        text = token(hour(), header=head)
        assert site.denies("/hs", text) in (MALFORMED, UNSUPPORTED)


def pem_forms(alg):
    pem = public_pem(alg)
    return [
        pem,
        pem.strip(),
        pem.replace("\n", "\r\n"),
        pem + "\n",
        "".join(pem.splitlines()[1:-1]),
    ]


@pytest.mark.parametrize("alg", PUBLIC)
@pytest.mark.parametrize("path", ["pub", "atn"])
def test_A3_a_public_key_is_no_secret_in_any_form_of_pem(site, alg, path):
    for secret in pem_forms(alg):
        text = mac(secret, kid=KIDS[alg])
        assert site.denies(f"/{path}", text) in (UNSUPPORTED, INVALID)


@pytest.mark.parametrize("alg", PUBLIC)
def test_A4_nor_is_it_one_as_der_or_jwk(site, alg):
    key = load_pem_public_key(public_pem(alg).encode())
    forms = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    forms.append(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    if alg == "EdDSA":
        forms.append(key.public_bytes_raw())
    else:
        maker = RSAAlgorithm if alg == "RS256" else ECAlgorithm
        forms.append(maker.to_jwk(key).encode())
    for secret in forms:
        assert site.denies("/pub", mac(secret, kid=KIDS[alg])) == UNSUPPORTED


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hs", lambda: token(hour(), SECRET * 2, "HS384")),
        ("hs", lambda: token(hour(), SECRET * 2, "HS512")),
        ("hs", lambda: token(hour(), SECRET, "HS256", header={"alg": "HS512"})),
        ("pub", lambda: token(hour(), private_key("RS256"), "RS384", kid=RSA)),
        ("pub", lambda: token(hour(), private_key("RS256"), "PS256", kid=RSA)),
        ("atn", lambda: token(hour(), private_key("RS256"), "RS512", kid=RSA)),
        ("atn", lambda: signed("ES256", alg="ES256K")),
        ("pub", lambda: signed("ES256", alg="ES384")),
        ("pub", lambda: token(hour(), SECRET * 2, "HS384", kid="kid-mac")),
    ],
)
def test_A5_the_right_key_with_another_algorithm_is_refused(site, path, text):
    assert site.denies(f"/{path}", text()) == UNSUPPORTED


@pytest.mark.parametrize("path", ["pub", "atn"])
def test_A6_a_token_that_names_a_key_of_another_type_is_refused(site, path):
    for alg, kid in (("RS256", EC), ("ES256", RSA)):
        assert site.denies(f"/{path}", signed(alg, kid=kid)) == UNSUPPORTED
    pss = token(hour(), private_key("RS256"), "PS256", header={"alg": "RS256", "kid": RSA})
    assert site.denies(f"/{path}", pss) == INVALID
    for alg in ("RS256", "ES256"):  # the header says what the key is, the signature is another's
        text = token(hour(), private_key("EdDSA"), "EdDSA", header={"alg": alg, "kid": KIDS[alg]})
        assert site.denies(f"/{path}", text) == INVALID


def test_A7_keys_of_two_types_are_strictly_apart(site, tmp_path):
    for alg in PUBLIC:
        assert site.denies("/pub", mac(SECRET, kid=KIDS[alg])) == UNSUPPORTED
        assert site.denies("/pub", signed(alg, kid="kid-mac")) == UNSUPPORTED
    both = [{"kid": "x", "alg": "HS256", "secret": SECRET},
            {"kid": "x", "alg": "RS256", "public_key": public_pem("RS256")}]  # fmt: skip
    assert "occurs before" in problems(tmp_path, project("pub", keys=both))
    as_secret = [{"id": "a", "secret": public_pem("RS256")}]
    assert "public key" in problems(tmp_path, project(secrets=as_secret))


@pytest.mark.parametrize(
    ("kid", "message"),
    [
        (None, "empty key id"),
        ("", "empty key id"),
        ("unknown", "empty configuration"),
    ],
)
def test_A8_without_the_id_of_a_key_no_key_is_tried(site, kid, message):
    text = token(hour(), private_key("RS256"), "RS256", **({} if kid is None else {"kid": kid}))
    error = site.error("/atn", text)
    assert (error.code, error.message) == (-32013, f"invalid JWT token ({message})")
    assert site.denies("/pub", text) == INVALID


HOSTILE_KIDS = [
    "../../../../etc/passwd", "/dev/null", "/proc/self/environ", "file:///etc/passwd",
    "https://evil.example/jwks.json", "' OR 1=1 --", "x' UNION SELECT 'secret", "$(id)", "|id",
    "`id`", "kid-rsa\0", "\0", "%00", "..\\..\\x", "kid-rsa/../kid-ec",
]  # fmt: skip


@pytest.mark.parametrize("kid", HOSTILE_KIDS)
def test_A9_an_id_is_looked_up_and_nothing_is_opened(site, kid):
    site.admits("/pub", signed())
    for text in (signed(kid=kid), mac("", kid=kid), mac("x", kid=kid)):
        assert site.denies("/pub", text) == INVALID
        assert TRAP.while_running(lambda: site.admits("/pub", text)) == []  # noqa: B023


@pytest.mark.parametrize("kid", [1, 0, True, None, [], [RSA], {}, {"kid": RSA}, 1.5])
@pytest.mark.parametrize("path", ["pub", "hs"])
def test_A10_an_id_is_a_string(site, kid, path):
    head = {"alg": "RS256" if path == "pub" else "HS256", "typ": "JWT", "kid": kid}
    key = (private_key("RS256"), "RS256") if path == "pub" else (SECRET, "HS256")
    assert site.denies(f"/{path}", token(hour(), *key, header=head)) == MALFORMED


@pytest.mark.parametrize("kid", ["k" * 5000, "a\r\nrefused: x", "\x1b[31mred", "k\u2028k"])
def test_A11_a_long_or_breaking_id_reaches_no_log_as_it_is(site, kid, caplog):
    caplog.set_level(logging.DEBUG)
    assert site.denies("/pub", signed(kid=kid)) in (INVALID, MALFORMED)
    assert len(caplog.records) >= 1
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable() and len(line) < 1500
        assert kid not in line


@pytest.mark.parametrize(
    "kid", [RSA.upper(), RSA + " ", " " + RSA, RSA + "\n", "kid‑rsa", "ｋid-rsa"]
)
def test_A12_an_id_is_compared_exactly(site, kid):
    assert site.denies("/pub", signed(kid=kid)) == INVALID


def test_A13_two_keys_of_one_id_and_a_26th_key_do_not_load(tmp_path):
    key = {"kid": "x", "public_key": public_pem("ES256")}
    assert "occurs before" in problems(tmp_path, project("atn", keys=[key, key]))
    many = [{**key, "kid": f"k{number}"} for number in range(26)]
    shown = problems(tmp_path, project("atn", keys=many))
    assert "'atn' has 26 keys, at most 25" in shown


@pytest.mark.parametrize(
    "head",
    [
        '{"alg":"RS256","alg":"RS256","kid":"kid-rsa"}',
        '{"alg":"none","alg":"RS256","kid":"kid-rsa"}',
        '{"alg":"RS256","\\u0061lg":"none","kid":"kid-rsa"}',
        '{"alg":"RS256","kid":"x","kid":"kid-rsa"}',
        '{"alg":"RS256","kid":"kid-rsa","k\\u0069d":"kid-ec"}',
    ],
)
def test_A14_a_name_that_occurs_twice_is_refused(site, head):
    assert (
        site.denies("/pub", token(hour(), private_key("RS256"), "RS256", header=head)) == MALFORMED
    )


def attacker():
    key = private_key("RS256", 1)
    return key, json.loads(RSAAlgorithm.to_jwk(key.public_key()))


def test_A15_a_key_that_the_token_brings_along_is_not_looked_at(site):
    key, jwk = attacker()
    for kid in (RSA, "theirs", None):
        head = {"alg": "RS256", "typ": "JWT", "jwk": jwk, **({"kid": kid} if kid else {})}
        assert site.denies("/pub", token(hour(), key, "RS256", header=head)) == INVALID
    oct_key = {"kty": "oct", "k": base64.urlsafe_b64encode(OTHER_SECRET.encode()).decode()}
    assert site.denies("/hs", mac(OTHER_SECRET, jwk=oct_key)) == INVALID


@pytest.mark.parametrize("name", ["jku", "x5u", "x5c", "x5t", "x5t#S256"])
@pytest.mark.parametrize(
    "value", ["https://evil.example/k", "file:///etc/passwd", "http://127.0.0.1:9/", ["MIIB"]]
)
def test_A16_an_address_of_keys_is_never_followed(site, name, value):
    key, _ = attacker()
    theirs = token(hour(), key, "RS256", kid=RSA, **{name: value})
    ours = signed(**{name: value})
    assert site.denies("/pub", theirs) == INVALID
    for text in (theirs, ours):
        assert TRAP.while_running(lambda: site.told("/pub", text)) == []  # noqa: B023
    assert site.told("/pub", ours) in ("", MALFORMED)


@pytest.mark.parametrize(
    "crit", [[], "exp", None, 1, {}, ["x"], ["exp"], ["b64"], ["kid"], ["alg"], ["x", "x"], [1]]
)
@pytest.mark.parametrize("path", ["pub", "atn"])
def test_A17_a_critical_header_is_refused(site, crit, path):
    assert site.denies(f"/{path}", signed(crit=crit)) == MALFORMED
    assert site.denies(f"/{path}", signed(crit=crit, x=1, b64=True)) == MALFORMED


def test_A18_an_unencoded_or_detached_payload_is_refused(site):
    for head in ({"b64": False}, {"b64": False, "crit": ["b64"]}, {"b64": True, "crit": ["b64"]}):
        assert site.denies("/pub", signed(**head)) == MALFORMED
    header, _, signature = signed().split(".")
    assert site.denies("/pub", f"{header}..{signature}") == MALFORMED
    raw = f"{segment({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}.{json.dumps(hour())}"
    assert site.denies("/hs", f"{raw}.x") == MALFORMED


@pytest.mark.parametrize(
    "head",
    [
        {"zip": "DEF"},
        {"zip": "none"},
        {"typ": "rpcguard-session+jwt"},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 3},
        {"typ": ["JWT"]},
        {"typ": ""},
    ],
)
@pytest.mark.parametrize("path", ["pub", "atn"])
def test_A19_a_token_of_another_kind_is_refused(site, head, path):
    assert site.denies(f"/{path}", signed(**head)) == MALFORMED


def test_A20_an_encrypted_token_proves_nothing_but_that_it_was_encrypted(site, make):
    inner = signed()
    assert site.denies("/pub", seal(inner)) == MALFORMED
    entry = {"kid": "dir", "alg": "dir", "secret": DIR_SECRET}
    encryption = {"keys": [entry], "required": True}
    sealed = make(json.dumps(project("pub", encryption=encryption)))
    assert sealed.admits("/pub", seal(inner)).key_id == RSA
    assert sealed.denies("/pub", inner) == MALFORMED
    for claims in (json.dumps(hour()), f"{segment({'alg': 'none'})}.{segment(hour())}."):
        assert sealed.denies("/pub", seal(claims)) in (MALFORMED, UNSUPPORTED)
    assert sealed.denies("/pub", seal(token(hour(), OTHER_SECRET, kid="kid-mac"))) == INVALID


def test_A21_a_key_that_was_removed_verifies_nothing_from_then_on(make):
    site = make(registry("atn", "pub"))
    tokens = [("/atn", signed("ES256")), ("/pub", signed("EdDSA"))]
    for _ in range(2):  # the second time from the cache
        assert [site.told(path, text) for path, text in tokens] == ["", ""]
    document = json.loads(registry("atn", "pub"))
    for each in document["projects"].values():
        each["keys"] = [key for key in each["keys"] if key["kid"] == RSA]
    site.reload(json.dumps(document))
    assert [site.told(path, text) for path, text in tokens] == [INVALID, INVALID]
    assert site.told("/atn", signed("RS256")) == ""


@pytest.mark.parametrize(
    "secret", ["", " ", "secret", "YOUR_ENC_KEY", "changeme", "x" * 31, " " * 40]
)
def test_A22_a_weak_secret_does_not_load(tmp_path, secret):
    for document in (
        project(secrets=[{"id": "a", "secret": secret}]),
        project("pub", keys=[{"kid": "a", "alg": "HS256", "secret": secret}]),
        project("pay", keys=[{"auth_key": "a", "enc_key": secret}]),
        project("wallet", session={"secret": secret}),
    ):
        shown = problems(tmp_path, document)
        assert "secret" in shown or "enc_key" in shown
        assert len(secret.strip()) < 4 or secret == "secret" or secret not in shown


def pem_of(key):
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def der_damaged(pem):
    """Return *pem* with one byte of its point changed, so that it is on no curve."""
    lines = pem.splitlines()
    raw = bytearray(base64.b64decode("".join(lines[1:-1])))
    raw[-1] ^= 1
    text = base64.b64encode(raw).decode()
    return f"{lines[0]}\n{text}\n{lines[-1]}\n"


def rsa_public(n, e=65537):
    """Return the PEM of any two numbers as an RSA key, sound or not."""

    def integer(value):
        raw = value.to_bytes((value.bit_length() + 8) // 8, "big")
        return tlv(2, raw)

    def tlv(tag, content):
        size = len(content)
        head = bytes([size]) if size < 128 else (
            bytes([0x80 | (size.bit_length() + 7) // 8])
            + size.to_bytes((size.bit_length() + 7) // 8, "big")
        )  # fmt: skip
        return bytes([tag]) + head + content

    pkcs1 = tlv(0x30, integer(n) + integer(e))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    spki = tlv(0x30, algorithm + tlv(3, b"\0" + pkcs1))
    body = base64.encodebytes(spki).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"


GOOD_N = private_key("RS256").public_key().public_numbers().n
WEAK_KEYS = {
    "RSA of 1024 bits": pem_of(rsa.generate_private_key(65537, 1024).public_key()),
    "exponent 1": rsa_public(GOOD_N, 1),
    "an even exponent": rsa_public(GOOD_N, 65538),
    "the ROCA form": rsa_public(65537**128),
    "a point on no curve": der_damaged(public_pem("ES256")),
    "P-384 for ES256": pem_of(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "P-521": pem_of(ec.generate_private_key(ec.SECP521R1()).public_key()),
    "secp256k1": pem_of(ec.generate_private_key(ec.SECP256K1()).public_key()),
}


@pytest.mark.parametrize("kind", WEAK_KEYS)
def test_A23_a_weak_or_unsound_key_does_not_load(tmp_path, kind):
    key = {"kid": "x", "public_key": WEAK_KEYS[kind]}
    assert "public_key" in problems(tmp_path, project("atn", keys=[key]))


def test_A24_a_key_that_costs_too_much_does_not_load(tmp_path):
    for pem in (rsa_public((1 << 16383) + 1), rsa_public(GOOD_N, (1 << 64) + 1), "x" * 100_000):
        key = {"kid": "x", "public_key": pem}
        assert "public_key" in problems(tmp_path, project("atn", keys=[key]))


@pytest.mark.parametrize("alg", PUBLIC)
def test_A25_a_private_key_is_refused_and_not_printed(tmp_path, alg):
    pem = private_key(alg).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = {"kid": "x", "alg": alg, "public_key": pem}
    shown = problems(tmp_path, project("pub", keys=[key]))
    assert "private key" in shown
    assert not any(line in shown for line in pem.splitlines()[1:-1])


def test_the_tokens_that_these_attacks_change_are_good(site):
    assert site.admits("/hs", mac(SECRET)).key_id == "a"
    for alg in PUBLIC:
        assert site.admits("/pub", signed(alg)).key_id == KIDS[alg]
    for alg in ("RS256", "ES256"):
        assert site.admits("/atn", signed(alg)).key_id == KIDS[alg]
