"""The demo's own judgement: what is not as expected is seen, named and counted."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest

from rpcguard.cli.demo import render
from rpcguard.cli.demo.case import Accepted, Case, Refused, RefusedBare, bare
from rpcguard.cli.demo.runner import run

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
