"""
Canonical base64url without padding (RFC 7515 section 2, RFC 4648 section 5).

One byte string has one spelling: padding, white space, the standard alphabet, stray characters and
non-zero unused bits are refused. A lenient decoder gives one token many spellings, and a deny-list
keyed on text then misses all but one.
"""

from __future__ import annotations

import binascii

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PADDING = (b"", b"", b"==", b"=")
# What the last character may be, by the length modulo 4: its unused bits are zero. One character
# alone spells nothing.
_LAST = (_ALPHABET, b"", b"AQgw", b"AEIMQUYcgkosw048")
_TO_URL = bytes.maketrans(b"+/", b"-_")


def encode(data: bytes) -> str:
    """Return *data* as base64url text without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """
    Return the bytes that *text* spells.

    Raises:
        ValueError: If *text* is not the canonical spelling of any byte string.
    """
    raw = text.encode("ascii", "replace")  # with "?", which is not of the alphabet
    if raw.translate(None, _ALPHABET) or raw[-1:] not in _LAST[len(raw) % 4]:
        raise ValueError("not canonical base64url")
    return binascii.a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[len(raw) % 4])
