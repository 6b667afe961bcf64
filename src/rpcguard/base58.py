"""
Bounded, canonical base58 (Bitcoin alphabet), for fixed-size keys and signatures.

The `base58` package is quadratic in its input, strips white space and raises foreign errors; it
serves the client and is the oracle of the tests. Here the length is checked first, and all digits
are folded at once: pairs of digits to one number each, pairs of those, and so on.
"""

from __future__ import annotations

import functools

_ALPHABET = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = bytes(_ALPHABET.find(bytes([octet])) & 0xFF for octet in range(256))
_NONE = b"\xff"  # what a character outside the alphabet becomes


@functools.cache
def _folds(digits: int) -> tuple[tuple[int, int, int], ...]:
    """
    Return how at least that many *digits* of one byte each become one number.

    Of each fold: the bits of a lane, a mask of every second lane, and by how much less the left
    lane of a pair counts than its place says.
    """
    lanes = 1 << (digits - 1).bit_length()
    folds, lane = [], 1
    while lane < lanes:
        mask = (bytes(lane) + b"\xff" * lane) * (lanes // lane // 2)
        folds.append((8 * lane, int.from_bytes(mask, "big"), 256**lane - 58**lane))
        lane *= 2
    return tuple(folds)


def decode(text: str, size: int) -> bytes:
    """
    Return the *size* bytes that *text* spells.

    Raises:
        ValueError: If *text* is too long for *size* bytes, holds a character outside the alphabet,
            or does not spell exactly *size* bytes.
    """
    # log(256) / log(58) < 1.366: nothing longer spells *size* bytes (44 for 32 bytes, 88 for 64)
    most = size * 1366 // 1000 + 1
    if not 0 < len(text) <= most:
        raise ValueError("not base58 of the right length")
    try:
        digits = text.encode("ascii").translate(_DIGITS)
    except UnicodeEncodeError:
        raise ValueError("not base58") from None
    if _NONE in digits:
        raise ValueError("not base58")
    number = int.from_bytes(digits, "big")
    for bits, mask, less in _folds(most):
        number -= (number >> bits & mask) * less
    length = (number.bit_length() + 7) // 8
    zeros = 0 if digits[0] else len(digits) - len(digits.lstrip(b"\0"))
    if zeros + length != size:
        raise ValueError("not base58 of the right length")
    return number.to_bytes(size, "big")
