"""The outcomes as a table for people, or as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rpcguard.cli.demo.runner import Outcome
from rpcguard.cli.output import Column, say, say_table

FINE, UNEXPECTED = "ok", "UNEXPECTED"
LONGEST_ANSWER = 60
ERRORS = 400


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
    groups = [
        [_cells(list(same)) for _, same in itertools.groupby(group, _without_framework)]
        for _, group in itertools.groupby(outcomes, lambda outcome: outcome.protocol)
    ]
    say_table(_COLUMNS, groups)
    accepted = sum(o.status is not None and o.status < ERRORS for o in outcomes)
    unexpected = sum(not o.ok for o in outcomes)
    counts = f"{accepted} accepted, {len(outcomes) - accepted} refused"
    verdict = f"{unexpected} NOT AS EXPECTED" if unexpected else "all as expected"
    say("", f"{len(outcomes)} requests: {counts}, {verdict}.")


def _without_framework(outcome: Outcome) -> Outcome:
    return replace(outcome, framework="")


def _cells(same: Sequence[Outcome]) -> list[str]:
    one = same[0]
    answer = one.answer
    if len(answer) > LONGEST_ANSWER:
        answer = answer[: LONGEST_ANSWER - 1] + "…"
    return [
        one.protocol,
        one.sent,
        " ".join(outcome.framework for outcome in same),
        "-" if one.status is None else str(one.status),
        answer,
        FINE if one.ok else UNEXPECTED,
    ]
