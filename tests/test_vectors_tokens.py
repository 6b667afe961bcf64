"""The authored attack tokens, end to end through `Verifier`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from trap import TRAP
from vectors.loader import Case, Expect, each
from vectors.other_cases import authored

from rpcguard import base64url
from rpcguard.errors import REASONS, AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.schemes import jws
from rpcguard.verifier import Verifier

SETTINGS, CASES = authored("jwt_attack_tokens")
NOW = float(SETTINGS["now"])

# RFC 6750 and the providers' documents show one or more spaces before the token, so a space in
# front of it is none of the token's on the wire; as a token by itself it is refused.
NOT_ON_THE_WIRE = {"jwt-103"}

MALFORMED, INVALID = {"malformed_credentials"}, {"invalid_credentials"}
UNSUPPORTED, CLAIMS = {"unsupported_algorithm"}, {"invalid_claims"}
REASONS_BY_CATEGORY: dict[str, set[str]] = {
    "claims-time": {"expired", "not_yet_valid"} | CLAIMS | MALFORMED,
    "claims-json": MALFORMED,
    "header": MALFORMED | UNSUPPORTED,
    "alg-none": UNSUPPORTED,
    "encoding": MALFORMED | INVALID,
    "wrong-key": INVALID,
    "size": MALFORMED,
    "alg-confusion": UNSUPPORTED | INVALID,
    "kid": MALFORMED | INVALID,
    "key-injection": INVALID,
    "ecdsa-form": INVALID,
    "rsa-form": INVALID,
    "audience": CLAIMS | {"invalid_audience"},
    "asym-valid": set(),
}
# Where the documents leave no choice.
REASONS_BY_CASE: dict[str, str] = {
    "jwt-002": "expired",
    "jwt-005": "not_yet_valid",
    "jwt-007": "malformed_credentials",
    "jwt-009": "malformed_credentials",
    "jwt-011": "invalid_claims",
    "jwt-013": "invalid_claims",
    "jwt-015": "invalid_claims",
    "jwt-017": "invalid_claims",
    "jwt-019": "invalid_claims",
    "jwt-021": "malformed_credentials",
    "jwt-026": "invalid_claims",
    "jwt-029": "invalid_claims",
    "jwt-046": "malformed_credentials",
    "jwt-069": "unsupported_algorithm",
    "jwt-122": "unsupported_algorithm",
    "jwt-132": "unsupported_algorithm",
    "jwt-134": "unsupported_algorithm",
    "jwt-136": "unsupported_algorithm",
    "jwt-138": "invalid_credentials",
    "jwt-140": "invalid_credentials",
    "jwt-148": "malformed_credentials",
    "jwt-150": "malformed_credentials",
    "jwt-158": "malformed_credentials",
    "jwt-187": "invalid_audience",
    "jwt-194": "invalid_audience",
    "jwt-198": "invalid_audience",
    "jwt-201": "invalid_audience",
    "jwt-203": "invalid_claims",
}


def _project(verifier: str, path: str, **more: Any) -> dict[str, Any]:
    spec = SETTINGS["verifiers"][verifier]
    shared: dict[str, Any] = {
        "match": {"path": path},
        "algorithms": spec["algorithms"],
        "time_unit": spec["time_unit"],
        "leeway": f"{SETTINGS['leeway']}s",
    }
    if "secret_hex" in spec:
        secret = {"id": "only", "secret": spec["secret_hex"], "encoding": "hex"}
        return shared | {"preset": "meganode", "schemes": ["jwt"], "secrets": [secret]} | more
    keys = [
        {"kid": kid, "alg": key["alg"], "public_key": key["pem"]}
        for kid, key in spec["public_keys"].items()
    ]
    return shared | {"preset": "bearer", "keys": keys} | more


def _registry() -> str:
    suffixes = {case.data["audience_suffix"] for case in CASES if "audience_suffix" in case.data}
    assert len(suffixes) == 1
    ahead = f"{SETTINGS['max_lifetime_s']}s"
    ms = SETTINGS["verifiers"]["hs256-ms"]
    suffix = {"audience_suffix": suffixes.pop()}
    projects = {
        "hs256": _project("hs256", "/hs256", max_ahead=ahead),
        "hs256-ms": _project(
            "hs256-ms", "/hs256-ms", max_lifetime=f"{ms['max_lifetime_s']}s", lifetime_grace="0s"
        ),
        "keys": _project("keys", "/keys", max_ahead=ahead),
        "suffix": _project("keys", "/suffix", max_ahead=ahead, **suffix),
        "optional": _project("keys", "/optional", required=[]),
        # the same keys as the provider of the second document has them
        "atn": _project("keys", "/atn", preset="allthatnode", **suffix),
    }
    bounds = {"max_credential": SETTINGS["max_token_bytes"]}
    return json.dumps(
        {"version": 1, "backend": "memory://", "bounds": bounds, "projects": projects}
    )


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    """Return one verifier with a project for each set-up of the file."""
    path: Path = tmp_path_factory.mktemp("tokens") / "registry.yaml"
    path.write_text(_registry(), encoding="utf-8")
    made = Verifier.from_yaml(path, clock=lambda: NOW, environ={}, watch=False)
    with closing(made):
        yield made


def _verify(verifier: Verifier, case: Case, project: str) -> Principal:
    headers = [("Authorization", f"Bearer {case.data['token']}")]
    return verifier.verify(Request("POST", f"/{project}", headers, b"{}"))


def _verdict(verifier: Verifier, case: Case, project: str) -> Principal | AuthError:
    try:
        return _verify(verifier, case, project)
    except AuthError as error:
        return error


def _project_of(case: Case) -> str:
    if "audience_suffix" in case.data:
        return "suffix"
    return "optional" if case.data.get("require") == [] else str(case.data["verifier"])


def _number(case: Case) -> str:
    return case.id.partition(":")[2]


def test_the_tables_of_reasons_know_the_file() -> None:
    numbers = {_number(case) for case in CASES}

    assert {case.data["category"] for case in CASES} == set(REASONS_BY_CATEGORY)
    assert set(REASONS_BY_CASE) | NOT_ON_THE_WIRE <= numbers
    assert set().union(*REASONS_BY_CATEGORY.values()) <= set(REASONS)


@each(case for case in CASES if case.expect is Expect.ACCEPT)
def test_a_good_token_is_accepted(verifier: Verifier, case: Case) -> None:
    principal = _verify(verifier, case, _project_of(case))

    claims = json.loads(base64url.decode(case.data["token"].split(".")[1]))
    assert (principal.scheme, principal.claims) == ("jwt", claims)
    assert principal.expires_at == claims.get("exp")


@each(
    case for case in CASES if case.expect is Expect.REFUSE and _number(case) not in NOT_ON_THE_WIRE
)
def test_an_attack_is_refused_with_a_reason_of_its_kind(verifier: Verifier, case: Case) -> None:
    with pytest.raises(AuthError) as caught:
        _verify(verifier, case, _project_of(case))

    error = caught.value
    assert error.status == 401
    assert error.reason in REASONS_BY_CATEGORY[case.data["category"]]
    assert error.reason == REASONS_BY_CASE.get(_number(case), error.reason)
    assert _shows_nothing_of(case, error)


def _shows_nothing_of(case: Case, error: AuthError) -> bool:
    shown = " ".join([repr(error), str(error), error.message, error.detail, *error.challenges])
    parts = [part for part in case.data["token"].split(".") if len(part) > 16]
    return not any(part in shown for part in parts)


@each(case for case in CASES if _number(case) in NOT_ON_THE_WIRE)
def test_a_token_with_white_space_in_front_is_no_token(verifier: Verifier, case: Case) -> None:
    with pytest.raises(AuthError, match="malformed_credentials"):
        jws.parse(case.data["token"], SETTINGS["max_token_bytes"])

    assert _verify(verifier, case, _project_of(case)).scheme == "jwt"


@each(case for case in CASES if case.expect is Expect.EITHER)
def test_an_open_case_gives_a_principal_or_a_refusal(verifier: Verifier, case: Case) -> None:
    verdict = _verdict(verifier, case, _project_of(case))

    if isinstance(verdict, AuthError):
        assert verdict.reason in REASONS
    else:
        assert verdict.scheme == "jwt"


@each(case for case in CASES if case.data["verifier"] == "keys")
def test_the_second_documents_provider_judges_alike_and_says_it_in_its_own_form(
    verifier: Verifier, case: Case
) -> None:
    verdict = _verdict(verifier, case, "atn")

    if isinstance(verdict, Principal):
        assert case.expect is not Expect.REFUSE
        assert verdict.project == "atn"
    else:
        assert case.expect is not Expect.ACCEPT
        assert (verdict.status, verdict.code) == (403, -32013)
        assert (verdict.bare, verdict.project) == (True, "atn")
        assert verdict.message.startswith("invalid JWT token (")
        assert _shows_nothing_of(case, verdict)


@each(case for case in CASES if case.data["category"] in ("kid", "key-injection"))
def test_a_key_named_or_offered_by_a_token_is_never_fetched(verifier: Verifier, case: Case) -> None:
    baseline = next(case for case in CASES if case.data["category"] == "asym-valid")
    _verify(verifier, baseline, "keys")  # what is imported late is imported now

    assert TRAP.while_running(lambda: _verify(verifier, case, "keys")) == []


def test_the_trap_would_have_seen_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("x")

    assert TRAP.while_running((tmp_path / "key.pem").read_text) == ["open"]
