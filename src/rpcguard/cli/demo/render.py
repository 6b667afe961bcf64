"""The outcomes as a table for people, or as JSON."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rpcguard.cli.demo.runner import Outcome
from rpcguard.cli.demo.servers import FRAMEWORKS
from rpcguard.cli.output import Column, say, say_table

FINE, UNEXPECTED = "ok", "UNEXPECTED"
ERRORS = 400
_ID = re.compile(r"\S{31,}")  # a wallet or a UUID; no reason is as long
_SHOWN = 8


def _status_style(text: str) -> str:
    return "green" if text.isdigit() and int(text) < ERRORS else "yellow"


_COLUMNS = (
    Column("protocol", lambda _: "cyan"),
    Column("sent"),
    Column("framework", lambda _: "dim"),
    Column("status", _status_style),
    Column("caller or reason"),
    Column("", lambda text: "green" if text == FINE else "bold red"),
)


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the outcomes and their count as a JSON object."""
    unexpected = sum(not outcome.ok for outcome in outcomes)
    summary = {"sent": len(outcomes), "as_expected": len(outcomes) - unexpected}
    return {"rows": list(map(asdict, outcomes)), **summary, "unexpected": unexpected}


def table(outcomes: Sequence[Outcome]) -> None:
    """Print one line for each thing sent; what all frameworks answered alike shares a line."""
    protocols = itertools.groupby(outcomes, lambda outcome: outcome.protocol)
    say_table(_COLUMNS, [_lines(list(group)) for _, group in protocols])
    accepted = sum(o.status is not None and o.status < ERRORS for o in outcomes)
    unexpected = sum(not o.ok for o in outcomes)
    counts = f"{accepted} accepted, {len(outcomes) - accepted} refused"
    verdict = f"{unexpected} NOT AS EXPECTED" if unexpected else "all as expected"
    say("", f"{len(outcomes)} requests: {counts}, {verdict}.")


def _lines(group: Sequence[Outcome]) -> list[list[str]]:
    alike: dict[Outcome, list[Outcome]] = {}
    for outcome in group:
        alike.setdefault(replace(outcome, framework=""), []).append(outcome)
    return [_cells(same) for same in alike.values()]


def _cells(same: Sequence[Outcome]) -> list[str]:
    one = same[0]
    answer = one.answer if one.ok else f"{one.answer}; expected {one.expected}"
    return [
        one.protocol,
        one.sent,
        "all three" if len(same) == len(FRAMEWORKS) else " ".join(o.framework for o in same),
        "-" if one.status is None else str(one.status),
        _ID.sub(lambda found: f"{found[0][:_SHOWN]}…", answer),
        FINE if one.ok else UNEXPECTED,
    ]
