"""
What a registry would say to a captured request, and each check on the way there.

The checks are the server's own: the authenticator tells a `Trace` what it looks at. Only asking the
backend differs: it is asked what it knows, and nothing is spent.
"""

from __future__ import annotations

from dataclasses import dataclass

from rpcguard.authenticator import Authenticator
from rpcguard.backends.base import Backend
from rpcguard.errors import AuthError, BackendError
from rpcguard.owed import Answer, Owed, Verdict
from rpcguard.pending import Pending
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.steps import Asked, Counting
from rpcguard.trace import Step, Trace

_NO_BODY = "the body is needed: say --body-file, or give the whole request"
_LIMITS = Step("limits", "no request is counted here")
_NO_RECORD = "only the backend knows whose API key this is"


@dataclass(frozen=True, slots=True)
class Backends:
    """
    Whom to ask what only the backend knows.

    Attributes:
        backend: It, or None where it is not asked.
        now: Unix seconds of this moment, whenever the request was captured.
        why: Why it is not asked.
    """

    backend: Backend | None
    now: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came out: one of *principal*, *error* and *undecided*.

    Attributes:
        steps: The checks that were made, in order; where there is an error, the last one failed.
        unasked: Questions that only the backend could have answered.
        principal: Who would be let in.
        error: Why the request would be refused.
        undecided: What is missing to tell.
        body: The body, where the server would have read it before it refused.
    """

    steps: tuple[Step, ...]
    unasked: tuple[Step, ...] = ()
    principal: Principal | None = None
    error: AuthError | None = None
    undecided: str = ""
    body: bytes | None = None


def judge(
    authenticator: Authenticator,
    request: Request,
    now: float,
    backends: Backends,
    project: str | None = None,
) -> Outcome:
    """
    Return what a server with this registry would say to *request*.

    Args:
        authenticator: The registry.
        request: The request; its body is None where it is not known.
        now: Unix seconds at which the request is judged.
        backends: Whom to ask.
        project: Name of the project, whatever the target says.
    """
    trace = Trace()
    unasked: list[Step] = []
    body = b"" if request.websocket else None  # as a server has it before it reads
    asked, judged = Asked(project, trace=trace), request.with_body(body)
    try:
        step = authenticator.authenticate(judged, now, asked)
        while not isinstance(step, Pending):  # as the drivers do it
            if isinstance(step, Counting):
                asked = asked._replace(counted=True)
                unasked += [_LIMITS] if step.charges else []
            elif request.body is None:
                return Outcome(tuple(trace.steps), undecided=_NO_BODY)
            else:
                judged, body = request, request.body
            trace = Trace()
            asked = asked._replace(trace=trace)
            step = authenticator.authenticate(judged, now, asked)
        unasked += [_LIMITS] if step.charges and not unasked else []
        if backends.backend is None:
            unasked += [Step(name, backends.why) for name, _ in _questions(step.owed)]
            if step.owed.record is not None:
                return Outcome(tuple(trace.steps), tuple(unasked), undecided=_NO_RECORD)
            answer = Answer.OK
        else:
            answer = _ask(backends.backend, step, backends.now, trace)
        principal = step.conclude(answer)
    except AuthError as error:
        return Outcome(tuple(trace.steps), error=error, body=body)
    return Outcome(tuple(trace.steps), tuple(unasked), principal=principal)


def _ask(backend: Backend, pending: Pending, now: float, trace: Trace) -> Answer:
    """Ask what *pending* owes, in the order of `Backend.settle`, and spend nothing."""
    answer = Answer.OK
    try:
        for name, owed in _questions(pending.owed):
            trace.note(name)
            if owed.nonce is None:
                answer = backend.settle(owed, now)
            elif backend.spent(owed.project, owed.subject, [owed.nonce.name], now):
                answer = Answer.REPLAYED
            if answer.verdict is not Verdict.OK:
                return answer
    except BackendError as error:
        raise pending.unavailable(str(error)) from None
    return answer


def _questions(owed: Owed) -> list[tuple[str, Owed]]:
    """Return what *owed* asks, one by one; a question without a nonce writes nothing."""
    questions = []
    standing = owed._replace(nonce=None)
    if standing:
        questions.append(("record" if owed.record is not None else "revocation", standing))
    if owed.nonce is not None:
        questions.append(("single use", owed))
    return questions
