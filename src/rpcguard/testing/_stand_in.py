"""
What stands in for an application's verifier while a block of `as_principal` lasts.

The adapters ask the verifier of a `Source` for everything. For the time of the block that source is
of another class, which gives a stand-in of whatever verifier it holds: so the production classes
have no switch that could be left on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from rpcguard.contrib._http import Source
from rpcguard.errors import AuthError
from rpcguard.peer import parse_address
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier


class Block:
    """
    One block of `as_principal`.

    Attributes:
        principal: Whom requests come from.
        active: Whether it still lasts.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.active = True
        self._made: StandIn | None = None

    def stand_in(self, real: Verifier) -> StandIn:
        """Return the stand-in of *real*, the same one for the same verifier."""
        if self._made is None or self._made.real is not real:
            self._made = StandIn(real, self)
        return self._made


class StandIn(Verifier):
    """
    Lets the block's principal in; the real verifier judges all that is not the test's.

    Attributes:
        real: The real one.
    """

    def __init__(self, real: Verifier, block: Block) -> None:
        vars(self).update(vars(real))  # its registry, backend and clock, whatever else it has
        self.real = real
        self._block = block

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
        if self._lets_in(request):
            return self._admit(schemes, project)
        return self.real.verify(
            request, read_body, project=project, schemes=schemes, standing=standing, frames=frames
        )

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
        if self._lets_in(request):
            return self._admit(schemes, project)
        return await self.real.averify(
            request, read_body, project=project, schemes=schemes, standing=standing, frames=frames
        )

    def check_message(self, principal: Principal, text: bytes | str) -> None:
        """Let the principal's messages pass; see `Verifier.check_message`."""
        if not (self._block.active and principal == self._block.principal):
            self.real.check_message(principal, text)

    def acheck_message(self, principal: Principal, text: bytes | str) -> Awaitable[None]:
        """Let the principal's messages pass; see `Verifier.acheck_message`."""
        if self._block.active and principal == self._block.principal:
            return _nothing()
        return self.real.acheck_message(principal, text)

    def close(self) -> None:
        """Close the real one: the application is its owner."""
        self.real.close()

    def _lets_in(self, request: Request) -> bool:
        return self._block.active and is_local(request.client)

    def _admit(self, schemes: Collection[str] | None, project: str | None) -> Principal:
        """Return the principal, if a guard narrowed to *schemes* and *project* could let it in."""
        principal = self._block.principal
        if schemes is not None and principal.scheme not in schemes:
            raise AuthError("missing_credentials", detail="as_principal: another scheme")
        if project is not None and principal.project != project:
            raise AuthError("missing_credentials", detail="as_principal: another project")
        return principal


async def _nothing() -> None:
    return None


def is_local(peer: str | None) -> bool:
    """
    Return whether a request comes from this machine.

    Args:
        peer: Address of the socket's peer; "testclient" is what Starlette's client says.
    """
    if peer in (None, "unix", "testclient"):
        return True
    address = parse_address(str(peer))
    return address is not None and address.is_loopback


class _Impersonated(Source):
    _block: Block

    @property
    def verifier(self) -> Verifier:
        return self._block.stand_in(vars(self)["verifier"])

    @verifier.setter
    def verifier(self, real: Verifier) -> None:  # an application that starts again opens a new one
        vars(self)["verifier"] = real


@contextmanager
def standing_in(sources: Iterable[Source], principal: Principal) -> Iterator[None]:
    """Let *principal* in wherever one of *sources* is asked, until the block ends."""
    block = Block(principal)
    before = [(source, source.__class__, vars(source).get("_block")) for source in sources]
    for source, _, _ in before:
        vars(source)["_block"] = block
        source.__class__ = _Impersonated
    try:
        yield
    finally:
        block.active = False
        for source, kind, outer in before:
            source.__class__ = kind
            vars(source)["_block"] = outer
