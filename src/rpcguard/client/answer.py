"""What a client needs to know of a response, and what a refusal says."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from rpcguard import strict_json
from rpcguard.errors import REASONS

REFUSALS = frozenset({401, 403})  # All That Node refuses with 403
MAX_BODY = 64 * 1024  # bytes; a refusal or a session is smaller

# All That Node's own words, as in preset `allthatnode`, that speak of time
_BARE = {
    "invalid JWT token (expired token)": "expired",
    "invalid JWT token (not reached nbf)": "not_yet_valid",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A response.

    Attributes:
        status: HTTP status.
        date: Its `Date` header, or None.
        body: Its body where somebody has to read it: of a refusal, or of rpcguard's own routes.
    """

    status: int
    date: str | None = None
    body: bytes = field(default=b"", repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is none."""
        if len(self.body) > MAX_BODY:
            return {}
        try:
            document = strict_json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def reason(self) -> str:
        """Why it was refused, a slug of `rpcguard.errors.REASONS`; "" where it does not say."""
        if self.status < 400:
            return ""
        document = self.document
        message, error = document.get("message"), document.get("error")
        if isinstance(message, str):
            return _BARE.get(message, "")
        data = error.get("data") if isinstance(error, dict) else None
        reason = data.get("reason") if isinstance(data, dict) else None
        return reason if isinstance(reason, str) and reason in REASONS else ""

    @property
    def server_time(self) -> float | None:
        """Unix seconds of the server's clock, rounded down; None where it does not tell."""
        try:
            return parsedate_to_datetime(self.date or "").timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
