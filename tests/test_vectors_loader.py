"""The loader refuses what it does not understand; every file has an origin and a licence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from vectors.loader import HERE, Expect, VectorError, each, expectation, members, read
from vectors.other_cases import authored, cctv
from vectors.provenance import FILES
from vectors.wycheproof_cases import wycheproof

Document = dict[str, Any]


def _first(document: Document) -> Document:
    test: Document = document["testGroups"][0]["tests"][0]
    return test


DAMAGES: dict[str, Callable[[Document], object]] = {
    "unknown member at the top": lambda d: d.update(generator="x"),
    "missing member at the top": lambda d: d.pop("notes"),
    "another schema": lambda d: d.update(schema="eddsa_verify_schema_v2.json"),
    "another algorithm": lambda d: d.update(algorithm="ECDSA"),
    "another group type": lambda d: d["testGroups"][0].update(type="EcdsaVerify"),
    "unknown member of a group": lambda d: d["testGroups"][0].update(jku="x"),
    "missing member of a group": lambda d: d["testGroups"][0].pop("publicKeyPem"),
    "unknown member of a case": lambda d: _first(d).update(context="x"),
    "missing member of a case": lambda d: _first(d).pop("sig"),
    "unknown label": lambda d: _first(d).update(result="maybe"),
    "acceptable, and nothing says what to do": lambda d: _first(d).update(result="acceptable"),
    "unknown flag": lambda d: _first(d).update(flags=["Sunday"]),
    "another label": lambda d: _first(d).update(result="invalid"),
    "two cases of one number": lambda d: d["testGroups"][0]["tests"][1].update(tcId=1),
    "a case taken away": lambda d: d["testGroups"][0]["tests"].pop(),
    "another numberOfTests": lambda d: d.update(numberOfTests=75),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_changed_wycheproof_file_is_refused(damage: str) -> None:
    document = copy.deepcopy(read("wycheproof/ed25519_test.json"))
    DAMAGES[damage](document)

    with pytest.raises(VectorError):
        wycheproof("ed25519", document)


def test_an_override_changes_the_verdict_and_not_the_counted_label() -> None:
    verdicts = {case.id: case.expect for case in wycheproof("json_web_signature")}

    assert verdicts["json_web_signature:370"] is Expect.ACCEPT
    assert verdicts["json_web_signature:372"] is Expect.REFUSE


def test_the_acceptable_case_of_each_rsa_size_is_to_be_refused() -> None:
    for size in (2048, 3072, 4096):
        cases = wycheproof(f"rsa_signature_{size}_sha256")
        found = [case.expect for case in cases if case.data["result"] == "acceptable"]
        assert found == [Expect.REFUSE]


def test_the_strict_reading_of_cctv_accepts_the_ordinary_and_the_mixed_order_cases() -> None:
    accepted = [case for case in cctv() if case.expect is Expect.ACCEPT]

    assert len(accepted) == 23
    assert all(not set(case.data["flags"] or ()) & {"low_order_A"} for case in accepted)


def test_settings_stand_beside_authored_cases() -> None:
    settings, cases = authored("jwt_attack_tokens")

    assert (settings["now"], len(cases)) == (1_760_000_000, 109)


def test_a_label_or_member_that_is_not_known_is_an_error() -> None:
    with pytest.raises(VectorError, match="unknown label"):
        expectation("here", "perhaps", {"accept": Expect.ACCEPT})
    with pytest.raises(VectorError, match="unknown label"):
        expectation("here", ["accept"], {"accept": Expect.ACCEPT})
    with pytest.raises(VectorError, match="lacks"):
        members("here", {}, {"key"})
    with pytest.raises(VectorError, match="unknown"):
        members("here", {"key": 1, "other": 2}, {"key"})


def test_a_table_of_no_cases_is_an_error() -> None:
    with pytest.raises(VectorError, match="no cases"):
        each([])


def test_a_file_that_is_not_listed_is_not_read() -> None:
    with pytest.raises(VectorError, match="not listed"):
        read("wycheproof/dsa_test.json")


def test_every_data_file_is_listed_and_every_listed_file_exists() -> None:
    found = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.json")}

    assert {name for name in FILES if name.endswith(".json")} <= found
    for name in found:
        assert name in FILES or name.rpartition("/")[0] in FILES, name


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_an_origin_a_licence_and_a_line_in_the_readme(name: str) -> None:
    source = FILES[name]
    readme = (HERE / "README.md").read_text(encoding="utf-8")

    assert f"`{name}`" in readme
    assert source.origin
    assert source.version in readme
    assert source.total > 0
    if source.version:
        assert (HERE / "LICENSES" / source.licence).is_file()


def test_every_licence_is_that_of_a_file() -> None:
    texts = {path.name for path in (HERE / "LICENSES").iterdir()}

    assert texts == {source.licence for source in FILES.values() if source.licence}
