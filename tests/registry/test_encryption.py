"""`encryption` in the registry: what is refused at load, and what it does to requests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from minting import CALL, NOW, SECRET, bearer, hour, private_key, public_pem, token
from sealing import DIR_SECRET, WAYS, opening_key, private_pem, seal

import rpcguard
from rpcguard import AuthError, ConfigError, Request
from rpcguard.verifier import Verifier

DIR = {"kid": "e", "alg": "dir", "secret": DIR_SECRET}


def registry(*keys: dict[str, Any], project: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a registry whose project takes tokens of `a`, encrypted for *keys*."""
    signing = {"kid": "a", "alg": "HS256", "secret": SECRET}
    described = {
        "preset": "bearer",
        "keys": [signing],
        "encryption": {"keys": list(keys), **more},
        **(project or {}),
    }
    projects = {"p": {name: value for name, value in described.items() if value is not None}}
    return json.dumps(
        {"version": 1, "backend": "memory://?restart_guard=off", "projects": projects}
    )


def ask(verifier: Verifier, text: str) -> str:
    """Return the subject of a request with this token, or the reason of the refusal."""
    try:
        return verifier.verify(Request("POST", "/", bearer(text), CALL)).subject
    except AuthError as error:
        return error.reason


def problems(guard: Any, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        guard(text)
    assert DIR_SECRET not in str(caught.value)
    return [f"{p.key.removeprefix('projects.p.')}: {p.message}" for p in caught.value.problems]


def inner(**claims: Any) -> str:
    return token(hour(sub="me", **claims), kid="a")


# --- Requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alg", "kind"), WAYS)
def test_a_project_takes_tokens_encrypted_for_its_key(guard, tmp_path, alg, kind):
    entry = {"kid": "e", "alg": alg, "enc": "A256GCM"}
    if alg == "dir":
        entry |= {"secret": DIR_SECRET.encode().hex(), "encoding": "hex"}
    else:
        pem = tmp_path / "e.pem"
        pem.write_text(private_pem(opening_key(kind)))
        pem.chmod(0o600)
        entry["private_key"] = "${file:e.pem}"
    verifier = guard(registry(entry))
    assert ask(verifier, seal(inner(), alg, kind, kid="e")) == "me"
    assert ask(verifier, seal(inner(), alg, kind)) == "me"
    assert ask(verifier, inner()) == "me"
    other = DIR_SECRET[::-1].encode() if alg == "dir" else opening_key(kind, 1)
    assert ask(verifier, seal(inner(), alg, kind, other, kid="e")) == "invalid_credentials"


def test_a_token_signed_and_encrypted_by_key_pairs_alone(guard):
    text = registry(
        {"kid": "e", "alg": "ECDH-ES", "private_key": private_pem(opening_key("P-256"))},
        project={"keys": [{"kid": "a", "alg": "ES256", "public_key": public_pem("ES256")}]},
    )
    signed = token(hour(sub="me"), private_key("ES256"), "ES256", kid="a")
    assert ask(guard(text), seal(signed, "ECDH-ES", "P-256", kid="e")) == "me"


def test_encryption_can_be_required(guard):
    verifier = guard(registry(DIR, required=True))
    assert ask(verifier, inner()) == "malformed_credentials"
    assert ask(verifier, seal(inner())) == "me"


def test_two_keys_make_a_rotation(guard):
    new = {"kid": "new", "alg": "dir", "secret": DIR_SECRET[::-1]}
    old = {**DIR, "kid": "old", "not_after": "2025-10-09T08:53:20Z"}  # NOW
    text = registry(new, old)
    sealed = seal(inner(), kid="old")
    assert ask(guard(text, now=NOW - 1), sealed) == "me"
    assert ask(guard(text, now=NOW), sealed) == "invalid_credentials"
    assert ask(guard(text), seal(inner(), key=DIR_SECRET[::-1].encode(), kid="new")) == "me"


def test_a_token_is_used_once_however_it_is_wrapped(guard):
    verifier = guard(registry(DIR, project={"single_use": "true"}))
    text = inner()
    asked = [ask(verifier, made) for made in (seal(text), seal(text), text)]
    assert asked == ["me", "replayed", "replayed"]


@pytest.mark.parametrize("claims", [{}, {"jti": "j"}], ids=["no jti", "jti"])
def test_revoking_a_token_revokes_all_of_its_wrappings(guard, claims):
    text = inner(**claims)
    for named in (text, seal(text)):
        verifier = guard(registry(DIR))
        sealed = seal(text)
        assert ask(verifier, sealed) == "me"
        verifier.revoke("p", token=named)
        assert [ask(verifier, made) for made in (sealed, seal(text), text)] == ["revoked"] * 3
        verifier.close()


def test_a_session_token_is_revoked_by_itself_where_encryption_is_required(guard):
    session = {"session": {"secret": "s" * 32}}
    verifier = guard(registry(DIR, required=True, project=session))
    issued = verifier.issue("p", "me")["token"]
    assert ask(verifier, issued) == "me"
    assert ask(verifier, seal(issued)) == "malformed_credentials"
    verifier.revoke("p", token=issued)
    assert ask(verifier, issued) == "revoked"


def test_a_key_that_is_taken_away_opens_nothing_after_the_reload(guard, tmp_path):
    verifier = guard(registry(DIR))
    sealed = seal(inner())
    assert ask(verifier, sealed) == "me"
    (tmp_path / "registry.yaml").write_text(registry({**DIR, "secret": DIR_SECRET[::-1]}))
    verifier.reload()
    assert ask(verifier, sealed) == "invalid_credentials"


def test_a_secret_is_written_as_the_project_says_or_as_it_says_itself(guard):
    written = {**DIR, "secret": DIR_SECRET.encode().hex()}
    text = {
        "secret_encoding": "hex",
        "keys": [{"kid": "a", "secret": SECRET.encode().hex(), "alg": "HS256"}],
    }
    for entry in (written, {**DIR, "encoding": "utf8"}):
        assert ask(guard(registry(entry, project=text)), seal(inner())) == "me"


def test_the_registrys_bound_holds_for_the_whole_token(guard):
    sealed = seal(inner(pad="x" * 20_000))
    text = registry(DIR)
    assert ask(guard(text), sealed) == "malformed_credentials"
    for size, wanted in ((len(sealed), "me"), (len(sealed) - 1, "malformed_credentials")):
        bounded = json.dumps({**json.loads(text), "bounds": {"max_credential": size}})
        assert ask(guard(bounded), sealed) == wanted


# --- Loading -------------------------------------------------------------------------------------------


PRIVATE = private_pem(opening_key("P-256"))
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an algorithm that is not ours": (
        {**DIR, "alg": "RSA1_5"},
        "encryption.keys[0].alg: expected dir, RSA-OAEP-256, ECDH-ES or ECDH-ES+A256KW",
    ),
    "another content encryption": (
        {**DIR, "enc": "A128GCM"}, "encryption.keys[0].enc: expected A256GCM",
    ),
    "no algorithm": ({"kid": "e", "secret": DIR_SECRET}, "encryption.keys[0].alg: required"),
    "no id": ({"alg": "dir", "secret": DIR_SECRET}, "encryption.keys[0].kid: required"),
    "dir without a secret": (
        {"kid": "e", "alg": "dir", "private_key": PRIVATE}, "encryption.keys[0]: dir needs secret",
    ),
    "dir with a private key too": (
        {**DIR, "private_key": PRIVATE},
        "encryption.keys[0].private_key: dir has no use for it",
    ),
    "agreement with a secret": (
        {**DIR, "alg": "ECDH-ES"}, "encryption.keys[0]: ECDH-ES needs private_key",
    ),
    "agreement with a secret too": (
        {**DIR, "alg": "ECDH-ES", "private_key": PRIVATE},
        "encryption.keys[0].secret: ECDH-ES has no use for it",
    ),
    "a short secret": (
        {**DIR, "secret": "short"},
        "encryption.keys[0].secret: the secret has 5 bytes, dir needs exactly 32",
    ),
    "a secret in another encoding": (
        {**DIR, "encoding": "hex"}, "encryption.keys[0].secret: the secret is not hex",
    ),
    "a key of another type": (
        {"kid": "e", "alg": "RSA-OAEP-256", "private_key": PRIVATE},
        "encryption.keys[0].private_key: the key's type does not fit RSA-OAEP-256",
    ),
    "a public key": (
        {"kid": "e", "alg": "ECDH-ES", "private_key": public_pem("ES256")},
        "encryption.keys[0].private_key: not a PEM private key",
    ),
    "dates in disorder": (
        {**DIR, "not_before": "2026-12-01T00:00:00Z", "not_after": "2026-11-01T00:00:00Z"},
        "encryption.keys[0].not_after: must be later than not_before",
    ),
    "an unknown word": (
        {**DIR, "zip": "DEF"}, "encryption.keys[0].zip: unknown key",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_key_is_refused_at_load_with_its_place(guard, entry, problem):
    found = problems(guard, registry(entry))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_an_id_occurs_once(guard):
    found = problems(guard, registry(DIR, {**DIR, "secret": DIR_SECRET[::-1]}))
    assert found == ["encryption.keys[1]: a kid that occurs before in this list"]


def test_there_is_at_least_one_key(guard):
    assert problems(guard, registry()) == ["encryption.keys: must not be empty"]


@pytest.mark.parametrize(
    "project",
    [
        {"keys": None, "session": {"secret": "s" * 32}},
        {"preset": "nodius", "keys": None, "wallets": "open"},
    ],
    ids=["sessions alone", "no JWTs"],
)
def test_encryption_without_keys_that_sign_is_refused(guard, project):
    assert problems(guard, registry(DIR, project=project)) == [
        "encryption: without `keys` there are no tokens to encrypt"
    ]


def test_a_literal_private_key_is_warned_of_like_any_secret(look_at):
    entry = {"kid": "e", "alg": "ECDH-ES", "private_key": PRIVATE}
    found = look_at(registry(entry, project={"keys": None}))
    assert [(w.key, w.message) for w in found.warnings] == [
        ("projects.p.encryption.keys[0].private_key",
         "a literal secret; write ${env:NAME} or ${file:PATH}")
    ]  # fmt: skip
    assert "PRIVATE KEY" not in repr(found.registry)
    assert DIR_SECRET not in repr(look_at(registry(DIR)).registry)


# --- The library ------------------------------------------------------------------------------------------

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
if sys.argv[3] == "missing":
    sys.modules["joserfc"] = None
from rpcguard import ConfigError, Verifier
try:
    Verifier.from_yaml(sys.argv[2], watch=False).close()
except ConfigError as error:
    print(error.problems[0].key, error.problems[0].message)
print("joserfc" in sys.modules)
"""


def run(path: Path, joserfc: str) -> list[str]:
    source = str(Path(rpcguard.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, source, str(path), joserfc],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_missing_library_is_an_error_at_load_that_names_the_extra(write):
    path = write("registry.yaml", registry(DIR))
    wanted = "projects.p.encryption joserfc is missing: install rpcguard[jwe]"
    assert run(path, "missing") == [wanted, "True"]
    assert run(path, "there") == ["True"]


def test_the_library_is_loaded_for_projects_with_encryption_alone(write):
    path = write("registry.yaml", registry(project={"encryption": None}))
    assert run(path, "there") == ["False"]
    assert run(path, "missing") == ["True"]  # the None that stands in its place
