"""What the adapters share, without a framework."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib import credentials as cred
from rpcguard import AuthError, ConfigError, Principal, Request, Verifier
from rpcguard.contrib._http import (
    NO_TARGET,
    Source,
    chosen,
    passed_before,
    quoted_target,
    raw_target,
    refusal,
)


def _error(reason: str, **attributes: Any) -> AuthError:
    error = AuthError(reason)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def test_a_refusal_is_a_json_rpc_response() -> None:
    error = _error("expired", project="p", challenges=("Bearer realm=p", "Signature"))
    status, headers, body = refusal(error, b'{"jsonrpc":"2.0","id":"a","method":"m"}')
    assert status == 401
    assert json.loads(body) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {
            "code": -32001,
            "message": "credentials have expired",
            "data": {"reason": "expired", "project": "p"},
        },
    }
    assert headers == [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("WWW-Authenticate", "Bearer realm=p"),
        ("WWW-Authenticate", "Signature"),
    ]


def test_an_unknown_project_is_not_named() -> None:
    assert json.loads(refusal(AuthError("no_project")).body)["error"]["data"] == {
        "reason": "no_project"
    }


def test_a_bare_refusal_has_three_members() -> None:
    error = _error("expired", bare=True, project="p", message="text", code=-1)
    body = refusal(error, b'{"jsonrpc":"2.0","id":1,"method":"m"}').body
    assert json.loads(body) == {"code": -1, "message": "text", "project": "p"}


def test_retry_after_is_sent_where_it_is_known() -> None:
    headers = refusal(_error("rate_limited", retry_after=3)).headers
    assert ("Retry-After", "3") in headers


@pytest.mark.parametrize(
    ("raw", "decoded", "expected"),
    [
        ("/a?b", ("/a",), "/a?b"),
        ("/a%20b", ("/a b",), "/a%20b"),
        ("/%c3%a9", ("/\u00c3\u00a9",), "/%c3%a9"),
        ("/prefix/a", ("/prefix/a", "/a"), "/prefix/a"),
        ("/a", ("/prefix/a", "/a"), "/a"),
        ("/a", ("/b",), NO_TARGET),
        ("http://host/a", ("/a",), NO_TARGET),
        ("//a", ("/a",), NO_TARGET),
    ],
)
def test_a_raw_target_counts_if_it_is_what_is_routed(
    raw: str, decoded: tuple[str, ...], expected: str
) -> None:
    assert raw_target(raw, *decoded) == expected


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/v1/x-y_z.~", "", "/v1/x-y_z.~"),
        ("/v1/", "a=%2F", "/v1/?a=%2F"),
        ("/a b", "", NO_TARGET),
        ("/a:b", "", NO_TARGET),
        ("/a%b", "", NO_TARGET),
        ("/\u00e9", "", NO_TARGET),
        ("", "", NO_TARGET),
    ],
)
def test_a_decoded_path_is_quoted_only_where_it_has_one_spelling(
    path: str, query: str, expected: str
) -> None:
    assert quoted_target(path, query) == expected


def test_the_core_refuses_the_target_that_stands_for_none(registry: Path) -> None:
    with (
        Verifier.from_yaml(registry, watch=False) as verifier,
        pytest.raises(AuthError, match="invalid_target"),
    ):
        verifier.verify(Request("POST", NO_TARGET, cred.meganode()))


@pytest.mark.parametrize("schemes", [[], ["wallet"], ["jwt", "JWT"]])
def test_a_narrowing_to_nothing_or_to_unknown_kinds_is_an_error(schemes: list[str]) -> None:
    with pytest.raises(ValueError, match="schemes must be some of"):
        chosen(schemes)


def test_a_narrowing_is_a_list() -> None:
    with pytest.raises(TypeError):
        chosen("jwt")


class TestSource:
    def test_a_path_is_opened_and_closed_and_opened_again(self, registry: Path) -> None:
        source = Source(registry)
        first = source.verifier
        source.close()
        source.close()
        assert source.verifier is first
        source.open()
        source.open()
        assert source.verifier is not first
        source.verifier.verify(Request("POST", "/v1/", cred.meganode()))
        source.close()

    def test_a_verifier_belongs_to_who_made_it(self, registry: Path) -> None:
        with Verifier.from_yaml(registry, watch=False) as verifier:
            source = Source(verifier)
            source.close()
            assert source.verifier is verifier
            verifier.verify(Request("POST", "/v1/", cred.meganode()))

    def test_the_environment_names_the_registry(
        self, registry: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RPCGUARD_REGISTRY", str(registry))
        source = Source(None)
        assert "bsc" in source.verifier.registry.projects
        source.close()

    def test_no_registry_at_all_is_a_config_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RPCGUARD_REGISTRY", raising=False)
        with pytest.raises(ConfigError, match="RPCGUARD_REGISTRY"):
            Source(None)


class TestPassedBefore:
    @pytest.fixture
    def verifier(self, tmp_path: Path) -> Iterator[Verifier]:
        text = """
            version: 1
            backend: memory://
            projects:
              p: {preset: meganode, match: {path: /p}, secrets: [{id: a, secret: "${env:S}"}]}
              q: {preset: meganode, match: {path: /q}, secrets: [{id: a, secret: "${env:S}"}]}
        """
        (tmp_path / "registry.yaml").write_text(textwrap.dedent(text))
        with Verifier.from_yaml(
            tmp_path / "registry.yaml", environ={"S": "s" * 32}, watch=False
        ) as verifier:
            yield verifier

    def test_the_same_question_has_the_same_answer(self, verifier: Verifier) -> None:
        principal, request = Principal("s", "p", "jwt"), Request("POST", "/p", [])
        assert passed_before((), verifier, request, None, None) is None
        passed = ((verifier, principal),)
        assert passed_before(passed, verifier, request, None, None) is principal
        assert passed_before(passed, verifier, request, None, frozenset({"jwt"})) is principal
        assert passed_before(passed, verifier, request, "p", None) is principal

    def test_another_question_is_asked_again(self, verifier: Verifier) -> None:
        passed = ((verifier, Principal("s", "p", "jwt")),)
        assert passed_before(passed, verifier, Request("POST", "/q", []), None, None) is None
        assert passed_before(passed, verifier, Request("POST", "/p", []), "q", None) is None
        kinds = frozenset({"signature"})
        assert passed_before(passed, verifier, Request("POST", "/p", []), "p", kinds) is None

    def test_a_guard_of_another_registry_asks_for_itself(
        self, verifier: Verifier, tmp_path: Path
    ) -> None:
        passed = ((verifier, Principal("s", "p", "jwt")),)
        with Verifier.from_yaml(
            tmp_path / "registry.yaml", environ={"S": "t" * 32}, watch=False
        ) as other:
            assert passed_before(passed, other, Request("POST", "/p", []), None, None) is None
