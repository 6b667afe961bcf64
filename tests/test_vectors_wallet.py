"""The authored wallet requests, end to end through `Verifier`, each with an empty nonce store."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from vectors.loader import Case, Expect, each
from vectors.other_cases import authored

from rpcguard.errors import REASONS, AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

SETTINGS, CASES = authored("wallet_requests")
NOW = 1_760_000_000  # the time of the fixture `guard`
GENUINE = next(case for case in CASES if case.id == "wallet_requests:wal-000")

MALFORMED, INVALID = {"malformed_credentials"}, {"invalid_credentials"}
REASONS_BY_CATEGORY: dict[str, set[str]] = {
    "valid": set(),
    "time": {"expired", "not_yet_valid"},
    "time-format": MALFORMED,
    "nonce-format": MALFORMED,
    "tamper": INVALID,
    "missing-header": MALFORMED,
    "duplicate-header": MALFORMED,
    "version": MALFORMED | INVALID | {"unsupported_algorithm"},
    "path": {"invalid_target", "invalid_binding"},
    "method": {"invalid_binding"},
    "sig-form": MALFORMED | INVALID,
    "pubkey-form": MALFORMED | INVALID,
}
REASONS_BY_CASE: dict[str, str] = {
    "wal-009": "expired",
    "wal-057": "invalid_credentials",  # the headers say v2, the signed payload is v1
    "wal-059": "unsupported_algorithm",  # v1 where v2 is demanded
    "wal-062": "malformed_credentials",
    "wal-064": "unsupported_algorithm",
    "wal-066": "malformed_credentials",
    "wal-068": "invalid_binding",
    "wal-070": "invalid_target",
    "wal-072": "invalid_target",
    "wal-074": "invalid_binding",
    "wal-076": "invalid_binding",
    "wal-078": "invalid_binding",
    "wal-080": "invalid_target",
    "wal-082": "invalid_target",
    "wal-084": "invalid_binding",
    "wal-086": "invalid_target",
    "wal-092": "invalid_credentials",
    "wal-094": "malformed_credentials",
    "wal-096": "malformed_credentials",
    "wal-099": "malformed_credentials",
    "wal-101": "malformed_credentials",
    "wal-103": "invalid_credentials",
    "wal-115": "malformed_credentials",
    "wal-117": "malformed_credentials",
    "wal-119": "malformed_credentials",
}

Guard = Callable[..., Verifier]


def _registry(min_version: int | None = None) -> str:
    project: dict[str, Any] = {"preset": "nodius", "schemes": ["signature"], "wallets": "open"}
    if min_version is not None:
        project["min_version"] = min_version
    # a restarted memory refuses what was signed before its start, as some cases were
    backend = "memory://?restart_guard=off"
    return json.dumps({"version": 1, "backend": backend, "projects": {"solana": project}})


def _request(case: Case) -> Request:
    data = case.data
    headers = [(name, value) for name, value in data["headers"]]
    body = base64.b64decode(data["body_base64"], validate=True)
    return Request(data["method"], data["raw_path"], headers, body)


def _verify(verifier: Verifier, case: Case) -> Principal:
    return verifier.verify(_request(case))


def _verdict(verifier: Verifier, request: Request, body: bytes | None = None) -> str:
    """Return the subject, or the reason of the refusal."""
    try:
        return verifier.verify(request, lambda _: body or b"").subject
    except AuthError as error:
        return error.reason


def _pubkey(case: Case) -> str:
    return str(next(value for name, value in case.data["headers"] if name == "X-Pubkey"))


def test_the_tables_of_reasons_know_the_file() -> None:
    assert SETTINGS["now"] == NOW
    assert SETTINGS["window_s"] == 30
    assert {case.data["category"] for case in CASES} == set(REASONS_BY_CATEGORY)
    assert {f"wallet_requests:{number}" for number in REASONS_BY_CASE} <= {c.id for c in CASES}


@each(case for case in CASES if case.expect is Expect.ACCEPT)
def test_a_genuine_request_is_accepted_once(guard: Guard, case: Case) -> None:
    verifier = guard(_registry(case.data.get("min_version")))

    principal = _verify(verifier, case)

    assert (principal.subject, principal.scheme) == (_pubkey(case), "signature")
    with pytest.raises(AuthError) as caught:
        _verify(verifier, case)
    assert caught.value.reason == "replayed"


@each(case for case in CASES if case.expect is Expect.REFUSE)
def test_a_bad_request_is_refused_and_spends_nobodys_nonce(guard: Guard, case: Case) -> None:
    verifier = guard(_registry(case.data.get("min_version")))

    with pytest.raises(AuthError) as caught:
        _verify(verifier, case)

    error, number = caught.value, case.id.partition(":")[2]
    assert error.reason in REASONS_BY_CATEGORY[case.data["category"]]
    assert error.reason == REASONS_BY_CASE.get(number, error.reason)
    assert error.status == REASONS[error.reason][0]
    if "min_version" not in case.data:
        assert _verify(verifier, GENUINE).subject == _pubkey(GENUINE)


@each(case for case in CASES if case.expect is Expect.EITHER)
def test_an_open_case_gives_a_principal_or_a_refusal(guard: Guard, case: Case) -> None:
    verdict = _verdict(guard(_registry()), _request(case))

    assert verdict in (_pubkey(case), "malformed_credentials")


@each(CASES)
def test_the_verdict_is_one_whether_or_not_the_body_was_read_beforehand(
    guard: Guard, case: Case
) -> None:
    read = _request(case)
    unread = dataclasses.replace(read, body=None)
    registry = _registry(case.data.get("min_version"))

    assert _verdict(guard(registry), unread, read.body) == _verdict(guard(registry), read)
