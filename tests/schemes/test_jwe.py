"""Encrypted tokens: what is opened, what is refused, and that a refusal tells nothing."""

from __future__ import annotations

import base64
import json
import threading
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jwe as joserfc_jwe
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from minting import NOW, OTHER_SECRET, SECRET, bearer, hour, segment, token
from sealing import DIR_SECRET, WAYS, opening_key, point, private_pem, seal

from rpcguard import AuthError
from rpcguard.keys import PEM_BYTES, KeyRing, secret_key
from rpcguard.schemes import jwe
from rpcguard.schemes.base import Proof
from rpcguard.schemes.jwe import DecryptionKey, Encryption
from rpcguard.schemes.jwt import CACHED_TOKEN_BYTES, JwtRules, JwtScheme

LIMIT = 8192
INNER = "inner.signed.token"
each_way = pytest.mark.parametrize(("alg", "kind"), WAYS)
each_agreement = pytest.mark.parametrize(("alg", "kind"), [w for w in WAYS if "ECDH" in w[0]])


def key(alg: str = "dir", kind: str = "secret", kid: str = "e", number: int = 0) -> DecryptionKey:
    if alg == "dir":
        return jwe.shared_key(kid, DIR_SECRET[number:].ljust(32, "!").encode())
    return jwe.private_key(kid, alg, private_pem(opening_key(kind, number)).encode())


def opened(text: str, *keys: DecryptionKey, now: float = NOW, limit: int = LIMIT) -> str:
    """Return what is inside, or the refusal."""
    encryption = Encryption(keys or [key()], limit, required=False)
    try:
        return encryption.open(text, now)[0]
    except AuthError as error:
        return ":".join(filter(None, [error.reason, error.cause]))


MALFORMED, UNSUPPORTED = "malformed_credentials", "unsupported_algorithm"
CLOSED = "invalid_credentials:decryption"


# --- What is opened --------------------------------------------------------------------------------


@each_way
def test_a_token_made_by_plain_primitives_is_opened(alg, kind):
    assert opened(seal(INNER, alg, kind, kid="e"), key(alg, kind)) == INNER


@each_way
def test_a_token_made_by_joserfc_is_opened(alg, kind):
    types = {"secret": OctKey, "RSA": RSAKey, "X25519": OKPKey}
    material = DIR_SECRET.encode() if alg == "dir" else opening_key(kind)
    made = joserfc_jwe.encrypt_compact(
        {"alg": alg, "enc": "A256GCM", "kid": "e", "cty": "JWT"},
        INNER,
        types.get(kind, ECKey).import_key(material),
        algorithms=[alg, "A256GCM"],
    )
    assert opened(made, key(alg, kind)) == INNER


@each_agreement
def test_both_parties_names_go_into_the_agreed_key(alg, kind):
    names = {"apu": segment("Alice"), "apv": segment("Bob")}
    assert opened(seal(INNER, alg, kind, **names), key(alg, kind)) == INNER
    for changed in ({"apu": segment("Alicf")}, {"apv": None}):
        made = seal(INNER, alg, kind, header=changed, **names)
        assert opened(made, key(alg, kind)) == CLOSED


def test_other_members_of_the_header_are_not_looked_at():
    more = {"p2c": 1 << 60, "iss": "x", "x5t": "x", "typ": "JOSE", "x-own": [1], "jku": "https://x"}
    assert opened(seal(INNER, **more)) == INNER


def test_a_content_of_more_than_joserfcs_own_bound_is_opened_where_the_limit_says_so():
    text = "a" * 100_000
    assert opened(seal(text), limit=1 << 20) == text
    assert opened(seal(INNER, pad="a" * 5000)) == INNER


def test_the_longest_rsa_key_opens():
    assert opened(seal(INNER, "RSA-OAEP-256", "RSA", opening_key("RSA", 4096)),
                  key("RSA-OAEP-256", "RSA", number=4096)) == INNER  # fmt: skip


def test_one_key_is_used_by_many_threads_at_once():
    encryption = Encryption([key("ECDH-ES", "P-256")], LIMIT, required=False)
    texts = [(f"text {n}", seal(f"text {n}", "ECDH-ES", "P-256")) for n in range(8)]
    found: list[bool] = []

    def run(inner: str, text: str) -> None:
        found.extend(encryption.open(text, NOW)[0] == inner for _ in range(50))

    threads = [threading.Thread(target=run, args=pair) for pair in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 400


# --- The key -----------------------------------------------------------------------------------------


def test_the_key_id_selects():
    keys = key(kid="a"), key(kid="b", number=1)
    assert opened(seal(INNER, kid="a"), *keys) == INNER
    assert opened(seal(INNER, kid="b"), *keys) == CLOSED
    assert opened(seal(INNER, kid="c"), *keys) == CLOSED


def test_with_one_key_the_id_may_be_absent_and_with_two_it_may_not():
    assert opened(seal(INNER), key()) == INNER
    assert opened(seal(INNER, kid="x"), key()) == CLOSED
    assert opened(seal(INNER), key(), key(kid="f", number=1)) == "invalid_credentials:no_kid"


@each_way
def test_a_wrong_key_opens_nothing(alg, kind):
    assert opened(seal(INNER, alg, kind, kid="e"), key(alg, kind, number=1)) == CLOSED


@each_way
def test_an_unknown_key_costs_a_decryption_and_opens_nothing(alg, kind, monkeypatch):
    asked = []
    plain = DecryptionKey.decrypt
    monkeypatch.setattr(
        DecryptionKey, "decrypt", lambda self, text: asked.append(text) or plain(self, text)
    )
    text = seal(INNER, alg, kind, kid="unknown")
    assert opened(text, key(alg, kind)) == CLOSED
    assert asked == [text]


def test_a_key_of_one_algorithm_is_not_used_for_another():
    agreed = key("ECDH-ES", "P-256", "a"), key("ECDH-ES+A256KW", "P-256", "b")
    assert opened(seal(INNER, "ECDH-ES", "P-256", kid="b"), *agreed) == UNSUPPORTED
    assert opened(seal(INNER, "ECDH-ES", "P-256"), agreed[1]) == UNSUPPORTED


@pytest.mark.parametrize(
    ("now", "wanted"), [(NOW - 1, CLOSED), (NOW, INNER), (NOW + 9, INNER), (NOW + 10, CLOSED)]
)
def test_a_key_counts_within_its_dates(now, wanted):
    dated = replace(key(), not_before=NOW, not_after=NOW + 10)
    assert opened(seal(INNER, kid="e"), dated, now=now) == wanted


def test_nothing_of_a_key_shows():
    shown = repr(key()) + repr(key("ECDH-ES", "P-256"))
    assert "secret" not in shown
    assert "_key" not in shown


# --- Algorithms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alg",
    ["none", "RSA1_5", "RSA-OAEP", "RSA-OAEP-512", "A256KW", "A256GCMKW", "PBES2-HS256+A128KW",
     "ECDH-ES+A128KW", "DIR", "", None, 1, ["dir"], {}],
)  # fmt: skip
def test_an_algorithm_that_no_key_has_is_unsupported(alg):
    assert opened(seal(INNER, header={"alg": alg})) == UNSUPPORTED


@pytest.mark.parametrize(
    "enc", ["A128GCM", "A192GCM", "A256CBC-HS512", "A128CBC-HS256", "a256gcm", "", None, 1, []]
)
def test_content_encryption_is_a256gcm_alone(enc):
    assert opened(seal(INNER, header={"enc": enc})) == UNSUPPORTED


def test_an_iteration_count_starts_no_work():
    """Were it believed, 2^40 rounds would outlast the test's own time limit."""
    bomb = {"alg": "PBES2-HS512+A256KW", "p2s": segment(b"salt"), "p2c": 1 << 40}
    assert opened(seal(INNER, header=bomb)) == UNSUPPORTED


def test_compressed_content_is_refused_before_it_is_opened():
    bomb = zlib.compress(bytes(50_000_000), 9)[2:-4]
    text = seal(bomb, zip="DEF")
    tracemalloc.start()
    try:
        assert opened(text, limit=1 << 20) == MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["zip", "crit", "b64"])
@pytest.mark.parametrize("value", [None, "DEF", ["exp"], False])
def test_what_would_change_the_meaning_is_refused_whatever_it_says(name, value):
    head = json.dumps({"alg": "dir", "enc": "A256GCM", name: value})
    assert opened(seal(INNER, parts={0: head.encode()})) == MALFORMED


# --- Shape -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"dir","enc":"A256GCM","alg":"dir"}',
        b'{"alg":"dir","enc":"A256GCM"} ,',
        b'["dir"]',
        b"null",
        b"",
        b"\xff",
        b'{"alg":"dir","enc":"A256GCM","kid":1}',
        b'{"alg":"dir","enc":"A256GCM","typ":{}}',
        b'{"alg":"dir","enc":"A256GCM","cty":["JWT"]}',
        b'{"alg":"dir","enc":"A256GCM","cty":"json"}',
        b'{"alg":"dir","enc":"A256GCM","x":NaN}',
        b"[" * 1000 + b"]" * 1000,
    ],
)
def test_a_header_is_one_strict_json_object(head):
    assert opened(seal(INNER, parts={0: head})) == MALFORMED


@pytest.mark.parametrize("cty", ["JWT", "jwt", "application/jwt", None])
def test_a_content_type_is_jwt_or_absent(cty):
    assert opened(seal(INNER, header={"cty": cty})) == INNER


@pytest.mark.parametrize("size", [0, 1, 4, 8, 12, 15, 17, 32])
def test_a_tag_has_16_bytes(size):
    """A shorter one can be guessed, and GCM itself would compare what is left."""
    text = seal(INNER)
    head, _, tag = text.rpartition(".")
    assert opened(f"{head}.{segment(_raw(tag))}") == INNER
    assert opened(f"{head}.{segment((_raw(tag) + bytes(16))[:size])}") == MALFORMED


@pytest.mark.parametrize("size", [0, 1, 8, 11, 13, 16, 64])
def test_an_initialization_vector_has_12_bytes(size):
    made = seal(INNER, iv=bytes(size)) if size >= 8 else seal(INNER, parts={2: bytes(size)})
    assert opened(made) == MALFORMED


@pytest.mark.parametrize(
    ("alg", "kind"), [("dir", "secret"), ("ECDH-ES", "P-256"), ("ECDH-ES", "X25519")]
)
@pytest.mark.parametrize("size", [1, 32, 40])
def test_where_no_key_travels_its_part_is_empty(alg, kind, size):
    assert opened(seal(INNER, alg, kind, parts={1: bytes(size)}), key(alg, kind)) == MALFORMED


@pytest.mark.parametrize("size", [0, 24, 39, 41, 48])
def test_a_wrapped_key_has_40_bytes(size):
    made = seal(INNER, "ECDH-ES+A256KW", "P-256", parts={1: bytes(size)})
    assert opened(made, key("ECDH-ES+A256KW", "P-256")) == MALFORMED


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7])
def test_a_token_has_five_parts(count):
    parts = [*seal(INNER).split("."), "AAAA", "AAAA"]
    assert opened(".".join(parts[:count])) == MALFORMED


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("spoil", ["{}=", "{}\n", " {}", "{}+", "{}/", "{}A", "\u00e9{}"])
def test_every_part_is_canonical_base64url(index, spoil):
    parts = seal("four" * 3, "RSA-OAEP-256", "RSA", iv=bytes(12)).split(".")
    if spoil == "{}A":  # one character beyond whole groups of four spells nothing
        parts[index] = parts[index][: len(parts[index]) // 4 * 4]
    parts[index] = spoil.format(parts[index])
    assert opened(".".join(parts), key("RSA-OAEP-256", "RSA")) == MALFORMED


def test_an_empty_content_is_refused():
    assert opened(seal("")) == MALFORMED


def test_a_token_is_at_most_as_long_as_the_limit():
    text = seal(INNER)
    assert opened(text, limit=len(text)) == INNER
    assert opened(text, limit=len(text) - 1) == MALFORMED
    assert opened("A" * (LIMIT + 1)) == MALFORMED


@pytest.mark.parametrize("inner", [b"\xff\xfe", "\u00e9", b"\x80"])
def test_what_is_inside_is_ascii_text(inner):
    assert opened(seal(inner)) == MALFORMED


# --- Ephemeral keys ------------------------------------------------------------------------------------


@each_agreement
@pytest.mark.parametrize("epk", [None, "x", [], 1, True])
def test_an_ephemeral_key_is_an_object(alg, kind, epk):
    assert opened(seal(INNER, alg, kind, header={"epk": epk}), key(alg, kind)) == MALFORMED


P256 = point(opening_key("P-256", 7), "P-256")
WRONG_POINTS = {
    "off the curve": {**P256, "y": P256["x"]},
    "at infinity": {**P256, "x": segment(bytes(32)), "y": segment(bytes(32))},
    "coordinates above the field": {**P256, "x": segment(b"\xff" * 32)},
    "of another curve": point(opening_key("P-384", 7), "P-384"),
    "of a curve without a key": point(opening_key("P-521", 7), "P-521"),
    "of another curve under this name": {**point(opening_key("P-384", 7), "P-384"), "crv": "P-256"},
    "of another type": {"kty": "OKP", "crv": "X25519", "x": segment(b"\x09" + bytes(31))},
    "a signing key": {"kty": "OKP", "crv": "Ed25519", "x": segment(b"\x09" + bytes(31))},
    "private": {**P256, "d": segment(b"\x01" * 32)},
    "with more members": {**P256, "kid": "x"},
    "with fewer members": {name: P256[name] for name in ("kty", "crv", "x")},
    "empty": {},
    "of no type": {**P256, "kty": "oct"},
    "coordinates cut": {**P256, "x": P256["x"][:-4]},
    "coordinates padded": {**P256, "x": P256["x"] + "="},
    "coordinates no text": {**P256, "x": 5},
    "curve no text": {**P256, "crv": ["P-256"]},
    "symmetric": {"kty": "oct", "k": segment(bytes(32))},
}


@pytest.mark.parametrize("alg", ["ECDH-ES", "ECDH-ES+A256KW"])
@pytest.mark.parametrize("epk", WRONG_POINTS.values(), ids=WRONG_POINTS.keys())
def test_an_ephemeral_key_that_is_no_point_of_the_keys_curve_opens_nothing(alg, epk):
    assert opened(seal(INNER, alg, "P-256", header={"epk": epk}), key(alg, "P-256")) == CLOSED


SPELLINGS = {
    "a zero in front": lambda epk: {**epk, "x": segment(bytes(1) + _raw(epk["x"]))},
    "padding": lambda epk: {**epk, "x": epk["x"] + "="},
    "white space": lambda epk: {**epk, "x": epk["x"] + "\n"},
    "one more member": lambda epk: {**epk, "kid": "x"},
    "a use": lambda epk: {**epk, "use": "enc"},
}


@each_agreement
@pytest.mark.parametrize("respell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_right_point_has_one_spelling(alg, kind, respell):
    assert opened(seal(INNER, alg, kind, header={"epk": lambda epk: epk}), key(alg, kind)) == INNER
    assert opened(seal(INNER, alg, kind, header={"epk": respell}), key(alg, kind)) == CLOSED


@pytest.mark.parametrize("alg", ["ECDH-ES", "ECDH-ES+A256KW"])
@pytest.mark.parametrize("first", [0, 1], ids=["zero", "one"])
def test_a_point_of_small_order_opens_nothing(alg, first):
    """X25519 with them gives an all-zero secret, which everybody knows."""
    epk = {"kty": "OKP", "crv": "X25519", "x": segment(bytes([first]) + bytes(31))}
    made = seal(INNER, alg, "X25519", header={"epk": epk})
    assert opened(made, key(alg, "X25519")) == CLOSED


@pytest.mark.parametrize("name", ["apu", "apv"])
@pytest.mark.parametrize("value", [1, ["x"], {}, "=", "a", "QQ==", "QR", "\u00e9"])
def test_party_names_are_base64url_text(name, value):
    made = seal(INNER, "ECDH-ES", "P-256", header={name: value})
    assert opened(made, key("ECDH-ES", "P-256")) == MALFORMED


# --- No oracle ---------------------------------------------------------------------------------------------


def refusal(text: str, *keys: DecryptionKey) -> tuple[object, ...]:
    """Return everything that a refusal says."""
    with pytest.raises(AuthError) as caught:
        Encryption(keys, LIMIT, required=False).open(text, NOW)
    error = caught.value
    assert error.__cause__ is None
    return error.reason, error.cause, error.detail, error.message, error.status, str(error)


@each_way
def test_every_failure_with_a_key_says_the_same(alg, kind):
    good = seal(INNER, alg, kind, kid="e").split(".")
    own = key(alg, kind)
    spoiled = {
        "other key": refusal(seal(INNER, alg, kind, kid="e"), key(alg, kind, number=1)),
        "unknown kid": refusal(seal(INNER, alg, kind, kid="other"), own),
        "ended": refusal(".".join(good), replace(own, not_after=NOW)),
        "not begun": refusal(".".join(good), replace(own, not_before=NOW + 1)),
    }
    for index, name in enumerate(("header", "encrypted key", "iv", "content", "tag")):
        parts = list(good)
        if not parts[index]:
            continue
        if index == 0:
            parts[0] = segment(json.dumps(json.loads(_raw(parts[0])) | {"x": 1}))
        else:
            raw = bytearray(_raw(parts[index]))
            raw[len(raw) // 2] ^= 1
            parts[index] = segment(bytes(raw))
        spoiled[name] = refusal(".".join(parts), own)
    if alg == "RSA-OAEP-256":
        for size in (0, 1, 255, 257):  # the last two are no ciphertext of a 2048-bit key
            spoiled[f"{size} bytes"] = refusal(
                ".".join([good[0], segment(b"\x01" * size), *good[2:]]), own
            )
        for size in (1, 16, 24, 31, 33, 64):
            wrong = seal(INNER, alg, kind, kid="e", cek=b"k" * 32, parts={1: _oaep(b"k" * size)})
            spoiled[f"a content key of {size} bytes"] = refusal(wrong, own)
    assert set(spoiled.values()) == {
        ("invalid_credentials", "decryption", "does not decrypt",
         "credentials are not valid", 401, "invalid_credentials: credentials are not valid")
    }  # fmt: skip


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _oaep(cek: bytes) -> bytes:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return opening_key("RSA").public_key().encrypt(cek, oaep)


def test_pkcs1_padding_under_the_name_of_oaep_opens_nothing():
    wrapped = opening_key("RSA").public_key().encrypt(b"k" * 32, padding.PKCS1v15())
    made = seal(INNER, "RSA-OAEP-256", "RSA", cek=b"k" * 32, parts={1: wrapped})
    assert opened(made, key("RSA-OAEP-256", "RSA")) == CLOSED
    assert opened(made.replace(made.split(".")[0], segment({"alg": "RSA1_5", "enc": "A256GCM"})),
                  key("RSA-OAEP-256", "RSA")) == UNSUPPORTED  # fmt: skip


# --- Arbitrary input -----------------------------------------------------------------------------------------

ALL_KEYS = [key(alg, kind, f"{alg}/{kind}") for alg, kind in WAYS]
GOOD = [seal(INNER, alg, kind, kid=f"{alg}/{kind}") for alg, kind in WAYS]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from([alg for alg, _ in WAYS]), "enc": st.just("A256GCM")},
    optional=dict.fromkeys(
        ("epk", "kid", "apu", "apv", "typ", "cty", "zip", "crit", "p2c", "jwk", "x5c"), JSON
    ),
)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_.-]*", fullmatch=True))
@example("....")
@example("e30....")
def test_any_text_is_refused_with_an_error_of_ours(text):
    assert opened(text, *ALL_KEYS).partition(":")[0] in (MALFORMED, UNSUPPORTED)


@given(HEADERS, st.sampled_from([0, 40, 256]).map(bytes), st.binary(min_size=1, max_size=40))
def test_any_header_is_refused_with_an_error_of_ours(header, encrypted_key, content):
    text = ".".join(map(segment, [header, encrypted_key, bytes(12), content, bytes(16)]))
    assert opened(text, *ALL_KEYS).partition(":")[0] in (
        MALFORMED,
        UNSUPPORTED,
        "invalid_credentials",
    )


@given(st.sampled_from(GOOD), st.data())
def test_one_changed_character_opens_nothing(good, data):
    index = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters().filter(lambda character: character != good[index]))
    changed = good[:index] + other + good[index + 1 :]
    assert opened(changed, *ALL_KEYS) != INNER


# --- Keys that are refused --------------------------------------------------------------------------------------


def encrypted_pem() -> str:
    return opening_key("P-256").private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    ).decode()  # fmt: skip


def public_part() -> str:
    return opening_key("RSA").public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


UNFIT = {
    "a short RSA key": ("RSA-OAEP-256", lambda: private_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
    "a huge RSA key": ("RSA-OAEP-256", lambda: private_pem(opening_key("RSA", 4104)), "4104 bits; at most 4096"),
    "P-521": ("ECDH-ES", lambda: private_pem(opening_key("P-521")), "does not fit"),
    "secp256k1": ("ECDH-ES", lambda: private_pem(ec.generate_private_key(ec.SECP256K1())), "does not fit"),
    "a signing key": ("ECDH-ES", lambda: private_pem(ed25519.Ed25519PrivateKey.generate()), "can decrypt"),
    "RSA for agreement": ("ECDH-ES", lambda: private_pem(opening_key("RSA")), "does not fit ECDH-ES"),
    "a curve for RSA": ("RSA-OAEP-256", lambda: private_pem(opening_key("X25519")), "does not fit RSA-OAEP-256"),
    "a private key for dir": ("dir", lambda: private_pem(opening_key("P-384")), "does not fit dir"),
    "a password": ("ECDH-ES", encrypted_pem, "password"),
    "a public key": ("RSA-OAEP-256", public_part, "not a PEM private key"),
    "no key": ("ECDH-ES", lambda: "nothing", "not a PEM private key"),
    "far too long": ("ECDH-ES", lambda: "-" * 20_000, "longer than"),
}  # fmt: skip


@pytest.mark.parametrize(("alg", "make", "message"), UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_private_key_is_refused(alg, make, message):
    with pytest.raises(ValueError, match=message) as caught:
        jwe.private_key("e", alg, make().encode())
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_shared_secret_has_32_bytes(size):
    with pytest.raises(ValueError, match="exactly 32"):
        jwe.shared_key("e", b"s" * size)


# --- Inside the jwt scheme ----------------------------------------------------------------------------------------

RULES = JwtRules("one", frozenset({"HS256"}), key_by="secret")


def scheme(*, required: bool = False, **changes) -> JwtScheme:
    ring = KeyRing([secret_key("a", "HS256", SECRET.encode())])
    encryption = Encryption([key()], LIMIT, required=required)
    return JwtScheme(replace(RULES, **changes), ring, encryption=encryption)


def verdict(where: JwtScheme, incoming, text: str, now: float = NOW) -> str:
    try:
        proof = where.prove(incoming(bearer(text)), now)
    except AuthError as error:
        return error.reason
    assert isinstance(proof, Proof)
    return "accepted"


def test_a_signed_token_inside_an_encrypted_one_is_accepted(incoming):
    proof = scheme().prove(incoming(bearer(seal(token(hour(sub="me"))))), NOW)
    assert (proof.principal.subject, proof.principal.key_id) == ("me", "a")


@pytest.mark.parametrize(
    ("inner", "wanted"),
    [
        (lambda: token(hour(), OTHER_SECRET), "invalid_credentials"),
        (lambda: token(hour(), header={"alg": "none"}).rpartition(".")[0] + ".", "unsupported_algorithm"),
        (lambda: token(hour(exp=NOW)), "expired"),
        (lambda: token(hour(exp=None)), "invalid_claims"),
        (lambda: token(hour(aud="x")), "invalid_audience"),
        (lambda: token(hour(), header={"alg": "HS256", "zip": "DEF"}), "malformed_credentials"),
        (lambda: token(hour(), header={"alg": "HS256", "typ": "rpcguard-session+jwt"}), "malformed_credentials"),
        (lambda: json.dumps(hour()), "malformed_credentials"),
        (lambda: seal(token(hour())), "malformed_credentials"),
        (lambda: f" {token(hour())}", "malformed_credentials"),
        (lambda: "", "malformed_credentials"),
    ],
    ids=["wrong signature", "alg none", "expired", "no exp", "audience", "compressed", "a session",
         "bare claims", "encrypted twice", "white space", "nothing"],
)  # fmt: skip
def test_what_is_inside_is_judged_as_if_it_came_in_plain(incoming, inner, wanted):
    """Encrypting proves nothing: the sender needs no secret to encrypt to a public key."""
    assert verdict(scheme(), incoming, seal(inner())) == wanted


def test_plain_tokens_pass_unless_encryption_is_required(incoming):
    assert verdict(scheme(), incoming, token(hour())) == "accepted"
    strict = scheme(required=True)
    assert verdict(strict, incoming, token(hour())) == "malformed_credentials"
    assert verdict(strict, incoming, seal(token(hour()))) == "accepted"


def test_without_encryption_five_parts_are_no_token(incoming):
    plain = JwtScheme(RULES, KeyRing([secret_key("a", "HS256", SECRET.encode())]))
    assert verdict(plain, incoming, seal(token(hour()))) == "malformed_credentials"


def test_all_wrappings_of_one_token_have_its_name(incoming):
    """So it is spent and revoked once, however often it is encrypted anew."""
    where = scheme(single_use=True)
    inner = token(hour())
    texts = [inner, seal(inner), seal(inner)]
    nonces = {where.prove(incoming(bearer(text)), NOW).owed.nonce for text in texts}
    assert len(nonces) == 1
    assert {where.revocation(text, NOW).name for text in texts} == {nonces.pop().name}
    named = {where.revocation(seal(token(hour(jti="j", n=n))), NOW) for n in range(2)}
    assert named == {where.revocation(token(hour(jti="j")), NOW)}


def test_a_required_wrapping_is_not_needed_to_name_a_token():
    inner = token(hour())
    assert scheme(required=True).revocation(inner, NOW) == scheme().revocation(inner, NOW)
    with pytest.raises(AuthError, match="invalid_credentials"):
        scheme().revocation(seal(inner, key=b"x" * 32), NOW)


@pytest.mark.parametrize("filler", ["", "x" * CACHED_TOKEN_BYTES], ids=["cached", "too long"])
def test_a_remembered_token_ends_with_the_key_that_opened_it(incoming, filler):
    ring = KeyRing([secret_key("a", "HS256", SECRET.encode())])
    ending = replace(key(), not_after=NOW + 10)
    where = JwtScheme(RULES, ring, encryption=Encryption([ending], LIMIT, required=False))
    text = seal(token(hour(pad=filler)))
    reasons = [verdict(where, incoming, text, NOW + later) for later in (0, 9, 10, 11, 9)]
    assert reasons == ["accepted", "accepted", *["invalid_credentials"] * 2, "accepted"]


def test_a_token_is_opened_once(incoming, monkeypatch):
    where, text = scheme(), seal(token(hour()))
    assert verdict(where, incoming, text) == "accepted"
    monkeypatch.setattr(DecryptionKey, "decrypt", lambda *_: pytest.fail("opened again"))
    assert verdict(where, incoming, text) == "accepted"


def test_a_token_that_does_not_open_is_not_remembered(incoming):
    where = scheme()
    for _ in range(2):
        assert verdict(where, incoming, seal(token(hour()), key=b"x" * 32)) == "invalid_credentials"
    assert len(where._cache) == 0


def test_a_shared_key_carries_what_its_entry_says() -> None:
    dated = jwe.shared_key("e", DIR_SECRET.encode(), not_before=NOW, not_after=NOW + 1)

    assert (dated.kid, dated.alg, dated.curve) == ("e", "dir", "")
    assert [dated.active(NOW + offset) for offset in (-1, 0, 0.5, 1)] == [False, True, True, False]
    assert jwe.shared_key("e", DIR_SECRET.encode()).active(NOW)


def test_a_private_key_carries_what_its_entry_says() -> None:
    pem = private_pem(opening_key("RSA")).encode().ljust(PEM_BYTES)
    dated = jwe.private_key("e", "RSA-OAEP-256", pem, not_before=NOW, not_after=NOW + 1)

    assert (dated.kid, dated.alg, dated.curve) == ("e", "RSA-OAEP-256", "")
    assert [dated.active(NOW + offset) for offset in (-1, 0, 0.5, 1)] == [False, True, True, False]
    with pytest.raises(ValueError, match="longer"):
        jwe.private_key("e", "RSA-OAEP-256", pem + b"\n")
