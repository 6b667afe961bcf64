"""Base58 against Bitcoin's and base-x's vectors."""

from __future__ import annotations

import base58 as encoder
import pytest
from vectors.loader import Case, each
from vectors.other_cases import base58_pairs, base58_refused

from rpcguard import base58

PAIRS = base58_pairs()


@each(case for case in PAIRS if case.data["hex"])
def test_a_pair_goes_both_ways(case: Case) -> None:
    raw, text = bytes.fromhex(case.data["hex"]), case.data["string"]

    assert base58.decode(text, len(raw)) == raw
    assert encoder.b58encode(raw).decode("ascii") == text


@each(case for case in PAIRS if case.data["hex"])
def test_a_pair_of_another_size_is_refused(case: Case) -> None:
    raw, text = bytes.fromhex(case.data["hex"]), case.data["string"]

    for size in (len(raw) - 1, len(raw) + 1):
        with pytest.raises(ValueError, match="base58"):
            base58.decode(text, size)


@each(case for case in PAIRS if not case.data["hex"])
def test_the_empty_text_spells_no_value_of_a_fixed_size(case: Case) -> None:
    for size in (0, 1, 32):
        with pytest.raises(ValueError, match="base58"):
            base58.decode(case.data["string"], size)


@each(base58_refused())
def test_what_is_not_base58_is_refused_at_every_size(case: Case) -> None:
    for size in range(65):
        with pytest.raises(ValueError, match="base58"):
            base58.decode(case.data["string"], size)
