"""
Canonical base64url without padding (RFC 7515 section 2, RFC 4648 section 5).

One byte string has one spelling: padding, white space, the standard alphabet, stray characters and
non-zero unused bits are refused. A lenient decoder gives one token many spellings, and a deny-list
keyed on text then misses all but one.
"""

from __future__ import annotations

import binascii

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
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
    try:
        raw = text.encode("ascii")
        data = binascii.a2b_base64(raw.translate(_TO_STANDARD) + b"=" * (-len(raw) % 4))
    except ValueError:  # also binascii.Error and UnicodeEncodeError; their text may quote the input
        raise ValueError("not canonical base64url") from None
    # binascii skips what it does not know: equality with the one right spelling is the check
    if binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=") != raw:
        raise ValueError("not canonical base64url")
    return data
