"""An outcome for people and for programs: nothing of a credential but what names it."""

from __future__ import annotations

import http
import json
from datetime import UTC, datetime
from typing import Any

from rpcguard import strict_json
from rpcguard.cli.explain.verdict import Outcome
from rpcguard.cli.output import Column, say, say_table
from rpcguard.contrib._http import refusal
from rpcguard.errors import AuthError
from rpcguard.request import Request
from rpcguard.schemes.base import read_bearer
from rpcguard.schemes.claims import UNIT_BORDER
from rpcguard.schemes.jws import parse

_TIMES = ("iat", "nbf", "exp")
_STATUSES = frozenset(http.HTTPStatus)
_NAMED = ("iss", "aud", "sub")  # claims whose values are shown
_LONGEST = 1 << 20
_STYLES = {"ok": "green", "refused": "bold red", "not asked": "dim"}
_COLUMNS = (Column("", lambda text: _STYLES.get(text, "")), Column("check"), Column("what"))


def document(outcome: Outcome, request: Request, now: float) -> dict[str, Any]:
    """
    Return *outcome* as a JSON object.

    Args:
        outcome: What came out.
        request: The request.
        now: Unix seconds at which it was judged.
    """
    failed = len(outcome.steps) - 1 if outcome.error is not None else len(outcome.steps)
    checks = [
        {
            "check": step.check,
            "result": "refused" if index == failed else "ok",
            "what": step.fact,
            "seconds": step.seconds,
        }
        for index, step in enumerate(outcome.steps)
    ]
    checks += [
        {"check": step.check, "result": "not asked", "what": step.fact, "seconds": None}
        for step in outcome.unasked
    ]
    verdict = "undecided" if outcome.undecided else "refused" if outcome.error else "accepted"
    return {
        "verdict": verdict,
        "now": _instant(now),
        "method": request.method,
        "websocket": request.websocket,
        "token": _token(request, now),
        "checks": checks,
        **_ending(outcome),
    }


def _ending(outcome: Outcome) -> dict[str, Any]:
    error, principal = outcome.error, outcome.principal
    if error is not None:
        status, headers, body = refusal(error, outcome.body)
        return {
            "reason": error.reason,
            "cause": error.cause or None,
            "detail": error.detail or None,
            "project": error.project,
            "skew": _skew(outcome, error),
            "answer": {
                "status": status,
                "headers": [list(header) for header in headers],
                "body": json.loads(body),
            },
        }
    if principal is not None:
        return {
            "principal": {
                "subject": principal.subject,
                "project": principal.project,
                "scheme": principal.scheme,
                "name": principal.name,
                "key_id": principal.key_id,
                "expires_at": principal.expires_at,
            }
        }
    return {"missing": outcome.undecided}


def _skew(outcome: Outcome, error: AuthError) -> float | None:
    """Return how far the caller's clock seems to be ahead, where that is what is wrong."""
    last = outcome.steps[-1]
    if error.reason in ("expired", "not_yet_valid") and last.check in ("iat", "nbf", "timestamp"):
        return last.seconds
    return None


def _token(request: Request, now: float) -> dict[str, Any] | None:
    """Return what a JWT says of itself, unverified; None where there is none that can be read."""
    fields = request.fields(frozenset({"authorization"}))
    token = read_bearer(fields.get("authorization", []))
    try:
        jws = parse(token or "", _LONGEST)
        claims = strict_json.loads(jws.payload)
    except (AuthError, ValueError):
        return None
    if not isinstance(claims, dict):
        return None
    header = {name: jws.header[name] for name in ("alg", "typ", "kid") if name in jws.header}
    times = {name: _time(claims[name], now) for name in _TIMES if name in claims}
    named = {name: claims[name] for name in _NAMED if name in claims}
    others = sorted(set(claims).difference(_TIMES, _NAMED))
    return {"header": header, "times": times, "claims": named, "other_claims": others}


def _time(value: Any, now: float) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not a number"
    if not 0 <= value <= UNIT_BORDER * 1000:
        return "out of range"
    seconds = value / 1000 if value > UNIT_BORDER else float(value)
    ahead = seconds - now
    return f"{_instant(seconds)}, {abs(ahead):.3f} s {'ahead' if ahead >= 0 else 'behind'}"


def _instant(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show(document: dict[str, Any]) -> None:
    """Print a `document` for people."""
    kind = "WebSocket handshake" if document["websocket"] else document["method"]
    say(f"{kind}, judged at {document['now']}", "")
    token = document["token"]
    if token is not None:
        say("The token says of itself:")
        lines = {**token["header"], **token["times"], **token["claims"]}
        say(*(f"  {name:<4} {value}" for name, value in lines.items()))
        if token["other_claims"]:
            say(f"  and  {', '.join(token['other_claims'])}")
        say("")
    say_table(_COLUMNS, [[[c["result"], c["check"], c["what"]] for c in document["checks"]]])
    say("")
    if document["verdict"] == "accepted":
        who = document["principal"]
        say(f"Accepted: {who['subject']} of {who['project']}, by {who['scheme']}.")
    elif document["verdict"] == "undecided":
        say(f"Undecided: {document['missing']}.")
    else:
        _show_refusal(document)


def _show_refusal(document: dict[str, Any]) -> None:
    more = ", ".join(filter(None, [document["cause"], document["detail"]]))
    say(f"Refused: {document['reason']}{f' ({more})' if more else ''}.")
    skew = document["skew"]
    if skew is not None:
        side = "ahead of" if skew > 0 else "behind"
        say(f"The caller's clock, or the request, is {abs(skew):.3f} s {side} the server's.")
    answer = document["answer"]
    status = answer["status"]
    phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""  # a preset may set any
    say("", f"The answer: HTTP {status} {phrase}".rstrip())
    say(*(f"  {name}: {value}" for name, value in answer["headers"]))
    say("", f"  {json.dumps(answer['body'])}")
