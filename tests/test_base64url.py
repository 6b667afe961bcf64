"""One byte string has one base64url spelling; every other spelling is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import base64url

# RFC 4648 section 10, without padding; the last two need the URL alphabet
SPELLINGS = [
    (b"", ""),
    (b"f", "Zg"),
    (b"fo", "Zm8"),
    (b"foo", "Zm9v"),
    (b"foob", "Zm9vYg"),
    (b"fooba", "Zm9vYmE"),
    (b"foobar", "Zm9vYmFy"),
    (b"\xfb\xff", "-_8"),
    (b"\xff\xef\xbe", "_---"),
]

REFUSED = {
    "padding": "Zg==",
    "one padding character too few": "Zg=",
    "padding in the middle": "Zg==Zg",
    "padding alone": "=",
    "standard plus": "+_8",
    "standard slash": "-/8",
    "standard alphabet throughout": "//--",
    "one character alone": "Z",
    "five characters": "Zm9vY",
    "unused bits of one byte": "Zh",
    "all unused bits of one byte": "Zv",
    "unused bits of two bytes": "Zm9",
    "leading space": " Zm9v",
    "trailing space": "Zm9v ",
    "trailing newline": "Zm9v\n",
    "newline in the middle": "Zm\n9v",
    "tab": "Zm9\tv",
    "NUL": "Zm9v\0",
    "dot": "Zm.9v",
    "question mark": "Zm9v?",
    "asterisks": "****",
    "hash marks after": "Zm9v####",
    "non-ASCII letter": "Zm9é",
    "full-width letter": "Ｚm9v",
    "lone surrogate": "Zm9\udc80",
    "percent-encoded": "Zm%39v",
}


@pytest.mark.parametrize(("raw", "text"), SPELLINGS, ids=[text or "empty" for _, text in SPELLINGS])
def test_the_right_spelling_goes_both_ways(raw: bytes, text: str) -> None:
    assert base64url.encode(raw) == text
    assert base64url.decode(text) == raw


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not canonical base64url$"):
        base64url.decode(text)


def test_the_error_holds_nothing_of_the_input() -> None:
    with pytest.raises(ValueError, match="base64url") as caught:
        base64url.decode("c2VjcmV0é")

    assert "c2VjcmV0" not in repr(caught.value)
    assert caught.value.__context__ is None


@given(st.binary(max_size=200))
def test_encoding_agrees_with_the_standard_library_and_goes_back(raw: bytes) -> None:
    text = base64url.encode(raw)

    assert text == base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    assert base64url.decode(text) == raw


@given(st.text(max_size=60) | st.text(alphabet="AQgwZz09-_=+/ \n.", max_size=12))
def test_what_decodes_is_the_spelling_of_what_it_decodes_to(text: str) -> None:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@given(st.binary(min_size=1, max_size=40), st.data())
def test_no_two_spellings_have_one_meaning(raw: bytes, data: st.DataObject) -> None:
    text = base64url.encode(raw)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_+/= \n"))
    changed = text[:place] + other + text[place + 1 :]
    try:
        assert (base64url.decode(changed) == raw) is (changed == text)
    except ValueError:
        assert changed != text
