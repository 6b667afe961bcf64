"""A registry is replaced as a whole or not at all, whatever comes between."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys

import pytest

from rpcguard.cli.keys.commands import add
from rpcguard.cli.keys.making import Wanted
from rpcguard.cli.keys.replacing import ChangedError, read_text, replaced
from rpcguard.errors import ConfigError
from rpcguard.registry.merge import load_models


def names(directory) -> set[str]:
    return set(os.listdir(directory)) | {f"keys/{name}" for name in os.listdir(directory / "keys")}


def test_a_file_that_another_program_changes_meanwhile_is_left_to_it(starter):
    registry = starter / "registry.yaml"
    before = names(starter)

    def edit(text: str) -> str:
        registry.write_text(text + "# by hand\n")
        return text + "# by rpcguard\n"

    with pytest.raises(ChangedError):
        replaced(registry, edit, {})
    assert registry.read_text().endswith("# by hand\n")
    assert "# by rpcguard" not in registry.read_text()
    assert names(starter) == before


@pytest.mark.parametrize("blocks", [0, 4], ids=["no room for a key", "none for the registry"])
def test_a_disk_without_room_leaves_everything_as_it_was(starter, blocks):
    """`ulimit -f` counts in units of 1024 bytes: a key has less than four, the registry more."""
    before, text = names(starter), (starter / "registry.yaml").read_bytes()
    command = f'ulimit -f {blocks}; exec "$@"'
    bash = shutil.which("bash")
    assert bash is not None
    rpcguard = [
        sys.executable,
        "-B",
        "-m",
        "rpcguard",
        "keys",
        "add",
        str(starter / "registry.yaml"),
    ]
    told = subprocess.run(
        [bash, "-c", command, "bash", *rpcguard, "--project", "evm"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""},
    )
    assert told.returncode == 1
    assert told.stderr.startswith("rpcguard: File too large")
    assert ".registry.yaml." not in told.stderr
    assert names(starter) == before
    assert (starter / "registry.yaml").read_bytes() == text


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), ("a: 1\na: 2\n", "duplicate key"), ("a: [", "not YAML")],
)
def test_what_is_no_registry_is_said_with_its_name(tmp_path, content, said):
    file = tmp_path / "registry.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=said) as refused:
        read_text(file)
    assert refused.value.problems[0].file == str(file)


def test_an_edit_that_would_not_load_is_named_by_the_files_own_name(starter):
    registry = starter / "registry.yaml"
    with pytest.raises(ConfigError) as refused:
        replaced(registry, lambda text: text.replace("preset: bearer", "preset: bear"), {})
    assert {problem.file for problem in refused.value.problems} == {str(registry)}


def test_a_directory_that_cannot_be_synced_costs_no_key_that_the_registry_names(
    starter, monkeypatch
):
    def cannot(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    registry = starter / "registry.yaml"
    assert add(registry, "evm", Wanted(kid="new"), as_json=True) == 0
    assert load_models(registry, {}).registry.projects["evm"].keys[-1].kid == "new"
