"""Base58 of keys and signatures: bounded, canonical, and of exactly the right size."""

from __future__ import annotations

import base58 as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import base58

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SIZES = [32, 64]  # a public key, a signature
LONGEST = {32: 44, 64: 88}  # characters
KEY = "8q137PedE18ygzxpx5oB2Se8UtBLh26FWsd4aYqDC669"

REFUSED = {
    "empty": "",
    "leading space": f" {KEY}",
    "trailing space": f"{KEY} ",
    "trailing newline": f"{KEY}\n",
    "trailing ideographic space": f"{KEY}\u3000",
    "space in the middle": f"{KEY[:20]} {KEY[21:]}",
    "zero digit": f"0{KEY[1:]}",
    "capital O": f"O{KEY[1:]}",
    "capital I": f"I{KEY[1:]}",
    "small l": f"l{KEY[1:]}",
    "non-ASCII letter": f"é{KEY[1:]}",
    "beyond a byte": f"\u1000{KEY[1:]}",
    "full-width digit": f"８{KEY[1:]}",
    "lone surrogate": f"\udc80{KEY[1:]}",
    "NUL": f"{KEY[:43]}\0",
    "hexadecimal": "74" * 32,
    "base64": "dE26fDYVdE26fDYVdE26fDYVdE26fDYVdE26fDYVdE0=",
    "one leading 1 too many": f"1{KEY}",
    "31 bytes": oracle.b58encode(b"\xff" * 31).decode(),
    "33 bytes": oracle.b58encode(b"\x01" + b"\xff" * 32).decode(),
    "a byte too large for 44 characters": "z" * 44,
    "31 zeros": "1" * 31,
    "33 zeros": "1" * 33,
    "45 characters": "2" * 45,
    "100 000 characters": "z" * 100_000,
    "100 000 ones": "1" * 100_000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.timeout(30)
def test_what_does_not_spell_a_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not base58") as caught:
        base58.decode(text, 32)

    assert len(str(caught.value)) < 60


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill", [0x00, 0x01, 0x39, 0x3A, 0x7F, 0xFF])
def test_the_extremes_of_each_size_decode(size: int, fill: int) -> None:
    raw = bytes([fill]) * size

    assert base58.decode(oracle.b58encode(raw).decode(), size) == raw


@pytest.mark.parametrize("size", SIZES)
def test_the_longest_spelling_is_within_the_bound(size: int) -> None:
    assert len(oracle.b58encode(b"\xff" * size)) == LONGEST[size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros", [0, 1, 2, 31])
def test_leading_zeros_are_leading_ones(size: int, zeros: int) -> None:
    raw = bytes(zeros) + b"\x80" * (size - zeros)

    assert base58.decode("1" * zeros + oracle.b58encode(raw[zeros:]).decode(), size) == raw


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
def test_a_random_value_decodes_as_the_reference_has_it(size: int, data: st.DataObject) -> None:
    zeros = data.draw(st.integers(0, 3))
    raw = bytes(zeros) + data.draw(st.binary(min_size=size - zeros, max_size=size - zeros))

    assert base58.decode(oracle.b58encode(raw).decode(), size) == raw


@pytest.mark.parametrize("size", SIZES)
@given(text=st.text(alphabet=ALPHABET, max_size=92) | st.text(max_size=92))
def test_any_text_decodes_as_the_reference_has_it_or_is_refused(size: int, text: str) -> None:
    try:
        raw = base58.decode(text, size)
    except ValueError:
        raw = None
    assert raw == _by_the_reference(text, size)


def _by_the_reference(text: str, size: int) -> bytes | None:
    if set(text) - set(ALPHABET):  # the reference strips white space and raises foreign errors
        return None
    raw = oracle.b58decode(text)
    return raw if len(raw) == size else None
