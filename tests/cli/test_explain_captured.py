"""A captured request is read the way the server has seen it, from each of the three forms."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard.cli.explain import curl
from rpcguard.cli.explain.captured import Captured, MalformedError, of_http, of_json
from rpcguard.cli.explain.command import _parsed

BODY = b'{"jsonrpc":"2.0","id":1,"method":"eth_call"}'
PAIRS = (("Host", "rpc.example.com:8545"), ("X-A", "1"), ("x-a", "2"))
SAME = Captured("POST", "/v1/a%20b?x=%31", PAIRS, BODY, "https")


def test_raw_http_with_crlf_or_lf():
    head = "POST /v1/a%20b?x=%31 HTTP/1.1\nHost: rpc.example.com:8545\nX-A:1\nx-a: \t2 \n\n"
    for text in (head, head.replace("\n", "\r\n")):
        found = of_http(text.encode() + BODY)
        assert (found.method, found.target, found.headers, found.body) == (
            SAME.method,
            SAME.target,
            PAIRS,
            BODY,
        )


def test_a_line_end_behind_the_declared_length_is_the_editors():
    text = f"POST / HTTP/1.1\nContent-Length: {len(BODY)}\n\n".encode() + BODY + b"\n"
    assert of_http(text).body == BODY
    assert of_http(b"POST / HTTP/1.1\n\n" + BODY + b"\n").body == BODY + b"\n"


@pytest.mark.parametrize("length", [b"9", b"\xb2", b"9" * 5000])
def test_a_body_that_is_shorter_than_declared_was_not_captured(length):
    found = of_http(b"POST /a HTTP/1.1\nContent-Length: " + length + b"\n\n{}")
    assert found.body == (None if length == b"9" else b"{}")


def test_a_body_in_chunks_or_in_a_file_was_not_captured():
    assert of_http(b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n").body is None
    both = b"POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 0\n\n0\n\n"
    assert of_http(both).body is None
    for option in ("-d @/etc/passwd", "--data-binary @x", "-d a --json @x"):
        found = curl.read(f"curl http://a {option}")
        assert (found.method, found.body) == ("POST", None)


def test_a_request_for_a_proxy_has_a_whole_url():
    found = of_http(b"GET http://a.example/x?y HTTP/1.1\nHost: b.example\n\n")
    assert (found.target, found.scheme, found.headers) == ("/x?y", "http", (("Host", "b.example"),))


@pytest.mark.parametrize(
    "command",
    [
        "curl https://rpc.example.com:8545/v1/a%20b?x=%31 -H 'X-A: 1' -H 'x-a: 2' --data-raw '{}'",
        "curl -sS \\\n --url 'https://rpc.example.com:8545/v1/a%20b?x=%31' -HX-A:1 -H x-a:2 -d'{}'",
        """curl -X POST --compressed -o /dev/null --header="X-A: 1" --header "x-a: 2" \
             --data-binary "{}" "https://rpc.example.com:8545/v1/a%20b?x=%31"\n""",
    ],
)
def test_a_curl_command(command):
    found = curl.read(
        command.replace(
            "{}", BODY.decode().replace('"', '\\"') if '"{}"' in command else BODY.decode()
        )
    )
    form = ("Content-Type", "application/x-www-form-urlencoded")
    assert found == Captured("POST", SAME.target, (*PAIRS, form), BODY, "https")


def test_curls_method_and_body_are_as_curl_chooses_them():
    assert curl.read("curl http://a.example").method == "GET"
    assert curl.read("curl -X PUT http://a.example -d a -d b").body == b"a&b"
    found = curl.read("curl --json '{}' a.example -A agent -H Accept: -H 'X-Empty;'")
    assert (found.scheme, found.target, found.body) == ("http", "/", b"{}")
    assert ("Content-Type", "application/json") in found.headers
    assert ("User-Agent", "agent") in found.headers
    assert ("X-Empty", "") in found.headers


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("curl", "one URL"),
        ("curl http://a http://b", "one URL"),
        ("curl ftp://a", "not an http"),
        ("curl http://[a", "not a URL"),
        ("curl http://user:pass@a", "a user in the URL"),
        ("curl http://a -H @x", "not read"),
        ("curl http://a -F a=b", "option -F"),
        ("curl http://a --proxy=x", "option --proxy is not"),
        ("curl 'http://a", "quotes"),
        ("curl http://a --data-raw $'a'", "$'"),
    ],
)
def test_what_curl_does_not_say_by_itself_is_refused(command, said):
    with pytest.raises(MalformedError, match=said.replace("$", r"\$")):
        curl.read(command)


@pytest.mark.parametrize("option", ["-ualice:hunter2", "-bhunter2", "--user=hunter2"])
def test_the_value_of_an_option_that_is_not_understood_is_not_quoted(option):
    with pytest.raises(MalformedError, match=r"option (-u|-b|--user) is not") as caught:
        curl.read(f"curl http://a {option}")
    assert "hunter2" not in str(caught.value)


def test_json_with_a_url_or_a_target():
    url = "https://rpc.example.com:8545/v1/a%20b?x=%31"
    document = {"method": "POST", "url": url, "headers": PAIRS[1:], "body": BODY.decode()}
    assert of_json(json.dumps(document)) == SAME
    document = {"target": "/x", "headers": {"A": "b"}, "client": "10.0.0.1", "scheme": "http"}
    assert of_json(json.dumps(document)) == Captured(
        "POST", "/x", (("A", "b"),), None, "http", "10.0.0.1"
    )
    raw = base64.b64encode(b"\x00\xff").decode()
    assert of_json(json.dumps({"body_base64": raw, "websocket": True})).body == b"\x00\xff"


@pytest.mark.parametrize(
    "document",
    [
        "[]", "{", '{"verb": "GET"}', '{"method": 1}', '{"headers": 1}', '{"headers": [["a"]]}',
        '{"headers": {"a": 1}}', '{"body": {}}', '{"body_base64": "?"}', '{"target": null}',
        '{"client": 1}', '{"websocket": "yes"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_other_json_is_refused(document):
    with pytest.raises(MalformedError):
        of_json(document)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"POST /\n a: b\n", b"POST / HTTP/1.1\na : b\n\n", b"POST / HTTP/1.1\nnothing\n\n"],
)  # fmt: skip
def test_what_is_no_request_is_refused(data):
    with pytest.raises(MalformedError):
        of_http(data)


@given(
    st.one_of(
        st.binary(),
        st.text().map(lambda t: b"{" + t.encode("utf-8", "replace")),
        st.text().map(lambda t: b"curl " + t.encode("utf-8", "replace")),
    )
)
def test_anything_else_is_malformed_and_nothing_worse(data):
    try:
        _parsed(data).request()
    except MalformedError as error:
        assert str(error)


def test_a_handshake_is_told_by_its_headers():
    text = b"GET /ws/v1/ HTTP/1.1\nUpgrade: WebSocket\nConnection: Upgrade\n\n"
    assert of_http(text).request().websocket
    assert curl.read("curl wss://a.example/ws").request().websocket
    assert not of_http(b"GET / HTTP/1.1\n\n").request().websocket
