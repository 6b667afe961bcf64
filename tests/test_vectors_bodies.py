"""The authored JSON-RPC bodies under a methods policy, end to end through `Verifier`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from vectors.loader import Case, each
from vectors.other_cases import authored

from rpcguard import jsonrpc
from rpcguard.errors import AuthError
from rpcguard.request import Request
from rpcguard.verifier import Verifier

_, CASES = authored("jsonrpc_bodies")

# What the classes of the file mean: a request or batch throughout, or not.
CLASSES: dict[str, bool] = {
    "single": True,
    "batch": True,
    "id must come back unchanged": True,
    "invalid request": False,
    "invalid request: member names are case-sensitive": False,
    "batch with one invalid": False,
    "parse error": False,
}
KEY = "a-key-for-tests"
Guard = Callable[..., Verifier]


def _registry(methods: list[str] | None) -> str:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    project: dict[str, Any] = {
        "preset": "meganode",
        "schemes": ["api_key"],
        "api_keys": [{"id": "ops", "digest": f"sha256:{digest}"}],
    }
    if methods is not None:
        project["allow"] = {"methods": methods}
    return json.dumps({"version": 1, "backend": "memory://", "projects": {"main": project}})


def _request(case: Case) -> Request:
    return Request("POST", f"/{KEY}", [], case.data["body"].encode("utf-8"))


def test_every_class_is_known() -> None:
    assert {case.data["class"] for case in CASES} == set(CLASSES)


@each(CASES)
def test_a_body_passes_a_methods_policy_only_as_a_request_or_batch(
    guard: Guard, case: Case
) -> None:
    verifier = guard(_registry(["*"]))

    if CLASSES[case.data["class"]]:
        assert verifier.verify(_request(case)).key_id == "ops"
    else:
        with pytest.raises(AuthError) as caught:
            verifier.verify(_request(case))
        assert (caught.value.reason, caught.value.status) == ("invalid_body", 400)


@each(CASES)
def test_without_a_policy_over_the_body_nobody_looks_at_it(guard: Guard, case: Case) -> None:
    unread = Request("POST", f"/{KEY}", [], None)

    def read(_: int) -> bytes:
        raise AssertionError("the body was read")

    assert guard(_registry(None)).verify(unread, read).key_id == "ops"
    assert guard(_registry(None)).verify(_request(case)).key_id == "ops"


@each(case for case in CASES if CLASSES[case.data["class"]])
def test_every_call_of_a_body_must_be_allowed(guard: Guard, case: Case) -> None:
    document = json.loads(case.data["body"])
    methods = [item["method"] for item in (document if isinstance(document, list) else [document])]

    assert guard(_registry(methods)).verify(_request(case)).key_id == "ops"
    for missing in methods:
        allowed = [method for method in methods if method != missing]
        with pytest.raises(AuthError) as caught:
            guard(_registry(allowed)).verify(_request(case))
        assert caught.value.reason == "forbidden_method"


@each(CASES)
def test_an_answer_carries_the_id_of_a_single_call(case: Case) -> None:
    found = jsonrpc.request_id(case.data["body"].encode("utf-8"))
    try:
        document = json.loads(case.data["body"])
    except ValueError:
        document = None
    expected = document.get("id") if isinstance(document, dict) else None
    if isinstance(expected, bool | dict):
        expected = None

    assert found == expected
    assert type(found) is type(expected)
