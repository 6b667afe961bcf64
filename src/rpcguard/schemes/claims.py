"""
The claims of a JWT (RFC 7519 section 4.1): types, times, issuer and audience.

Every rule is a value fixed at load. All times are Unix seconds here, whatever unit the token uses.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rpcguard.errors import AuthError
from rpcguard.trace import Trace

# Above this, seconds would be the year 5138, and milliseconds below it 1973: the unit is wrong.
UNIT_BORDER = 1e11
_EDGE = 0.001  # seconds; a double holds such times to a quarter of a microsecond
_STRINGS = ("iss", "sub", "jti", "sid")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class Times(NamedTuple):
    """`exp`, `nbf` and `iat` in Unix seconds, None where the token has none."""

    exp: float | None
    nbf: float | None
    iat: float | None


# By position, in half the time: a named tuple's own constructor is in Python.
_make_times: Callable[[tuple[float | None, float | None, float | None]], Times]
_make_times = functools.partial(tuple.__new__, Times)


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """
    What the claims must be. Durations in seconds.

    Attributes:
        milliseconds: NumericDates count milliseconds.
        required: Claims that must be present.
        strings: Claims beyond the registered ones that must be strings where present.
        leeway: Tolerance for `exp` and `nbf`.
        iat_leeway: How far ahead `iat` may be.
        iat_window: How old `iat` may be, or None.
        max_lifetime: Bound on `exp - iat`, or None.
        lifetime_grace: Added to `max_lifetime`: clients read their clock twice.
        max_ahead: Bound on `exp - now`, or None.
        issuer: Accepted `iss` values, or None for any.
        audience: Accepted `aud` values, or None.
        audience_suffix: Lower-case suffix that one `aud` value must have, or None.
        ignore_audience: Do not look at `aud`.
    """

    milliseconds: bool = False
    required: tuple[str, ...] = ("exp",)
    strings: tuple[str, ...] = ()
    leeway: float = 0.0
    iat_leeway: float = 5.0
    iat_window: float | None = None
    max_lifetime: float | None = None
    lifetime_grace: float = 1.0
    max_ahead: float | None = None
    issuer: frozenset[str] | None = None
    audience: frozenset[str] | None = None
    audience_suffix: str | None = None
    ignore_audience: bool = False
    _strings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _seconds: float = field(init=False, repr=False, compare=False)
    _audiences: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what every token asks."""
        object.__setattr__(self, "_strings", (*_STRINGS, *self.strings))
        object.__setattr__(self, "_audiences", self.audience or frozenset())
        object.__setattr__(self, "_seconds", -1 if self.milliseconds else UNIT_BORDER)

    def read(self, claims: Mapping[str, Any]) -> Times:
        """
        Return the times of *claims* after checking presence, types and units.

        Raises:
            AuthError: `invalid_claims`.
        """
        for name in self.required:
            if name not in claims:
                raise AuthError("invalid_claims", detail=f"{name} is missing")
        for name in self._strings:
            if type(claims.get(name, "")) is not str:
                raise AuthError("invalid_claims", detail=f"{name} is not a string")
        audience = claims.get("aud", "")
        if not isinstance(audience, str) and not (
            isinstance(audience, list) and all(isinstance(value, str) for value in audience)
        ):
            raise AuthError(
                "invalid_claims", detail="aud is neither a string nor a list of strings"
            )
        most, exp, iat = self._seconds, claims.get("exp"), claims.get("iat")
        return _make_times(
            (  # integers of seconds, as almost every token has them
                float(exp) if type(exp) is int and 0 <= exp <= most else self._time("exp", claims),
                None if "nbf" not in claims else self._time("nbf", claims),
                float(iat) if type(iat) is int and 0 <= iat <= most else self._time("iat", claims),
            )
        )

    def _time(self, name: str, claims: Mapping[str, Any]) -> float | None:
        if name not in claims:
            return None
        value = claims[name]
        if type(value) not in (int, float) or not value >= 0:  # no bool, which is an int; no NaN
            raise AuthError("invalid_claims", detail=f"{name} is not a NumericDate")
        if self.milliseconds:
            if value < UNIT_BORDER or value > UNIT_BORDER * 1000:
                raise AuthError("invalid_claims", detail=f"{name} is not in milliseconds")
            return float(value) / 1000
        if value > UNIT_BORDER:
            raise AuthError("invalid_claims", detail=f"{name} is not in seconds")
        return float(value)

    def check_times(
        self, times: Times, now: float, *, standing: bool = False, trace: Trace | None = None
    ) -> None:
        """
        Check *times* against the clock; done again for every request.

        Args:
            times: The token's.
            now: Unix seconds.
            standing: The token was accepted at the handshake: it need not be fresh any more.
            trace: Is told what is checked.

        Raises:
            AuthError: `expired`, `not_yet_valid` or `invalid_claims`.
        """
        exp, nbf, iat = times.exp, times.nbf, times.iat
        if exp is not None:
            if trace is not None:
                trace.time("exp", exp - now, f"leeway {self.leeway:g} s")
            if now >= exp + self.leeway:
                raise AuthError("expired", detail=f"exp passed {now - exp:.3f} s ago")
        if nbf is not None:
            if trace is not None:
                trace.time("nbf", nbf - now, f"leeway {self.leeway:g} s")
            if now < nbf - self.leeway:
                raise AuthError("not_yet_valid", detail=f"nbf is {nbf - now:.3f} s ahead")
        if iat is not None:
            if trace is not None:
                old = "" if self.iat_window is None else f", {self.iat_window:g} s behind"
                trace.time("iat", iat - now, f"limit {self.iat_leeway:g} s ahead{old}")
            if iat > now + self.iat_leeway:
                raise AuthError("not_yet_valid", detail=f"iat is {iat - now:.3f} s ahead")
            if self.iat_window is not None and iat < now - self.iat_window and not standing:
                raise AuthError("expired", detail=f"iat is {now - iat:.3f} s old")
        if self.max_ahead is not None:
            if trace is not None:
                trace.note("exp ahead", f"limit {self.max_ahead:g} s")
            if exp is None or exp - now > self.max_ahead:
                raise AuthError("invalid_claims", detail="exp is too far ahead")

    def surely(self, times: Times) -> tuple[float, float]:
        """
        Return from when and until when, in Unix seconds, `check_times` has no objection to *times*.

        Less than the whole, so that sums which are rounded otherwise there cannot matter: at the
        edges it is asked.
        """
        exp, nbf, iat = times
        begin = 0.0 if nbf is None else max(0.0, nbf - self.leeway)  # no clock gives less
        end = math.inf if exp is None else exp + self.leeway
        if iat is not None:
            begin = max(begin, iat - self.iat_leeway)
            if self.iat_window is not None:
                end = min(end, iat + self.iat_window)
        if self.max_ahead is not None:
            begin = math.inf if exp is None else max(begin, exp - self.max_ahead)
        return begin + _EDGE, end - _EDGE

    def check_identity(
        self, claims: Mapping[str, Any], times: Times, trace: Trace | None = None
    ) -> None:
        """
        Check what does not change with the clock: lifetime, issuer, audience.

        Raises:
            AuthError: `invalid_claims` or `invalid_audience`.
        """
        if self.max_lifetime is not None:
            if trace is not None:
                trace.note("lifetime", f"exp - iat; limit {self.max_lifetime:g} s")
            if times.exp is None or times.iat is None:
                raise AuthError(
                    "invalid_claims", detail="iat and exp are needed to bound the lifetime"
                )
            # rounding keeps differences of milliseconds exact
            lifetime = round(times.exp - times.iat, 6)
            if not 0 < lifetime <= round(self.max_lifetime + self.lifetime_grace, 6):
                raise AuthError("invalid_claims", detail=f"lifetime of {lifetime:.3f} s")
        if self.issuer is not None:
            if trace is not None:
                trace.note("issuer", f"iss is {' or '.join(sorted(self.issuer))}")
            if claims.get("iss") not in self.issuer:
                raise AuthError("invalid_claims", detail="iss is missing or not accepted")
        if not self.ignore_audience:
            if trace is not None:
                trace.note("audience", self._audience_wanted())
            audience = claims.get("aud")
            one = type(audience) is str and audience in self._audiences  # as almost every token has
            if not one and not self._audience_fits(audience):
                raise AuthError("invalid_audience")

    def _audience_wanted(self) -> str:
        if self.audience is not None:
            return f"aud is {' or '.join(sorted(self.audience))}"
        suffix = self.audience_suffix
        return f"aud, if any, ends with {suffix}" if suffix else "no aud: none is configured"

    def _audience_fits(self, audience: str | list[str] | None) -> bool:
        if audience is None:
            return self.audience is None
        values = [audience] if isinstance(audience, str) else audience
        if self.audience is not None:
            return not self.audience.isdisjoint(values)
        suffix = self.audience_suffix
        return suffix is not None and any(_ends_with(value, suffix) for value in values)


def _ends_with(value: str, suffix: str) -> bool:
    # Only printable ASCII can be a host name; case folding would map other letters to these.
    if not (value.isascii() and value.isprintable()):
        return False
    lowered = value.lower()
    if not lowered.endswith(suffix):
        return False
    before = lowered[: -len(suffix)][-1:]
    return suffix.startswith(".") or before not in _HOST_CHARACTERS
