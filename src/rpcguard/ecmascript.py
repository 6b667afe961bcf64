"""
Text as `JSON.stringify` and `String(number)` of ECMAScript write it, since providers' documents
hash the output of JavaScript.
"""

from __future__ import annotations

import json
from decimal import Decimal


def stringify(text: str) -> str:
    """Return *text* as `JSON.stringify` does: quoted, escaped, other characters as they are."""
    return json.dumps(text, ensure_ascii=False)


def number_text(number: int | Decimal) -> str:
    """
    Return *number* as ECMAScript's Number::toString prints it (ECMA-262 section 6.1.6.1.20).

    Args:
        number: The number exactly as its JSON text gave it.

    Raises:
        ValueError: If an ECMAScript double cannot hold it unchanged; the caller and the verifier
            would then hash different texts.
    """
    try:
        shortest = Decimal(repr(float(number)))
    except OverflowError:
        raise ValueError("number is out of range") from None
    if not shortest.is_finite() or shortest != number:
        raise ValueError("number does not survive a double unchanged")
    if shortest == 0:
        return "0"  # also for -0
    sign, digit_tuple, exponent = shortest.normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(
        exponent
    )  # position of the decimal point, counted from the first digit
    minus = "-" if sign else ""
    if len(digits) <= point <= 21:
        return minus + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
