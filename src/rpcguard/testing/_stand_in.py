"""A verifier that lets one principal in, for the adapters that ask a verifier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.testing.impersonation import check, is_local
from rpcguard.verifier import Verifier


class StandIn(Verifier):
    """In the place of the *real* one, which stays open and judges all that is not the test's."""

    def __init__(self, real: Verifier, principal: Principal) -> None:
        vars(self).update(vars(real))  # its registry, backend and clock, whatever else it has
        self._real = real
        self._principal = principal

    def verify(
        self,
        request: Request,
        read_body: Callable[[int], bytes] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
        standing: bool = False,
    ) -> Principal:
        """Return the principal; see `Verifier.verify`."""
        if not is_local(request.client):
            return self._real.verify(
                request, read_body, project=project, schemes=schemes, standing=standing
            )
        check(self._principal, schemes, project)
        return self._principal

    async def averify(
        self,
        request: Request,
        read_body: Callable[[int], Awaitable[bytes]] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
        standing: bool = False,
    ) -> Principal:
        """Return the principal; see `Verifier.averify`."""
        if not is_local(request.client):
            return await self._real.averify(
                request, read_body, project=project, schemes=schemes, standing=standing
            )
        check(self._principal, schemes, project)
        return self._principal

    def close(self) -> None:
        """Leave the real one open: it is its owner's to close."""
