"""The claims of a JWT: types, units, times, issuer and audience."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import NOW

from rpcguard import AuthError
from rpcguard.schemes.claims import ClaimRules, Times

MS = NOW * 1000
ANY = ClaimRules(required=())
MILLIS = ClaimRules(milliseconds=True, required=())


def reason(call: Any, *args: Any) -> str | None:
    try:
        call(*args)
    except AuthError as error:
        return error.reason
    return None


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    ("rules", "value", "read"),
    [
        (ANY, 0, 0.0),
        (ANY, 0.0, 0.0),
        (ANY, 0.5, 0.5),
        (ANY, NOW, float(NOW)),
        (ANY, NOW + 0.5, NOW + 0.5),
        (ANY, 1e11, 1e11),
        (ANY, 10**11, 1e11),
        (ANY, 10**11 + 1, None),
        (ANY, MS, None),
        (ANY, -1, None),
        (ANY, -0.001, None),
        (ANY, True, None),
        (ANY, False, None),
        (ANY, None, None),
        (ANY, str(NOW), None),
        (ANY, [NOW], None),
        (ANY, {}, None),
        (ANY, float("nan"), None),
        (ANY, float("inf"), None),
        (ANY, 10**4000, None),
        (MILLIS, MS, float(NOW)),
        (MILLIS, MS + 1, NOW + 0.001),
        (MILLIS, 10**11, 1e8),
        (MILLIS, 10**11 - 1, None),
        (MILLIS, 10**14, 1e11),
        (MILLIS, 10**14 + 1, None),
        (MILLIS, NOW, None),
        (MILLIS, 0, None),
        (MILLIS, 1, None),
        (MILLIS, -MS, None),
        (MILLIS, MS * 1000, None),
        (MILLIS, float("inf"), None),
        (MILLIS, True, None),
    ],
)
def test_a_numeric_date_has_one_type_and_one_unit(name, rules, value, read):
    rules = replace(rules)  # made here, so that a mutant of its making is seen
    if read is None:
        assert reason(rules.read, {name: value}) == "invalid_claims"
    else:
        assert getattr(rules.read({name: value}), name) == pytest.approx(read, abs=1e-6)


def test_absent_times_are_none():
    assert ANY.read({}) == Times(None, None, None)


@pytest.mark.parametrize("name", ["exp", "iat", "jti", "custom"])
def test_required_claims_must_be_there(name):
    rules = ClaimRules(required=(name,))
    assert reason(rules.read, {}) == "invalid_claims"
    assert reason(rules.read, {name: NOW if name in ("exp", "iat") else "x"}) is None


@pytest.mark.parametrize("name", ["iss", "sub", "jti", "sid", "url"])
@pytest.mark.parametrize("value", [1, None, True, [], ["x"], {}])
def test_names_are_strings(name, value):
    rules = ClaimRules(required=(), strings=("url",))
    assert reason(rules.read, {name: value}) == "invalid_claims"
    assert reason(rules.read, {name: ""}) is None
    assert reason(rules.read, {"other": value}) is None


TIMES = [
    # rules, exp, nbf, iat (relative to now), reason
    (ANY, 0, None, None, "expired"),
    (ANY, 0.001, None, None, None),
    (ANY, None, 0, None, None),
    (ANY, None, 0.001, None, "not_yet_valid"),
    (ANY, None, None, 5, None),
    (ANY, None, None, 5.001, "not_yet_valid"),
    (ANY, None, None, -1e9, None),
    (ANY, -1, 1, 9, "expired"),
    (ANY, 1, 1, 9, "not_yet_valid"),
    (ClaimRules(leeway=30), -29.999, None, None, None),
    (ClaimRules(leeway=30), -30, None, None, "expired"),
    (ClaimRules(leeway=30), None, 30, None, None),
    (ClaimRules(leeway=30), None, 30.001, None, "not_yet_valid"),
    (ClaimRules(leeway=30), None, None, 6, "not_yet_valid"),
    (ClaimRules(iat_leeway=60, iat_window=60), None, None, 60, None),
    (ClaimRules(iat_leeway=60, iat_window=60), None, None, 60.001, "not_yet_valid"),
    (ClaimRules(iat_leeway=60, iat_window=60), None, None, -60, None),
    (ClaimRules(iat_leeway=60, iat_window=60), None, None, -60.001, "expired"),
    (ClaimRules(max_ahead=100), 100, None, None, None),
    (ClaimRules(max_ahead=100), 160, None, None, "invalid_claims"),
    (ClaimRules(max_ahead=100), None, None, None, "invalid_claims"),
]


@pytest.mark.parametrize(("rules", "exp", "nbf", "iat", "wanted"), TIMES)
def test_times_against_the_clock(rules, exp, nbf, iat, wanted):
    times = Times(*(None if t is None else NOW + t for t in (exp, nbf, iat)))
    assert reason(rules.check_times, times, NOW) == wanted


@given(
    st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 120), st.floats(NOW - 1e6, NOW + 1e6)
)
def test_valid_while_nbf_less_leeway_up_to_exp_plus_leeway(exp, nbf, leeway, now):
    times = Times(NOW + exp, NOW + nbf, None)
    valid = times.nbf - leeway <= now < times.exp + leeway
    assert (reason(ClaimRules(leeway=leeway).check_times, times, now) is None) is valid


@pytest.mark.parametrize(
    ("maximum", "grace", "iat", "exp", "wanted"),
    [
        (3600, 1, 0, 3600, None),
        (3600, 1, 0, 3601, None),
        (3600, 1, 0, 0.001, None),
        (3600, 1, 0, 3601.5, "invalid_claims"),
        (3600, 1, 0, 3602, "invalid_claims"),
        (3600, 0, 0, 3601, "invalid_claims"),
        (60, 0.999, 0.001, 61, None),
        (60, 0.999, 0, 61, "invalid_claims"),
        (60, 0.999, 0, 0, "invalid_claims"),
        (60, 0.999, 1, 0, "invalid_claims"),
        (None, 1, 1, 0, None),
        (60, 1, None, 60, "invalid_claims"),
        (60, 1, 0, None, "invalid_claims"),
    ],
)
def test_the_lifetime(maximum, grace, iat, exp, wanted):
    rules = ClaimRules(max_lifetime=maximum, lifetime_grace=grace)
    times = Times(*(None if t is None else NOW + t for t in (exp, None, iat)))
    assert reason(rules.check_identity, {}, times) == wanted


NEVER = Times(None, None, None)


@pytest.mark.parametrize(
    ("issuer", "claimed", "wanted"),
    [
        (None, "anyone", None),
        ({"a", "b"}, "b", None),
        ({"a", "b"}, "c", "invalid_claims"),
        ({"abc"}, "ab", "invalid_claims"),  # no part of it either (CVE-2024-53861)
        ({"ab"}, "abc", "invalid_claims"),
        ({"a"}, "A", "invalid_claims"),
        ({"a"}, None, "invalid_claims"),
    ],
)
def test_the_issuer_is_compared_exactly(issuer, claimed, wanted):
    rules = ClaimRules(issuer=issuer and frozenset(issuer))
    claims = {} if claimed is None else {"iss": claimed}
    assert reason(rules.check_identity, claims, NEVER) == wanted


@pytest.mark.parametrize(
    ("rules", "audience", "accepted"),
    [
        ({}, None, True),
        ({}, "x", False),
        ({}, "", False),
        ({}, [], False),
        ({"ignore_audience": True}, "x", True),
        ({"audience": frozenset({"a", "b"})}, "a", True),
        ({"audience": frozenset({"a", "b"})}, ["x", "b"], True),
        ({"audience": frozenset({"a", "b"})}, ["x"], False),
        ({"audience": frozenset({"a", "b"})}, [], False),
        ({"audience": frozenset({"a", "b"})}, None, False),
        ({"audience_suffix": "a.example"}, None, True),
        ({"audience_suffix": "a.example"}, "A.Example", True),
        ({"audience_suffix": "a.example"}, "x.a.example", True),
        ({"audience_suffix": "a.example"}, "xa.example", False),
        ({"audience_suffix": "a.example"}, "evila.example", False),
        ({"audience_suffix": "a.example"}, "x.evila.example", False),
        ({"audience_suffix": "a.example"}, "a.example.x", False),
        ({"audience_suffix": "a.example"}, "é.a.example", False),  # no host name
        ({"audience_suffix": "a.example"}, "\0.a.example", False),
        ({"audience_suffix": "a.example"}, "a.example\n", False),
        ({"audience_suffix": "k.example"}, "\u212a.example", False),  # lower case: k
        ({"audience_suffix": ".example"}, "a.example", True),
        ({"audience_suffix": ".example"}, "aexample", False),
        ({"audience_suffix": "a.example"}, ["x", "/a.example"], True),
    ],
)
def test_the_audience(rules, audience, accepted):
    claims = {} if audience is None else {"aud": audience}
    wanted = None if accepted else "invalid_audience"
    assert reason(ClaimRules(**rules).check_identity, claims, NEVER) == wanted


@given(st.characters(codec="ascii", exclude_categories=("Cc",)))
def test_the_boundary_before_a_suffix(before):
    rules = ClaimRules(audience_suffix="a.example")
    accepted = not (before.isalnum() or before in "-_")
    wanted = None if accepted else "invalid_audience"
    assert reason(rules.check_identity, {"aud": f"{before}a.example"}, NEVER) == wanted


@pytest.mark.parametrize("audience", [1, None, True, {}, [1], ["a", None]])
def test_an_audience_of_another_type_is_no_claim(audience):
    assert reason(ANY.read, {"aud": audience}) == "invalid_claims"


def test_details_are_measured_and_hold_no_input():
    with pytest.raises(AuthError) as caught:
        ANY.check_times(Times(NOW - 74.25, None, None), NOW)
    assert caught.value.detail == "exp passed 74.250 s ago"
    with pytest.raises(AuthError) as caught:
        ANY.read({"exp": "needle"})
    assert "needle" not in caught.value.detail


_QUARTERS = st.integers(4, 4000).map(lambda number: number / 4)  # sums of them are exact


@given(
    times=st.builds(Times, *[st.none() | _QUARTERS] * 3),
    rules=st.builds(
        ClaimRules,
        required=st.just(()),
        leeway=st.just(0.0) | _QUARTERS,
        iat_leeway=_QUARTERS,
        iat_window=st.none() | _QUARTERS,
        max_ahead=st.none() | _QUARTERS,
    ),
)
def test_the_span_without_an_objection_is_all_but_its_edges(times: Times, rules: ClaimRules):
    begin, end = rules.surely(times)
    if begin < end:
        for now in (begin, math.nextafter(min(end, 1e6), 0), (begin + min(end, 1e6)) / 2):
            rules.check_times(times, now)
    if math.isinf(begin):  # no time is good
        assert times.exp is None
        assert reason(rules.check_times, times, 1e6) is not None
    elif begin > 0.001:
        assert reason(rules.check_times, times, begin - 0.002) is not None
    if not math.isinf(end):
        assert reason(rules.check_times, times, end + 0.002) is not None
