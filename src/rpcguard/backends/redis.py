"""
`redis://` and its kin: nonces, revocations and records of many machines, in Redis or Valkey.

One question is one script in one slot and one round trip (`redis_questions`, `lua/`), the same for
a single server, Sentinel and Cluster, and for threads and event loops. What is decided about a
server that fails, moves or restarts stands in `redis_flow` and `lua/bucket.lua`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from time import monotonic
from typing import Any

from rpcguard.backends import forking
from rpcguard.backends.redis_flow import Flow, answering
from rpcguard.backends.redis_loops import Loops
from rpcguard.backends.redis_places import Places
from rpcguard.backends.redis_questions import BUCKETS, Asking, Question, answer_of, read_of
from rpcguard.backends.redis_search import Search
from rpcguard.backends.redis_settings import Settings
from rpcguard.backends.redis_threads import Threads
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Owed, Record, Revocation, Verdict

_OPENING_PATIENCE = 4  # times the timeout, for asking something of all buckets

# Connections that a fork has copied. Their sockets are the parent's; nobody here touches them.
_inherited: list[object] = []


class RedisBackend:
    """The backend of many machines: safe across threads, event loops, processes and forks."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is connected before the first question, or `start`."""
        self._settings = settings
        self._asking = Asking(settings.key_prefix, settings.timeout)
        self._closed = False
        self._set_up()
        forking.watch(self)

    def _set_up(self) -> None:
        self._places = Places(self._settings.max_waiting)
        self._search = Search(self._settings, self._meet)
        self._threads = Threads(self._settings, self._search)
        self._loops = Loops(self._settings, self._search, self._places)

    def start(self, now: float) -> None:
        """
        Note that what is spent from *now* on is known, in the buckets that have no state yet.

        Where this fails, a bucket is noted at its first question, and refuses proofs that are older
        than that.

        Args:
            now: Unix seconds.

        Raises:
            BackendError: If one of the servers does not answer in time, or must not be used.
        """
        self._ask_all(self._asking.opening(now), _OPENING_PATIENCE)

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the record, and the
        nonce is spent last.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the servers do not answer in time, or must not be used. The nonce may
                be spent nevertheless; it is never accepted twice.
        """
        if owed.nonce is None and not owed:
            self._check_open()
            return Answer.OK
        return answer_of(self._ask(self._asking.settle(owed, now)))

    def asettle(self, owed: Owed, now: float) -> asyncio.Future[Answer]:
        """
        `settle` without blocking the event loop; what many tasks ask at once goes out together.

        The question is put at once, in the loop that runs. No coroutine: who waits for many needs
        no task for each, which would cost more than to put the question.

        Returns:
            What will have the answer, or a `BackendError` as `settle` raises it.
        """
        try:
            self._check_open()
            if owed.nonce is not None or owed:
                return self._loops.settle(self._asking.settle(owed, now))
        except BackendError as error:
            refused: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused
        nothing: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        nothing.set_result(Answer.OK)
        return nothing

    def epoch(self, bucket: int) -> bytes:
        """
        Return what changes when nonces of *bucket* may have been lost: when its server was
        restarted, was emptied, or gave way to a replica.

        Raises:
            BackendError: If the servers do not answer in time, or must not be used.
        """
        found, _ = read_of(self._ask(self._asking.epoch(bucket)), 0)
        return found

    def spent(
        self, project: str, subject: str, names: Sequence[bytes], now: float
    ) -> frozenset[bytes]:
        """
        Return those of *names* that are nonces which *subject* has spent in *project*.

        Raises:
            BackendError: As `epoch`.
        """
        reply = self._ask(self._asking.spent(project, subject, names, now))
        _, found = read_of(reply, len(names))
        return frozenset(name for name, yes in zip(names, found, strict=True) if yes)

    def put(self, record: Record, now: float) -> Answer:
        """
        Keep *record*; what its slot held ends in the same step. It is as durable as the server is
        told to be, and on `min_replicas` replicas.

        `SUBJECT_FULL` or `PROJECT_FULL`, and nothing changes, where there is no room. A project may
        have 1/256 of its records in one bucket, or as many as one of its subjects.

        Raises:
            BackendError: As `epoch`; also if another slot of the bucket has a record of this name.
        """
        return answer_of(self._ask(self._asking.put(record, now)))

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """
        Put *record* in the place of the record *name*, in one step, if its slot holds that.

        Raises:
            BackendError: As `put`.
        """
        return answer_of(self._ask(self._asking.rotate(name, record, now)))

    def drop(self, bucket: int, slot: bytes, now: float) -> bool:
        """
        End the record in *slot*; return whether there was one.

        Raises:
            BackendError: As `epoch`.
        """
        answer = answer_of(self._ask(self._asking.drop(bucket, slot, now)))
        return answer.verdict is Verdict.OK

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*; every process sees them from its next question on.

        Raises:
            BackendError: As `epoch`. Some buckets may have recorded them; do it again.
        """
        self._ask_all(list(self._asking.revoke(revocations, now)), 1)

    def close(self) -> None:
        """Close all connections. Closing twice is harmless."""
        self._closed = True
        self._threads.close()
        self._loops.close()

    def before_fork(self) -> None:
        """Do nothing: the child starts anew with nothing of what is under way here."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Go on with connections of one's own."""
        _inherited.append((self._threads, self._loops, self._search))
        self._set_up()

    def _meet(self, buckets: Sequence[int]) -> None:
        """
        Let the new servers of *buckets* write there that they have them now.

        A server may have them back later. It cannot tell then what it lost when it took over the
        other one's data, unless that shows that there was another one in between. A bucket that is
        not met in time is met by its next question. Connections to who has no bucket are closed.
        """
        self._threads.keep({self._search.locate(bucket) for bucket in range(BUCKETS)})
        flows = [self._flow(self._asking.epoch(bucket)) for bucket in buckets]
        with contextlib.suppress(BackendError):
            self._check_open()
            self._threads.run_all(flows, monotonic() + self._settings.timeout * _OPENING_PATIENCE)

    def _flow(self, question: Question) -> Flow:
        return answering(question, self._search, self._settings.min_replicas)

    def _ask(self, question: Question) -> Any:
        deadline = monotonic() + self._settings.timeout
        self._check_open()
        with self._places:
            return self._threads.run(self._flow(question), deadline)

    def _ask_all(self, questions: Sequence[Question], patience: float) -> None:
        deadline = monotonic() + self._settings.timeout * patience
        self._check_open()
        with self._places:
            self._threads.run_all([self._flow(each) for each in questions], deadline)

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("redis: the backend is closed")
