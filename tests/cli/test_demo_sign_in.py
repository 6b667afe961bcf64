"""The header of a session that `rpcguard demo --serve` pipes into curl."""

from __future__ import annotations

import sys

import pytest

SIGN_IN = [sys.executable, "-m", "rpcguard.cli.demo.sign_in"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "usage"),
        (["shop", "eighty"], 2, "usage"),
        (["missing", "1"], 1, "No such file"),
        (["shop", "1"], 1, "Connection refused"),
    ],
)
def test_a_sign_in_that_fails_is_said_plainly(cli, starter, arguments, code, said):
    told = cli(*arguments, command=SIGN_IN)
    assert (told.returncode, told.stdout) == (code, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr
