"""What binds a JWT to one request."""

from __future__ import annotations

import json

import pytest
from minting import sha256

from rpcguard import AuthError
from rpcguard.schemes.base import NEED_BODY
from rpcguard.schemes.binding import Binding, digest_of_fields

FIELDS = {"/rpc": ("a", "b")}
BODY = b'{"a": "x", "b": 1.50, "c": "#"}'
DIGEST = sha256('"x#1.5"')
BOUND = Binding("url", "sig", FIELDS)


def refused(call, *args) -> str:
    with pytest.raises(AuthError) as caught:
        call(*args)
    return caught.value.reason


def test_nothing_is_bound_unless_it_is_said(incoming):
    assert Binding().check({}, incoming(body=None)) is None
    assert Binding().claims == ()
    assert BOUND.claims == ("url", "sig")
    assert not Binding().wants_body(incoming())


def test_url_and_digest_fit(incoming):
    assert BOUND.check({"url": "/rpc", "sig": DIGEST}, incoming(body=BODY)) is None
    assert BOUND.check({"url": "/rpc", "sig": DIGEST}, incoming(target="/rpc?x", body=BODY)) is None


def test_the_url_is_the_raw_path(incoming):
    binding = Binding("url")
    assert binding.check({"url": "/a%20b"}, incoming(target="/a%20b")) is None
    assert refused(binding.check, {"url": "/a b"}, incoming(target="/a%20b")) == "invalid_binding"
    assert refused(binding.check, {}, incoming()) == "invalid_binding"


def test_the_body_is_wanted_after_all_that_can_be_judged_without_it(incoming):
    good = {"url": "/rpc", "sig": DIGEST}
    assert BOUND.check(good, incoming(body=None)) is NEED_BODY
    assert BOUND.wants_body(incoming(body=None))
    assert not BOUND.wants_body(incoming(target="/else", body=None))
    for wrong in ({**good, "url": "/x"}, {**good, "sig": "x"}, {**good, "sig": DIGEST.upper()}):
        assert refused(BOUND.check, wrong, incoming(body=None)) == "invalid_binding"


@pytest.mark.parametrize("sig", [DIGEST[:-1], DIGEST + "0", "g" * 64, "", sha256("x#1.5")])
def test_another_digest(incoming, sig):
    assert refused(BOUND.check, {"url": "/rpc", "sig": sig}, incoming(body=BODY)) == (
        "invalid_binding"
    )


def test_a_missing_digest_is_another_one(incoming):
    assert refused(BOUND.check, {"url": "/rpc"}, incoming(body=BODY)) == "invalid_binding"


def test_a_path_without_fields(incoming):
    request = incoming(target="/else", body=None)
    claims = {"url": "/else", "sig": "0" * 64}
    assert refused(BOUND.check, claims, request) == "invalid_binding"
    assert Binding("url", "sig", FIELDS, unbound_paths=True).check(claims, request) is None


@pytest.mark.parametrize("target", ["/rpc/", "/RPC", "/rpc/x"])
def test_fields_are_configured_for_one_path_exactly(incoming, target):
    claims = {"url": target, "sig": DIGEST}
    assert refused(BOUND.check, claims, incoming(target=target, body=BODY)) == "invalid_binding"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"a": "x", "b": "y"}, '"x#y"'),
        ({"b": "y", "a": "x", "c": None}, '"x#y"'),
        ({"a": "", "b": ""}, '"#"'),
        ({"a": 1, "b": -2.5}, '"1#-2.5"'),
        ({"a": 'q"', "b": "\\"}, '"q\\"#\\\\"'),
        ({"a": "é", "b": "\u2028"}, '"é#\u2028"'),
    ],
)
def test_the_digest_is_over_the_quoted_text(body, text):
    assert digest_of_fields(json.dumps(body).encode(), ("a", "b")) == sha256(text)


def test_the_order_is_that_of_the_configuration():
    body = b'{"a": "1", "b": "2"}'
    assert digest_of_fields(body, ("b", "a")) == sha256('"2#1"')


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "x"}',
        b'{"a": "x", "b": null}',
        b'{"a": "x", "b": true}',
        b'{"a": "x", "b": []}',
        b'{"a": "x#", "b": "y"}',
        b'{"a": "x", "b": "#"}',
        b'{"a": "x", "b": 0.1000000000000000000000000000000001}',
        b'{"a": "x", "b": 9007199254740993}',
        b'{"a": "x", "b": 1e999}',
        b'{"a": "x", "b": 1e-999999999999999999999}',
        b'{"a": "x", "b": "y", "a": "x"}',
        b'{"a": "\\udc00", "b": "y"}',
        b"[]",
        b"",
        b"\xff",
        b"{" * 100_000,
    ],
)
def test_what_has_no_one_spelling_is_refused(body):
    assert refused(digest_of_fields, body, ("a", "b")) == "invalid_binding"
