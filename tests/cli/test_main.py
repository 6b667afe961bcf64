"""What holds for every command: entry points, exit codes, and never a traceback."""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from importlib.metadata import version

import pytest

from rpcguard.cli import app as application

RPCGUARD = [sys.executable, "-m", "rpcguard"]
SCRIPT = [os.path.join(os.path.dirname(sys.executable), "rpcguard")]
COMMANDS = (
    *("init", "check", "schema", "keys", "token", "sign", "call", "explain", "revoke", "apikey"),
    "demo",
)
TAKING_JSON = (
    *(["init"], ["check"], ["schema"], ["demo"], ["revoke"]),
    *(["token"], ["sign"], ["call"], ["explain"]),
    *(["keys", "add"], ["keys", "list"], ["keys", "remove"]),
    *(["apikey", "create"], ["apikey", "revoke"], ["apikey", "digest"]),
)
REVOKE = ["revoke", "registry.yaml", "--project", "solana"]
TOKEN = ["token", "--preset", "meganode", "--secret-env", "X"]
ADD = ["keys", "add", "registry.yaml", "--project", "evm"]
CREATE = ["apikey", "create", "registry.yaml", "--project", "solana", "--subject", "x"]


@pytest.mark.parametrize("command", [RPCGUARD, SCRIPT], ids=["module", "script"])
def test_both_entry_points_show_the_commands(cli, command):
    told = cli("--help", command=command)
    assert told.returncode == 0
    assert all(f"\n  {name} " in told.stdout for name in COMMANDS)
    assert told.stdout.startswith("Usage: rpcguard ")


@pytest.mark.parametrize("name", TAKING_JSON, ids=" ".join)
def test_every_command_explains_itself_and_takes_json(cli, name):
    told = cli(*name, "--help")
    assert told.returncode == 0
    assert "--json" in told.stdout
    assert told.stdout.isascii()


def test_the_version_is_that_of_the_package(cli):
    assert cli("--version").stdout == f"rpcguard {version('rpcguard')}\n"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_schema_is_json_schema(cli, arguments):
    schema = json.loads(cli("schema", *arguments).stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "projects" in schema["properties"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--frobnicate"],
        ["frobnicate"],
        ["init"],
        ["check"],
        ["check", "a", "b"],
        ["schema", "x"],
        ["demo", "--serve", "--framework", "django"],
        ["demo", "--serve", "--port", "65536"],
        ["demo", "--serve", "--port", "x"],
        ["demo", "--framework", "flask"],
        ["demo", "--port", "8000"],
        ["revoke", "registry.yaml", "--subject", "x"],
        REVOKE,
        [*REVOKE, "--subject", "x", "--key", "k"],
        [*REVOKE, "--token-file", "x", "--session", "s"],
        [*REVOKE, "--jti", "j"],
        [*REVOKE, "--jti", "j", "--key", "k", "--subject", "x"],
        [*REVOKE, "--key", "k", "--until", "tomorrow"],
        [*REVOKE, "--key", "k", "--until", "2026-12-01"],
        [*REVOKE, "--key", "k", "--until", "2020-01-01T00:00:00Z"],
        ["keys", "add", "registry.yaml"],
        [*ADD, "--type", "dsa"],
        [*ADD, "--alg", "none"],
        [*ADD, "--bits", "1024"],
        [*ADD, "--kid", ""],
        [*ADD, "--kid", "${env:HOME}"],
        [*ADD, "--name", "a ${file:keys/evm-ci.pem}"],
        [*ADD, "--not-after", "tomorrow"],
        [*ADD, "--public-key", "a.pem", "--out", "b.pem"],
        ["keys", "remove", "registry.yaml", "--project", "solana"],
        ["keys", "list"],
        ["token", "--preset", "meganode"],
        ["token", "--preset", "nothing", "--secret-env", "X"],
        [*TOKEN, "--secret-file", "x"],
        [*TOKEN, "--alg", "none"],
        [*TOKEN, "--encoding", "latin1"],
        [*TOKEN, "--auth", "session"],
        [*TOKEN, "--claim", "sub"],
        [*TOKEN, "--lifetime", "soon"],
        [*TOKEN, "--target", "x"],
        [*TOKEN, "--target", "//[x"],
        [*TOKEN, "--claim", "a=b"],
        [*TOKEN, "--audience", "x"],
        [*TOKEN, "--auth-key", "x"],
        ["token", "--preset", "engine-api", "--secret-env", "X", "--lifetime", "10m"],
        ["sign", "http://[::1/", *TOKEN[1:]],
        ["call", "http://[::1/", "x", *TOKEN[1:]],
        ["sign", "localhost/x", *TOKEN[1:]],
        ["sign", "/x", "--curl", *TOKEN[1:]],
        ["sign", "/x", "--preset", "evm", "--secret-file", "-", "--body-file", "-"],
        ["sign", "/x", "--preset", "meganode", "--secret-file", "-", "--body-file", "-"],
        ["call", "http://127.0.0.1:1/", *TOKEN[1:]],
        ["call", "http://127.0.0.1:1/", "x", "1", *TOKEN[1:]],
        ["call", "http://127.0.0.1:1/", "x", "[", *TOKEN[1:]],
        ["call", "http://127.0.0.1:1/", "x", "--timeout", "0", *TOKEN[1:]],
        ["explain", "registry.yaml"],
        ["explain", "registry.yaml", "--request", "-", "--token-file", "x"],
        ["explain", "registry.yaml", "--request", "-", "--target", "/"],
        ["explain", "registry.yaml", "--request", "-", "--body-file", "-"],
        ["explain", "registry.yaml", "--token-file", "x", "--header", "x"],
        ["explain", "registry.yaml", "--request", "-", "--now", "yesterday"],
        ["apikey", "frobnicate"],
        CREATE[:-2],
        [*CREATE, "--expires", "2020-01-01T00:00:00Z"],
        ["apikey", "revoke", "registry.yaml", "--project", "solana"],
        ["apikey", "digest", "a-key-that-does-not-belong-here"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_plain_text(cli, arguments):
    told = cli(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Error: " in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stderr.isascii()


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_a_missing_extra_is_named(module):
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from rpcguard.cli import main\n"
        "sys.argv = ['rpcguard', '--help']\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert 'pip install "rpcguard[cli]"' in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["schema"], ["--help"], ["check", "missing.yaml"], ["sign", "/", *TOKEN[1:]]],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_no_error_worth_a_traceback(tmp_path, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        told = subprocess.run(
            [*RPCGUARD, *arguments],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "X": "x" * 32},
            check=False,
        )
    assert told.returncode == 1
    assert told.stderr in {"", "rpcguard: missing.yaml is not valid: 1 problem\n"}


@pytest.mark.parametrize(
    "arguments",
    [["call", "URL", "x", *TOKEN[1:]], ["explain", "registry.yaml", "--request", "-"]],
    ids=["waiting for a server", "waiting for its input"],
)
def test_ctrl_c_ends_a_command_that_waits_without_a_traceback(starter, arguments):
    """A server that never answers is connected to, or an input that never ends is opened."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = subprocess.Popen(
            [*RPCGUARD, *(url if word == "URL" else word for word in arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=starter,
            env={**os.environ, "X": "x" * 32},
            # a runner that a shell has put into the background ignores it, and so would a child
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        if "URL" in arguments:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGINT)
                told, said = process.communicate(timeout=60)
        else:
            wait_until_it_reads(process)
            process.send_signal(signal.SIGINT)
            told, said = process.communicate(timeout=60)
    assert (process.returncode, told, said) == (130, b"", b"")


def wait_until_it_reads(process: subprocess.Popen) -> None:
    """Wait until *process* has taken what stands in the pipe of its standard input."""
    assert process.stdin is not None
    process.stdin.write(b"POST")
    process.stdin.flush()
    left = 4
    while left:
        assert process.poll() is None
        size = array.array("i", [0])
        fcntl.ioctl(process.stdin, termios.FIONREAD, size)
        left = size[0]
        select.select([], [], [], 0.02)


@pytest.mark.parametrize("command", [["check"], ["keys", "list"], ["explain", "--request", "-"]])
def test_what_is_no_file_is_said_plainly(cli, tmp_path, command):
    (tmp_path / "registry.yaml").mkdir()
    verb, *options = command
    told = cli(verb, *(["list"] if options == ["list"] else []), "registry.yaml",
               *(options if options != ["list"] else []), input="")  # fmt: skip
    assert told.returncode == 1
    assert "a directory" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "registry.yaml", "--request", "missing"],
        ["token", "--preset", "meganode", "--secret-file", "missing"],
        ["init", "/dev/null/x"],
    ],
)
def test_what_cannot_be_read_or_written_is_json_too(cli, starter, arguments):
    told = cli(
        *(starter / word if word == "registry.yaml" else word for word in arguments), "--json"
    )
    assert (told.returncode, told.stderr) == (1, "")
    assert list(json.loads(told.stdout)) == ["error"]


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("<&-", "rpcguard: standard input is empty\n"),
        (">&-", "rpcguard: standard output is closed\n"),
        ("2>&-", ""),
    ],
)
def test_a_closed_stream_is_said_plainly(closed, said):
    command = f'"$@" {closed}'
    token = ["token", "--preset", "meganode", "--secret-file", "-"]
    told = subprocess.run(
        ["bash", "-c", command, "bash", *RPCGUARD, *token],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (1, said)


def test_what_the_output_cannot_encode_is_escaped(cli, tmp_path):
    (tmp_path / "prüfung.yaml").write_text("version: 1\n", encoding="utf-8")
    told = cli("check", "prüfung.yaml", env={"PYTHONIOENCODING": "ascii"})
    assert told.returncode == 1
    assert told.stdout.startswith("pr\\xfcfung.yaml:")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "x"), 1, "rpcguard: Permission denied: x\n"),
        (OSError("disk"), 1, "rpcguard: OSError\n"),
        (RuntimeError("secret"), 1, "rpcguard: unexpected RuntimeError; this is a bug."),
    ],
)
def test_no_exception_leaves_the_command_line(monkeypatch, capsys, raised, code, said):
    def fail():
        raise raised

    monkeypatch.setattr(application, "_invoke", fail)
    assert application.run() == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(said)
    assert "secret" not in told.err
