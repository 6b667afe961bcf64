"""Where a request comes from."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import jwt
import pytest
from minting import NOW

from rpcguard import AuthError, Request
from rpcguard.peer import Proxies, parse_address, parse_network, within

PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")), unix=True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),  # one client, one meaning
        ("::ffff:c000:201", "192.0.2.1"),
        ("::1", "::1"),
        ("", None),
        ("unix", None),
        ("localhost", None),
        ("192.0.2.01", None),  # octal somewhere
        ("192.0.2", None),
        ("3221225985", None),
        ("0xc0.0.2.1", None),
        ("192.0.2.1:80", None),
        ("[2001:db8::1]", None),
        ("[2001:db8::1]:80", None),
        ("fe80::1%eth0", None),
        (" 192.0.2.1", None),
        ("192.0.2.1\n", None),
        ("192.0.2.1/32", None),
        ("١٩٢.0.2.1", None),
        ("\udc80", None),
    ],
)
def test_an_address_has_one_spelling_or_none(text, address):
    assert parse_address(text) == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ],
)
def test_a_network(text, network):
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "010.0.0.0/8", "10.0.0.0/33", "10.*", "", "x"])
def test_a_network_with_host_bits_or_of_no_form_is_refused(text):
    with pytest.raises(ValueError):
        parse_network(text)


def test_versions_do_not_mix():
    assert not within(ip_address("10.0.0.1"), [ip_network("::/0")])
    assert within(ip_address("10.0.0.1"), [ip_network("::/0"), ip_network("10.0.0.1/32")])
    assert not within(ip_address("10.0.0.1"), [])


FORWARDED = [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["127.0.0.1"], "192.0.2.1"),  # a stranger's word
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
    ("::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
    ("10.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),  # from the right
    ("10.0.0.1", ["198.51.100.1, 192.0.2.7, 10.9.9.9"], "192.0.2.7"),
    ("10.0.0.1", ["198.51.100.1", "192.0.2.7"], "192.0.2.7"),  # two fields are one list
    ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ("10.0.0.1", ["127.0.0.1,\t192.0.2.7 "], "192.0.2.7"),
    ("10.0.0.1", ["192.0.2.7, garbage"], None),
    ("10.0.0.1", ["garbage, 192.0.2.7"], "192.0.2.7"),
    ("10.0.0.1", ["192.0.2.7:4711"], None),
    ("10.0.0.1", [""], None),
    ("10.0.0.1", ["192.0.2.7,"], None),
    ("10.0.0.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
    ("10.0.0.1", ["2001:db8::5, 10.0.0.2"], "2001:db8::5"),
    ("10.0.0.1", ["192.0.2.7" + ", 10.0.0.2" * 31], "192.0.2.7"),
    ("10.0.0.1", ["192.0.2.7" + ", 10.0.0.2" * 5000], None),  # nobody's real path
    ("unix", ["192.0.2.7"], "192.0.2.7"),
    ("unix", [], None),
    (None, ["192.0.2.7"], None),
    (None, [], None),
    ("2001:db8::1", ["192.0.2.7"], "192.0.2.7"),
]


@pytest.mark.parametrize(("peer", "fields", "client"), FORWARDED)
def test_x_forwarded_for_counts_from_the_right_through_trusted_proxies(peer, fields, client):
    found = PROXIES.client(peer, {"x-forwarded-for": fields} if fields else {})
    assert found == (ip_address(client) if client else None)


def test_by_default_nobody_is_trusted():
    fields = {"x-forwarded-for": ["192.0.2.7"], "x-forwarded-proto": ["https"]}
    for peer in ("127.0.0.1", "::1", "10.0.0.1"):
        assert Proxies().client(peer, fields) == ip_address(peer)
        assert Proxies().secure(peer, "http", fields) is False
    assert Proxies().client("unix", fields) is None


@pytest.mark.parametrize(
    ("peer", "scheme", "proto", "secure"),
    [
        ("192.0.2.1", "https", [], True),
        ("192.0.2.1", "http", [], False),
        ("192.0.2.1", "http", ["https"], False),
        ("192.0.2.1", "https", ["http"], True),
        ("10.0.0.1", "http", ["https"], True),
        ("10.0.0.1", "http", ["HTTPS "], True),
        ("10.0.0.1", "http", ["wss"], True),
        ("10.0.0.1", "https", ["http"], False),
        ("10.0.0.1", "http", ["https,http"], False),
        ("10.0.0.1", "http", ["http", "https"], True),
        ("10.0.0.1", "http", [""], False),
        ("10.0.0.1", "https", [], True),
        ("unix", "http", ["https"], True),
        (None, "http", ["https"], False),
    ],
)
def test_x_forwarded_proto_counts_from_a_trusted_proxy_alone(peer, scheme, proto, secure):
    fields = {"x-forwarded-proto": proto} if proto else {}
    assert PROXIES.secure(peer, scheme, fields) is secure


# --- Twins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_an_underscore_twin_of_a_forwarding_header_is_not_believed(guard, order):
    """A proxy that lets `X_Forwarded_For` pass must not forge for its client."""
    verifier = guard(
        """
        version: 1
        backend: memory://
        trusted_proxies: [127.0.0.1]
        projects:
          a:
            preset: meganode
            revocation: false
            require_https: true
            secrets: [{id: s, secret: ssssssssssssssssssssssssssssssss}]
            allow: {ips: [10.0.0.0/8]}
        """
    )
    token = jwt.encode({"exp": int(NOW) + 60}, "s" * 32, "HS256")
    forwarded = [("X-Forwarded-For", "203.0.113.9"), ("X_Forwarded_For", "10.1.1.1")][::order]
    proto = [("X-Forwarded-Proto", "https"), ("X_Forwarded_Proto", "http")][::order]
    headers = [("Authorization", f"Bearer {token}"), *forwarded, *proto]
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", "/", headers, b"", client="127.0.0.1", scheme="http"))
    assert caught.value.reason == "forbidden_ip"


@pytest.mark.parametrize("order", [1, -1])
def test_an_underscore_twin_is_not_believed_by_limits_issuing_and_the_audit_trail(
    guard, caplog, order
):
    """They look at the caller apart from the credential, and must see the same one."""
    caplog.set_level("INFO", "rpcguard.audit")
    verifier = guard(
        """
        version: 1
        backend: memory://
        trusted_proxies: [127.0.0.1]
        projects:
          plain:
            preset: nodius
            wallets: open
            session: {secret: ssssssssssssssssssssssssssssssss}
            limits: {per_ip: 1/day}
            allow: {ips: [10.0.0.0/8]}
          tls:
            preset: nodius
            match: {path: /tls}
            wallets: open
            require_https: true
            session: {secret: ssssssssssssssssssssssssssssssss}
        """
    )

    def reason(project: str, twin: int) -> str:
        forwarded = [("X-Forwarded-For", "203.0.113.9"), ("X_Forwarded_For", f"10.1.1.{twin}")]
        proto = [("X-Forwarded-Proto", "http"), ("X_Forwarded_Proto", "https")]
        headers = [*forwarded[::order], *proto[::order]]
        request = Request("POST", "/", headers, b"{}", client="127.0.0.1", scheme="http")
        with pytest.raises(AuthError) as caught:
            verifier.serve("/auth/challenge", request, project)
        return caught.value.reason

    assert reason("plain", 1) == "forbidden_ip"
    assert reason("plain", 2) == "rate_limited"
    assert reason("tls", 3) == "https_required"
    records = [each for each in caplog.records if each.name == "rpcguard.audit"]
    assert [each.rpcguard["client"] for each in records] == ["203.0.113.9"] * 3
