"""Where callers come from and how they are connected, as the trusted proxies let it be told."""

from __future__ import annotations

from collections.abc import Mapping

from rpcguard.errors import AuthError
from rpcguard.peer import FIELDS as PEER_FIELDS
from rpcguard.peer import Proxies
from rpcguard.policy import Facts, may_be_several
from rpcguard.project import Project
from rpcguard.rates import caller_charges, network_of
from rpcguard.request import Request
from rpcguard.steps import Counting

FIELDS = frozenset({"origin", "user-agent", *PEER_FIELDS})  # header fields that are looked at

Fields = Mapping[str, list[str]]


class Callers:
    """What one registry makes of where requests come from. Immutable and shared by all threads."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def facts(self, request: Request, fields: Fields | None = None) -> Facts:
        """
        Return what a policy looks at in the caller of *request*.

        Args:
            request: The request.
            fields: Its header fields, `FIELDS` at least, where they are read already.
        """
        if fields is None:
            fields = request.fields(FIELDS, PEER_FIELDS)
        address = self._proxies.client(request.client, fields)
        agents = fields.get("user-agent", [])
        if request.joined and any(map(may_be_several, agents)):
            agents = []
        return Facts(address, fields.get("origin", ()), agents)

    def check_https(self, project: Project, request: Request, fields: Fields | None = None) -> None:
        """
        Refuse a plain *request* where *project* demands HTTPS; *fields* as in `facts`.

        Raises:
            AuthError: `https_required`.
        """
        if not project.require_https:
            return
        if fields is None:
            fields = request.fields(PEER_FIELDS, PEER_FIELDS)
        if not self._proxies.secure(request.client, request.scheme, fields):
            raise AuthError("https_required")

    def count(self, project: Project, request: Request) -> Counting:
        """Return what is to be counted of *request* before anything else is done with it."""
        limits = project.policy.limits if project.policy else None
        if limits is None or not limits.per_ip:
            return Counting((), project)
        address = self._proxies.client(request.client, request.fields(PEER_FIELDS, PEER_FIELDS))
        return Counting(caller_charges(limits, project.name, network_of(address)), project)
