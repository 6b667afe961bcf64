"""
Canonical base64url without padding (RFC 7515 section 2, RFC 4648 section 5).

One byte string has one spelling: padding, white space, the standard alphabet, stray characters and
non-zero unused bits are refused. A lenient decoder gives one token many spellings, and a deny-list
keyed on text then misses all but one.
"""

from __future__ import annotations

import binascii

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STANDARD = _ALPHABET[:-2] + b"+/"
# All else, the "+", "/" and "=" of others too, becomes "!", which `binascii` refuses: so one pass
# over the text does for two.
_TO_STANDARD = bytes(
    _STANDARD[_ALPHABET.index(octet)] if octet in _ALPHABET else ord("!") for octet in range(256)
)
_PADDING = (b"", b"", b"==", b"=")
# What the last character may be, by the length modulo 4: its unused bits are zero. One character
# alone spells nothing. (Where none is left over, `binascii` looks at the last one too.)
_LAST = (frozenset(range(256)), frozenset(b""), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
_TO_URL = bytes.maketrans(b"+/", b"-_")


def encode(data: bytes) -> str:
    """Return *data* as base64url text without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str | bytes) -> bytes:
    """
    Return the bytes that *text*, or its ASCII, spells.

    Raises:
        ValueError: If *text* is not the canonical spelling of any byte string.
    """
    raw = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    raw = raw.translate(_TO_STANDARD)
    odd = len(raw) % 4
    if not raw or raw[-1] in _LAST[odd]:
        try:
            return binascii.a2b_base64(raw + _PADDING[odd], strict_mode=True)
        except binascii.Error:
            pass
    raise ValueError("not canonical base64url")
