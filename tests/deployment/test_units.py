"""The systemd unit, its drop-in, and the numbers that must fit from one file to another."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from deployment.site import OPERATIONS, site, unit

GUNICORN = "rpcguard.service.d/gunicorn.conf"


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with its drop-in where systemd would read them, its programs really there."""
    with site() as made:
        for name in ("rpcguard.service", GUNICORN):
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(made.placed((OPERATIONS / name).read_text()))
    return tmp_path / "rpcguard.service"


@pytest.mark.systemd
@pytest.mark.parametrize("drop_in", [True, False])
def test_systemd_has_nothing_to_say_against_the_unit(installed: Path, drop_in: bool) -> None:
    if not drop_in:
        shutil.rmtree(installed.parent / "rpcguard.service.d")
    done = _analyze("verify", "--man=no", str(installed))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.systemd
def test_systemd_finds_the_unit_well_confined(installed: Path) -> None:
    done = _analyze("security", "--offline=yes", "--threshold=20", "--no-pager", str(installed))
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_the_drop_in_replaces_the_server_and_nothing_else() -> None:
    with site() as made:
        plain, other = unit(made), unit(made, GUNICORN)
    assert "/uvicorn " in plain["ExecStart"][0]
    assert len(other["ExecStart"]) == 1
    assert "/gunicorn " in other["ExecStart"][0]
    assert {key for key in plain if plain[key] != other[key]} == {"ExecStart", "EnvironmentFile"}


def _seconds(pattern: str, name: str) -> int:
    found = re.findall(pattern, (OPERATIONS / name).read_text())
    assert len(found) == 1, (pattern, found)
    return int(found[0])


def test_the_servers_keep_connections_longer_than_nginx() -> None:
    settings = runpy.run_path(str(OPERATIONS / "gunicorn.conf.py"))
    idle = _seconds(r"keepalive_timeout (\d+)s;", "nginx.conf")
    assert idle < _seconds(r"TIMEOUT_KEEP_ALIVE=(\d+)\n", "uvicorn.env")
    assert idle < settings["keepalive"]


def test_the_servers_end_before_systemd_kills_them() -> None:
    settings = runpy.run_path(str(OPERATIONS / "gunicorn.conf.py"))
    patience = _seconds(r"TimeoutStopSec=(\d+)\n", "rpcguard.service")
    assert _seconds(r"GRACEFUL_SHUTDOWN=(\d+)\n", "uvicorn.env") < patience
    assert settings["graceful_timeout"] < patience


def test_pings_keep_a_silent_websocket_open_in_nginx() -> None:
    pings = _seconds(r"WS_PING_INTERVAL=(\d+)\n", "uvicorn.env")
    assert pings < _seconds(r"proxy_read_timeout (\d+)s;", "nginx.conf")
