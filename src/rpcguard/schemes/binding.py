"""What binds a JWT to one request: its URL, and a digest over fields of its body (OppiWallet)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rpcguard import ecmascript, strict_json
from rpcguard.errors import AuthError
from rpcguard.schemes.base import NEED_BODY, Incoming, NeedBody

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Binding:
    """
    Which claims bind, and to what.

    Attributes:
        url_claim: Claim that must equal the raw path without its query, or None.
        digest_claim: Claim that holds the digest, or None.
        digest_fields: Top-level fields of the JSON body that the digest covers, by path.
        unbound_paths: Accept any well-formed digest on a path without configured fields.
    """

    url_claim: str | None = None
    digest_claim: str | None = None
    digest_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unbound_paths: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that must be strings."""
        return tuple(claim for claim in (self.url_claim, self.digest_claim) if claim)

    def wants_body(self, incoming: Incoming) -> bool:
        """Return whether the digest covers the body of this request."""
        return self.digest_claim is not None and incoming.path in self.digest_fields

    def check(self, claims: Mapping[str, Any], incoming: Incoming) -> NeedBody | None:
        """
        Return None if *claims* fit the request, or ask for the body.

        Raises:
            AuthError: `invalid_binding`.
        """
        trace = incoming.trace
        if self.url_claim is not None:
            if trace is not None:
                trace.note("url", f"{self.url_claim} is the path")
            if claims.get(self.url_claim) != incoming.raw_path:
                raise AuthError("invalid_binding", detail=f"{self.url_claim} is not this path")
        if self.digest_claim is None:
            return None
        if trace is not None:
            covered = ", ".join(self.digest_fields.get(incoming.path, ())) or "no fields here"
            trace.note("digest", f"{self.digest_claim} covers {covered}")
        claimed = claims.get(self.digest_claim, "")
        if not _HEX_SHA256.fullmatch(claimed):
            raise AuthError("invalid_binding", detail=f"{self.digest_claim} is not a hex SHA-256")
        names = self.digest_fields.get(incoming.path)
        if names is None:
            if self.unbound_paths:
                return None
            raise AuthError("invalid_binding", detail="no digest_fields for this path")
        body = incoming.request.body
        if body is None:
            return NEED_BODY
        if not hmac.compare_digest(claimed, digest_of_fields(body, names)):
            raise AuthError(
                "invalid_binding", detail=f"{self.digest_claim} is not that of the body"
            )
        return None


def digest_of_fields(body: bytes, names: tuple[str, ...]) -> str:
    """
    Return the hex SHA-256 of `JSON.stringify("a#b#c")` over the fields *names* of the JSON *body*.

    Raises:
        AuthError: `invalid_binding`, if a field is missing, is neither a string nor a number that
            an ECMAScript double holds unchanged, or contains `#`, which would move the borders.
    """
    try:
        document = strict_json.loads(body, exact=True)
    except ValueError:
        raise AuthError("invalid_binding", detail="the body is not JSON") from None
    if not isinstance(document, dict):
        raise AuthError("invalid_binding", detail="the body is not a JSON object")
    text = "#".join(_field_text(document.get(name)) for name in names)
    return hashlib.sha256(ecmascript.stringify(text).encode("utf-8")).hexdigest()


def _field_text(value: Any) -> str:
    if isinstance(value, str) and "#" not in value:
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        try:
            return ecmascript.number_text(value)
        except ValueError:
            pass
    raise AuthError("invalid_binding", detail="a bound field is missing or has no one spelling")
