"""Shells complete commands, options and the names of projects."""

from __future__ import annotations

import shutil
import subprocess

import pytest

MARKS = {
    "bash": "_rpcguard_completion()",
    "zsh": "#compdef rpcguard",
    "fish": "complete --command rpcguard",
}


@pytest.mark.parametrize("shell", MARKS)
def test_the_script_for_each_shell_is_given(cli, shell):
    told = cli(env={"_RPCGUARD_COMPLETE": f"source_{shell}"})
    assert (told.returncode, told.stderr) == (0, "")
    assert MARKS[shell] in told.stdout


def test_bash_accepts_the_script(cli):
    script = cli(env={"_RPCGUARD_COMPLETE": "source_bash"}).stdout
    bash = shutil.which("bash")
    assert bash is not None
    told = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def complete(cli, line: str) -> list[str]:
    words = line.split(" ")
    told = cli(
        env={
            "_RPCGUARD_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
    )
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rpcguard ex", ["explain"]),
        ("rpcguard keys r", ["remove"]),
        ("rpcguard keys add shop/registry.yaml --project ev", ["evm"]),
        ("rpcguard keys list shop/registry.yaml --project bsc", ["bsc", "bsc-rs256"]),
        ("rpcguard keys add shop/registry.yaml --type e", ["ed25519", "ec"]),
        ("rpcguard sign --preset nodius", ["nodius", "nodius-2026"]),
        ("rpcguard keys add missing.yaml --project e", []),
        ("rpcguard keys add --project e", []),
    ],
)
def test_what_is_begun_is_completed(cli, starter, line, expected):
    assert complete(cli, line) == expected
