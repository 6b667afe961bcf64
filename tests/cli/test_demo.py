"""`rpcguard demo` shows, with real servers, that everything is as promised, and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

RPCGUARD = [sys.executable, "-m", "rpcguard"]
SECONDS = 90
FRAMEWORKS = {"fastapi", "flask", "aiohttp"}
PRESETS = {
    "meganode",
    "meganode-rs256",
    "allthatnode",
    "nodius",
    "nodius-2026",
    "oppiwallet",
    "engine-api",
    "bearer",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The outcome of one whole demo, as JSON."""
    place = tmp_path_factory.mktemp("demo")
    environ = {**os.environ, "TMPDIR": str(place)}
    told = subprocess.run(
        [*RPCGUARD, "demo", "--json"],
        capture_output=True,
        text=True,
        env=environ,
        timeout=SECONDS,
        check=False,
    )
    assert list(place.iterdir()) == []
    assert told.stderr == ""
    return told.returncode, json.loads(told.stdout)


def test_every_outcome_is_the_expected_one(report):
    code, document = report
    assert [row for row in document["rows"] if not row["ok"]] == []
    assert code == 0
    assert document["sent"] == document["as_expected"] == len(document["rows"]) >= 24
    assert document["unexpected"] == 0


def test_every_preset_is_accepted_by_every_framework(report):
    accepted = {
        (row["protocol"], row["framework"])
        for row in report[1]["rows"]
        if row["status"] in {101, 200}
    }
    assert {(preset, name) for preset in PRESETS for name in FRAMEWORKS} <= accepted


def test_the_refusals_are_spread_over_the_frameworks_and_the_reasons(report):
    refused = [row for row in report[1]["rows"] if row["status"] >= 400]
    assert {row["framework"] for row in refused} == FRAMEWORKS
    assert {
        "missing_credentials",
        "malformed_credentials",
        "invalid_credentials",
        "expired",
        "not_yet_valid",
        "invalid_audience",
        "invalid_binding",
        "invalid_claims",
        "replayed",
        "unsupported_algorithm",
        "ambiguous_credentials",
        "forbidden_method",
        "not_listed",
        "no_project",
        "invalid_target",
        "body_too_large",
        "unsupported_encoding",
    } <= {row["answer"] for row in refused}


LIVES = {
    "nodius session": [
        ("challenge", 200, "gives challenge"),
        ("its signature signs in", 200, "gives token, expiresAt"),
        ("the same signature again", 401, "replayed"),
        ("session token", 200, "session"),
        ("the token at another server", 200, "session"),
        ("WebSocket by Authorization", 101, "session"),
        ("WebSocket by auth.TOKEN", 101, "session"),
        ("the token at another project", 401, "malformed_credentials"),
        ("logout with a WebSocket open", 101, "closed with 1008"),
        ("the token after logout", 401, "revoked"),
        ("and at another server", 401, "revoked"),
        ("WebSocket after logout", 401, "revoked"),
    ],
    "nodius API key": [
        ("asked for with a v1 signature", 401, "unsupported_algorithm"),
        ("asked for with a v2 signature", 200, "gives apiKey"),
        ("API key", 200, "api_key"),
        ("WebSocket with the key", 101, "api_key"),
        ("the key asks for another", 401, "missing_credentials"),
        ("the wallet asks for another", 200, "gives apiKey"),
        ("the old key", 401, "invalid_credentials"),
        ("and at another server", 401, "invalid_credentials"),
        ("the new key", 200, "api_key"),
    ],
}


@pytest.mark.parametrize("protocol", LIVES)
def test_what_rpcguard_issues_lives_its_whole_life_on_every_framework(report, protocol):
    rows = [row for row in report[1]["rows"] if row["protocol"] == protocol]
    steps = LIVES[protocol]
    assert [row["sent"] for row in rows] == [sent for sent, _, _ in steps] * 3
    for row, (_, status, answer) in zip(rows, steps * 3, strict=True):
        assert row["status"] == status
        assert answer in row["answer"]
    # each step was asked of each framework: here, or where it says "another server"
    for sent, _, _ in steps:
        assert {row["framework"] for row in rows if row["sent"] == sent} == FRAMEWORKS


def parents() -> dict[int, int]:
    """Every process's parent."""
    if Path("/proc/self/stat").exists():
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        return found
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    return {int(pid): int(parent) for pid, parent in map(str.split, told.stdout.splitlines())}


class Running:
    """A demo that runs, and the directory where it may leave things."""

    def __init__(self, place: Path, *arguments: str) -> None:
        self.place = place
        self.process = subprocess.Popen(
            [*RPCGUARD, "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(place)},
        )
        self.servers: set[int] = set()

    def wait_for_servers(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while not list(self.place.iterdir()) or len(self.servers) < count:
            assert time.monotonic() < deadline, "the servers did not start"
            self.servers = {pid for pid, by in parents().items() if by == self.process.pid}
            time.sleep(0.01)

    def end(self, number: int) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=SECONDS)

    def left(self) -> tuple[set[int], list[Path]]:
        return self.servers & set(parents()), list(self.place.iterdir())


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(*arguments: str) -> Running:
        running.append(Running(tmp_path, *arguments))
        return running[-1]

    yield begin
    for demo in running:
        if demo.process.poll() is None:
            demo.end(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("servers", [0, 1, 3])
def test_a_signal_at_any_moment_leaves_no_process_and_no_file(start, number, servers):
    demo = start()
    demo.wait_for_servers(servers)
    assert demo.end(number)[1] == ""
    assert demo.process.returncode == 130
    assert demo.left() == (set(), [])


def serving(demo: Running) -> dict:
    """What `--serve --json` says."""
    lines = []
    for line in demo.process.stdout:
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    raise AssertionError(demo.process.stderr.read())


# What the offered commands need of curl, for machines that have none.
CURL = """\
#!{python}
import getopt, http.client, sys, urllib.parse
options, arguments = getopt.gnu_getopt(sys.argv[1:], "sH:d:")
url = urllib.parse.urlsplit(arguments[0])
headers = [value for name, value in options if name == "-H"]
if "@-" in headers:
    headers.remove("@-")
    headers += sys.stdin.read().splitlines()
fields = dict(header.split(": ", 1) for header in headers)
connection = http.client.HTTPConnection(url.netloc)
connection.request("POST", url.path, dict(options)["-d"].encode(), fields)
print(connection.getresponse().read().decode())
"""


@pytest.fixture
def path_with_curl(tmp_path_factory):
    """A PATH on which some curl is found: the machine's own, if it has one."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "curl").write_text(CURL.format(python=sys.executable))
    (directory / "curl").chmod(0o755)
    return f"{os.environ['PATH']}{os.pathsep}{directory}"


@pytest.mark.parametrize("framework", sorted(FRAMEWORKS))
def test_a_server_left_running_answers_the_commands_that_are_offered(
    start, framework, path_with_curl
):
    demo = start("--serve", "--framework", framework, "--json")
    offer = serving(demo)
    demo.wait_for_servers(1)
    assert offer["framework"] == framework
    answers = {}
    for command in offer["commands"]:
        told = subprocess.run(
            ["sh", "-c", command["command"]],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path_with_curl},
            timeout=SECONDS,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        answers[command["shows"]] = json.loads(told.stdout)
    key = answers.pop("nodius: an API key, given once")
    assert key["apiKey"].startswith("nod_")
    assert answers["nodius: a session, signed in just now"]["result"]["scheme"] == "session"
    refused = {shows for shows, answer in answers.items() if "result" not in answer}
    assert refused == {shows for shows in answers if "refused" in shows}
    assert answers["allthatnode: refused in the provider's own form"] == {
        "code": -32013,
        "message": "missing JWT token",
        "project": "evm",
    }
    assert demo.end(signal.SIGINT) == ("", "")
    assert demo.process.returncode == 0
    assert demo.left() == (set(), [])


def test_a_port_in_use_is_said_plainly(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = start("--serve", "--port", str(taken.getsockname()[1]))
        out, err = demo.process.communicate(timeout=SECONDS)
    assert (demo.process.returncode, out) == (1, "")
    assert err.startswith("rpcguard: the fastapi example ended before it served")
    assert demo.left() == (set(), [])


def test_on_a_pipe_the_table_is_plain_aligned_text(tmp_path):
    told = subprocess.run(
        [*RPCGUARD, "demo"],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=SECONDS,
        check=False,
    )
    assert told.returncode == 0
    assert told.stderr == ""
    lines = told.stdout.splitlines()
    heading = lines[2]
    assert heading.split() == ["protocol", "sent", "framework", "status", "caller", "or", "reason"]
    column = heading.index("status")
    rows = lines[3 : lines.index("", 3)]
    assert sum(row.startswith("nodius session ") for row in rows) == len(LIVES["nodius session"])
    assert max(map(len, lines)) < 140
    assert all(row[column : column + 3].isdigit() and row[column - 1] == " " for row in rows)
    assert all(row.endswith(" ok") for row in rows)
    assert lines[-1].endswith("all as expected.")
