"""
Where every verdict is told, once: to the audit trail and to the verifier's observers.

The audit trail is one record for each request that was accepted or refused, on the logger
`rpcguard.audit` at INFO. Nothing is built where nobody listens at that level.

Each record has its facts as the mapping `record.rpcguard`, and as `name=value` in its message.
Every text in it is printable ASCII of bounded length: what a caller sent is escaped, so that no
line break and no terminal sequence reaches the log. Credentials never do.
"""

from __future__ import annotations

import json
import logging
import re
import time
from functools import partial
from typing import Any, Final

from rpcguard.authenticator import Authenticator
from rpcguard.errors import AuthError
from rpcguard.observer import Judged, Observer
from rpcguard.principal import Principal
from rpcguard.request import Request

_LONGEST: Final = 200  # characters of one value
_log = logging.getLogger("rpcguard.audit")
listening = partial(_log.isEnabledFor, logging.INFO)  # whether the audit trail is kept
_NOBODY: Final = (None, None, None)
_PLAIN = re.compile(r"[!#-<>-~]+")  # printable, neither space nor quote nor equals sign


class JsonFormatter(logging.Formatter):
    """Writes an audit record as one JSON object in one line, and any other with its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {"logger": record.name, "level": record.levelname}
        found = getattr(record, "rpcguard", None)
        if found is None:
            fields |= {"time": record.created, "message": super().format(record)}
        return json.dumps(fields | (found or {}))


def request_judged(
    authenticator: Authenticator,
    request: Request,
    project: str | None,
    verdict: Principal | AuthError | None,
    started: float,
    observer: Observer | None = None,
    kind: str = "",
) -> None:
    """
    Record what became of *request*, and tell *observer*.

    Args:
        authenticator: The generation of the registry that judged it.
        request: The request.
        project: The project that the route names, or None.
        verdict: The principal that was let in, or why it was refused; None where a route that
            issues credentials answered who had proved nothing yet.
        started: `time.perf_counter` when the request came.
        observer: Told of a `Judged`; or None.
        kind: Its `Judged.kind`; by default that of a request or of a handshake.
    """
    if observer is not None:
        seconds = time.perf_counter() - started
        if isinstance(verdict, Principal):
            named, scheme = verdict.project, verdict.scheme
        else:
            named, scheme = authenticator.claimed(request, project)
        kind = kind or ("handshake" if request.websocket else "request")
        observer(_judged(kind, named, scheme, seconds, verdict))
    if listening():
        name = authenticator.matching(request) if project is None else project
        found = None if name is None else authenticator.projects.get(name)
        path = authenticator.paths.shown(request.target, found)
        address = authenticator.callers.facts(request).address
        client = request.client if address is None else str(address)
        method = "WEBSOCKET" if request.websocket else request.method
        verdict = verdict or Principal("", project or "", "none")
        _write(verdict, started, method=method, path=path, client=client)


def message_judged(
    principal: Principal,
    error: AuthError | None,
    started: float,
    observer: Observer | None = None,
) -> None:
    """Record what became of a message on *principal*'s WebSocket; see `request_judged`."""
    if error is not None and error.caller is None:
        error.caller = principal.who
    if observer is not None:
        seconds = time.perf_counter() - started
        verdict = error or principal
        observer(_judged("message", principal.project, principal.scheme, seconds, verdict))
    if listening():
        _write(error or principal, started, method="MESSAGE", path=None, client=principal.network)


def _judged(
    kind: str,
    project: str,
    scheme: str,
    seconds: float,
    verdict: Principal | AuthError | None,
) -> Judged:
    if verdict is None:
        return Judged(kind, project, scheme, seconds)
    if isinstance(verdict, Principal):
        return Judged(
            kind, project, scheme, seconds, subject=verdict.subject, key_id=verdict.key_id
        )
    proved, subject, key_id = verdict.caller or (scheme, None, None)
    return Judged(
        kind,
        project,
        proved,
        seconds,
        verdict.reason,
        verdict.code,
        verdict.status,
        subject,
        key_id,
    )


def _write(verdict: Principal | AuthError, started: float, **request: str | None) -> None:
    found: dict[str, Any] = {"time": round(time.time(), 3)}
    if isinstance(verdict, AuthError):
        outcome = "refused"
        scheme, subject, key_id = verdict.caller or _NOBODY
        found |= {"outcome": outcome, "project": verdict.project, "reason": verdict.reason}
        found |= {"cause": verdict.cause or None, "detail": verdict.detail or None}
    else:
        outcome = "accepted"
        scheme, subject, key_id = verdict.who if verdict.subject else _NOBODY
        found |= {"outcome": outcome, "project": verdict.project, "reason": None}
    found |= {"scheme": scheme, "key_id": key_id, "subject": subject, **request}
    found["microseconds"] = round((time.perf_counter() - started) * 1e6)
    shown = {name: printable(value) for name, value in found.items()}
    words = [f"{name}={_word(value)}" for name, value in shown.items() if value is not None]
    _log.info("%s: %s", outcome, " ".join(words[2:]), extra={"rpcguard": shown})


def printable(value: Any) -> Any:
    """Return *value*; a text as printable ASCII of bounded length, everything else escaped."""
    if not isinstance(value, str):
        return value
    short = value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "..."
    return short.encode("unicode_escape").decode("ascii")


def _word(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', "\\x22") + '"'
