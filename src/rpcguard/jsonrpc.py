"""The shape of JSON-RPC 2.0 requests, as far as a guard must understand it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rpcguard import strict_json
from rpcguard.errors import AuthError


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its method's name and its params (a list, a dict, or None)."""

    method: str
    params: Any


def calls(body: bytes | str, max_batch: int) -> tuple[Call, ...]:
    """
    Return the calls of a request or batch.

    Args:
        body: The request's body, or the text of a WebSocket frame.
        max_batch: Most items that a batch may have.

    Raises:
        AuthError: `invalid_body`, if it is not a JSON-RPC 2.0 request or batch throughout.
    """
    try:
        document = strict_json.loads(body)
    except ValueError as error:
        raise AuthError("invalid_body", detail=str(error)) from None
    items = document if isinstance(document, list) else [document]
    if not 0 < len(items) <= max_batch:
        raise AuthError(
            "invalid_body", detail=f"a batch of {len(items)}, 1 to {max_batch} accepted"
        )
    return tuple(map(_call, items))


def _call(item: Any) -> Call:
    if not (
        isinstance(item, dict)
        and item.get("jsonrpc") == "2.0"
        and isinstance(item.get("method"), str)
        and is_id(item.get("id"))
        and isinstance(item.get("params", []), list | dict)
    ):
        raise AuthError("invalid_body", detail="an item is not a JSON-RPC 2.0 request")
    return Call(item["method"], item.get("params"))


def is_id(value: Any) -> bool:
    """Return whether *value* may be a request's id: a string, a number or null."""
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def request_id(body: bytes | None) -> Any:
    """Return the id that an answer to *body* carries: null unless it is one call with an id."""
    if not body:
        return None
    try:
        document = strict_json.loads(body)
    except ValueError:
        return None
    found = document.get("id") if isinstance(document, dict) else None
    return found if is_id(found) else None
