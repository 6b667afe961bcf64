"""The shape of JSON-RPC 2.0 requests."""

from __future__ import annotations

import json

import pytest
from minting import CALL

from rpcguard import AuthError
from rpcguard.jsonrpc import Call, calls, request_id

ITEM = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": []}


def body(**changes: object) -> bytes:
    merged = {**ITEM, **changes}
    return json.dumps({k: v for k, v in merged.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CALL, [("eth_blockNumber", [])]),
        (body(params={"a": 1}), [("eth_call", {"a": 1})]),
        (body(params=...), [("eth_call", None)]),
        (body(id=...), [("eth_call", [])]),  # a notification
        (body(id=None), [("eth_call", [])]),
        (body(id="x"), [("eth_call", [])]),
        (body(id=1.5), [("eth_call", [])]),
        (body(method=""), [("", [])]),
        (body(extra=1), [("eth_call", [])]),
        (b" \t\r\n" + CALL + b"\n", [("eth_blockNumber", [])]),
        (b"[" + CALL + b"," + body() + b"]", [("eth_blockNumber", []), ("eth_call", [])]),
        (CALL.decode(), [("eth_blockNumber", [])]),
    ],
)
def test_requests_and_batches(text, found):
    assert calls(text, 100) == tuple(Call(method, params) for method, params in found)


REFUSED = {
    "empty": b"",
    "no JSON": b"{",
    "text": b'"eth_call"',
    "null": b"null",
    "a number": b"1",
    "an empty batch": b"[]",
    "a batch in a batch": b"[[" + CALL + b"]]",
    "a batch with a number": b"[" + CALL + b",1]",
    "no jsonrpc": body(jsonrpc=...),
    "jsonrpc 1.0": body(jsonrpc="1.0"),
    "jsonrpc as a number": body(jsonrpc=2.0),
    "no method": body(method=...),
    "a method that is no string": body(method=1),
    "Method": body(method=..., Method="eth_call"),
    "an id that is true": body(id=True),
    "an id that is a list": body(id=[1]),
    "an id that is an object": body(id={}),
    "params as text": body(params="x"),
    "params as null": body(params=None),
    "params as a number": body(params=0),
    "method twice": b'{"jsonrpc":"2.0","method":"eth_call","method":"admin","id":1}',
    "method twice, once escaped": b'{"jsonrpc":"2.0","method":"a","m\\u0065thod":"b"}',
    "two documents": CALL + CALL,
    "trailing comma": CALL[:-1] + b",}",
    "a byte order mark": b"\xef\xbb\xbf" + CALL,
    "UTF-16": CALL.decode().encode("utf-16"),
    "Latin-1": body().replace(b"eth_call", b"\xe9"),
    "NaN": b'{"jsonrpc":"2.0","method":"a","params":[NaN]}',
    "a deep nest": b'{"jsonrpc":"2.0","method":"a","params":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a lone surrogate": b'{"jsonrpc":"2.0","method":"\\ud800"}',
    "many digits": b'{"jsonrpc":"2.0","method":"a","id":' + b"1" * 5000 + b"}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_an_invalid_body(text):
    with pytest.raises(AuthError) as caught:
        calls(text, 100)
    error = caught.value
    assert (error.reason, error.status, error.code) == ("invalid_body", 400, -32600)


@pytest.mark.parametrize(("size", "accepted"), [(1, True), (3, True), (4, False), (1000, False)])
def test_a_batch_has_at_most_max_batch_items(size, accepted):
    text = b"[" + b",".join([CALL] * size) + b"]"
    if accepted:
        assert len(calls(text, 3)) == size
    else:
        with pytest.raises(AuthError, match="invalid_body"):
            calls(text, 3)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CALL, 1),
        (body(id="x"), "x"),
        (body(id=1.5), 1.5),
        (body(id=None), None),
        (body(id=...), None),
        (b'{"id": 7}', 7),  # no request, but it says which answer it waits for
        (body(id=True), None),
        (body(id=[1]), None),
        (body(id={"a": 1}), None),
        (b"[" + CALL + b"]", None),
        (b"no JSON", None),
        (b'{"id": 1, "id": 2}', None),
        (b'{"id": 1e400}', None),
        (b"", None),
        (None, None),
    ],
)
def test_the_id_of_the_answer(text, found):
    assert request_id(text) == found
    assert type(request_id(text)) is type(found)


@pytest.mark.parametrize("name", ["Method", "METHOD", "ID", "Params", "jsonRPC", "param\u017f"])
def test_a_member_that_a_node_may_take_for_another_is_refused(name):
    """Go folds letter case, `\u017f` included, and takes the last: it would run another method."""
    import json

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", name: "debug_setHead"})
    with pytest.raises(AuthError) as caught:
        calls(body, 100)
    assert caught.value.reason == "invalid_body"


def test_other_members_are_nobodys_business():
    assert calls('{"jsonrpc": "2.0", "method": "m", "currency": "BTC"}', 100)


def test_the_id_of_a_huge_body_is_not_looked_for():
    from rpcguard.jsonrpc import ID_BYTES

    body = b'{"id": 7, "pad": "' + b"x" * ID_BYTES + b'"}'
    assert request_id(body) is None
    assert request_id(b'{"id": 7}') == 7
