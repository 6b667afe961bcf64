"""Every reason of a refusal, with what it is in HTTP, in JSON-RPC and on a WebSocket."""

from __future__ import annotations

from docs.generated.tables import code, table
from rpcguard.contrib._sockets import POLICY_VIOLATION, TRY_AGAIN_LATER
from rpcguard.errors import REASONS

_HEAD = ("reason", "message", "HTTP status", "JSON-RPC code", "WebSocket close code")


def reasons() -> str:
    """Return the table, in the order of `rpcguard.errors.REASONS`."""
    rows = (
        (code(reason), message, str(status), code(number), str(_close_code(reason)))
        for reason, (status, number, message) in REASONS.items()
    )
    return table(_HEAD, rows)


def _close_code(reason: str) -> int:
    return TRY_AGAIN_LATER if reason == "backend_unavailable" else POLICY_VIOLATION
