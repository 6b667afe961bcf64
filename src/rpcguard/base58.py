"""
Bounded, canonical base58 (Bitcoin alphabet), for fixed-size keys and signatures.

The `base58` package is quadratic in its input, strips white space and raises foreign errors; it
serves the client and is the oracle of the tests. Here the length is checked first, and ten digits
are folded at a time, which is three times faster for a signature.
"""

from __future__ import annotations

_ALPHABET = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = bytes(_ALPHABET.find(bytes([octet])) & 0xFF for octet in range(256))
_CHUNK = 10
_POWER = 58**_CHUNK


def decode(text: str, size: int) -> bytes:
    """
    Return the *size* bytes that *text* spells.

    Raises:
        ValueError: If *text* is too long for *size* bytes, holds a character outside the alphabet,
            or does not spell exactly *size* bytes.
    """
    # log(256) / log(58) < 1.366: nothing longer spells *size* bytes (44 for 32 bytes, 88 for 64)
    if not 0 < len(text) <= size * 1366 // 1000 + 1:
        raise ValueError("not base58 of the right length")
    try:
        digits = text.encode("ascii").translate(_DIGITS)
    except UnicodeEncodeError:
        raise ValueError("not base58") from None
    if max(digits) > 57:
        raise ValueError("not base58")
    number = 0
    head = len(digits) % _CHUNK
    for digit in digits[:head]:
        number = number * 58 + digit
    for start in range(head, len(digits), _CHUNK):
        part = 0
        for digit in digits[start : start + _CHUNK]:
            part = part * 58 + digit
        number = number * _POWER + part
    zeros = len(digits) - len(digits.lstrip(b"\0"))
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if zeros + len(body) != size:
        raise ValueError("not base58 of the right length")
    return bytes(zeros) + body
