"""Text as ECMAScript writes it. The expected values were computed by Node.js 20."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard.ecmascript import number_text, stringify

# (JSON text, String(JSON.parse(text)))
NUMBERS = [
    ("0", "0"),
    ("-0", "0"),
    ("0.0", "0"),
    ("-0.0", "0"),
    ("0e5", "0"),
    ("1", "1"),
    ("-1", "-1"),
    ("1.0", "1"),
    ("1.50", "1.5"),
    ("10", "10"),
    ("100", "100"),
    ("123456789", "123456789"),
    ("0.1", "0.1"),
    ("0.10", "0.1"),
    ("0.5", "0.5"),
    ("-0.5", "-0.5"),
    ("0.001", "0.001"),
    ("0.000001", "0.000001"),
    ("0.0000001", "1e-7"),
    ("0.00000123", "0.00000123"),
    ("1e-6", "0.000001"),
    ("1e-7", "1e-7"),
    ("1.5e-7", "1.5e-7"),
    ("-1e-7", "-1e-7"),
    ("123e-8", "0.00000123"),
    ("1e0", "1"),
    ("1E3", "1000"),
    ("1e+3", "1000"),
    ("12e2", "1200"),
    ("1e20", "100000000000000000000"),
    ("1e21", "1e+21"),
    ("1.5e21", "1.5e+21"),
    ("-1e21", "-1e+21"),
    ("100000000000000000000", "100000000000000000000"),
    ("1000000000000000000000", "1e+21"),
    ("123456789012345680000", "123456789012345680000"),
    ("1e22", "1e+22"),
    ("1e23", "1e+23"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("5e-324", "5e-324"),
    ("2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("9007199254740991", "9007199254740991"),
    ("9007199254740992", "9007199254740992"),
    ("9007199254740994", "9007199254740994"),
    ("4.35", "4.35"),
    ("0.3", "0.3"),
    ("1.1", "1.1"),
    ("123.456", "123.456"),
    ("1234567.125", "1234567.125"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("1.7976931348623157e+308", "1.7976931348623157e+308"),
    ("1e-10", "1e-10"),
    ("1.25e10", "12500000000"),
    ("179769313486231570000000000000", "1.7976931348623157e+29"),
]


@pytest.mark.parametrize(("text", "printed"), NUMBERS)
def test_a_number_is_printed_as_javascript_prints_it(text, printed):
    number = int(text) if text.lstrip("-").isdigit() else Decimal(text)
    assert number_text(number) == printed


CHANGED = [
    "9007199254740993",  # Node prints 9007199254740992
    "12345678901234567890",  # 12345678901234567000
    "99999999999999990000",  # 99999999999999980000
    "0.1000000000000000055511151231257827",  # 0.1
    "0.30000000000000001",  # 0.3
    "123456789.123456789123",  # 123456789.12345679
    "1e400",  # Infinity
    "-1e400",
    "1e-400",  # 0
    "4e-324",  # 5e-324
]


@pytest.mark.parametrize("text", CHANGED)
def test_a_number_that_a_double_would_change_is_refused(text):
    number = int(text) if text.isdigit() else Decimal(text)
    with pytest.raises(ValueError, match="double|range"):
        number_text(number)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**4000])
def test_an_integer_beyond_any_double_is_refused(number):
    with pytest.raises(ValueError, match="range"):
        number_text(number)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="double"):
        number_text(Decimal(text))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_every_double_is_read_back_as_that_double(value):
    assert float(number_text(Decimal(repr(value)))) == value


@given(st.integers(-(2**53), 2**53))
def test_a_safe_integer_is_its_own_digits(value):
    assert number_text(value) == str(value)


# (characters, JSON.stringify of them)
STRINGS = [
    ("", '""'),
    ("BTC#0.001#12345", '"BTC#0.001#12345"'),
    ('a"b', r'"a\"b"'),
    ("a\\b", r'"a\\b"'),
    ("/", '"/"'),
    ("\b\t\n\f\r", r'"\b\t\n\f\r"'),
    ("\0\1\x1f", r'"\u0000\u0001\u001f"'),
    ("\x7f", '"\x7f"'),
    ("é€", '"é€"'),
    ("\U0001f600", '"\U0001f600"'),
    ("\u2028\u2029", '"\u2028\u2029"'),
    ("\ufeff", '"\ufeff"'),
    ("<script>'", '"<script>\'"'),
]


@pytest.mark.parametrize(("text", "printed"), STRINGS)
def test_a_string_is_quoted_and_escaped_as_json_stringify_does(text, printed):
    assert stringify(text) == printed
