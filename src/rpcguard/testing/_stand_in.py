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
        frames: bool = False,
    ) -> Principal:
        """Return the principal; see `Verifier.verify`."""
        if not is_local(request.client):
            return self._real.verify(
                request,
                read_body,
                project=project,
                schemes=schemes,
                standing=standing,
                frames=frames,
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
        frames: bool = False,
    ) -> Principal:
        """Return the principal; see `Verifier.averify`."""
        if not is_local(request.client):
            return await self._real.averify(
                request,
                read_body,
                project=project,
                schemes=schemes,
                standing=standing,
                frames=frames,
            )
        check(self._principal, schemes, project)
        return self._principal

    def check_message(self, principal: Principal, text: bytes | str) -> None:
        """Let every message of the principal through; see `Verifier.check_message`."""
        if principal is not self._principal:
            self._real.check_message(principal, text)

    async def acheck_message(self, principal: Principal, text: bytes | str) -> None:
        """`check_message` for a running event loop."""
        if principal is not self._principal:
            await self._real.acheck_message(principal, text)

    def close(self) -> None:
        """Close the real one: whoever opened that asks for it."""
        self._real.close()
