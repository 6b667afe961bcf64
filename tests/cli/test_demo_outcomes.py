"""The demo's own judgement: what is not as expected is seen, named and counted."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest

from rpcguard.cli.demo import lives, render
from rpcguard.cli.demo.case import Accepted, Case, Closed, Given, Refused, RefusedBare, bare
from rpcguard.cli.demo.kit import load
from rpcguard.cli.demo.runner import Outcome, run
from rpcguard.cli.demo.servers import FRAMEWORKS

CALLER = {"project": "p", "scheme": "jwt", "subject": "alice"}


class Handler(BaseHTTPRequestHandler):
    """Answers with what stands in the target: a status, then the document."""

    def do_POST(self):
        _, status, document = self.path.split("/", 2)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(bytes.fromhex(document))

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def servers():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"flask": SimpleNamespace(port=server.server_address[1])}
        server.shutdown()


def target(status: int, document: object) -> str:
    return f"/{status}/{json.dumps(document).encode().hex()}"


def refusal(reason: str) -> dict:
    return {"error": {"code": 1, "message": "m", "data": {"reason": reason}}}


@pytest.mark.parametrize(
    ("expect", "status", "document", "ok"),
    [
        (Accepted("p", "jwt", "alice"), 200, {"result": CALLER}, True),
        (Accepted("p", "jwt", "bob"), 200, {"result": CALLER}, False),
        (Accepted("q", "jwt", "alice"), 200, {"result": CALLER}, False),
        (Accepted("p", "session", "alice"), 200, {"result": CALLER}, False),
        (Accepted("p", "jwt", "alice"), 401, {"result": CALLER}, False),
        (Accepted("p", "jwt", "alice"), 200, {"result": 5}, False),
        (Given(("token", "expiresAt")), 200, {"token": "t", "expiresAt": 1}, True),
        (Given(("token", "expiresAt")), 200, {"token": "t"}, False),
        (Given(("token", "expiresAt")), 401, {"token": "t", "expiresAt": 1}, False),
        (Given(("revoked",)), 200, refusal("revoked"), False),
        (Closed(1008), 200, {"closed": 1008}, False),
        (Closed(1008), 401, refusal("revoked"), False),
        (Refused("expired"), 401, refusal("expired"), True),
        (Refused("expired"), 401, refusal("replayed"), False),
        (Refused("expired"), 403, refusal("expired"), False),
        (Refused("expired"), 401, {"reason": "expired"}, False),
        (Refused("expired"), 401, [], False),
        (RefusedBare("missing JWT token"), 403, {"message": "missing JWT token"}, True),
        (RefusedBare("missing JWT token"), 401, {"message": "missing JWT token"}, False),
        (RefusedBare("missing JWT token"), 403, {"message": "expired"}, False),
    ],
)
def test_an_answer_is_as_expected_only_in_status_and_content(servers, expect, status, document, ok):
    (outcome,) = run([Case("meganode", "x", bare(target(status, document)), expect)], servers)
    assert (outcome.ok, outcome.status) == (ok, status)


def test_a_replay_whose_first_request_is_refused_is_not_as_expected(servers):
    make = bare(target(401, refusal("replayed")))
    (outcome,) = run([Case("nodius", "x", make, Refused("replayed"), "here")], servers)
    assert (outcome.ok, outcome.answer) == (False, "at first: replayed")


def test_a_server_that_does_not_answer_is_not_as_expected(servers):
    dead = {"flask": SimpleNamespace(port=1)}
    (outcome,) = run([Case("nodius", "x", bare("/"), Refused("expired"))], dead)
    assert (outcome.ok, outcome.status) == (False, None)
    assert outcome.answer == "no answer: ConnectionRefusedError"


def test_a_websocket_that_is_not_one_is_not_as_expected(servers):
    make = bare(target(101, {}), websocket=True)
    (outcome,) = run([Case("nodius", "x", make, Accepted("p", "jwt", "alice"))], servers)
    assert (outcome.ok, outcome.status) == (False, None)


def test_the_table_names_what_was_expected(servers, capsys):
    case = Case("meganode", "a thing", bare(target(401, refusal("replayed"))), Refused("expired"))
    outcomes = list(run([case], servers))
    render.table(outcomes)
    told = capsys.readouterr().out
    assert "replayed; expected 401 expired  UNEXPECTED" in told
    assert "1 requests: 0 accepted, 1 refused, 1 NOT AS EXPECTED." in told
    assert render.document(outcomes)["unexpected"] == 1


def test_a_server_cannot_drive_the_terminal(servers, capsys):
    case = Case("meganode", "x", bare(target(401, refusal("\x1b[31m"))), Refused("expired"))
    render.table(list(run([case], servers)))
    assert "\x1b" not in capsys.readouterr().out


def test_a_case_that_names_its_framework_goes_there_alone(servers):
    both = {**servers, "aiohttp": SimpleNamespace(port=1)}
    expect, make = Accepted("p", "jwt", "alice"), bare(target(200, {"result": CALLER}))
    outcomes = list(run([Case("nodius", "x", make, expect, framework="flask")], both))
    assert [(outcome.framework, outcome.ok) for outcome in outcomes] == [("flask", True)]


@pytest.mark.parametrize(("status", "learnt"), [(200, [{"challenge": "c"}]), (401, [])])
def test_only_an_answer_as_expected_is_learnt_from(servers, status, learnt):
    heard: list[object] = []
    make = bare(target(status, {"challenge": "c"}))
    case = Case("nodius", "x", make, Given(("challenge",)), learn=heard.append)
    assert [outcome.ok for outcome in run([case], servers)] == [bool(learnt)]
    assert heard == learnt


def test_a_life_that_goes_wrong_at_every_step_is_told_to_its_end(starter):
    dead = {name: SimpleNamespace(port=1) for name in FRAMEWORKS}
    cases = [*lives.session(load(starter)), *lives.api_key(load(starter))]
    outcomes = list(run(cases, dead))
    assert len(outcomes) == len(cases)
    assert not any(outcome.ok for outcome in outcomes)


def test_what_three_frameworks_answer_alike_is_one_line_whatever_the_order(capsys):
    def outcome(framework: str, sent: str) -> Outcome:
        return Outcome(framework, "nodius", sent, 200, "a", "200 a", ok=True)

    render.table([outcome(name, sent) for name in FRAMEWORKS for sent in ("first", "second")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1:4] for line in lines[1:3]] == [
        ["first", "all", "three"],
        ["second", "all", "three"],
    ]
