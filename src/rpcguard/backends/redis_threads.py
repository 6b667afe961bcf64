"""Takes the steps of flows in a thread, which waits."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import TimeoutError as TooLate
from time import monotonic
from typing import Any

from rpcguard.backends.redis_flow import PAUSE, Flow, LostError, Outcome, Send, Wait
from rpcguard.backends.redis_pool import Pool
from rpcguard.backends.redis_search import Search
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import BackendError


class Threads:
    """The connections of a process for its threads."""

    __slots__ = ("_closed", "_pools", "_search", "_settings")

    def __init__(self, settings: Settings, search: Search) -> None:
        self._settings = settings
        self._search = search
        self._pools: dict[Address, Pool] = {}
        self._closed = False

    def run(self, flow: Flow, deadline: float) -> Any:
        """
        Return the result of *flow*.

        Args:
            flow: Not yet begun.
            deadline: When to give up, by the monotonic clock.

        Raises:
            BackendError: If there is no answer.
        """
        try:
            step = next(flow)
            while True:
                outcome: Outcome | None = None
                if isinstance(step, Send):
                    outcome = self._exchange(step.address, [step], deadline)[0]
                else:
                    self._wait(step, deadline)
                step = flow.send(outcome)
        except StopIteration as done:
            return done.value

    def run_all(self, flows: Sequence[Flow], deadline: float) -> list[Any]:
        """
        Return the results of *flows*, whose questions go out together.

        Raises:
            BackendError: If one of them gets no answer; others may have had theirs.
        """
        results: dict[int, Any] = {}
        steps: dict[int, Send | Wait] = {n: next(flow) for n, flow in enumerate(flows)}
        while steps:
            waits = {step for step in steps.values() if isinstance(step, Wait)}
            for wait in waits:
                self._wait(wait, deadline)
            got: dict[int, Outcome | None] = {
                n: None for n, step in steps.items() if isinstance(step, Wait)
            }
            by_address: dict[Address, dict[int, Send]] = defaultdict(dict)
            for n, step in steps.items():
                if isinstance(step, Send):
                    by_address[step.address][n] = step
            for address, sent in by_address.items():
                replies = self._exchange(address, list(sent.values()), deadline)
                got.update(zip(sent, replies, strict=True))
            for n, outcome in got.items():
                try:
                    steps[n] = flows[n].send(outcome)
                except StopIteration as done:
                    results[n] = done.value
                    del steps[n]
        return [results[n] for n in range(len(flows))]

    def keep(self, known: Collection[Address | None]) -> None:
        """Close the connections to servers that are not among the *known* ones."""
        for address in set(self._pools) - set(known):
            pool = self._pools.pop(address, None)
            if pool is not None:  # else another search has seen to it
                pool.close()

    def close(self) -> None:
        """Close all connections; who has one in use, or opens one, closes it after that."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()

    def _exchange(
        self, address: Address, steps: Sequence[Send], deadline: float
    ) -> Sequence[Outcome]:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools.setdefault(address, Pool(self._settings, address))
            if self._closed:
                pool.close()
        try:
            link = pool.take(deadline)
        except LostError as lost:
            return [lost] * len(steps)
        try:
            replies = link.ask(steps, self._settings.min_replicas, deadline)
        except LostError as lost:
            pool.drop(link)
            pool.clear()
            return [lost] * len(steps)
        except BaseException:
            pool.drop(link)  # replies may still be under way to it
            raise
        pool.give(link)
        return replies

    def _wait(self, step: Wait, deadline: float) -> None:
        left = max(0.0, deadline - monotonic())
        if step is Wait.PAUSE:
            threading.Event().wait(min(PAUSE, left))
            return
        try:
            self._search.again().result(left)
        except TooLate:
            raise BackendError("redis: nobody has said in time where the primary is") from None
