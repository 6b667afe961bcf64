"""Sending the cases and judging what comes back."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rpcguard.cli.demo.case import Accepted, Case, Closed, Given
from rpcguard.cli.demo.servers import Server
from rpcguard.cli.demo.wire import SWITCHING_PROTOCOLS, Reply, Shot, send


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one request.

    Attributes:
        framework: Whose server it went to.
        protocol: The preset.
        sent: What was sent, for people.
        status: Status of the response or handshake; None without an answer.
        answer: Who the server says the caller is, or why it refused.
        expected: The status and answer that must come back.
        ok: Whether they did.
    """

    framework: str
    protocol: str
    sent: str
    status: int | None
    answer: str
    expected: str
    ok: bool


def run(cases: Iterable[Case], servers: Mapping[str, Server]) -> Iterator[Outcome]:
    """
    Send each case to the server that it names; else what is to be accepted to all *servers*, and
    what is to be refused to one in turn.
    """
    turns = itertools.cycle(servers)
    for case in cases:
        if case.framework:
            chosen = [case.framework]
        elif isinstance(case.expect, Accepted):
            chosen = list(servers)
        else:
            chosen = [next(turns)]
        for framework in chosen:
            yield _try(case, framework, servers)


def _try(case: Case, framework: str, servers: Mapping[str, Server]) -> Outcome:
    shot = case.make(time.time())
    opened = shot.websocket and isinstance(case.expect, Accepted)
    wanted = SWITCHING_PROTOCOLS if opened else case.expect.status, case.expect.answer
    status, answer, document = _answered(case, shot, framework, servers)
    fits = (status, answer) == wanted
    if fits:
        case.learn(document)
    return Outcome(framework, case.protocol, case.sent, status, answer, _words(wanted), fits)


def _words(wanted: tuple[int, str]) -> str:
    return f"{wanted[0]} {wanted[1]}"


def _answered(
    case: Case, shot: Shot, framework: str, servers: Mapping[str, Server]
) -> tuple[int | None, str, Any]:
    try:
        if case.spent:
            first = send(servers[_first(case, framework, list(servers))].port, shot)
            if first.status != Accepted.status:
                return first.status, f"at first: {_gist(first)}", None
        reply = send(servers[framework].port, shot)
    except (OSError, http.client.HTTPException) as error:
        return None, f"no answer: {type(error).__name__}", None
    return reply.status, _gist(reply), reply.document


def _first(case: Case, framework: str, frameworks: list[str]) -> str:
    if case.spent == "here":
        return framework
    return frameworks[(frameworks.index(framework) + 1) % len(frameworks)]


def _gist(reply: Reply) -> str:
    """Return caller, close code, reason, message, or members, whichever comes first."""
    result, error = (_member(reply.document, name) for name in ("result", "error"))
    if isinstance(result, dict):
        who = (str(result.get(name)) for name in ("project", "scheme", "subject"))
        return Accepted(*who).answer
    if (code := _member(reply.document, "closed")) is not None:
        return Closed(code).answer
    reason = _member(_member(error, "data"), "reason")
    message = _member(error, "message") or _member(reply.document, "message")
    if reason or message or not isinstance(reply.document, dict):
        return str(reason or message or "-")
    return Given(tuple(reply.document)).answer


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None
