"""`rpcguard revoke`, in a process of its own, is seen by a server that runs at its next request."""

from __future__ import annotations

import base64
import json

import pytest

from rpcguard.client.signing_key import SigningKey
from rpcguard.client.tokens import meganode

UNTIL = "2100-01-01T00:00:00Z"
ALL = ("revoke", "shop/registry.yaml", "--project", "solana")


def claims(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_token_is_revoked_from_standard_input_and_others_stay(cli, shop):
    token, other = shop.sign_in(), shop.sign_in()
    assert shop.call(token) == shop.call(other) == "session"
    told = cli(*ALL, "--token-file", "-", input=token + "\n")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("Revoked in solana: the token.")
    assert (shop.call(token), shop.call(other)) == ("revoked", "session")


def test_a_token_is_revoked_from_a_file(cli, shop, tmp_path):
    token = shop.sign_in()
    (tmp_path / "token").write_text(token)
    assert cli(*ALL, "--token-file", "token", "--until", UNTIL).returncode == 0
    assert shop.call(token) == "revoked"


def test_a_token_is_revoked_by_its_jti_and_the_key_that_signed_it(cli, shop):
    token, other = shop.sign_in(), shop.sign_in()
    told = cli(*ALL, "--jti", claims(token)["jti"], "--key", "session")
    assert told.stdout.startswith("Revoked in solana: the token of this jti.")
    assert (shop.call(token), shop.call(other)) == ("revoked", "session")


def test_a_subject_loses_tokens_and_api_key_and_may_come_back(cli, shop, monkeypatch):
    token, key = shop.sign_in(), shop.verifier.new_api_key("solana", shop.wallet.pubkey)
    assert cli(*ALL, "--subject", shop.wallet.pubkey).returncode == 0
    assert (shop.call(token), shop.call(key)) == ("revoked", "revoked")
    monkeypatch.setattr(shop.verifier, "_clock", lambda: claims(token)["iat"] + 100.0)
    assert shop.call(shop.sign_in()) == "session"


def test_a_key_is_revoked_with_all_that_it_proves(cli, shop, starter):
    secret = SigningKey.from_secret((starter / "keys" / "bsc.secret").read_text().strip())
    token = meganode(secret, claims(shop.sign_in())["iat"])
    assert shop.call(token, "/v1/") == "jwt"
    assert cli(*ALL[:3], "bsc", "--key", "current").returncode == 0
    assert shop.call(token, "/v1/") == "revoked"


def test_a_wallet_s_key_is_revoked_with_its_session_and_its_api_key(cli, shop):
    token, key = shop.sign_in(), shop.verifier.new_api_key("solana", shop.wallet.pubkey)
    assert (shop.call(token), shop.call(key)) == ("session", "api_key")
    told = cli(*ALL, "--key", shop.wallet.pubkey)
    assert told.stdout.startswith("Revoked in solana: everything that the key ")
    assert (shop.call(token), shop.call(key)) == ("revoked", "revoked")


def test_a_session_is_revoked_by_its_sid(cli, starter, shop):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("refresh: off", "refresh: rotating"))
    shop.verifier.reload()
    token, other = shop.sign_in(), shop.sign_in()
    assert cli(*ALL, "--session", claims(token)["sid"]).returncode == 0
    assert (shop.call(token), shop.call(other)) == ("revoked", "session")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--subject", "x"], "subject"),
        (["--key", "x"], "key"),
        (["--session", "x"], "session"),
        (["--jti", "x", "--key", "x"], "jti"),
    ],
)
def test_as_json_it_says_what_is_revoked(cli, starter, options, kind):
    told = cli(*ALL, *options, "--until", UNTIL, "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout) == {
        "revoked": kind,
        "project": "solana",
        "until": 4102444800.0,
    }


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        ([*ALL[:3], "nothing", "--key", "k"], "", "no project 'nothing'"),
        ([*ALL, "--token-file", "-"], "", "what was read is no single credential"),
        ([*ALL, "--token-file", "-"], "two words", "what was read is no single credential"),
        ([*ALL, "--token-file", "-"], "x" * 65_537, "what was read is no single credential"),
        ([*ALL, "--token-file", "-"], "tökén", "what was read is no single credential"),
        ([*ALL, "--token-file", "-"], "eyJhIjoxfQ", "no credential of this project"),
        ([*ALL, "--token-file", "-"], "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "no credential of this"),
        ([*ALL, "--token-file", "missing"], "", "No such file or directory: missing"),
        (["revoke", "missing.yaml", "--project", "solana", "--key", "k"], "", "missing.yaml"),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_cannot_be_revoked_is_exit_code_1_without_the_credential(
    cli, starter, arguments, given, said, as_json
):
    told = cli(*arguments, *as_json, input=given)
    assert told.returncode == 1
    shown = told.stdout + told.stderr
    assert said in (json.loads(told.stdout)["error"] if told.stdout else told.stderr)
    assert "Traceback" not in shown
    assert not given or given not in shown


def test_a_token_of_another_project_is_none_of_this_one(cli, shop):
    told = cli(*ALL[:3], "bots", "--token-file", "-", input=shop.sign_in())
    assert told.returncode == 1
    assert "no credential of this project" in told.stderr


@pytest.mark.parametrize("backend", ["memory://", "MEMORY://", "memory://?restart_guard=off"])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_backend_that_no_other_process_sees_is_refused(cli, starter, backend, as_json):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("sqlite:///rpcguard.db", backend))
    told = cli(*ALL, "--key", "k", *as_json)
    assert told.returncode == 1
    assert "memory://, which each process has for itself" in told.stdout + told.stderr


def test_a_backend_that_does_not_open_is_said_plainly(cli, starter):
    (starter / "rpcguard.db").write_bytes(b"no database" * 100)
    told = cli(*ALL, "--key", "k")
    assert (told.returncode, told.stdout) == (1, "")
    assert "Traceback" not in told.stderr


def test_an_invalid_registry_lists_its_problems_on_standard_error(cli, starter):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("preset: bearer", "preset: bear"))
    told = cli(*ALL, "--key", "k")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("rpcguard: shop/registry.yaml is not valid: ")
    document = json.loads(cli(*ALL, "--key", "k", "--json").stdout)
    assert document["problems"][0]["key"] == "projects.bots.preset"


def test_warnings_are_left_to_check(cli, starter):
    (starter / "keys" / "session.secret").chmod(0o644)
    assert cli(*ALL, "--key", "k").stderr == ""


@pytest.mark.parametrize("kind", ["--subject", "--key", "--session"])
def test_an_empty_name_revokes_nothing(cli, shop, kind):
    """A shell variable that is not set must not read as a success."""
    told = cli(*ALL, kind, "")
    assert told.returncode == 1
    assert "empty" in told.stdout + told.stderr
