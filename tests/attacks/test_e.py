"""
E: what HTTP makes of a request. What depends on a server is tested on real ones: here, and under
the same numbers in `tests/contrib`.
"""

from __future__ import annotations

import gzip
import json

import pytest
from contrib import credentials as cred
from contrib.servers import Served
from contrib.wire import Headers, connection, head, read_answer, request
from minting import NOW, SECRET, Wallet, bearer, hour, order_token, replaced, token

from attacks.site import API_KEY, problems, project
from rpcguard import AuthError, Request

MALFORMED, AMBIGUOUS = "malformed_credentials", "ambiguous_credentials"
BINDING, TARGET = "invalid_binding", "invalid_target"
ALICE = Wallet(1)
GOOD = token(hour())


@pytest.fixture
def fresh(make):
    """A site for what spends nonces."""
    return make()


@pytest.mark.parametrize(
    "second", [f"Bearer {GOOD}", "Basic eDp5", "Bearer x", "", "Digest x", f"bearer {GOOD}"]
)
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_E1_two_authorization_fields_are_refused_in_either_order(site, second, name):
    pair = [("Authorization", f"Bearer {GOOD}"), (name, second)]
    for headers in (pair, pair[::-1]):
        assert site.denies("/hs", headers) == MALFORMED
    joined = [("Authorization", ", ".join(value for _, value in pair))]
    assert site.denies("/hs", joined, joined=True) == MALFORMED


@pytest.mark.parametrize("name", ["X-Nonce", "X-Pubkey", "X-Timestamp", "X-Signature"])
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda name: name.replace("-", "_")])
@pytest.mark.parametrize("same", [True, False])
def test_E2_a_field_that_occurs_twice_is_refused(fresh, name, spell, same):
    signed = ALICE.v1()
    value = (
        dict(signed)[name] if same else dict(Wallet(2).v1(timestamp=NOW + 1, nonce="1" * 16))[name]
    )
    for headers in ([*signed, (spell(name), value)], [(spell(name), value), *signed]):
        assert fresh.denies("/wallet", headers) == MALFORMED
    assert fresh.told("/wallet", signed) == ""


@pytest.mark.parametrize("name", ["X-Nonce", "X-Pubkey", "X-Timestamp", "X-Signature"])
@pytest.mark.parametrize("glue", [",", ", ", " , ", ";"])
def test_E3_values_that_a_proxy_has_joined_are_refused(site, name, glue):
    signed = ALICE.v1()
    value = dict(signed)[name]
    for text in (f"{value}{glue}{value}", f"{value}{glue}", f"{glue}{value}"):
        assert site.denies("/wallet", replaced(signed, name, text), joined=True) == MALFORMED
        assert site.denies("/wallet", replaced(signed, name, text)) == MALFORMED


@pytest.mark.parametrize("name", ["Authorization", "X-Nonce", "X-Auth-Version"])
@pytest.mark.parametrize("odd", ["\r\n ", "\n", "\r", "\0", "\r\nX-Nonce: 1"])
def test_E4_a_line_break_in_a_value_is_refused(site, name, odd):
    if name == "Authorization":
        assert site.denies("/hs", [(name, f"Bearer {GOOD[:9]}{odd}{GOOD[9:]}")]) == MALFORMED
        assert site.denies("/hs", [(name, f"Bearer{odd}{GOOD}")]) == MALFORMED
    else:
        signed = ALICE.v2("POST", "/v2")
        value = dict(signed)[name] + odd
        assert site.denies("/v2", replaced(signed, name, value)) == MALFORMED


def test_E5_two_kinds_of_credential_are_refused_even_if_both_are_good(make):
    site = make()
    session = site.verifier.issue("wallet", ALICE.pubkey)["token"]
    key = site.verifier.new_api_key("wallet", ALICE.pubkey)
    for bearing in (session, key, "nonsense"):
        assert site.denies("/wallet", [*ALICE.v1(), *bearer(bearing)]) == AMBIGUOUS
    half = [pair for pair in ALICE.v1() if pair[0] == "X-Nonce"]
    assert site.denies("/wallet", [*half, *bearer(session)]) == AMBIGUOUS
    assert site.told("/wallet", ALICE.v1()) == ""  # its nonce was not spent by the ambiguous ones
    both = json.loads(json.dumps(project("hs")))
    both["projects"]["hs"]["api_keys"] = project("key")["projects"]["key"]["api_keys"]
    two = make(json.dumps(both))
    assert two.told(f"/hs/{API_KEY}") == ""
    assert two.denies(f"/hs/{API_KEY}", GOOD) == AMBIGUOUS
    assert two.denies("/hs/wrong", GOOD) == AMBIGUOUS  # no fall-through to the good one


@pytest.mark.parametrize(
    ("signed", "sent", "reason"),
    [
        ("/v2/other", "/v2", BINDING),
        ("/v2/", "/v2", BINDING),
        ("/v2", "/v2/", BINDING),
        ("/V2", "/v2", BINDING),
        ("/v2/x", "/v2/X", BINDING),
        ("/v2//x", "/v2//x", TARGET),
        ("/v2/./x", "/v2/./x", TARGET),
        ("/v2/../v2", "/v2/../v2", TARGET),
        ("/v2;p", "/v2", BINDING),
        ("/v2/x;p", "/v2/x", BINDING),
        ("/v2/x\0", "/v2/x\0", TARGET),
        ("/v2#f", "/v2#f", TARGET),
        ("/v2", "/v2#f", TARGET),
        ("v2", "/v2", BINDING),
        ("", "/v2", BINDING),
        # E7: spellings
        ("/v2/%61", "/v2/%61", TARGET),
        ("/v2/a", "/v2/%61", TARGET),
        ("/v2/%2F", "/v2/%2F", TARGET),
        ("/v2/%2f", "/v2/%2F", TARGET),
        ("/v2/%3a", "/v2/%3A", BINDING),
        ("/v2/é", "/v2/%C3%A9", BINDING),
        ("/v2/%C3%A9", "/v2/é", TARGET),
        ("/v2/%c3%a9", "/v2/%C3%A9", BINDING),
        # E8: the query
        ("/v2", "/v2?x=1", BINDING),
        ("/v2?x=1", "/v2", BINDING),
        ("/v2?a=1&b=2", "/v2?b=2&a=1", BINDING),
        ("/v2?a=1", "/v2?a=1&", BINDING),
        ("/v2?a=%31", "/v2?a=1", BINDING),
    ],
)
def test_E6_E7_E8_the_target_is_compared_byte_for_byte(site, signed, sent, reason):
    headers = ALICE.v2("POST", sent)
    headers = replaced(headers, "X-Http-Path", signed)
    assert site.denies(sent, headers) == reason
    assert site.denies(sent, ALICE.v2("POST", signed)) == reason


def test_E9_E10_only_a_configured_prefix_counts(make):
    site = make(json.dumps(project("v2", public_prefix="/api")))
    assert site.denies("/v2/x", ALICE.v2("POST", "/v2/x")) == BINDING
    assert site.told("/v2/x", ALICE.v2("POST", "/api/v2/x")) == ""
    plain = make(json.dumps(project("v2")))
    for name in (
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Script-Name",
        "Forwarded",
    ):
        moved = [*ALICE.v2("POST", "/api/v2/x"), (name, "/api")]
        assert plain.denies("/v2/x", moved) == BINDING
        assert plain.denies("/elsewhere", [*bearer(GOOD), (name, "/hs")]) == "no_project"


@pytest.mark.parametrize(
    "target",
    ["http://node.example/v2", "https://node.example/hs", "//node.example/hs", "*", "node.example:443",
     "", "hs", "?x", "\\hs", "/hs\\..\\v2"],
)  # fmt: skip
def test_E11_only_a_target_in_origin_form_is_taken(site, target):
    for method in ("POST", "CONNECT", "OPTIONS", "GET"):
        assert site.denies(target, GOOD, method=method) == TARGET
        assert site.denies(target, ALICE.v2(method, target), method=method) == TARGET


@pytest.mark.parametrize(
    "target",
    ["/open/../v1/", "/open/./v1", "//open", "/open/", "/OPEN", "/open;x", "/%6fpen", "/open%2f",
     "/open/..", "/v1/../open", "/open%00", "/x/open"],
)  # fmt: skip
def test_E12_another_form_of_an_open_path_is_not_open(server: Served, target: str) -> None:
    answer = request(server.port, "GET", target, body=None)
    if answer.status == 200:  # the open route itself, which its framework routes decoded
        # An exemption, of aiohttp and of a guarded whole, is a path as it was sent
        assert server.name in ("uvicorn", "werkzeug")
        assert target in ("/%6fpen", "//open")
        assert answer.body == request(server.port, "GET", "/open", body=None).body
    else:
        assert answer.status in (400, 401, 403, 404, 308)


@pytest.mark.parametrize(
    ("signed", "sent"),
    [("post", "POST"), ("POST", "post"), ("GET", "HEAD"), ("HEAD", "GET"), ("PUT", "POST")],
)
def test_E13_the_method_is_the_one_on_the_wire(site, signed, sent):
    override = [("X-HTTP-Method-Override", signed), ("X-Method-Override", signed)]
    headers = [*ALICE.v2(signed, "/v2"), *override]
    assert site.denies("/v2", headers, method=sent) == BINDING
    assert (
        site.denies("/v2", replaced(headers, "X-Http-Method", sent), method=sent)
        == "invalid_credentials"
    )
    assert site.denies(f"/v2?_method={signed}", headers, method=sent) == BINDING


def test_E13_a_preflight_without_a_credential_gives_no_data(server: Served) -> None:
    asks: Headers = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")]
    answer = request(server.port, "OPTIONS", "/v1/", asks, None)
    assert (answer.status, answer.reason) == (401, "missing_credentials")
    assert answer.all("access-control-allow-origin") == []


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "x-gzip"]
)
def test_E14_a_compressed_body_that_must_be_read_is_refused_before_it_is_unpacked(site, coding):
    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < 20_000
    headers = [*ALICE.v1(bomb), ("Content-Encoding", coding)]
    assert site.denies("/wallet", headers, bomb) == "unsupported_encoding"
    assert site.denies("/methods", [*bearer(GOOD), ("Content-Encoding", coding)], bomb) == (
        "unsupported_encoding"
    )
    assert site.told("/hs", [*bearer(GOOD), ("Content-Encoding", coding)], bomb) == ""  # not read


def test_E15_a_length_that_lies_is_no_verdict(server: Served) -> None:
    body = b"0123456789" * 50
    signed = cred.nodius(body)
    with connection(server.port) as sock:  # less arrives than was declared
        sock.sendall(head("POST", "/solana", [*signed, ("Content-Length", "1000")]) + body)
    with connection(server.port) as sock:  # more arrives than was declared
        sock.sendall(head("POST", "/solana", [*signed, ("Content-Length", "100")]) + body)
        assert read_answer(sock).status in (400, 401)
    assert request(server.port, "POST", "/solana", signed, body).status == 200


def test_E16_a_body_beyond_the_bound_is_refused_and_the_proofs_form_comes_first(site):
    limits: list[int] = []

    def read(limit):
        limits.append(limit)
        raise AuthError("body_too_large")

    def ask(headers):
        with pytest.raises(AuthError) as caught:
            site.verifier.verify(Request("POST", "/wallet", headers, None), read)
        return caught.value.reason

    assert ask(ALICE.v1()) == "body_too_large"
    assert limits == [5 << 20]
    for bad in (ALICE.v1(timestamp=NOW - 60), replaced(ALICE.v1(), "X-Nonce", "x"), []):
        assert ask(bad) in ("expired", MALFORMED, "missing_credentials")
    assert limits == [5 << 20]
    too_large = bytes((5 << 20) + 1)
    assert site.denies("/wallet", ALICE.v1(too_large), too_large) == "body_too_large"


def test_E17_no_body_and_an_empty_one_hash_alike(fresh):
    assert fresh.told("/wallet", ALICE.v1(b""), b"") == ""
    read = fresh.verifier.verify(
        Request("POST", "/wallet", ALICE.v1(b"", nonce="1" * 16), None), lambda _: b""
    )
    assert read.subject == ALICE.pubkey


def test_E19_two_accounts_of_a_bodys_length_are_never_a_second_request(server: Served) -> None:
    smuggled = b"POST /open-upload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    body = b"0\r\n\r\n" + smuggled
    fields = [
        *cred.nodius(body),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", str(len(body))),
    ]
    with connection(server.port) as sock:
        sock.sendall(head("POST", "/solana", fields) + body)
        answer = read_answer(sock)
    assert answer.status in (400, 401)  # the whole of it was not what was signed


BATCHES = [
    ([{"method": "eth_call"}, {"method": "admin_peers"}], "forbidden_method"),
    ([{"method": "admin_peers"}, {"method": "eth_call"}], "forbidden_method"),
    ([{"method": "eth_call"}] * 99 + [{"method": "admin_peers"}], "forbidden_method"),
    ([{"method": "eth_call\0"}], "forbidden_method"),
    ([{"method": "eth_call\u200b"}], "forbidden_method"),
    ([{"method": "eth_call"}, 1], "invalid_body"),
    ([{"method": "eth_call"}, []], "invalid_body"),
    ([[{"method": "eth_call"}]], "invalid_body"),
    ([], "invalid_body"),
]


@pytest.mark.parametrize(("calls", "reason"), BATCHES)
def test_E20_each_call_of_a_batch_is_judged(site, calls, reason):
    full = [
        {"jsonrpc": "2.0", "id": n, **call} if isinstance(call, dict) else call
        for n, call in enumerate(calls)
    ]
    assert site.denies("/methods", GOOD, json.dumps(full).encode()) == reason


@pytest.mark.parametrize(
    "body",
    [
        '{"jsonrpc":"2.0","id":1,"method":"eth_call","method":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"method":"admin_peers","method":"eth_call"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call","m\\u0065thod":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call","Method":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call","METHOD":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"Method":"eth_call"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call"}{"jsonrpc":"2.0","id":2,"method":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call"}\n{"jsonrpc":"2.0","id":2,"method":"admin_peers"}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_call"} x',
        '{"jsonrpc":"2.0","id":1,"method":["eth_call"]}',
        '{"jsonrpc":"2.0","id":1,"method":null}',
        '{"id":1,"method":"eth_call"}',
        '\ufeff{"jsonrpc":"2.0","id":1,"method":"eth_call"}',
        "",
    ],
)
def test_E20_a_body_that_guard_and_node_may_read_differently_is_refused(site, body):
    for raw in (body.encode(), b"\xef\xbb\xbf" + body.encode(), body.encode("utf-16")):
        assert site.denies("/methods", GOOD, raw) == "invalid_body"


def test_E21_a_batch_has_a_bound(site):
    call = '{"jsonrpc":"2.0","id":1,"method":"eth_call"}'
    for count, reason in ((100, ""), (101, "invalid_body"), (50_000, "invalid_body")):
        body = f"[{','.join([call] * count)}]".encode()
        assert site.told("/methods", GOOD, body) == reason
    million = ("[" + "1," * 999_999 + "1]").encode()
    assert site.denies("/methods", GOOD, million) == "invalid_body"


FORWARDED = [
    ("203.0.113.1", [], "forbidden_ip"),
    ("10.0.0.9", [], ""),
    ("::ffff:10.0.0.9", [], ""),
    ("203.0.113.1", [("X-Forwarded-For", "127.0.0.1")], "forbidden_ip"),
    ("203.0.113.1", [("X-Forwarded-For", "10.0.0.9")], "forbidden_ip"),
    ("203.0.113.1", [("Forwarded", "for=10.0.0.9")], "forbidden_ip"),
    ("203.0.113.1", [("X-Real-IP", "10.0.0.9")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9")], ""),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9, 203.0.113.1")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "203.0.113.1, 10.0.0.9")], ""),
    ("192.0.2.1", [("X-Forwarded-For", "203.0.113.1, 10.0.0.9, 192.0.2.2")], ""),
    ("192.0.2.1", [("X-Forwarded-For", "::ffff:10.0.0.9")], ""),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9:1234")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "010.0.0.9")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "unknown")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9,")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9"), ("X-Forwarded-For", "203.0.113.1")], "forbidden_ip"),
    ("192.0.2.1", [("X_Forwarded_For", "10.0.0.9")], "forbidden_ip"),
    ("192.0.2.1", [("X-Forwarded-For", "10.0.0.9, " + "192.0.2.2, " * 50 + "192.0.2.2")], "forbidden_ip"),
    ("192.0.2.1", [("Forwarded", "for=10.0.0.9")], "forbidden_ip"),
    (None, [], "forbidden_ip"),
    ("unix", [("X-Forwarded-For", "10.0.0.9")], "forbidden_ip"),
    ("fe80::1%eth0", [], "forbidden_ip"),
]  # fmt: skip


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    from contextlib import closing

    from attacks.site import Site

    text = json.dumps({**project("lan"), "trusted_proxies": ["192.0.2.0/24"]})
    site = Site(tmp_path_factory.mktemp("proxied"), text)
    with closing(site.verifier):
        yield site


@pytest.mark.parametrize(("peer", "fields", "reason"), FORWARDED)
def test_E22_an_address_is_believed_of_trusted_proxies_alone_from_the_right(
    proxied, peer, fields, reason
):
    assert proxied.told("/lan", [*bearer(GOOD), *fields], client=peer) == reason


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.1/8", "010.0.0.1", "10.0.0.0/33", "10.0.0", "0x0a.0.0.1", "10.0.0.0-10.0.0.9", "*",
     "::ffff:10.0.0.1/64", "fe80::1%eth0", "localhost", "10.0.0.0/255.0.0.1", " 10.0.0.1"],
)  # fmt: skip
def test_E23_a_network_has_one_meaning_or_does_not_load(tmp_path, entry):
    assert "ips" in problems(tmp_path, project("lan", allow={"ips": [entry]}))


def test_E23_a_mapped_network_is_the_network(make):
    site = make(json.dumps(project("lan", allow={"ips": ["::ffff:10.0.0.0/104"]})))
    for client, reason in (("10.9.9.9", ""), ("::ffff:10.1.1.1", ""), ("11.0.0.1", "forbidden_ip")):
        assert site.told("/lan", GOOD, client=client) == reason


def test_E24_what_a_client_calls_the_host_binds_nothing(make):
    site = make()
    hosts = [
        ("Host", "evil.example"),
        ("X-Forwarded-Host", "good.example"),
        ("Forwarded", "host=x"),
    ]
    body = b'{"currency":"BTC","amount":"0.001","orderId":"12345"}'
    order = [
        *bearer(order_token("https://evil.example/pay/withdraw")),
        ("x-auth-key", "merchant-1"),
    ]
    assert site.denies("/pay/withdraw", [*order, *hosts], body) == BINDING
    order = [*bearer(order_token("/pay/withdraw")), ("x-auth-key", "merchant-1")]
    assert site.told("/pay/withdraw", [*order, *hosts], body) == ""
    assert site.denies(
        "/pub", [*bearer(token(hour(aud="evil.example"), SECRET, kid="kid-mac")), *hosts]
    ) == ("invalid_audience")
