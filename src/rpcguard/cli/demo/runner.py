"""Sending the cases and judging what comes back."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rpcguard.cli.demo.case import Accepted, Case, Refused
from rpcguard.cli.demo.servers import Server
from rpcguard.cli.demo.wire import SWITCHING_PROTOCOLS, Reply, Shot, send

OK = 200


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
        ok: Whether that is what must come back.
    """

    framework: str
    protocol: str
    sent: str
    status: int | None
    answer: str
    ok: bool


def run(cases: Iterable[Case], servers: Mapping[str, Server]) -> Iterator[Outcome]:
    """Send what is to be accepted to all *servers*, and what is to be refused to one in turn."""
    turns = itertools.cycle(servers)
    for case in cases:
        accepted = isinstance(case.expect, Accepted)
        for framework in list(servers) if accepted else [next(turns)]:
            yield _try(case, framework, servers)


def _try(case: Case, framework: str, servers: Mapping[str, Server]) -> Outcome:
    def outcome(status: int | None, answer: str, *, ok: bool) -> Outcome:
        return Outcome(framework, case.protocol, case.sent, status, answer, ok)

    try:
        shot = case.make(time.time())
        if case.spent:
            first = send(servers[_first(case, framework, list(servers))].port, shot)
            if first.status != OK:
                return outcome(first.status, f"at first: {_said(first)}", ok=False)
        reply = send(servers[framework].port, shot)
    except (OSError, http.client.HTTPException) as error:
        return outcome(None, f"no answer: {type(error).__name__}", ok=False)
    return outcome(reply.status, _said(reply), ok=_fits(case, shot, reply))


def _first(case: Case, framework: str, frameworks: list[str]) -> str:
    if case.spent == "here":
        return framework
    return frameworks[(frameworks.index(framework) + 1) % len(frameworks)]


def _fits(case: Case, shot: Shot, reply: Reply) -> bool:
    document, expect = reply.document, case.expect
    if isinstance(expect, Accepted):
        caller = {"subject": expect.subject, "project": expect.project, "scheme": expect.scheme}
        status = SWITCHING_PROTOCOLS if shot.websocket else OK
        return reply.status == status and _member(document, "result") == caller
    if isinstance(expect, Refused):
        reason = _member(_member(_member(document, "error"), "data"), "reason")
        return reply.status == expect.status and reason == expect.reason
    return reply.status == expect.status and _member(document, "message") == expect.message


def _said(reply: Reply) -> str:
    """Return the gist of the answer: the caller, else the reason, else the message."""
    result, error = (_member(reply.document, name) for name in ("result", "error"))
    if isinstance(result, dict):
        return f"{result.get('subject')} ({result.get('scheme')})"
    reason = _member(_member(error, "data"), "reason")
    return str(reason or _member(error, "message") or _member(reply.document, "message") or "-")


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None
