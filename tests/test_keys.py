"""A key verifies its one algorithm, in its time, and shows nothing of itself."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms
from key_pairs import KIND_OF, pem, private

from rpcguard.keys import (
    ALGORITHMS,
    HMAC_BYTES,
    Key,
    KeyRing,
    public_key,
    secret_key,
    verify_ed25519,
)
from rpcguard.policy import Policy

SECRET = bytes(range(100, 164))
MESSAGE = b"eyJhbGciOiJIUzI1NiJ9.e30"


def key(alg: str) -> Key:
    """Return a key of *alg*."""
    if alg in HMAC_BYTES:
        return secret_key("kid", alg, SECRET)
    return public_key("kid", alg, pem(KIND_OF[alg]))


def signature(alg: str, message: bytes = MESSAGE) -> bytes:
    """Return the signature of *message* that fits `key(alg)`, as PyJWT makes it."""
    material = SECRET if alg in HMAC_BYTES else private(KIND_OF[alg])
    return get_default_algorithms()[alg].sign(message, material)


def test_the_algorithms_are_those_of_the_documents() -> None:
    documented = "HS256 HS384 HS512 RS256 RS384 RS512 PS256 ES256 ES384 EdDSA"

    assert set(documented.split()) == ALGORITHMS


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_signature_of_the_key_verifies(alg: str) -> None:
    assert key(alg).alg == alg
    assert key(alg).verify(MESSAGE, signature(alg))


@pytest.mark.parametrize("size", [64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("alg", sorted(HMAC_BYTES))
def test_a_secret_longer_than_a_block_of_the_hash_is_hashed_first(alg: str, size: int) -> None:
    secret = (b"secret, " * 125)[:size]
    mac = hmac.digest(secret, MESSAGE, f"sha{alg[2:]}")

    assert secret_key("kid", alg, secret).verify(MESSAGE, mac)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_another_message_does_not_verify(alg: str) -> None:
    assert not key(alg).verify(MESSAGE + b" ", signature(alg))
    assert not key(alg).verify(b"", signature(alg))


@pytest.mark.parametrize("other", sorted(ALGORITHMS))
@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_signature_of_another_algorithm_does_not_verify(alg: str, other: str) -> None:
    assert key(alg).verify(MESSAGE, signature(other)) is (alg == other)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
@given(data=st.data())
def test_one_flipped_bit_and_the_signature_does_not_verify(alg: str, data: st.DataObject) -> None:
    good = signature(alg)
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    flipped = int.from_bytes(good, "big") ^ (1 << bit)

    assert not key(alg).verify(MESSAGE, flipped.to_bytes(len(good), "big"))


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
@given(forged=st.binary(max_size=600))
def test_any_bytes_are_answered_with_no(alg: str, forged: bytes) -> None:
    assert key(alg).verify(MESSAGE, forged) is False


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_cut_or_lengthened_signature_does_not_verify(alg: str) -> None:
    good = signature(alg)

    for bad in (b"", good[:-1], good[1:], good[:16], good + b"\0", b"\0" + good, good + good):
        assert not key(alg).verify(MESSAGE, bad)


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_a_signature_without_its_leading_zero_byte_does_not_verify(alg: str) -> None:
    signed = ((message, signature(alg, message)) for message in map(b"%d".__mod__, range(10_000)))
    message, good = next((message, made) for message, made in signed if made[0] == 0)

    assert key(alg).verify(message, good)
    assert not key(alg).verify(message, good[1:])


def test_a_repr_holds_no_key_material() -> None:
    shown = repr(secret_key("kid-1", "HS256", b"correct horse battery staple, twice!"))

    assert "kid-1" in shown
    assert "horse" not in shown
    assert "check" not in shown


@pytest.mark.parametrize(
    ("not_before", "not_after", "active"),
    [
        (None, None, True),
        (100.0, None, True),
        (100.5, None, False),
        (None, 100.0, False),
        (None, 100.5, True),
        (99.0, 101.0, True),
        (101.0, 102.0, False),
        (98.0, 99.0, False),
    ],
)
def test_a_key_counts_from_its_first_second_and_ends_at_its_last(
    not_before: float | None, not_after: float | None, active: bool
) -> None:
    dated = secret_key("kid", "HS256", SECRET, not_before=not_before, not_after=not_after)

    assert dated.active(100.0) is active
    assert (KeyRing([dated]).get("kid", 100.0) is dated) is active
    assert KeyRing([dated]).active(100.0) == ([dated] if active else [])
    assert KeyRing([dated]).get("another", 100.0) is None


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_a_key_carries_what_its_entry_says(alg: str) -> None:
    said: dict[str, Any] = {"name": "ops", "not_before": 1.0, "not_after": 2.0, "allow": Policy()}
    made = (
        secret_key("kid", alg, SECRET, **said)
        if alg in HMAC_BYTES
        else public_key("kid", alg, pem(KIND_OF[alg]), **said)
    )

    assert made.kid == "kid"
    assert {name: getattr(made, name) for name in said} == said


def test_a_ring_has_a_decoy_for_each_algorithm_of_its_keys() -> None:
    first, second = key("HS256"), public_key("other", None, pem("p256"))
    ring = KeyRing([first, second])

    assert [ring.decoy(alg) for alg in ("HS256", "ES256", "EdDSA")] == [first, second, None]


def test_a_ring_finds_keys_by_their_exact_id_and_in_the_order_of_the_registry() -> None:
    first, second = secret_key("B", "HS256", SECRET), key("ES256")
    ring = KeyRing([first, second])

    assert ring.get("B", 0.0) is first
    assert [ring.get(kid, 0.0) for kid in ("b", "B ", "", "kid\0")] == [None] * 4
    assert ring.active(0.0) == [first, second]
    assert ring.algorithms == {"HS256", "ES256"}
    assert len(ring) == 2


def test_an_ed25519_key_or_signature_of_another_size_does_not_verify() -> None:
    maker = ed25519.Ed25519PrivateKey.generate()
    public, good = maker.public_key().public_bytes_raw(), maker.sign(MESSAGE)

    assert verify_ed25519(public, MESSAGE, good)
    for size in (0, 31, 33, 64):
        assert not verify_ed25519((public * 2)[:size], MESSAGE, good)
    for size in (0, 32, 63, 65, 128):
        assert not verify_ed25519(public, MESSAGE, (good * 2)[:size])
