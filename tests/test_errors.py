"""The errors: a closed set of reasons, three classes that cannot be mistaken, nothing secret."""

from __future__ import annotations

import pickle
import traceback

import pytest

from rpcguard.errors import (
    REASONS,
    AuthError,
    BackendError,
    ConfigError,
    Problem,
    RpcGuardError,
)

# The contract with clients, row by row: HTTP status, JSON-RPC code, reasons.
CONTRACT: list[tuple[int, int, str]] = [
    (400, -32600, "ambiguous_credentials invalid_target invalid_body"),
    (
        401,
        -32001,
        """missing_credentials malformed_credentials unsupported_algorithm invalid_credentials
        expired not_yet_valid invalid_claims invalid_audience invalid_binding replayed revoked""",
    ),
    (
        403,
        -32003,
        """forbidden_method forbidden_address forbidden_ip forbidden_origin forbidden_user_agent
        not_listed https_required no_project""",
    ),
    (413, -32600, "body_too_large"),
    (415, -32600, "unsupported_encoding"),
    (429, -32005, "rate_limited"),
    (503, -32002, "backend_unavailable"),
]
ROWS = [(reason, status, code) for status, code, names in CONTRACT for reason in names.split()]


@pytest.mark.parametrize(("reason", "status", "code"), ROWS)
def test_a_reason_has_its_status_and_code(reason: str, status: int, code: int) -> None:
    error = AuthError(reason)

    assert (error.reason, error.status, error.code) == (reason, status, code)
    assert error.message


def test_the_set_of_reasons_is_closed() -> None:
    assert set(REASONS) == {reason for reason, _, _ in ROWS}
    with pytest.raises(KeyError):
        AuthError("because")
    with pytest.raises(TypeError):
        REASONS["because"] = (400, 0, "")  # type: ignore[index]


@pytest.mark.parametrize("reason", REASONS)
def test_only_what_may_work_later_says_when(reason: str) -> None:
    assert (AuthError(reason).retry_after is not None) is (
        reason in {"rate_limited", "backend_unavailable"}
    )


def test_an_error_begins_without_project_form_or_challenges() -> None:
    error = AuthError("expired")

    assert (error.project, error.bare, error.challenges) == (None, False, ())
    assert (error.cause, error.detail) == ("", "")


def test_cause_and_detail_are_not_in_what_is_shown() -> None:
    error = AuthError("invalid_credentials", cause="unknown-kid", detail="measured fact")

    for shown in (str(error), repr(error), *traceback.format_exception(error)):
        assert "unknown-kid" not in shown
        assert "measured fact" not in shown
    assert str(error) == "invalid_credentials: credentials are not valid"


def test_faults_of_caller_operator_and_backend_are_three_classes() -> None:
    kinds = [AuthError, ConfigError, BackendError]

    for kind in kinds:
        assert issubclass(kind, RpcGuardError)
        assert [other for other in kinds if issubclass(other, kind)] == [kind]
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(AuthError, ValueError)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("too short"), "too short"),
        (Problem("too short", file="r.yaml"), "r.yaml: too short"),
        (Problem("too short", file="r.yaml", line=3, column=5), "r.yaml:3:5: too short"),
        (
            Problem("too short", file="r.yaml", line=3, column=5, key="projects.a.secrets[0]"),
            "r.yaml:3:5: projects.a.secrets[0]: too short",
        ),
        (Problem("too short", key="backend"), "backend: too short"),
    ],
)
def test_a_problem_names_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_config_error_lists_every_problem_in_order() -> None:
    error = ConfigError("first", Problem("second", key="a"), files=("r.yaml",))

    assert str(error) == "first\na: second"
    assert [problem.message for problem in error.problems] == ["first", "second"]
    assert error.files == ("r.yaml",)


def test_an_error_survives_the_way_between_processes() -> None:
    error = AuthError("expired")

    assert pickle.loads(pickle.dumps(error)).reason == "expired"
