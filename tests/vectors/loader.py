"""
The strict reader of the vector files.

A vector that nobody understands proves nothing, so whatever is unknown is an error: a member, a
label, a flag on which the expectation depends, a number of cases that differs from the listed one.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vectors.provenance import FILES

HERE = Path(__file__).parent


class VectorError(Exception):
    """A vector file holds something that this loader does not understand."""


class Expect(enum.Enum):
    """What a correct verifier does with a case."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Case:
    """
    One case.

    Attributes:
        id: File and number, such as "ed25519:12".
        expect: The verdict it must get.
        data: The case as the file has it.
        group: What it shares with others: key, sizes, settings; empty where the file has no groups.
    """

    id: str
    expect: Expect
    data: Mapping[str, Any] = field(repr=False)
    group: Mapping[str, Any] = field(repr=False)


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrise a test with *cases*, so that a failure names the case."""
    listed = list(cases)
    if not listed:
        raise VectorError("no cases")
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in listed])


def read(name: str) -> Any:
    """Return the content of the listed file *name*."""
    if name not in FILES and str(Path(name).parent) not in FILES:
        raise VectorError(f"{name}: not listed in provenance.py")
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def members(
    where: str, found: Mapping[str, Any], needed: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """Refuse *found* unless it has all *needed* members and, besides, *optional* ones alone."""
    wanted = set(needed)
    if missing := wanted - set(found):
        raise VectorError(f"{where}: lacks {sorted(missing)}")
    if unknown := set(found) - wanted - set(optional):
        raise VectorError(f"{where}: unknown {sorted(unknown)}")


def counted(name: str, labels: Iterable[str]) -> None:
    """Refuse the file *name* unless its *labels* are as many, by kind, as are listed."""
    found, listed = Counter(labels), Counter(dict(FILES[name].cases))
    if found != listed:
        raise VectorError(f"{name}: holds {dict(found)}, listed are {dict(listed)}")


def unique(name: str, numbers: Iterable[object]) -> None:
    """Refuse the file *name* if two of its cases have one number."""
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise VectorError(f"{name}: numbers occur twice: {twice}")


def expectation(where: str, label: object, meanings: Mapping[str, Expect]) -> Expect:
    """Return what *label* means, or refuse a label that *meanings* does not have."""
    if not isinstance(label, str) or label not in meanings:
        raise VectorError(f"{where}: unknown label {label!r}")
    return meanings[label]


def folder(name: str) -> Iterator[tuple[str, Any]]:
    """Yield the name (without ending) and the content of each file of the listed folder *name*."""
    paths = sorted((HERE / name).glob("*.json"))
    counted(name, ["files" for _ in paths])
    for path in paths:
        yield path.stem, read(f"{name}/{path.name}")
