"""`rpcguard check` names every problem with its place, and says what a good registry holds."""

from __future__ import annotations

import json
import os

import pytest
from backends.redis_servers import Server

from rpcguard.cli.backend_check import fault

NOW = 1_760_000_000.0
OPEN_WALLETS = (
    "    wallets: open                       "
    "# any key pair is an identity; a list of {pubkey, name} admits those alone"
)
BAD = """\
version: 1
projects:
  bsc:
    preset: meganode
    match: {path: /v1}
    secrets:
      - {id: a, secret: tooshort}
      - {id: b, secrets: "${env:RPCGUARD_TEST_UNSET}"}
  bots:
    preset: bearer
    match: {path: /v1}
    keys: [{kid: k, alg: EdDSA, public_key: "${file:missing.pem}"}]
"""


def test_a_good_registry_is_summed_up(cli, starter):
    told = cli("check", "shop/registry.yaml")
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["project", "preset", "match", "who", "may", "call"]
    assert lines[1].startswith("bsc          meganode        /v1/ /ws/v1/")
    assert "secrets current, previous; API key ops" in lines[1]
    assert lines[-1] == "shop/registry.yaml is valid: 8 projects."
    assert told.stderr == ""


def test_open_wallets_get_the_advice_to_limit_by_client_address(cli, starter):
    told = cli("check", "shop/registry.yaml")
    (advice,) = [line for line in told.stdout.splitlines() if "warning:" in line]
    number = (starter / "registry.yaml").read_text().splitlines().index(OPEN_WALLETS) + 1
    assert advice.startswith(f"shop/registry.yaml:{number}:14: projects.solana.wallets: warning: ")
    assert "per client address" in advice


LIMITED = """\
version: 1
backend: BACKEND
projects:
  bsc:
    preset: meganode
    secrets: [{id: a, secret: "${env:HOME_SECRET}"KEY}]
PROJECT"""


@pytest.mark.parametrize(
    ("backend", "key", "project", "told"),
    [
        ("sqlite:///x.db", "", "    limits: {per_ip: 1/second}", 1),
        ("memory://", ", limits: {per_key: 1/second}", "", 1),
        ("sqlite:///x.db", "", "", 0),
    ],
)
def test_limits_that_each_process_counts_for_itself_are_told(
    cli, tmp_path, backend, key, project, told
):
    text = LIMITED.replace("BACKEND", backend).replace("KEY", key).replace("PROJECT", project)
    (tmp_path / "registry.yaml").write_text(text.replace("${env:HOME_SECRET}", "s" * 40))
    shown = cli("check", "registry.yaml")
    assert shown.returncode == 0
    lines = [line for line in shown.stdout.splitlines() if "each process counts" in line]
    assert len(lines) == told
    assert all("warning: " in line for line in lines)


def test_a_limit_per_address_answers_the_advice_about_open_wallets(cli, starter):
    path = starter / "registry.yaml"
    text = path.read_text()
    path.write_text(text.replace(OPEN_WALLETS, OPEN_WALLETS + "\n    limits: {per_ip: 9/second}"))
    shown = cli("check", "shop/registry.yaml").stdout
    assert "anybody can make proofs" not in shown


def test_as_json_a_good_registry_is_described(cli, starter):
    told = json.loads(cli("check", "shop/registry.yaml", "--json").stdout)
    assert told["valid"] is True
    projects = {project["name"]: project for project in told["projects"]}
    assert projects["bsc"]["secrets"] == ["current", "previous"]
    assert projects["bsc"]["match"] == {"path": ["/v1/", "/ws/v1/"], "host": []}
    assert projects["solana"]["wallets"] == "open"
    assert len(projects["solana-2026"]["wallets"]) == 1
    assert projects["payouts"]["keys"] == ["merchant-1"]


def test_no_secret_is_printed(cli, starter):
    secret = (starter / "keys" / "bsc.secret").read_text().strip()
    for arguments in ([], ["--json"]):
        assert secret not in cli("check", "shop/registry.yaml", *arguments).stdout


def test_every_problem_is_named_at_once_with_file_line_column_and_key(cli, tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    told = cli("check", "bad.yaml")
    assert told.returncode == 1
    lines = told.stdout.splitlines()
    assert any(
        line.startswith("bad.yaml:8:") and "projects.bsc.secrets[1]" in line for line in lines
    )
    assert any(line.startswith("bad.yaml:12:") and "missing.pem" in line for line in lines)
    assert "bad.yaml is not valid" in told.stderr
    assert "tooshort" not in told.stdout + told.stderr


def test_as_json_problems_are_objects(cli, tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    told = cli("check", "bad.yaml", "--json")
    assert told.returncode == 1
    document = json.loads(told.stdout)
    assert document["valid"] is False
    assert {"file", "line", "column", "key", "message", "warning"} == set(document["problems"][0])


@pytest.mark.parametrize("name", ["missing.yaml", ".", "missing/registry.yaml"])
def test_what_is_no_file_is_said_plainly(cli, name):
    told = cli("check", name)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert name in told.stdout + told.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x00" * 100, b"[1", b"a: &a [*a]", b"- 1"])
def test_what_is_no_registry_is_said_plainly(cli, tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    told = cli("check", "bad.yaml")
    assert told.returncode == 1
    assert told.stdout.startswith("bad.yaml")
    assert "Traceback" not in told.stderr


def test_control_characters_of_a_file_do_not_reach_the_terminal(cli, tmp_path):
    (tmp_path / "bad\x1b[31m.yaml").write_text('version: 1\n"x\\e[31m": 2\nprojects: {}\n')
    told = cli("check", "bad\x1b[31m.yaml")
    assert told.returncode == 1
    assert "\x1b" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("sqlite:///missing/rpcguard.db", "does not exist"),
        ("sqlite:///keys", "not a regular file"),
        ("sqlite:///x.db?timeout=1h", "timeout must be"),
        ("sqlite:///", "write sqlite:///relative/path"),
        ("sqlite:///:memory:", "write memory://"),
        ("sqlite:///a%00b", "write sqlite:///relative/path"),
        ("sqlite://host/x.db", "write sqlite:///relative/path"),
        ("sqlite://[", "not a URL"),
        ("memory://x", "takes no host"),
        ("gopher://user:hunter2@host", "must begin with"),
    ],
)
def test_a_backend_that_no_server_could_open_is_known_without_opening_it(tmp_path, backend, said):
    (tmp_path / "keys").mkdir()
    found = fault(backend, tmp_path, 1_760_000_000.0)
    assert said in found
    assert "hunter2" not in found
    assert os.listdir(tmp_path) == ["keys"]


def test_such_a_backend_is_a_problem_at_its_place(cli, starter):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("///rpcguard.db", "///missing/rpcguard.db"))
    told = cli("check", "shop/registry.yaml")
    assert told.returncode == 1
    assert told.stdout.startswith("shop/registry.yaml:9:10: backend: sqlite: the directory ")


@pytest.mark.parametrize("backend", ["sqlite:///rpcguard.db", "memory://"])
def test_a_check_makes_no_file(cli, starter, backend):
    registry = starter / "registry.yaml"
    registry.write_text(registry.read_text().replace("sqlite:///rpcguard.db", backend))
    before = sorted(starter.rglob("*"))
    assert cli("check", "shop/registry.yaml").returncode == 0
    assert sorted(starter.rglob("*")) == before


def test_a_project_that_lets_everybody_in_does_not_say_nobody(cli, tmp_path):
    (tmp_path / "open.yaml").write_text(
        "version: 1\nprojects:\n  evm: {preset: allthatnode, when_no_keys: allow}\n"
    )
    told = cli("check", "open.yaml")
    assert told.returncode == 0
    assert "ANYBODY" in told.stdout
    assert "nobody" not in told.stdout


def test_servers_of_redis_must_answer_and_must_not_evict(tmp_path):
    server = Server().start()
    try:
        url = f"redis://:hunter2@127.0.0.1:{server.port}?timeout=5s"
        assert "user and password" in fault(url, tmp_path, NOW)
        url = url.replace(":hunter2@", "")
        assert fault(url, tmp_path, NOW) is None
        server.client.config_set("maxmemory", "100mb")
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        assert "maxmemory-policy noeviction" in fault(url, tmp_path, NOW)
        server.kill()
        found = fault(url, tmp_path, NOW)
        assert (
            found
            == f"backend: redis: 127.0.0.1:{server.port}: the connection failed (ConnectionError)"
        )
    finally:
        server.clear_away()
