"""
How one question is brought to an answer: where it goes, and what is done about what comes back.

A flow is a generator that does no I/O. It yields steps and is sent their outcomes; threads
(`redis_threads`) and event loops (`redis_loops`) take the steps. Nothing is decided twice, and
neither can wait longer than its own bound.

A question goes out again once at most, and only within the same bound. What was sent may have
arrived: then the question says so, and the script that has answered it before gives the same
answer (`bucket.lua`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from redis import exceptions

from rpcguard.backends.redis_questions import Question
from rpcguard.backends.redis_settings import Address, told
from rpcguard.errors import BackendError

PAUSE = 0.03  # seconds: some keys of a slot that moves are here and some there for about as long
_REDIRECTS = 3
_MEANINGS = {
    "BUSY": "the server is busy with a script",
    "CLUSTERDOWN": "the Cluster is down, or has nobody for this slot",
    "LOADING": "the server is loading its data",
    "MASTERDOWN": "the server is a replica that has lost its primary",
    "MISCONF": "the server cannot save to its disk and takes no writes",
    "NOAUTH": "the server wants a password",
    "NOPERM": "the server's ACL does not permit what rpcguard needs; see docs/operators.md",
    "NOREPLICAS": "the server has fewer good replicas than it is told to have, and takes no writes",
    "OOM": "the server's memory is full",
    "READONLY": "the server is a replica",
    "TRYAGAIN": "the keys are being moved to another node",
    "WRONGPASS": "the server does not accept the user and password",
}


class Wait(Enum):
    """A step that sends nothing."""

    SEARCH = "until it is known again where the servers are"
    PAUSE = "`PAUSE` seconds"


@dataclass(slots=True)  # not frozen: that would cost each question some microseconds
class Send:
    """
    A step that sends a question.

    Attributes:
        address: Where to.
        question: The question.
        again: Whether an earlier sending may have arrived.
        in_full: Whether the script goes with it.
        asking: Whether the node gets the slot only now and must be told to answer (`ASKING`).
    """

    address: Address
    question: Question
    again: bool = False
    in_full: bool = False
    asking: bool = False


@dataclass(slots=True)
class Reply:
    """
    An outcome: the script's reply.

    Attributes:
        value: As `redis_replies` reads it.
        confirmed: How many replicas have what was written, where that was asked.
    """

    value: Any
    confirmed: int = 0


class LostError(Exception):
    """
    An outcome: no reply.

    Attributes:
        sent: Whether the question may have arrived.
        late: Whether the time is up.
    """

    def __init__(self, text: str, *, sent: bool = False, late: bool = False) -> None:
        super().__init__(text)
        self.sent = sent
        self.late = late


Outcome = Reply | LostError | exceptions.ResponseError
Flow = Generator[Send | Wait, Outcome | None, Any]


class Directory(Protocol):
    """Knows which server has which bucket."""

    def locate(self, bucket: int) -> Address | None:
        """Return who has *bucket*; None while that is not known."""
        ...

    def moved(self, bucket: int, address: Address) -> None:
        """Note that *address* has it, and that others may have moved too."""
        ...

    def suspect(self) -> None:
        """Note that a server did not behave as who has the bucket."""
        ...


def answering(
    question: Question,
    directory: Directory,
    min_replicas: int,
    taken: tuple[Address, Outcome] | None = None,
) -> Flow:
    """
    Return the flow of *question*; its result is the script's reply.

    Args:
        question: The question.
        directory: Knows where the servers are.
        min_replicas: How many must confirm what is written.
        taken: Where the plain question was sent already, and the outcome: most are answered then,
            and need no flow.

    Raises:
        BackendError: If there is no answer that counts.
    """
    address, outcome = taken or (directory.locate(question.bucket), None)
    again = in_full = asking = retried = False
    redirects = 0
    while True:
        if address is None:
            yield Wait.SEARCH
            address = directory.locate(question.bucket)
            if address is None:
                raise BackendError("redis: nobody says where the primary is")
        if taken is None:
            outcome = yield Send(address, question, again, in_full, asking)
        taken = None
        asking = False
        if isinstance(outcome, Reply):
            _check_replicas(question, outcome, min_replicas)
            return outcome.value
        if isinstance(outcome, LostError):
            directory.suspect()
            if retried or outcome.late:
                raise BackendError(f"redis: {address}: {outcome}") from outcome
            retried, again = True, again or outcome.sent
            yield Wait.SEARCH
            address = directory.locate(question.bucket)
            continue
        assert outcome is not None  # whatever is sent has an outcome
        code, text = _read(outcome)
        if code == "NOSCRIPT" and not in_full:
            in_full = True
        elif code in {"MOVED", "ASK"} and redirects < _REDIRECTS:
            redirects += 1
            asking = code == "ASK"
            address = _target(text, address)
            if not asking:
                directory.moved(question.bucket, address)
        elif code == "READONLY" and not retried:
            retried = True
            directory.suspect()
            yield Wait.SEARCH
            address = directory.locate(question.bucket)
        elif code == "TRYAGAIN" and not retried:
            retried = True
            yield Wait.PAUSE
            address = directory.locate(question.bucket)
        else:
            if code in {"CLUSTERDOWN", "MASTERDOWN", "LOADING"}:
                directory.suspect()
            raise BackendError(f"redis: {address}: {_MEANINGS.get(code, code)}") from outcome


def _check_replicas(question: Question, reply: Reply, min_replicas: int) -> None:
    verdict = reply.value[0] if isinstance(reply.value, list) and reply.value else reply.value
    if question.writes and verdict == 0 and reply.confirmed < min_replicas:
        raise BackendError(
            f"redis: {reply.confirmed} of {min_replicas} replicas have confirmed in time"
        )


def _read(error: exceptions.ResponseError) -> tuple[str, str]:
    """Return the code of an error reply and what follows it."""
    text = str(error)
    word, _, rest = text.partition(" ")
    if word in _MEANINGS or word in {"MOVED", "ASK", "NOSCRIPT"}:
        return word, rest
    # what stops a script stands inside its own error: "Error running script …: -OOM command …"
    for code in ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"):
        if f"-{code} " in text:
            return code, rest
    return _meaning_of(text), rest


def _meaning_of(text: str) -> str:
    known = {
        "max number of clients reached": "the server has as many clients as it may",
        "cluster support disabled": "the server is not one of a Cluster; write redis://",
        "can't run commands": "the server's ACL does not permit what rpcguard needs",
    }
    for part, meaning in known.items():
        if part in text:
            return meaning
    return "the server refused the question"


def _target(text: str, asked: Address) -> Address:
    """Return the node in the text of a redirection; an empty host is the one that was asked."""
    host, _, port = text.rsplit(" ", maxsplit=1)[-1].rpartition(":")
    try:
        return told((host or asked.host).encode(), int(port))
    except ValueError:
        raise BackendError("redis: a redirection that cannot be read") from None
