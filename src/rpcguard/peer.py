"""Where a request comes from, when some peers are proxies and only those may say so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FIELDS = frozenset({"x-forwarded-for", "x-forwarded-proto"})
MAX_HOPS = 32  # a longer chain is nobody's real path


def parse_address(text: str) -> Address | None:
    """Return the address that *text* spells, IPv4-mapped IPv6 as IPv4; None if it spells none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def parse_network(text: str) -> Network:
    """
    Return the network that *text* spells, IPv4-mapped IPv6 as IPv4.

    Raises:
        ValueError: If it spells none, has host bits set (`10.0.0.1/8` means what?), or is that of
            one interface: no peer's address would ever be in it.
    """
    if "%" in text:
        raise ValueError("the network of one interface")
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Return whether *address* is in one of *networks*."""
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class Proxies:
    """
    The peers whose `X-Forwarded-*` count.

    Attributes:
        networks: Trusted peers.
        unix: Whether peers on a Unix socket are trusted.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def _trusts(self, peer: str | None) -> bool:
        if peer == "unix":
            return self.unix
        address = parse_address(peer) if peer else None
        return address is not None and within(address, self.networks)

    def client(self, peer: str | None, fields: Mapping[str, Sequence[str]]) -> Address | None:
        """
        Return the client's address: the peer's, or where a trusted proxy says so, the rightmost
        entry of `X-Forwarded-For` that is not itself a trusted proxy. None if it cannot be told.
        """
        forwarded = fields.get("x-forwarded-for")
        if not forwarded or not self._trusts(peer):
            return parse_address(peer) if peer else None
        hops = ",".join(forwarded).rsplit(",", MAX_HOPS)
        address: Address | None = None
        for hop in reversed(hops):
            address = parse_address(hop.strip(" \t"))
            if address is None or not within(address, self.networks):
                return address
        return address

    def secure(self, peer: str | None, scheme: str, fields: Mapping[str, Sequence[str]]) -> bool:
        """Return whether the client spoke HTTPS, by the connection or a trusted proxy's word."""
        forwarded = fields.get("x-forwarded-proto")
        if forwarded and self._trusts(peer):
            return forwarded[-1].rsplit(",", 1)[-1].strip(" \t").lower() in ("https", "wss")
        return scheme == "https"
