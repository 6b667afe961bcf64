"""`rpcguard keys`, as people run it, on the starter registry."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
import time

import pytest

from rpcguard import AuthError, Request, Verifier
from rpcguard.client import tokens
from rpcguard.client.signing_key import SigningKey

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def add(cli, *options: str) -> dict:
    told = cli("keys", "add", "shop/registry.yaml", "--json", *options)
    assert told.returncode == 0, told.stderr + told.stdout
    return json.loads(told.stdout)


def caller(registry, token: str, target: str) -> str | None:
    """Return the id of the key that let *token* in, or why it is refused."""
    request = Request(
        "POST",
        target,
        [("Authorization", f"Bearer {token}")],
        b'{"jsonrpc":"2.0","method":"eth_call","id":1}',
    )
    with Verifier.from_yaml(registry, watch=False) as verifier:
        try:
            return verifier.verify(request).key_id
        except AuthError as error:
            return error.reason


def test_the_kid_alone_is_on_standard_output_and_the_rest_on_standard_error(cli, starter):
    told = cli("keys", "add", "shop/registry.yaml", "--project", "evm", "--name", "new")
    kid = told.stdout.strip()
    assert told.returncode == 0
    assert told.stdout == f"{kid}\n"
    assert len(kid) == 36
    private = starter / "keys" / f"evm-{kid}.pem"
    assert (
        told.stderr.splitlines()[0]
        == "rpcguard: ES256 ec added to keys of evm in shop/registry.yaml"
    )
    assert str(private.relative_to(starter.parent)) in told.stderr
    assert "PRIVATE KEY" not in told.stdout + told.stderr
    assert (mode(private), mode(starter / "keys" / f"evm-{kid}.pub.pem")) == (0o600, 0o644)


@pytest.mark.parametrize(
    ("project", "options", "alg", "target"),
    [
        ("evm", ["--type", "rsa", "--bits", "3072"], "RS256", "/evm"),
        ("evm", ["--type", "ec"], "ES256", "/evm"),
        ("bsc-rs256", [], "RS256", "/v2"),
        ("bots", [], "EdDSA", "/bots"),
        ("bots", ["--type", "rsa"], "RS256", "/bots"),
        ("bots", ["--type", "rsa", "--alg", "PS256"], "PS256", "/bots"),
        ("bots", ["--alg", "ES384"], "ES384", "/bots"),
    ],
)
def test_a_token_signed_by_the_new_private_key_is_accepted(
    cli, starter, project, options, alg, target
):
    made = add(cli, "--project", project, *options)
    assert (made["alg"], made["list"]) == (alg, "keys")
    private = (starter.parent / made["files"]["private"]).read_bytes()
    key = SigningKey.from_pem(private, made["kid"], alg)
    claims = {
        "bots": {"iss": "https://id.example.com", "aud": "bots"},
        "bsc-rs256": {"aud": "nodereal.io"},
    }
    token = tokens.bearer(key, time.time(), claims.get(project, {}))
    assert caller(starter / "registry.yaml", token, target) == made["kid"]


@pytest.mark.parametrize(
    ("project", "options", "alg", "size"),
    [
        ("bsc", [], "HS256", 43),
        ("bots", ["--type", "secret"], "HS256", 43),
        ("bots", ["--type", "secret", "--alg", "HS512"], "HS512", 86),
        ("engine", [], "HS256", 64),
        ("payouts", [], "HS256", 43),
    ],
)
def test_a_secret_is_kept_in_a_file_that_nobody_else_reads(
    cli, starter, project, options, alg, size
):
    made = add(cli, "--project", project, *options)
    file = starter.parent / made["files"]["private"]
    secret = file.read_text().strip()
    assert (made["alg"], len(secret), mode(file)) == (alg, size, 0o600)
    assert secret not in (starter / "registry.yaml").read_text()
    assert "others may read" not in cli("check", "shop/registry.yaml").stdout


def test_a_secret_of_the_new_entry_lets_its_caller_in(cli, starter):
    made = add(cli, "--project", "bsc", "--kid", "2026-12")
    key = SigningKey.from_secret((starter.parent / made["files"]["private"]).read_text().strip())
    assert caller(starter / "registry.yaml", tokens.meganode(key, time.time()), "/v1/") == "2026-12"


def test_an_api_key_is_registered_by_its_digest_alone(cli, starter):
    made = add(cli, "--project", "bsc", "--type", "api-key", "--kid", "ci", "--out", "api.key")
    key = (starter.parent / "api.key").read_text().strip()
    text = (starter / "registry.yaml").read_text()
    assert hashlib.sha256(key.encode()).hexdigest() in text
    assert key not in text
    assert mode(starter.parent / "api.key") == 0o600
    assert made["files"] == {"private": str(starter.parent / "api.key")}
    with Verifier.from_yaml(starter / "registry.yaml", watch=False) as verifier:
        assert verifier.verify(Request("POST", f"/v1/{key}", [], b"")).key_id == "ci"


def test_an_api_key_behind_bearer_begins_with_the_projects_prefix(cli, starter):
    told = cli(
        "keys", "add", "shop/registry.yaml", "--project", "bots", "--type", "api-key", "--out", "-"
    )
    key = told.stdout.strip()
    assert key.startswith("key_")
    assert caller(starter / "registry.yaml", key, "/bots") == told.stderr.split("kid: ")[1].strip()


def test_a_private_key_is_printed_only_when_asked_and_then_in_no_file(cli, starter):
    before = set((starter / "keys").iterdir())
    told = cli("keys", "add", "shop/registry.yaml", "--project", "evm", "--out", "-")
    assert told.stdout.startswith("-----BEGIN PRIVATE KEY-----")
    kid = told.stderr.split("kid: ")[1].split()[0]
    assert set((starter / "keys").iterdir()) - before == {starter / "keys" / f"evm-{kid}.pub.pem"}


@pytest.mark.parametrize("type_", ["ec", "api-key"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_private_key_that_could_not_be_printed_is_not_registered(cli, starter, type_, as_json):
    project = "evm" if type_ == "ec" else "bots"
    options = ["--project", project, "--type", type_, "--out", "-", *["--json"] * as_json]
    before = {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()}
    shell = ["sh", "-c", 'exec "$@" >/dev/full', "sh", sys.executable, "-m", "rpcguard"]
    told = cli("keys", "add", "shop/registry.yaml", *options, command=shell)
    assert told.returncode == 1
    assert told.stderr == "rpcguard: No space left on device\n"
    assert {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("where", ["outside.pem", "shop/keys/inside.pem"])
def test_a_public_key_of_the_callers_own_is_registered(cli, starter, where):
    pair = add(cli, "--project", "bots", "--out", "own.pem")
    public = (starter.parent / pair["files"]["public"]).read_bytes()
    (starter.parent / where).write_bytes(public)
    made = add(
        cli, "--project", "bots", "--kid", "theirs", "--name", "partner", "--public-key", where
    )
    assert "private" not in made["files"]
    assert ("public" in made["files"]) == (where == "outside.pem")
    key = SigningKey.from_pem((starter.parent / "own.pem").read_bytes(), "theirs")
    token = tokens.bearer(key, time.time(), {"iss": "https://id.example.com", "aud": "bots"})
    (starter.parent / "outside.pem").unlink(missing_ok=True)
    assert caller(starter / "registry.yaml", token, "/bots") == "theirs"


def test_the_dates_and_the_name_are_in_the_entry(cli, starter):
    dates = ["--not-before", "2026-11-01T00:00:00Z", "--not-after", "2100-01-01T00:00:00+01:00"]
    add(cli, "--project", "bots", "--kid", "dated", "--name", "year's: end", *dates)
    told = json.loads(
        cli("keys", "list", "shop/registry.yaml", "--project", "bots", "--json").stdout
    )
    (entry,) = [key for key in told["keys"] if key["id"] == "dated"]
    assert entry["name"] == "year's: end"
    assert entry["not_after"] == 4102441200.0
    assert entry["alg"] == "EdDSA"
    assert entry["fingerprint"].startswith("SHA256:")


def test_removing_a_key_ends_its_tokens_and_the_file_is_else_the_same(cli, starter):
    registry = starter / "registry.yaml"
    before = registry.read_bytes()
    made = add(cli, "--project", "evm")
    key = SigningKey.from_pem((starter.parent / made["files"]["private"]).read_bytes(), made["kid"])
    token = tokens.allthatnode(key, time.time())
    assert caller(registry, token, "/evm") == made["kid"]
    told = cli("keys", "remove", "shop/registry.yaml", "--project", "evm", made["kid"])
    assert (told.returncode, told.stderr) == (0, "")
    assert caller(registry, token, "/evm") == "invalid_credentials"
    assert registry.read_bytes() == before


def test_taking_the_last_key_away_does_not_open_an_open_project(cli, starter):
    registry = starter / "registry.yaml"
    registry.write_text(
        "version: 1\nbackend: memory://\nprojects:\n"
        "  evm:\n    preset: allthatnode\n    when_no_keys: allow\n"
    )
    anybody = Request("POST", "/", [], b"")
    with Verifier.from_yaml(registry, watch=False) as verifier:
        assert verifier.verify(anybody).subject == "anonymous"
    kid = add(cli, "--project", "evm")["kid"]
    told = cli("keys", "remove", "shop/registry.yaml", "--project", "evm", kid, "--json")
    assert json.loads(told.stdout) == {"removed": kid, "project": "evm", "list": "keys", "left": 0}
    assert "    keys: []\n" in registry.read_text()
    with Verifier.from_yaml(registry, watch=False) as verifier, pytest.raises(AuthError):
        verifier.verify(anybody)


def test_the_twenty_sixth_key_is_an_error_that_names_project_and_count(cli, starter):
    registry = starter / "registry.yaml"
    line = next(line for line in registry.read_text().splitlines() if "evm-ci.pub" in line)
    more = [line.replace("54f26cb4", f"{number:08x}") for number in range(23)]
    registry.write_text(registry.read_text().replace(line, "\n".join([line, *more])))
    before, files = registry.read_bytes(), set((starter / "keys").iterdir())
    told = cli("keys", "add", "shop/registry.yaml", "--project", "evm")
    assert told.returncode == 1
    assert "project 'evm' has 26 keys, at most 25 are allowed" in told.stderr
    assert "shop/registry.yaml:" in told.stderr
    assert registry.read_bytes() == before
    assert set((starter / "keys").iterdir()) == files
    assert not [name for name in os.listdir(starter) if name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "--project", "nothing"], "no project 'nothing' (there are bsc, "),
        (["add", "--project", "solana"], "try --type api-key"),
        (["add", "--project", "evm", "--type", "ed25519"], "takes ES256, RS256"),
        (["add", "--project", "evm", "--alg", "ES384"], "takes ES256, RS256"),
        (["add", "--project", "bsc", "--type", "rsa"], "types that do: secret"),
        (["add", "--project", "bots", "--kid", "bots-2026"], "a kid that occurs before"),
        (
            ["add", "--project", "evm", "--out", "shop/keys/evm-ci.pem"],
            "exists: nothing is overwritten",
        ),
        (["add", "--project", "evm", "--public-key", "missing.pem"], "missing.pem: no such file"),
        (["add", "--project", "evm", "--public-key", "shop/keys/evm-ci.pem"], "a private key"),
        (["add", "--project", "evm", "--public-key", "shop/keys/bots.pub.pem"], "no such key fits"),
        (["add", "--project", "bots", "--kid", "x", "--name", "\x07"], "control characters"),
        (["remove", "--project", "nothing", "x"], "no project 'nothing'"),
        (["remove", "--project", "bsc", "x"], "has no entry 'x'"),
        (["list", "--project", "nothing"], "no project 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_exit_code_1_and_leaves_everything_as_it_was(
    cli, starter, arguments, said
):
    before = {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()}
    verb, *rest = arguments
    told = cli("keys", verb, "shop/registry.yaml", *rest)
    assert (told.returncode, told.stdout) == (1, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()} == before


def test_a_refusal_is_json_when_asked(cli, starter):
    told = cli("keys", "add", "shop/registry.yaml", "--project", "solana", "--json")
    assert (told.returncode, told.stderr) == (1, "")
    assert "try --type api-key" in json.loads(told.stdout)["error"]


def test_an_id_that_occurs_twice_is_left_to_the_operator(cli, starter):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("{id: ops,", "{id: current,"))
    told = cli("keys", "remove", "shop/registry.yaml", "--project", "bsc", "current")
    assert told.returncode == 1
    assert "has 2 entries 'current'" in told.stderr


def test_an_alias_is_left_to_the_operator(cli, starter):
    registry = starter / "registry.yaml"
    text = registry.read_text().replace(
        "    keys:\n      - {kid: bots-2026", "    keys: &k\n      - {kid: bots-2026"
    )
    extra = "  twin: {preset: bearer, match: {path: /twin}, keys: *k}\n"
    registry.write_text(f"{text}{extra}")
    for project in ("bots", "twin"):
        told = cli("keys", "add", "shop/registry.yaml", "--project", project)
        assert told.returncode == 1
        assert "edit it by hand" in told.stderr
    assert registry.read_text() == f"{text}{extra}"


def test_an_edit_that_would_not_load_replaces_nothing(cli, starter):
    registry = starter / "registry.yaml"
    broken = registry.read_text().replace("preset: engine-api", "preset: engine")
    registry.write_text(broken)
    told = cli("keys", "add", "shop/registry.yaml", "--project", "bots")
    assert told.returncode == 1
    assert "no such preset" in told.stderr
    assert registry.read_text() == broken


def test_a_refused_edit_leaves_no_new_directory(cli, tmp_path):
    text = (
        "version: 1\nbackend: memory://\nprojects: {e: {preset: engine-api, secrets: [], x: y}}\n"
    )
    (tmp_path / "registry.yaml").write_text(text)
    told = cli("keys", "add", "registry.yaml", "--project", "e")
    assert told.returncode == 1
    assert "unknown key" in told.stderr
    assert os.listdir(tmp_path) == ["registry.yaml"]


def test_removing_is_a_way_to_repair(cli, starter):
    (starter / "keys" / "evm-ci.pub.pem").unlink()
    assert cli("check", "shop/registry.yaml").returncode == 1
    kid = "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"
    assert cli("keys", "remove", "shop/registry.yaml", "--project", "evm", kid).returncode == 0
    assert cli("check", "shop/registry.yaml").returncode == 0


def test_mode_owner_byte_order_mark_and_line_ends_are_kept(cli, starter):
    registry = starter / "registry.yaml"
    before = b"\xef\xbb\xbf" + registry.read_bytes().replace(b"\n", b"\r\n")
    registry.write_bytes(before)
    registry.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(registry, 1234, 4321)
    made = add(cli, "--project", "bsc")
    after = registry.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\n") == after.count(b"\r\n") == before.count(b"\n") + 1
    assert mode(registry) == 0o640
    owner = registry.stat()
    assert (owner.st_uid, owner.st_gid) == (
        (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    )
    file = (starter.parent / made["files"]["private"]).stat()
    assert (file.st_uid, file.st_mode & 0o777) == (owner.st_uid, 0o600)


def test_a_link_to_the_registry_stays_a_link(cli, starter):
    (starter / "real").mkdir()
    (starter / "registry.yaml").rename(starter / "real" / "r.yaml")
    (starter / "registry.yaml").symlink_to("real/r.yaml")
    kid = add(cli, "--project", "evm")["kid"]
    assert (starter / "registry.yaml").is_symlink()
    assert kid in (starter / "real" / "r.yaml").read_text()
    assert cli("check", "shop/registry.yaml").returncode == 0
    assert os.listdir(starter / "real") == ["r.yaml"]


def test_a_running_server_takes_the_edit_in_whole(cli, starter, shop):
    kid = add(cli, "--project", "bsc", "--kid", "fresh")["kid"]
    shop.verifier.reload()
    key = SigningKey.from_secret((starter / "keys" / f"bsc-{kid}.secret").read_text().strip())
    assert shop.call(tokens.meganode(key, time.time()), "/v1/") == "jwt"


def test_two_edits_at_once_both_count(starter):
    """The first holds the directory; the second waits for it, and edits what it left."""
    command = [
        sys.executable,
        "-m",
        "rpcguard",
        "keys",
        "add",
        str(starter / "registry.yaml"),
        "--project",
        "bots",
    ]
    handle = os.open(starter, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        waiting = [
            subprocess.Popen(
                [*command, "--kid", kid], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for kid in ("one", "two")
        ]
        fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)
    assert [process.communicate(timeout=60) and process.returncode for process in waiting] == [0, 0]
    text = (starter / "registry.yaml").read_text()
    assert "{kid: one," in text
    assert "{kid: two," in text


def test_the_list_shows_every_key_and_no_secret(cli, starter):
    told = cli("keys", "list", "shop/registry.yaml")
    assert told.returncode == 0
    assert told.stderr == ""
    for shown in ("current", "merchant-1", "bots-2026", "ops", "laptop", "EdDSA", "RS256", "HS256"):
        assert shown in told.stdout
    for file in (starter / "keys").iterdir():
        if file.name.endswith((".secret", ".hex", ".enc-key", ".digest")):
            assert file.read_text().strip() not in told.stdout


def test_the_list_says_what_has_ended_and_what_has_not_begun(cli, starter):
    registry = starter / "registry.yaml"
    text = registry.read_text()
    text = text.replace("{id: current, ", "{id: current, not_before: 2100-01-01T00:00:00Z, ")
    registry.write_text(text.replace("{id: ops, ", "{id: ops, not_after: 2020-01-01T00:00:00Z, "))
    told = cli("keys", "list", "shop/registry.yaml", "--project", "bsc").stdout
    assert "begins 2100-01-01T00:00:00Z" in told
    assert "ended 2020-01-01T00:00:00Z" in told


def test_a_project_without_keys_has_an_empty_list(cli, starter):
    assert cli("keys", "list", "shop/registry.yaml", "--project", "solana").stdout == "no keys\n"
