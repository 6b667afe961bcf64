"""`rpcguard init` makes a registry that loads, with fresh keys for its owner alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from rpcguard.cli.starter import registry_text
from rpcguard.verifier import Verifier

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_registry_is_the_one_in_the_examples():
    example = (ROOT / "examples" / "registry.yaml").read_text(encoding="utf-8")
    assert registry_text() == example


def test_what_it_makes_loads_without_a_warning(starter, caplog):
    with Verifier.from_yaml(
        starter / "registry.yaml", backend="memory://", watch=False
    ) as verifier:
        presets = {project.preset for project in verifier.registry.projects.values()}
    assert len(presets) == 8
    assert caplog.messages == []


def test_keys_and_credentials_are_readable_by_their_owner_alone(starter):
    assert mode(starter / "keys") == 0o700
    keys = list((starter / "keys").iterdir())
    assert len(keys) > 15
    assert {mode(path) for path in [*keys, starter / "credentials.json"]} == {0o600}
    assert mode(starter / "registry.yaml") == 0o644


def test_the_modes_hold_whatever_the_umask(cli, tmp_path):
    assert cli("init", "shop", preexec_fn=lambda: os.umask(0)).returncode == 0
    assert {mode(path) for path in (tmp_path / "shop" / "keys").iterdir()} == {0o600}


def test_exactly_one_project_has_sessions_with_a_fresh_secret_and_no_refresh(starter):
    with Verifier.from_yaml(starter / "registry.yaml", watch=False) as verifier:
        having = {n: p.sessions for n, p in verifier.registry.projects.items() if p.sessions}
    assert list(having) == ["solana"]
    assert having["solana"].refresh_ttl is None
    secret = starter / "keys" / "session.secret"
    assert mode(secret) == 0o600
    assert len(secret.read_text().strip()) == 64
    assert secret.read_text().strip() not in (starter / "credentials.json").read_text()


def test_every_file_that_the_registry_names_is_made_and_no_key_stands_in_it(starter):
    text = (starter / "registry.yaml").read_text()
    for path in (starter / "keys").iterdir():
        named = f"${{file:keys/{path.name}}}" in text
        assert named == (path.suffix not in {".pem", ".json"} or path.name.endswith(".pub.pem"))
        assert path.read_text().strip() not in text


def test_keys_are_fresh_each_time(cli, starter, tmp_path):
    assert cli("init", "other").returncode == 0
    for path in (starter / "keys").iterdir():
        assert path.read_bytes() != (tmp_path / "other" / "keys" / path.name).read_bytes()


def test_the_credentials_name_every_project_of_the_registry(starter):
    projects = json.loads((starter / "credentials.json").read_text())["projects"]
    names = ["bsc", "bsc-rs256", "evm", "solana", "solana-2026", "payouts", "engine", "bots"]
    assert list(projects) == names
    assert all({"preset", "path"} <= set(project) for project in projects.values())


def test_the_files_that_the_credentials_name_exist(starter):
    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in {"private_key", "id_json"}:
                    yield inner
                else:
                    yield from walk(inner)

    named = list(walk(json.loads((starter / "credentials.json").read_text())))
    assert len(named) == 7
    assert all((starter / name).is_file() for name in named)


def test_it_says_what_it_made_and_what_to_do_next(cli):
    told = cli("init", "a shop")
    assert told.stdout.splitlines()[0] == "Made in a shop:"
    assert told.stdout.splitlines()[-1] == "Next: rpcguard check 'a shop/registry.yaml'"
    assert told.stderr == ""


def test_as_json_it_lists_files_and_projects(cli):
    made = json.loads(cli("init", "shop", "--json").stdout)
    assert made["directory"] == "shop"
    assert {"registry.yaml", "credentials.json", "keys/bsc.secret"} <= set(made["files"])
    assert made["projects"][0] == "bsc"
    assert made["next"] == "rpcguard check shop/registry.yaml"


def content(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_replaces_nothing_unless_forced(cli, starter):
    before = content(starter)
    told = cli("init", "shop")
    assert (told.returncode, told.stdout) == (1, "")
    assert "rpcguard: nothing written: these files exist in shop" in told.stderr
    assert "  keys/bsc.secret\n" in told.stderr
    assert content(starter) == before
    assert cli("init", "shop", "--force").returncode == 0
    after = content(starter)
    assert {path for path in before if before[path] == after[path]} == {starter / "registry.yaml"}


def test_as_json_a_refusal_lists_what_exists(cli, starter):
    told = cli("init", "shop", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["files"][0] == "registry.yaml"


@pytest.mark.parametrize("name", ["registry.yaml", "credentials.json"])
def test_one_file_in_the_way_is_enough(cli, tmp_path, name):
    (tmp_path / name).write_text("mine")
    assert cli("init", ".").returncode == 1
    assert os.listdir(tmp_path) == [name]


def test_a_link_is_replaced_not_followed(cli, tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "registry.yaml").symlink_to("../elsewhere")
    assert cli("init", "shop").returncode == 1
    assert cli("init", "shop", "--force").returncode == 0
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not (tmp_path / "shop" / "registry.yaml").is_symlink()


def test_files_of_others_are_left_alone(cli, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "notes.txt").write_text("mine")
    assert cli("init", "shop").returncode == 0
    assert (tmp_path / "shop" / "notes.txt").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_said_plainly(cli, tmp_path):
    (tmp_path / "file").write_text("")
    told = cli("init", "file/shop")
    assert told.returncode == 1
    assert told.stderr == "rpcguard: Not a directory: file/shop\n"


def test_a_directory_in_place_of_a_file_is_said_plainly_and_no_draft_stays(cli, tmp_path):
    (tmp_path / "shop" / "registry.yaml").mkdir(parents=True)
    told = cli("init", "shop", "--force")
    assert told.returncode == 1
    assert told.stderr == "rpcguard: Is a directory: shop/registry.yaml\n"
    assert os.listdir(tmp_path / "shop") in (["registry.yaml", "keys"], ["keys", "registry.yaml"])
