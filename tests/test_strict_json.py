"""Strict JSON: bounded, and whatever two parsers could read in two ways is refused."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpcguard import strict_json

DEEPEST = strict_json.MAX_DEPTH

REFUSED: dict[str, tuple[bytes | str, str]] = {
    "a name twice": (b'{"exp":1,"exp":2}', "a member name occurs twice"),
    "a name twice after unescaping": (b'{"exp":1,"\\u0065xp":2}', "a member name occurs twice"),
    "a name twice, deep inside": (b'[{"a":[{"b":1,"b":1}]}]', "a member name occurs twice"),
    "the empty name twice": (b'{"":1,"":2}', "a member name occurs twice"),
    "NaN": (b"NaN", "NaN and Infinity are not JSON"),
    "Infinity": (b'{"exp":Infinity}', "NaN and Infinity are not JSON"),
    "minus Infinity": (b"[-Infinity]", "NaN and Infinity are not JSON"),
    "overflow": (b"1e400", "a number is out of range"),
    "negative overflow": (b"-1e400", "a number is out of range"),
    "overflow by digits": (b"9" * 400 + b".0", "a number is out of range"),
    "an integer beyond Python's limit": (b"9" * 5000, "not JSON: a number is out of range"),
    "byte order mark, bytes": (b"\xef\xbb\xbf{}", "not JSON"),
    "byte order mark, text": ("\ufeff{}", "not JSON"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "not UTF-8 text"),
    "UTF-16 without a mark": ('{"a":1}'.encode("utf-16-le"), "not JSON"),
    "UTF-32": ('{"a":1}'.encode("utf-32"), "not UTF-8 text"),
    "Latin-1": ('"é"'.encode("latin-1"), "not UTF-8 text"),
    "overlong UTF-8": (b'"\xc0\xaf"', "not UTF-8 text"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "not UTF-8 text"),
    "a lone high surrogate": (b'"\\ud800"', "not UTF-8 text"),
    "a lone low surrogate": (b'"\\uDC00"', "not UTF-8 text"),
    "a lone surrogate in a name": (b'{"\\ud800":1}', "not UTF-8 text"),
    "surrogates the wrong way round": (b'"\\udd1e\\ud834"', "not UTF-8 text"),
    "a raw lone surrogate": ('"\ud800"', "not UTF-8 text"),
    "a raw lone surrogate in a name": ('{"\udc00":1}', "not UTF-8 text"),
    "a second document": (b"{}{}", "not JSON"),
    "text behind": (b"{} x", "not JSON"),
    "a NUL behind": (b"{}\0", "not JSON"),
    "nothing": (b"", "not JSON"),
    "white space alone": (b" \n", "not JSON"),
    "no-break space": ("\u00a01", "not JSON"),
    "vertical tab": (b"1\x0b", "not JSON"),
    "a tab in a string": (b'"a\tb"', "not JSON"),
    "single quotes": (b"{'a':1}", "not JSON"),
    "a comment": (b"/**/1", "not JSON"),
    "a trailing comma": (b"[1,]", "not JSON"),
    "a leading zero": (b"01", "not JSON"),
    "an underscore": (b"1_000", "not JSON"),
    "hexadecimal": (b"0x10", "not JSON"),
    "a plus sign": (b"+1", "not JSON"),
    "Arabic-Indic digits": ("١٢", "not JSON"),
}


@pytest.mark.parametrize("exact", [False, True], ids=["binary", "exact"])
@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_strict_json_is_refused(data: bytes | str, message: str, exact: bool) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        strict_json.loads(data, exact=exact)

    assert type(caught.value) is ValueError


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None),
        (b" [true, false] ", [True, False]),
        (b'{"a":{"a":1},"A":2}', {"a": {"a": 1}, "A": 2}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        ('"é€😀"'.encode(), "é€😀"),
        (b'"\\u0000"', "\0"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1e5", 100000.0),
        (b"1e-400", 0.0),
    ],
)
def test_strict_json_gives_the_value(data: bytes, value: object) -> None:
    found = strict_json.loads(data)

    assert found == value
    assert type(found) is type(value)


def test_exact_numbers_keep_every_digit() -> None:
    text = b"[0.1000, 1.50e3, -0.0, 12345678901234567890.123456789, 7]"

    assert [str(number) for number in strict_json.loads(text, exact=True)] == [
        "0.1000",
        "1.50E+3",
        "-0.0",
        "12345678901234567890.123456789",
        "7",
    ]


@pytest.mark.parametrize(
    "text", ["1e-99999999999999999999", "0e99999999999999999999", "-0.0E-1000000000000000000000"]
)
def test_an_exponent_that_decimal_cannot_hold_gives_a_value_or_a_value_error(text: str) -> None:
    value, error = attempt(text, exact=True)

    assert isinstance(value, Decimal) or type(error) is ValueError


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_is_bounded_at_the_stated_depth(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(depth: int) -> bytes:
        return opening * depth + b"1" + closing * depth

    strict_json.loads(nested(DEEPEST))
    with pytest.raises(ValueError, match=r"^nested deeper than 64 levels$"):
        strict_json.loads(nested(DEEPEST + 1))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[{" * 100_000])
def test_extreme_nesting_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(ValueError, match=r"^nested deeper than 64 levels$"):
        strict_json.loads(text)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"' + b"[" * 1000 + b'"}',
        b'["' + b'\\"[{' * 1000 + b'"]',
        b"[" + b"[]," * 1000 + b"[]]",
        b"[" + b'{"a":"\\\\"},' * 1000 + b"1]",
    ],
    ids=["in a string", "in a string with quotes", "side by side", "behind a backslash"],
)
def test_brackets_that_do_not_nest_are_not_counted_as_depth(data: bytes) -> None:
    assert strict_json.loads(data) == json.loads(data)


def attempt(data: bytes | str, *, exact: bool = False) -> tuple[Any, Exception | None]:
    """Return the value and no error, or no value and the error, which must be a ValueError."""
    try:
        return strict_json.loads(data, exact=exact), None
    except ValueError as error:
        return None, error


HOSTILE = {
    "quotes that never end": "[]" * 65 + '"' + '\\"' * 1_000_000,
    "backslashes that never end": "[]" * 65 + '"' + "\\" * 1_000_001,
    "quotes alone": "[]" * 65 + '"' * 1_000_000,
    "half-open strings": "[]" * 65 + '"\\' * 500_000,
    "digits": "9" * 1_000_000,
    "fraction": "0." + "9" * 1_000_000,
    "exponent": "1e" + "9" * 1_000_000,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_is_answered_without_hanging(text: str) -> None:
    for exact in (False, True):
        _, error = attempt(text, exact=exact)
        assert len(str(error)) < 100


def test_a_long_string_costs_no_more_memory_than_a_few_copies_of_it() -> None:
    body = b"[" + b"[]," * 70 + b'"' + b"a" * 1_000_000 + b'"]'
    tracemalloc.start()
    try:
        strict_json.loads(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 * len(body)


def test_the_error_holds_nothing_of_the_input() -> None:
    for data in (b'{"secret', b'{"secret":1,"secret":2}', b'"\\ud800secret"', b"secret\xff"):
        with pytest.raises(ValueError, match=" ") as caught:
            strict_json.loads(data)
        assert "secret" not in repr(caught.value)
        assert caught.value.__suppress_context__


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(PLAIN, st.booleans())
def test_what_json_writes_is_read_back(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)

    assert strict_json.loads(text) == value
    assert strict_json.loads(text.encode("utf-8")) == value
    assert strict_json.loads(text, exact=True) == json.loads(text, parse_float=Decimal)


JSONISH = st.lists(
    st.sampled_from(
        [
            '"',
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "1",
            "-",
            ".",
            "e",
            "a",
            "null",
            "NaN",
            " ",
            "\\ud800",
            "9" * 30,
            '{"a":',
            '"a"',
        ]
    ),
    max_size=40,
).map("".join)


@given(st.text() | st.text(st.characters()) | st.binary() | JSONISH, st.booleans())
def test_any_input_gives_a_value_that_json_gives_too_or_a_value_error(
    data: str | bytes, exact: bool
) -> None:
    value, error = attempt(data, exact=exact)

    if error is not None:
        assert type(error) is ValueError
    else:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        assert value == json.loads(text, parse_float=Decimal if exact else float)
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "place"), [("x", 0), (" \n x", 3), (' {"a" 1}', 6), ("\t[1] x", 4), ("  ", 2)]
)
def test_the_place_of_a_fault_counts_from_the_beginning_of_the_text(text: str, place: int) -> None:
    with pytest.raises(ValueError, match=f"not JSON at character {place}$"):
        strict_json.loads(text)


# --- A flat object is read in a shorter way --------------------------------------------------------

_NAMES = ['"a"', '"b"', '":"', '"a:b"', '":a"', '""', '"\\n"']
_VALUES = [*_NAMES, "1", "1e400", "{}", "[1]", "null", "NaN", "x"]
_BETWEEN = ["", "", "", " ", "\n", "\t", "\r", "\x0b"]
_members = st.lists(
    st.tuples(*(st.sampled_from(each) for each in (_BETWEEN, _NAMES, _BETWEEN, _BETWEEN, _VALUES))),
    max_size=4,
)


@settings(max_examples=2000)
@given(members=_members, after=st.sampled_from(["", " ", "x", "}"]))
def test_a_flat_object_is_what_the_longer_way_reads(members: Any, after: str) -> None:
    inner = ",".join(f"{a}{name}{b}:{c}{value}" for a, name, b, c, value in members)
    text = f"{{{inner}}}{after}"
    with_a_blank = f" {text}"  # which the shorter way leaves alone

    def read(what: str) -> Any:
        try:
            return strict_json.loads(what)
        except ValueError:
            return "refused"

    assert read(text) == read(with_a_blank)


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":1}', '{"a":1,"a":":"}', '{"a" :1,"a":2}', '{"a":":","b":1,"a":2}', '{"":1,"":2}'],
)
def test_no_member_is_lost_to_another_of_its_name(text: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        strict_json.loads(text)


def test_a_text_that_begins_with_a_colon_is_no_name() -> None:
    assert strict_json.loads('{"a":":","b":":c"}') == {"a": ":", "b": ":c"}
