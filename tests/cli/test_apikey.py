"""`rpcguard apikey` makes, ends and digests API keys."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from rpcguard import Request
from rpcguard.client.wallet import Wallet

EXPIRES = "2100-01-01T00:00:00Z"


def options(name: str, subject: str, project: str = "solana") -> list[str]:
    return ["apikey", name, "shop/registry.yaml", "--project", project, "--subject", subject]


def test_a_new_key_is_printed_once_and_alone(cli, shop):
    told = cli(*options("create", shop.wallet.pubkey))
    assert told.returncode == 0
    assert re.fullmatch(r"nod_[0-9a-f]{50}\n", told.stdout)
    assert "only time" in told.stderr
    assert shop.call(told.stdout.strip()) == "api_key"


def test_the_key_is_kept_nowhere(cli, starter):
    key = cli(*options("create", Wallet.generate().pubkey)).stdout.strip()
    for path in starter.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes()


def test_a_second_key_ends_the_first(cli, shop):
    first, second = (cli(*options("create", shop.wallet.pubkey)).stdout.strip() for _ in range(2))
    assert (shop.call(first), shop.call(second)) == ("invalid_credentials", "api_key")


def test_as_json_it_says_whose_key_and_until_when(cli, shop):
    told = cli(*options("create", shop.wallet.pubkey), "--expires", EXPIRES, "--json")
    document = json.loads(told.stdout)
    assert shop.call(document.pop("apiKey")) == "api_key"
    subject = shop.wallet.pubkey
    assert document == {"project": "solana", "subject": subject, "expiresAt": 4102444800.0}
    assert told.stderr == ""


def test_a_key_ends_when_it_expires(cli, shop, monkeypatch):
    key = cli(*options("create", shop.wallet.pubkey), "--expires", EXPIRES).stdout.strip()
    monkeypatch.setattr(shop.verifier, "_clock", lambda: 4102444799.0)
    assert shop.call(key) == "api_key"
    monkeypatch.setattr(shop.verifier, "_clock", lambda: 4102444800.0)
    assert shop.call(key) == "invalid_credentials"


def test_a_revoked_key_is_refused_at_the_next_request(cli, shop):
    key = cli(*options("create", shop.wallet.pubkey)).stdout.strip()
    told = cli(*options("revoke", shop.wallet.pubkey))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"Revoked in solana: the API key of {shop.wallet.pubkey}.\n"
    assert shop.call(key) == "invalid_credentials"


def test_as_json_the_end_of_a_key_is_an_object(cli, shop):
    subject = shop.wallet.pubkey
    assert cli(*options("create", subject)).returncode == 0
    told = cli(*options("revoke", subject), "--json")
    document = {"revoked": "api_key", "project": "solana", "subject": subject}
    assert json.loads(told.stdout) == document


def test_where_there_is_no_key_to_revoke_the_exit_code_is_1(cli, starter):
    told = cli(*options("revoke", "somebody"))
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "rpcguard: somebody has no API key in solana\n"


@pytest.mark.parametrize("name", ["create", "revoke"])
@pytest.mark.parametrize(
    ("project", "said"),
    [("nothing", "no project 'nothing'"), ("bsc", "project 'bsc' issues no API keys")],
)
def test_a_project_that_issues_no_keys_is_said_plainly(cli, starter, name, project, said):
    told = cli(*options(name, "x", project))
    assert (told.returncode, told.stdout, told.stderr) == (1, "", f"rpcguard: {said}\n")
    assert json.loads(cli(*options(name, "x", project), "--json").stdout) == {"error": said}


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("alice", "not the public key of a wallet"),
        ("1" * 32, "not the public key of a wallet"),  # of small order
        ("1" * 33, "not the public key of a wallet"),
    ],
)
def test_a_key_for_what_is_no_wallet_is_not_made(cli, starter, subject, said):
    told = cli(*options("create", subject))
    assert (told.returncode, told.stdout) == (1, "")
    assert said in told.stderr


def test_a_key_for_a_wallet_that_is_not_listed_is_not_made(cli, starter):
    told = cli(*options("create", Wallet.generate().pubkey, "solana-2026"))
    assert told.returncode == 1
    assert "not one of the project's `wallets`" in told.stderr


def test_a_memory_backend_is_refused(cli, starter):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("sqlite:///rpcguard.db", "memory://"))
    for name in ("create", "revoke"):
        told = cli(*options(name, Wallet.generate().pubkey))
        assert (told.returncode, told.stdout) == (1, "")
        assert "memory://, which each process has for itself" in told.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_digest_is_what_the_registry_holds(cli, end):
    key = "0123456789abcdef0123456789abcdef"
    expected = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert cli("apikey", "digest", input=key + end).stdout == f"{expected}\n"
    told = cli("apikey", "digest", "--json", input=key + end)
    assert json.loads(told.stdout) == {"digest": expected}


def test_a_digest_lets_its_key_in(cli, shop, starter):
    key = "a-key-of-the-operators-own-making"
    made = cli("apikey", "digest", input=key).stdout.strip()
    (starter / "keys" / "bsc-ops.digest").write_text(f"{made}\n")
    assert cli("check", "shop/registry.yaml").returncode == 0
    assert key not in (starter / "registry.yaml").read_text()
    shop.verifier.reload()
    request = Request("POST", f"/v1/{key}", [], b"{}")
    assert shop.verifier.verify(request).scheme == "api_key"


@pytest.mark.parametrize("given", ["", "\n", "two words", "ключ", "a/../b?", '"quoted"'])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_no_request_can_carry_has_no_digest(cli, given, as_json):
    told = cli("apikey", "digest", *as_json, input=given)
    assert told.returncode == 1
    assert "sha256" not in told.stdout
    assert "Traceback" not in told.stderr
