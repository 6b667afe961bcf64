"""
The seam between the pure half and the backend.

`authenticate` proves all that can be proved without I/O and gives a `Pending`: a principal that
cannot be reached yet, and what is *owed*. The driver asks the backend in one atomic step, and
`conclude` gives the principal or refuses.
"""

from __future__ import annotations

from collections.abc import Callable

from rpcguard.errors import AuthError
from rpcguard.owed import Answer, Owed, Verdict
from rpcguard.principal import Principal
from rpcguard.rates import Charge

_OK = Verdict.OK  # a member is found a good deal faster here than in its class
_REFUSALS = {
    Verdict.REVOKED: ("revoked", "the credential, its session, subject or key is revoked"),
    Verdict.REPLAYED: ("replayed", "it was used before"),
    Verdict.FORGOTTEN: ("expired", "older than what the backend remembers"),
    Verdict.UNKNOWN: ("invalid_credentials", "no such record, or it has ended"),
    Verdict.SUBJECT_FULL: ("rate_limited", "the subject holds as much as it may"),
    Verdict.PROJECT_FULL: ("backend_unavailable", "the project holds as much as it may"),
}


class Pending:
    """
    A proved request whose principal stays hidden until the backend has answered.

    Attributes:
        owed: The questions for the backend.
        charges: What is to be counted now: first for who is proved, and after `conclude` for who
            only the backend could tell.
    """

    __slots__ = ("_caller", "_dress", "_outcome", "charges", "owed")

    def __init__(
        self,
        outcome: Principal | Callable[[str | None], Principal],
        owed: Owed,
        dress: Callable[[AuthError], AuthError],
        caller: Principal | None = None,
        charges: tuple[Charge, ...] = (),
    ) -> None:
        """
        Args:
            outcome: The principal, or what gives it from the record's value where one is owed, and
                may refuse.
            owed: The questions for the backend.
            dress: Gives a refusal the project's form.
            caller: Who is proved so far, or None.
            charges: What is to be counted before the backend is asked.
        """
        self._outcome = outcome
        self.owed = owed
        self._dress = dress
        self._caller = caller
        self.charges = charges

    def dress(self, error: AuthError) -> AuthError:
        """Give a refusal the project's form, and the log the name of who was refused."""
        if self._caller is not None:
            error.caller = self._caller.who
        return self._dress(error)

    def take_charges(self) -> tuple[Charge, ...]:
        """Return what is to be counted now, once."""
        charges, self.charges = self.charges, ()
        return charges

    def conclude(self, answer: Answer | None) -> Principal:
        """
        Return the principal.

        Args:
            answer: What the backend said; None only where nothing is owed.

        Raises:
            AuthError: If the backend refused, or what it knows of the credential does.
        """
        if answer is None:
            if self.owed:
                raise self.unavailable(detail="owed and not asked")
            answer = Answer.OK
        if answer.verdict is not _OK:
            reason, detail = _REFUSALS[answer.verdict]
            raise self.dress(AuthError(reason, detail=detail))
        outcome = self._outcome
        if isinstance(outcome, Principal):
            return outcome
        try:
            self._caller = outcome(answer.record)
        except AuthError as error:
            raise self._dress(error) from None
        return self._caller

    def unavailable(self, detail: str) -> AuthError:
        """Return the refusal for a backend that did not answer."""
        return self.dress(AuthError("backend_unavailable", detail=detail))
