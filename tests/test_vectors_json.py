"""Strict JSON against JSONTestSuite, as bytes and as text, with binary and with exact numbers."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import pytest
from vectors.loader import Case, Expect, each
from vectors.other_cases import json_parsing

from rpcguard import strict_json

CASES = json_parsing()
EXACT = pytest.mark.parametrize("exact", [False, True], ids=["binary", "exact"])
# RFC 8259 permits duplicate names; two parsers then see two documents, so rpcguard does not
DUPLICATES = [case for case in CASES if case.data["name"].startswith("y_object_duplicated_key")]
ACCEPTED = [c for c in CASES if c.expect is Expect.ACCEPT and c not in DUPLICATES]


@each(ACCEPTED)
def test_an_accepted_document_gives_the_value_that_json_gives(case: Case) -> None:
    data = case.data["data"]

    value = strict_json.loads(data)

    assert repr(value) == repr(json.loads(data.decode("utf-8")))
    assert repr(strict_json.loads(data.decode("utf-8"))) == repr(value)


@each(ACCEPTED)
def test_an_accepted_document_is_accepted_with_exact_numbers(case: Case) -> None:
    value = strict_json.loads(case.data["data"], exact=True)

    assert value == json.loads(case.data["data"], parse_float=Decimal)


@EXACT
@each(DUPLICATES)
def test_duplicate_names_are_refused(case: Case, exact: bool) -> None:
    with pytest.raises(ValueError, match=r"^a member name occurs twice$"):
        strict_json.loads(case.data["data"], exact=exact)


@EXACT
@each(case for case in CASES if case.expect is Expect.REFUSE)
def test_a_broken_document_is_refused(case: Case, exact: bool) -> None:
    with pytest.raises(ValueError, match=r"^not |^nested |^NaN "):
        strict_json.loads(case.data["data"], exact=exact)


@EXACT
@each(case for case in CASES if case.expect is Expect.EITHER)
def test_an_open_case_gives_a_value_or_is_refused(case: Case, exact: bool) -> None:
    with contextlib.suppress(ValueError):
        strict_json.loads(case.data["data"], exact=exact)
