"""On a terminal tables are drawn and coloured, elsewhere they are plain text."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

RPCGUARD = [sys.executable, "-m", "rpcguard"]


def on_a_terminal(*arguments: str, code: int = 0, **environ: str) -> str:
    """Return what the command writes to a terminal of 120 columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 120))
    process = subprocess.Popen(
        [*RPCGUARD, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", **environ},
    )
    os.close(slave)
    told = b""
    try:
        while chunk := os.read(master, 65536):
            told += chunk
    except OSError:  # Linux: the other side is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == code
    return told.decode()


def test_on_a_terminal_the_table_is_drawn_and_coloured(starter):
    told = on_a_terminal("check", str(starter / "registry.yaml"))
    assert "╭──" in told
    assert "\x1b[" in told
    assert "bsc-rs256" in told


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}])
def test_a_terminal_that_can_do_nothing_gets_plain_text(starter, environ):
    told = on_a_terminal("check", str(starter / "registry.yaml"), **environ)
    assert "╭" not in told
    assert "\x1b" not in told


def test_the_list_of_keys_and_an_explanation_are_tables_too(starter, tmp_path):
    registry = str(starter / "registry.yaml")
    told = on_a_terminal("keys", "list", registry)
    assert "╭──" in told
    assert "bots-2026" in told
    request = tmp_path / "request"
    request.write_text("GET /v1/ HTTP/1.1\n\n")
    told = on_a_terminal("explain", registry, "--request", str(request), code=1)
    assert "╭──" in told
    assert "\x1b[1;31mrefused" in told


def test_colours_can_be_switched_off(starter):
    told = on_a_terminal("check", str(starter / "registry.yaml"), NO_COLOR="1")
    assert "\x1b[3" not in told
    assert "╭──" in told
