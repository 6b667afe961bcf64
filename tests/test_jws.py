"""The compact form is parsed strictly and before any cryptography."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import base64url
from rpcguard.errors import AuthError
from rpcguard.schemes import jws

LIMIT = 8192
HEADER = b'{"alg":"HS256","typ":"JWT","kid":"a"}'
PAYLOAD = b'{"exp":1760003600}'
SIGNATURE = bytes(range(32))


def token(header: bytes | str = HEADER, payload: bytes = PAYLOAD, sign: bytes = SIGNATURE) -> str:
    """Return the compact form of the parts."""
    raw = header.encode("utf-8") if isinstance(header, str) else header
    return ".".join(base64url.encode(part) for part in (raw, payload, sign))


GOOD = token()


def attempt(text: str, limit: int = LIMIT) -> jws.Jws | str:
    """Return *text* parsed, or the reason for which it is refused."""
    try:
        return jws.parse(text, limit)
    except AuthError as error:
        return error.reason


def refused(text: str, limit: int = LIMIT) -> AuthError:
    """Return the error with which *text* is refused."""
    with pytest.raises(AuthError) as caught:
        jws.parse(text, limit)
    return caught.value


def test_a_token_is_taken_apart_and_nothing_in_it_is_judged() -> None:
    parsed = jws.parse(GOOD, LIMIT)

    assert parsed.header == {"alg": "HS256", "typ": "JWT", "kid": "a"}
    assert parsed.payload == PAYLOAD
    assert parsed.signature == SIGNATURE
    assert parsed.signing_input == GOOD.rpartition(".")[0].encode("ascii")


def test_white_space_and_escapes_in_the_header_are_json() -> None:
    parsed = jws.parse(token('{ "\\u0061lg" : "HS256" }\n'), LIMIT)

    assert parsed.header == {"alg": "HS256"}


@pytest.mark.parametrize("payload", [b"", b"not JSON", bytes(range(256))])
def test_the_payload_is_bytes(payload: bytes) -> None:
    assert jws.parse(token(payload=payload), LIMIT).payload == payload


def test_an_empty_signature_is_left_to_the_key() -> None:
    assert jws.parse(token(sign=b""), LIMIT).signature == b""


HEAD, BODY, TAIL = GOOD.split(".")
SHAPES = {
    "nothing": "",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{TAIL}",
    "a dot behind": f"{GOOD}.",
    "a dot in front": f".{GOOD}",
    "five parts, as JWE has": f"{GOOD}.{BODY}.{TAIL}",
    "dots alone": "..",
    "four dots": "....",
    "an empty header": f".{BODY}.{TAIL}",
    "a space in front": f" {GOOD}",
    "a space behind": f"{GOOD} ",
    "a newline behind": f"{GOOD}\n",
    "a newline inside": f"{HEAD[:5]}\n{HEAD[5:]}.{BODY}.{TAIL}",
    "a NUL behind": f"{GOOD}\0",
    "the scheme again": f"Bearer {GOOD}",
    "a comma and another": f"{GOOD},{GOOD}",
    "padding of the header": f"{HEAD}=.{BODY}.{TAIL}",
    "padding of the payload": f"{HEAD}.{BODY}=.{TAIL}",
    "padding of the signature": f"{GOOD}=",
    "the standard alphabet": f"{HEAD}.{BODY}.{'+' + TAIL[1:]}",
    "a slash": f"{HEAD}.{BODY}.{'/' + TAIL[1:]}",
    "a question mark": f"{HEAD}.{BODY}.{TAIL}?",
    "unused bits": f"{HEAD}.{BODY}.{TAIL[:-1]}9",
    "a lone character": f"{HEAD}.{BODY}.A",
    "a letter outside ASCII": f"{HEAD}é.{BODY}.{TAIL}",
    "a full-width letter": f"{HEAD}.{BODY}.Ａ{TAIL}",
    "a full-width dot": f"{HEAD}．{BODY}．{TAIL}",
    "a lone surrogate": f"{GOOD}\udc80",
    "JSON serialization": json.dumps({"protected": HEAD, "payload": BODY, "signature": TAIL}),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_a_text_of_another_shape_is_malformed(text: str) -> None:
    assert refused(text).reason == "malformed_credentials"


HEADERS: dict[str, bytes | str] = {
    "an array": "[]",
    "a string": '"HS256"',
    "null": "null",
    "nothing": "{",
    "not UTF-8": b'{"alg":"\xff"}',
    "UTF-16": '{"alg":"HS256"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + HEADER,
    "alg twice": '{"alg":"none","alg":"HS256"}',
    "alg twice, once escaped": '{"alg":"HS256","\\u0061lg":"none"}',
    "kid twice": '{"alg":"HS256","kid":"a","kid":"b"}',
    "NaN": '{"alg":"HS256","x":NaN}',
    "a lone surrogate": '{"alg":"HS256","kid":"\\ud800"}',
    "deep nesting": '{"alg":"HS256","x":' + "[" * 100 + "]" * 100 + "}",
    "text behind": '{"alg":"HS256"} x',
    "crit": '{"alg":"HS256","crit":["exp"],"exp":1}',
    "crit, empty": '{"alg":"HS256","crit":[]}',
    "crit, null": '{"alg":"HS256","crit":null}',
    "crit, not a list": '{"alg":"HS256","crit":"b64","b64":true}',
    "b64 false": '{"alg":"HS256","b64":false}',
    "b64 true": '{"alg":"HS256","b64":true}',
    "b64 with crit": '{"alg":"HS256","b64":false,"crit":["b64"]}',
    "zip": '{"alg":"HS256","zip":"DEF"}',
    "kid a number": '{"alg":"HS256","kid":5}',
    "kid null": '{"alg":"HS256","kid":null}',
    "kid a list": '{"alg":"HS256","kid":["a"]}',
    "kid an object": '{"alg":"HS256","kid":{}}',
    "typ a number": '{"alg":"HS256","typ":3}',
    "typ null": '{"alg":"HS256","typ":null}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_two_parsers_could_read_in_two_ways_is_malformed(header: bytes | str) -> None:
    assert refused(token(header)).reason == "malformed_credentials"


def test_a_token_of_exactly_the_limit_is_parsed_and_a_longer_one_is_not() -> None:
    assert jws.parse(GOOD, len(GOOD)).payload == PAYLOAD

    error = refused(GOOD, len(GOOD) - 1)

    assert (error.reason, error.status) == ("malformed_credentials", 401)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", ["A" * 10_000_000, "." * 10_000_000, "\ud800" * 10_000_000])
def test_an_endless_token_is_refused_by_its_length(text: str) -> None:
    assert refused(text).detail == "token longer than max_credential"


def test_neither_error_nor_repr_holds_the_token() -> None:
    secret = base64url.encode(b'{"kid":"hidden-name","crit":[]}')
    error = refused(f"{secret}.{BODY}.{TAIL}")

    for shown in (str(error), repr(error), error.detail, repr(jws.parse(GOOD, LIMIT))):
        assert "hidden-name" not in shown
        assert secret not in shown
        assert TAIL not in shown
        assert "exp" not in shown
    assert repr(jws.parse(GOOD, LIMIT)) == "Jws(...)"


@given(st.text(st.characters()) | st.text(alphabet="eyJhbGciOiJub25lIn0._-=", max_size=60))
def test_any_text_is_parsed_or_malformed(text: str) -> None:
    parsed = attempt(text)

    if isinstance(parsed, str):
        assert parsed == "malformed_credentials"
    else:
        spelled = f"{parsed.signing_input.decode('ascii')}.{base64url.encode(parsed.signature)}"
        assert spelled == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip", "x"]), inner)
    ),
    max_leaves=8,
)


@given(JSON | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]), JSON))
def test_any_header_is_an_object_with_plain_names_or_malformed(header: object) -> None:
    parsed = attempt(token(json.dumps(header)), 1 << 20)

    if isinstance(parsed, str):
        assert parsed == "malformed_credentials"
    else:
        assert parsed.header == header
        assert not {"crit", "b64", "zip"} & set(parsed.header)
        assert all(isinstance(parsed.header.get(name, ""), str) for name in ("kid", "typ"))


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_one_changed_character_is_another_token_or_malformed(place: int, other: str) -> None:
    changed = GOOD[:place] + other + GOOD[place + 1 :]

    assert (attempt(changed) == attempt(GOOD)) is (changed == GOOD)
