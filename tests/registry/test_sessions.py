"""`session` in the registry, and what is compiled from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from minting import NOW

from rpcguard import AuthError, ConfigError
from rpcguard.base64url import decode
from rpcguard.project import Project
from rpcguard.registry.compile import load
from rpcguard.verifier import Verifier

SECRET = "a session secret of more than 32 bytes"
OTHER = "another session secret, more than 32 bytes"
ENVIRON = {"S": SECRET, "T": OTHER}
NODIUS = "preset: nodius\nwallets: open"
BEARER = 'preset: bearer\nkeys: [{kid: k, alg: HS256, secret: "${env:T}"}]'

Compile = Callable[..., Project]


@pytest.fixture
def compiled(tmp_path: Path) -> Iterator[Compile]:
    """Return the one project whose lines are given."""
    with ExitStack() as stack:

        def compiled(session: str | None, lines: str = NODIUS, more: str = "") -> Project:
            text = "version: 1\n" + more + "projects:\n  p:\n    "
            text += "\n    ".join(lines.splitlines())
            text += f"\n    session: {session}\n" if session is not None else "\n"
            path = tmp_path / "registry.yaml"
            path.write_text(text, encoding="utf-8")
            options: dict[str, Any] = {"backend": "memory://", "environ": ENVIRON, "watch": False}
            verifier = Verifier.from_yaml(path, clock=lambda: NOW, **options)
            stack.enter_context(closing(verifier))
            return verifier.registry.projects["p"]

        yield compiled


def test_the_defaults(compiled):
    project = compiled('{secret: "${env:S}"}')
    sessions = project.sessions
    assert (sessions.project, sessions.audience) == ("p", "p")
    assert (sessions.ttl, sessions.refresh_ttl, sessions.skew) == (3600, None, 30.0)
    assert [secret.key.kid for secret in sessions.secrets] == ["session"]
    assert [scheme.name for scheme in project.schemes] == ["signature", "session", "api_key"]
    assert sessions.wallets.find("anybody")


def test_all_that_can_be_said(compiled):
    sessions = compiled(
        '{secrets: [{id: b, secret: "${env:T}"}, {id: a, secret: "${env:S}", name: old}],'
        " ttl: 5m, refresh: rotating, refresh_ttl: 2d, service: my-node}",
        NODIUS + "\nid: shown",
        "max_server_skew: 7s\n",
    ).sessions
    assert [secret.key.kid for secret in sessions.secrets] == ["b", "a"]
    assert (sessions.audience, sessions.ttl, sessions.refresh_ttl) == ("shown", 300, 2 * 86_400)
    assert sessions.skew == 7
    challenge = sessions.secrets[0].challenges.at("x", NOW, b"")[0]
    assert challenge.text.startswith("my-node:challenge:")


def test_refresh_is_off_unless_said(compiled):
    assert compiled('{secret: "${env:S}", refresh_ttl: 2d}').sessions.refresh_ttl is None
    assert compiled('{secret: "${env:S}", refresh: off}').sessions.refresh_ttl is None
    assert compiled('{secret: "${env:S}", refresh: rotating}').sessions.refresh_ttl == 30 * 86_400


@pytest.mark.parametrize("session", [None, "{service: x}"])
def test_without_a_secret_there_are_no_sessions(compiled, session):
    project = compiled(session)
    assert project.sessions is None
    assert [scheme.name for scheme in project.schemes] == ["signature", "api_key"]
    assert project.key_issuer is not None


def test_secrets_in_other_encodings(compiled):
    entry = '{id: a, secret: "%s", encoding: hex}' % ("ab" * 32)
    (secret,) = compiled(f"{{secrets: [{entry}]}}").sessions.secrets
    assert secret.secret == b"\xab" * 32


def test_sessions_beside_jwts(compiled):
    """With its own issuer a project tells them apart by the header, which never varies."""
    project = compiled(
        '{secrets: [{id: a, secret: "${env:S}"}, {id: b, secret: "${env:T}"}]}', BEARER
    )
    assert [scheme.name for scheme in project.schemes] == ["jwt", "session"]
    assert project.sessions.wallets is None
    assert project.key_issuer is None
    for secret in project.sessions.secrets:
        token = project.sessions.sign({}, secret)
        header = json.loads(decode(token.split(".")[0]))
        assert header == {"alg": "HS256", "typ": "rpcguard-session+jwt", "kid": secret.key.kid}


def test_sessions_alone_in_a_preset_that_has_jwts(compiled):
    project = compiled('{secret: "${env:S}"}', "preset: bearer")
    assert [scheme.name for scheme in project.schemes] == ["session"]


def test_a_listed_wallet_is_listed_for_sessions_too(compiled):
    project = compiled('{secret: "${env:S}"}', "preset: nodius\nwallets: []")
    with pytest.raises(AuthError, match="not_listed"):
        project.sessions.wallets.find("anybody")


@pytest.mark.parametrize(
    ("session", "lines", "key"),
    [
        ('{secret: "${env:S}", secrets: [{id: a, secret: "${env:T}"}]}', NODIUS, "secret"),
        (
            '{secrets: [{id: a, secret: "${env:S}"}, {id: a, secret: "${env:T}"}]}',
            NODIUS,
            r"secrets\[1\]",
        ),
        ('{secrets: [{id: a, secret: "${env:MISSING}"}]}', NODIUS, r"secrets\[0\]"),
        ("{secrets: [{id: a}]}", NODIUS, r"secrets\[0\]"),
        ("{refresh: rotating}", NODIUS, "session"),
        ("{refresh_ttl: 1d}", NODIUS, "session"),
        ('{secret: "${env:S}", ttl: forever}', NODIUS, "ttl"),
        ('{secret: "${env:S}", ttl: -1s}', NODIUS, "ttl"),
        ('{secret: "${env:S}", ttl: 999ms}', NODIUS, "ttl"),
        ('{secret: "${env:S}", refresh: rotating, refresh_ttl: 999ms}', NODIUS, "refresh_ttl"),
        ('{secret: "${env:S}"}', "preset: engine-api\nsecrets: []", "session"),
        ('{secret: "${env:S}"}', "preset: allthatnode\nkeys: []", "session"),
    ],
)
def test_problems_name_their_place_and_no_value(compiled, session, lines, key):
    with pytest.raises(
        ConfigError, match=rf"projects\.p\.session.*{key}|projects\.p\.{key}"
    ) as caught:
        compiled(session, lines)
    for value in ENVIRON.values():
        assert value not in str(caught.value)


def test_every_problem_is_told_at_once(compiled):
    session = '{secrets: [{id: a, secret: x}, {id: b, secret: "${env:S}"}, {id: b, secret: y}]}'
    with pytest.raises(ConfigError) as caught:
        compiled(session)
    assert len(caught.value.problems) >= 3


def test_no_secret_in_a_repr(compiled):
    project = compiled('{secrets: [{id: a, secret: "${env:S}"}]}')
    assert SECRET not in repr(project)
    assert SECRET not in repr(project.sessions.secrets)


@pytest.mark.parametrize(
    "other",
    [
        "keys: [{kid: a, alg: HS256, secret: '${env:B}'}]",
        "api_keys: [{id: a, digest: 'sha256:" + "0" * 64 + "'}]",
    ],
)
def test_two_keys_of_a_project_that_are_revoked_as_one_are_named(tmp_path, other):
    text = (
        "version: 1\nprojects:\n  p:\n    preset: bearer\n    aud: ignore\n"
        "    api_key: {read: [header]}\n"
        "    schemes: [jwt, session, api_key]\n"
        f"    {other}\n"
        "    session: {secrets: [{id: a, secret: '${env:A}'}]}\n"
    )
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    environ = {"A": "a" * 32 + "1", "B": "b" * 32 + "1"}
    warned = [str(each) for each in load(path, environ).warnings]
    assert any("session.secrets[0]" in each and "revoked as one" in each for each in warned)
