"""The node behind the guard, the same in all examples: it answers JSON-RPC 2.0."""

from __future__ import annotations

import json
from typing import Any

from rpcguard import Principal


def answer(body: bytes | str, principal: Principal) -> str | None:
    """Return the answer to *body*, or None if it holds nothing but notifications."""
    try:
        document = json.loads(body)
    except ValueError:
        return json.dumps(_error(None, -32700, "Parse error"))
    calls = document if isinstance(document, list) else [document]
    if not calls:
        return json.dumps(_error(None, -32600, "Invalid Request"))
    answers = [each for call in calls if (each := _answer(call, principal)) is not None]
    if not answers:
        return None
    return json.dumps(answers if isinstance(document, list) else answers[0])


def _answer(call: Any, principal: Principal) -> dict[str, Any] | None:
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return _error(None, -32600, "Invalid Request")
    if "id" not in call:
        return None
    match call["method"]:
        case "eth_blockNumber":
            result: Any = "0x1312d00"
        case "getSlot":
            result = 310_000_000
        case "rpcguard_whoami":
            result = {
                "subject": principal.subject,
                "project": principal.project,
                "scheme": principal.scheme,
            }
        case _:
            return _error(call["id"], -32601, "Method not found")
    return {"jsonrpc": "2.0", "id": call["id"], "result": result}


def _error(request_id: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
