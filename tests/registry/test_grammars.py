"""Scalars mean what their grammar says, and nothing else is taken for them."""

from __future__ import annotations

import pytest

from rpcguard.registry import grammars


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_true_is_true_in_the_letter_cases_of_yaml(text: str) -> None:
    assert grammars.yes_no(text) is True


@pytest.mark.parametrize("text", ["false", "False", "FALSE"])
def test_false_is_false_in_the_letter_cases_of_yaml(text: str) -> None:
    assert grammars.yes_no(text) is False


@pytest.mark.parametrize("text", ["yes", "no", "on", "off", "1", "0", "tRUE", "y", "", " true"])
def test_nothing_else_is_true_or_false(text: str) -> None:
    with pytest.raises(ValueError, match="expected true or false"):
        grammars.yes_no(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("100", 100), ("-5", -5)])
def test_an_integer_is_decimal(text: str, value: int) -> None:
    assert grammars.integer(text, -5, 100) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+1",
        "01",
        "1_0",
        "0x1",
        "1.0",
        "1e1",
        " 1",
        "1 ",
        "1\n",
        "٣",
        "²",
        "--1",
        "1" * 5000,
        "true",
    ],
)
def test_other_spellings_are_no_integer(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 0 to 9"):
        grammars.integer(text, 0, 9)


@pytest.mark.parametrize("text", ["-1", "10", "9" * 18])
def test_an_integer_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 9"):
        grammars.integer(text, 0, 9)


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("4096", 4096), ("8KiB", 8192), ("5MiB", 5 << 20), ("5 MiB", 5 << 20), ("8KB", 8000),
    ("8kB", 8000), ("1MB", 1_000_000), ("12B", 12),
])  # fmt: skip
def test_a_size_is_bytes(text: str, value: int) -> None:
    assert grammars.size(text, 1, 1 << 30) == value


@pytest.mark.parametrize(
    "text", ["", "8 K", "8kib", "8GiB", "1.5MiB", "08KiB", "-1", "8KiB ", "KiB", "1e3"]
)
def test_other_spellings_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        grammars.size(text, 1, 1 << 30)


@pytest.mark.parametrize("text", ["0", "0KiB", "2MiB", "9" * 18])
def test_a_size_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be from 1 to 1048576 bytes"):
        grammars.size(text, 1, 1 << 20)


@pytest.mark.parametrize(("text", "value"), [
    ("30s", 30.0), ("250ms", 0.25), ("5m", 300.0), ("1h", 3600.0), ("7d", 604800.0), ("30", 30.0),
    ("1.5h", 5400.0), ("0.5", 0.5), ("999ms", 0.999),
])  # fmt: skip
def test_a_duration_is_seconds(text: str, value: float) -> None:
    assert grammars.duration(text, 1e9) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1s",
        "+1s",
        "1 s",
        "1H",
        "1w",
        "1h30m",
        "01s",
        ".5s",
        "1.s",
        "1e3",
        "inf",
        "nan",
        "s",
        "٣s",
    ],
)
def test_other_spellings_are_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        grammars.duration(text, 1e9)


@pytest.mark.parametrize(("text", "high", "message"), [
    ("0", 120, "must be more than 0"), ("0ms", 120, "must be more than 0"),
    ("121s", 120, "must be at most 120s"), ("3m", 120, "must be at most 120s"),
    ("2d", 86400, "must be at most 24h"), ("999999999999d", 86400 * 3650, "must be at most 3650d"),
])  # fmt: skip
def test_a_duration_out_of_range_is_refused(text: str, high: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grammars.duration(text, high)


def test_zero_is_a_duration_where_it_means_something() -> None:
    assert grammars.duration("0", 120, zero=True) == 0.0


@pytest.mark.parametrize(("text", "value"), [
    ("2026-12-01T00:00:00Z", 1796083200.0), ("2026-12-01t00:00:00z", 1796083200.0),
    ("2026-12-01 02:00:00+02:00", 1796083200.0), ("2026-11-30T18:30:00.5-05:30", 1796083200.5),
    ("1970-01-01T00:00:00-00:00", 0.0), ("0001-01-01T00:00:00+23:59", -62135683140.0),
])  # fmt: skip
def test_an_instant_is_unix_seconds(text: str, value: float) -> None:
    assert grammars.instant(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "2026-12-01", "2026-12-01T00:00:00", "2026-12-01T00:00Z", "20261201T000000Z", "1796083200",
     "2026-02-30T00:00:00Z", "2026-12-01T24:00:00Z", "2026-12-01T00:00:60Z", "0000-01-01T00:00:00Z",
     "2026-12-01T00:00:00+24:00", "2026-12-01T00:00:00+02", "2026-W49-2T00:00:00Z",
     "2026-12-01T00:00:00Z ", "２026-12-01T00:00:00Z"],
)  # fmt: skip
def test_a_date_without_time_or_zone_and_other_spellings_are_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match="expected a date, time and zone"):
        grammars.instant(text)


@pytest.mark.parametrize("text", ["", ".", "...", " . "])
def test_an_audience_suffix_that_ends_everything_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="would match every audience"):
        grammars.audience_suffix(text)


@pytest.mark.parametrize("text", ["allthatnode.com", ".com", "a"])
def test_an_audience_suffix_that_ends_something_is_fine(text: str) -> None:
    assert grammars.audience_suffix(text) == text
