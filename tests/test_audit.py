"""The audit trail: what a record holds, and what never gets into one."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import CALL, NOW, SECRET, Wallet, bearer, hour, key_digest, token

from rpcguard import AuthError, BackendError, Request
from rpcguard.audit import JsonFormatter, printable
from rpcguard.owed import Answer

API_KEY = "an-api-key-of-more-than-32-characters"
REGISTRY = f"""
version: 1
backend: "memory://?restart_guard=off"
trusted_proxies: [10.0.0.0/8]
projects:
  bsc:
    preset: meganode
    match: {{path: [/v1, /v1/deep]}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
    api_keys: [{{id: ops, digest: "{key_digest(API_KEY)}"}}]
    allow: {{methods: [eth_blockNumber]}}
  solana:
    preset: nodius
    id: the-id
    match: {{path: /solana}}
    wallets: open
    session: {{secret: "{SECRET}"}}
"""
KEYS = {
    *("time", "outcome", "project", "reason", "cause", "detail", "scheme", "key_id", "subject"),
    *("method", "path", "client", "microseconds"),
}


def ask(target: str = "/v1/", headers: Any = None, body: bytes = CALL, **facts: Any) -> Request:
    fields = bearer(token(hour(sub="alice"))) if headers is None else headers
    return Request("POST", target, fields, body, "192.0.2.1", **facts)


@pytest.fixture
def trail(caplog):
    """Return the facts of the records so far."""
    caplog.set_level(logging.INFO, "rpcguard.audit")

    def trail() -> list[dict[str, Any]]:
        return [r.rpcguard for r in caplog.records if r.name == "rpcguard.audit"]

    return trail


def drive(verifier: Any, request: Request, *, loop: bool = False, **options: Any) -> None:
    try:
        if loop:
            asyncio.run(verifier.averify(request, **options))
        else:
            verifier.verify(request, **options)
    except AuthError:
        pass


LOOPS = pytest.mark.parametrize("loop", [False, True], ids=["verify", "averify"])


@LOOPS
def test_an_accepted_request_is_recorded_once_with_who_called(guard, trail, loop):
    drive(guard(REGISTRY), ask("/v1/?secret=query"), loop=loop)
    (found,) = trail()
    assert found.keys() == KEYS - {"cause", "detail"}
    took, when = found.pop("microseconds"), found.pop("time")
    assert isinstance(took, int) and 0 < took < 60_000_000
    assert isinstance(when, float)
    assert found == {
        "outcome": "accepted",
        "project": "bsc",
        "reason": None,
        "scheme": "jwt",
        "key_id": "a",
        "subject": "alice",
        "method": "POST",
        "path": "/v1/",
        "client": "192.0.2.1",
    }


REFUSED = {
    "nothing": (ask(headers=[]), "missing_credentials", None),
    "not proved": (ask(headers=bearer(token(hour(), "x" * 32))), "invalid_credentials", None),
    "no project": (ask("/elsewhere"), "no_project", None),
    "target": (ask("//"), "invalid_target", None),
    "policy": (ask(body=CALL.replace(b"eth_b", b"x")), "forbidden_method", ("jwt", "alice", "a")),
    "body": (ask(body=b"{"), "invalid_body", ("jwt", "alice", "a")),
}


@LOOPS
@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_request_is_recorded_once_with_who_was_proved(guard, trail, loop, case):
    request, reason, caller = REFUSED[case]
    drive(guard(REGISTRY), request, loop=loop)
    (found,) = trail()
    assert found.keys() == KEYS
    assert (found["outcome"], found["reason"]) == ("refused", reason)
    proved = (found["scheme"], found["subject"], found["key_id"])
    assert proved == (caller or (None, None, None))


class Says:
    """A backend that always says the same."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer

    def settle(self, owed: Any, now: float) -> Answer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def asettle(self, owed: Any, now: float) -> Answer:
        return self.settle(owed, now)

    def close(self) -> None:
        """Nothing to close."""


@LOOPS
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer.REPLAYED, "replayed"),
        (Answer.REVOKED, "revoked"),
        (BackendError("down"), "backend_unavailable"),
    ],
)
def test_what_the_backend_refuses_has_its_caller(guard, trail, loop, answer, reason):
    wallet = Wallet()
    verifier = guard(REGISTRY, backend=Says(answer))
    drive(verifier, ask("/solana", wallet.v1()), loop=loop)
    drive(verifier, ask("/v1"), loop=loop)
    signed, tokened = trail()
    assert (signed["reason"], signed["subject"]) == (reason, wallet.pubkey)
    assert (signed["project"], signed["scheme"]) == ("the-id", "signature")
    assert (tokened["reason"], tokened["subject"], tokened["key_id"]) == (reason, "alice", "a")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/v1/{API_KEY}", "/v1/<key>"),
        (f"/v1/{API_KEY}?{API_KEY}", "/v1/<key>"),
        (f"/v1/{API_KEY}/more", "/v1/<key>"),
        (f"/v1/deep/{API_KEY}", "/v1/deep/<key>"),
        (f"/v1//{API_KEY}", None),
        (f"/v2/{API_KEY}", None),
        (f"/{API_KEY}", None),
        (API_KEY, None),
        (f"/solana/{'x' * 300}", "/solana/" + "x" * 189 + "..."),
        ("/solana/%0d%0aX", "/solana/%0d%0aX"),
    ],
)
def test_a_path_is_shown_without_query_and_keys(guard, trail, target, shown):
    drive(guard(REGISTRY), ask(target))
    (found,) = trail()
    assert found["path"] == shown
    assert API_KEY not in json.dumps(found)


def test_where_no_project_reads_keys_in_paths_every_path_is_shown(guard, trail):
    text = "\n".join(line for line in REGISTRY.splitlines() if "api_keys" not in line)
    text = text.replace("preset: meganode", "preset: bearer").replace(
        "secrets: [{id: a, ", "keys: [{kid: a, alg: HS256, "
    )
    drive(guard(text), ask("/nowhere?x=1"))
    assert trail()[0]["path"] == "/nowhere"


def test_the_client_is_the_one_that_limits_and_policies_see(guard, trail):
    verifier = guard(REGISTRY)
    forwarded = [("X-Forwarded-For", "203.0.113.9, 203.0.113.1")]
    verifiers = [("10.0.0.1", "203.0.113.1"), ("192.0.2.1", "192.0.2.1"), ("unix", "unix")]
    for peer, _ in verifiers:
        drive(verifier, Request("POST", "/v1", forwarded, CALL, peer))
    assert [found["client"] for found in trail()] == [shown for _, shown in verifiers]


def test_the_routes_that_issue_are_recorded(guard, trail):
    verifier = guard(REGISTRY)
    body = json.dumps({"pubkey": Wallet().pubkey}).encode()
    verifier.serve("/auth/challenge", Request("POST", "/auth/challenge", [], body), "solana")
    with pytest.raises(AuthError):
        verifier.serve("/auth/verify", Request("POST", "/auth/verify", [], b"{"), "solana")
    shown = [(f["outcome"], f["reason"], f["project"]) for f in trail()]
    assert shown == [("accepted", None, "solana"), ("refused", "invalid_body", "the-id")]


def test_a_recheck_is_recorded_only_where_it_refuses(guard, trail):
    verifier = guard(REGISTRY)
    drive(verifier, ask("/solana", Wallet().v1()), standing=True)
    assert trail() == []
    drive(verifier, ask("/solana", []), standing=True)
    assert len(trail()) == 1


def test_nothing_is_built_where_nobody_listens(guard, caplog, monkeypatch):
    def built(*_: Any) -> Any:
        raise AssertionError("built")

    verifier = guard(REGISTRY)
    monkeypatch.setattr("rpcguard.audit.printable", built)
    caplog.set_level(logging.WARNING, "rpcguard.audit")
    drive(verifier, ask())
    drive(verifier, ask(headers=[]))
    caplog.set_level(logging.INFO, "rpcguard.audit")
    with pytest.raises(AssertionError):
        drive(verifier, ask())


HOSTILE = 'a\r\nrefused: project=x\x1b[31m\x07\x9b1m\u202e\u2028\udc80\x7f\\é" subject=root'


def test_what_a_caller_sends_stays_in_one_line_of_printable_characters(guard, trail, caplog):
    verifier = guard(REGISTRY)
    claims = json.dumps(hour(sub=HOSTILE.replace("\udc80", ""))).encode()
    drive(verifier, ask("/v1", bearer(token(claims))))
    drive(verifier, Request("PO\r\nST", "/solana/\x1b[2J\n", [], CALL, "1.2.3.4\n"))
    drive(verifier, ask("/solana/x\udcff"))
    assert len(trail()) == 3
    for record in caplog.records:
        line = record.getMessage()
        if record.name == "rpcguard.audit":
            assert line.isascii() and line.isprintable()
            assert line.split(" ")[0] in ("accepted:", "refused:")
            assert re.fullmatch(r'[a-z]+:( [a-z_]+=("[^"]*"|[^ "=]+))+', line)
            written = JsonFormatter().format(record)
            assert written.isascii() and written.isprintable()
            assert json.loads(written)["outcome"] in ("accepted", "refused")


@given(st.text())
def test_a_printable_text_is_ascii_and_short(text):
    shown = printable(text)
    assert shown.isascii()
    assert shown == "" or shown.isprintable()
    assert len(shown) <= 2000
    if len(text) <= 200:
        assert shown.encode().decode("unicode_escape") == text


def test_the_message_names_every_fact(guard, trail, caplog):
    drive(guard(REGISTRY), ask(headers=bearer(token(hour(exp=NOW - 5)))))
    line = caplog.records[-1].getMessage()
    assert line.startswith("refused: project=bsc reason=expired detail=")
    assert 'detail="exp passed 5.000 s ago"' in line
    assert "method=POST path=/v1/ client=192.0.2.1 microseconds=" in line


def test_the_json_formatter_writes_other_records_too():
    record = logging.LogRecord("rpcguard", logging.ERROR, "x", 1, "bad\n%s", ("\x1b",), None)
    written = JsonFormatter().format(record)
    assert "\n" not in written and "\x1b" not in written
    assert json.loads(written)["message"] == "bad\n\x1b"


@pytest.mark.parametrize("led", [{"project": "solana"}, {"project": "nested"}, {"host": "b"}])
def test_a_key_for_another_project_than_the_one_that_judges_is_not_in_the_path(guard, trail, led):
    more = """
  nested:
    preset: nodius
    match: {path: /v1/nested}
    wallets: open
  hosted:
    preset: meganode
    match: {host: a, path: /hosted}
    secrets: [{id: a, secret: "SECRET"}]
    api_keys: [{id: ops, digest: "DIGEST"}]
  default:
    preset: nodius
    wallets: open
"""
    verifier = guard(
        REGISTRY + more.replace("SECRET", SECRET).replace("DIGEST", key_digest(API_KEY))
    )
    options = dict(led)
    headers = [("Host", options.pop("host", "a"))]
    for prefix in ("/v1", "/v1/deep", "/hosted"):
        drive(verifier, ask(f"{prefix}/{API_KEY}", headers), **options)
    drive(verifier, ask("/v1/nested/plain", headers), **options)
    drive(verifier, ask("/other/plain", headers), **options)
    *keys, nested, other = [record["path"] for record in trail()]
    assert keys == ["/v1/<key>", "/v1/deep/<key>", "/hosted/<key>"]
    assert nested == ("/v1/<key>" if led == {"project": "solana"} else "/v1/nested/plain")
    assert other == "/other/plain"
