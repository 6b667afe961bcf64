"""Where targets lead is remembered: never for another question, never without bound, no credential."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rpcguard import AuthError, Request, Verifier
from rpcguard.places import KNOWN_PLACES, KNOWN_TEXT

REGISTRY = """\
version: 1
backend: memory://
projects:
  bsc:
    preset: meganode
    match: {path: [/v1/, /ws/v1/]}
    secrets: [{id: a, secret: "${env:SECRET}"}]
    api_keys: [{id: ops, digest: "sha256:DIGEST"}]
  hosted:
    preset: bearer
    match: {host: one.example, path: /evm}
    keys: [{kid: a, alg: HS256, secret: "${env:SECRET}"}]
  evm:
    preset: bearer
    match: {path: /evm}
    keys: [{kid: a, alg: HS256, secret: "${env:SECRET}"}]
"""
KEY = "a-key-of-somebody-in-a-path"


@pytest.fixture
def verifier(tmp_path: Path) -> Iterator[Verifier]:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY.replace("DIGEST", "0" * 64))
    with Verifier.from_yaml(path, environ={"SECRET": "s" * 32}, watch=False) as opened:
        yield opened


def _asked(verifier: Verifier, target: str, *hosts: str, project: str | None = None) -> str | None:
    """Return the project that refuses a request without a credential; the reason if none does."""
    headers = [("Host", host) for host in hosts]
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", target, headers), project=project)
    return caught.value.project or caught.value.reason


def test_what_is_remembered_answers_the_same_question_alone(verifier: Verifier) -> None:
    for _ in range(3):
        assert _asked(verifier, "/evm") == "evm"
        assert _asked(verifier, "/evm", "one.example") == "hosted"
        assert _asked(verifier, "/evm", "ONE.example:80") == "hosted"
        assert _asked(verifier, "/evm", "") == "evm"
        assert _asked(verifier, "/evm", "one.example", "one.example") == "invalid_target"
        assert _asked(verifier, "/evm", "one.example", "") == "invalid_target"
        assert _asked(verifier, "/evm", project="bsc") == "bsc"
        assert _asked(verifier, "/evm", "one.example", project="evm") == "evm"
        assert _asked(verifier, "/evm", project="one.example") == "no_project"
        assert _asked(verifier, "/v1/") == "bsc"


def test_a_reload_forgets_it(verifier: Verifier, tmp_path: Path) -> None:
    assert _asked(verifier, "/evm") == "evm"
    (tmp_path / "registry.yaml").write_text(
        (tmp_path / "registry.yaml").read_text().replace("  evm:\n", "  other:\n")
    )
    verifier.reload()
    assert _asked(verifier, "/evm") == "other"


def test_callers_cannot_make_it_grow(verifier: Verifier) -> None:
    for number in range(KNOWN_PLACES + 10):
        assert _asked(verifier, "/evm", f"host-{number}.example") == "evm"
    assert 0 < len(verifier.registry._places.known) <= KNOWN_PLACES
    before = len(verifier.registry._places.known)
    assert _asked(verifier, f"/evm/{'x' * KNOWN_TEXT}") == "evm"
    assert _asked(verifier, "/evm", "x" * KNOWN_TEXT) == "evm"
    assert len(verifier.registry._places.known) == before


@pytest.mark.parametrize("project", [None, "bsc", "evm", "hosted"])
@pytest.mark.parametrize("target", ["/v1/KEY", "/ws/v1/KEY", "/v1/KEY/x", "/evm?key=KEY"])
def test_no_key_is_remembered_wherever_it_is_sent(
    verifier: Verifier, target: str, project: str | None
) -> None:
    _asked(verifier, "/evm", project=project)
    try:
        verifier.verify(Request("POST", target.replace("KEY", KEY), []), project=project)
    except AuthError:
        pass
    known = verifier.registry._places.known
    assert known
    assert KEY not in repr(list(known)) + repr(list(known.values()))
