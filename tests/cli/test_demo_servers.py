"""Servers that do not behave are reported, and stopped all the same."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from rpcguard.cli.demo import command, servers
from rpcguard.cli.demo.interrupts import Interrupts

READY = "import sys, time\nprint('hello')\nprint('ready http://127.0.0.1:4711', flush=True)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SLEEP = "time.sleep(60)\n"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Put a program in the place of the examples, and run it."""
    monkeypatch.setattr(servers, "examples", lambda: tmp_path)
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.5)

    def running(text: str, **options):
        (tmp_path / "flask_app.py").write_text(text)
        registry = tmp_path / "registry.yaml"
        return servers.running(["flask"], registry, Interrupts(), **options)

    return running


def runs(pid: int) -> bool:
    """Whether the process runs; an orphan that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def gone(pid: int) -> bool:
    """Whether the process is gone soon."""
    deadline = time.monotonic() + 60
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def test_a_server_is_ready_when_it_says_so_and_names_its_port(example):
    with example(READY + SLEEP) as found:
        assert found["flask"].port == 4711


def test_a_server_that_ignores_the_polite_signal_is_killed(example, tmp_path):
    write_pid = "import os\nopen(sys.argv[4] + '.pid', 'w').write(str(os.getpid()))\n"
    with example(STUBBORN + "import sys\n" + write_pid + READY + SLEEP):
        pid = int((tmp_path / "registry.yaml.pid").read_text())
        assert runs(pid)
    assert gone(pid)


def test_what_a_server_started_is_stopped_with_it(example, tmp_path):
    child = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[4] + '.pid', 'w').write(str(child.pid))\n"
    )
    with example(child + READY + SLEEP):
        pid = int((tmp_path / "registry.yaml.pid").read_text())
        assert runs(pid)
    assert gone(pid)


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(example):
    with pytest.raises(servers.ServerError) as caught, example("raise SystemExit('no luck')"):
        pass
    assert caught.value.args == ("the flask example ended before it served", "  no luck")


def test_a_missing_framework_is_named_with_what_to_install(example):
    with pytest.raises(servers.ServerError) as caught, example("import no_such_framework"):
        pass
    assert caught.value.args[1] == 'it needs its framework: pip install "rpcguard[all]"'


def test_a_server_that_never_serves_is_given_up(example, monkeypatch):
    monkeypatch.setattr(servers, "READY_SECONDS", 0.3)
    with pytest.raises(servers.ServerError) as caught, example("import time\n" + SLEEP):
        pass
    assert caught.value.args[0] == "the flask example did not start within 0 s"


def test_a_server_that_ends_later_is_reported(example):
    with example(READY) as found, pytest.raises(servers.ServerError) as caught:
        found["flask"].wait()
    assert caught.value.args == ("the flask example ended",)


@pytest.mark.parametrize("as_json", [False, True])
def test_without_the_examples_the_demo_says_so(monkeypatch, capsys, as_json):
    monkeypatch.setattr(servers, "FRAMEWORKS", ("no-such-framework",))
    assert command.demo(as_json=as_json) == 1
    told = capsys.readouterr()
    said = json.loads(told.out)["error"] if as_json else told.err.strip()
    assert said.endswith("the example servers are not installed with this package")


def test_a_held_signal_arrives_when_the_hold_ends_and_only_once():
    interrupts = Interrupts()
    seen = []

    def hold():
        with interrupts.held(), interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            seen.append("still held")
        seen.append("never")

    with interrupts.installed():
        with pytest.raises(KeyboardInterrupt):
            hold()
        signal.raise_signal(signal.SIGINT)
        seen.append("ending already")
    assert seen == ["still held", "ending already"]


def test_the_signals_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().installed():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
