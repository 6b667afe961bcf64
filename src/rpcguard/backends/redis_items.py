"""What waits on a line (`redis_lines`): how some are sent together, and what has come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from rpcguard.backends.redis_flow import Send
from rpcguard.backends.redis_links import written
from rpcguard.backends.redis_questions import Question
from rpcguard.backends.redis_settings import Address

# A question that waits: its deadline, what will have its outcome, and the step of the flow that put
# it. A settle that is put for the first time has no flow, and so no step; its future has the answer
# at once where that is OK, as it mostly is, and otherwise what its flow makes of the outcome. An
# object with a constructor would cost each question a third of a microsecond more.
Item = tuple[Question, float, "asyncio.Future[Any]", Send | None]


class Batch:
    """Questions that went out together, and the replies to them that have come."""

    __slots__ = ("items", "missing", "replies")

    def __init__(self, items: list[Item], missing: int) -> None:
        self.items = items
        self.missing = missing
        self.replies: list[Any] = []


def steps(items: Iterable[Item], address: Address) -> list[Send]:
    """Return the steps of *items*, which wait for *address*; that of a settle is the plain one."""
    return [step or Send(address, question) for question, _, _, step in items]


def commands(
    items: list[Item], address: Address, server: bytes, replicas: int, patience: float
) -> list[bytes]:
    """
    Return the commands that put *items* at once.

    Args:
        items: Who wait for *address*.
        address: The server.
        server: Names the server; see `bucket.lua`.
        replicas: How many must have what is written; 0 does not ask.
        patience: Seconds that are left, where replicas are asked for.
    """
    if replicas or any(step for _, _, _, step in items):
        return written(steps(items, address), server, replicas, patience)
    # The same, without an object and a call for each.
    return [question.start + server + question.rest for question, _, _, _ in items]


def settles(items: Iterable[Item]) -> int:
    """Return how many of *items* are settles that are put for the first time."""
    return sum(step is None for _, _, _, step in items)
