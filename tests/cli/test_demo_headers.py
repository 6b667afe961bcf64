"""The headers that `rpcguard demo --serve` pipes into curl."""

from __future__ import annotations

import json
import sys

import pytest

HEADERS = [sys.executable, "-m", "rpcguard.cli.demo.headers"]
ORDER = '{"currency":"BTC","amount":"1","orderId":"1"}'


def test_every_project_of_the_starter_registry_can_be_signed_for(cli, starter):
    for name, project in json.loads((starter / "credentials.json").read_text())["projects"].items():
        told = cli("shop", name, project["path"], ORDER, command=HEADERS)
        assert told.returncode == 0
        assert told.stderr == ""
        assert all(": " in line for line in told.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "usage"),
        (["shop", "nothing", "/", ""], 1, "no such project: nothing"),
        (["shop", "payouts", "/payouts/refund", ORDER], 1, "no digest_fields for this path"),
        (["shop", "payouts", "/payouts/withdraw", "{}"], 1, "missing"),
        (["missing", "bsc", "/", ""], 1, "No such file"),
    ],
)
def test_what_cannot_be_signed_is_said_plainly(cli, starter, arguments, code, said):
    told = cli(*arguments, command=HEADERS)
    assert (told.returncode, told.stdout) == (code, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr
