"""The shape of JSON-RPC 2.0 requests, as far as a guard must understand it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rpcguard import strict_json
from rpcguard.errors import AuthError

_MEMBERS = frozenset({"jsonrpc", "method", "params", "id"})
ID_BYTES = 128 * 1024  # a refusal does not parse more of a stranger's body for its id


class Call(NamedTuple):
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
        and has_one_reading(item, _MEMBERS)
        and item.get("jsonrpc") == "2.0"
        and isinstance(item.get("method"), str)
        and is_id(item.get("id"))
        and isinstance(item.get("params", []), list | dict)
    ):
        raise AuthError("invalid_body", detail="an item is not a JSON-RPC 2.0 request")
    return Call(item["method"], item.get("params"))


def has_one_reading(members: Iterable[str], names: frozenset[str]) -> bool:
    """
    Return whether no member is one of *names* in other letters.

    Go's JSON decoder, and so many a node, folds letter case (`ſ` and the Kelvin sign too) and takes
    the last: `Method` would mean something there that it does not mean here.
    """
    return all(name in names or name.casefold() not in names for name in members)


def is_id(value: Any) -> bool:
    """Return whether *value* may be a request's id: a string, a number or null."""
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def request_id(body: bytes | str | None) -> Any:
    """
    Return the id that an answer to *body* carries: null unless it is one call with an id, and for a
    body of more than `ID_BYTES`.
    """
    if not body or len(body) > ID_BYTES:
        return None
    try:
        document = strict_json.loads(body)
    except ValueError:
        return None
    found = document.get("id") if isinstance(document, dict) else None
    return found if is_id(found) else None
