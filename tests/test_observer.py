"""What observers are told, how often, and that they change no verdict."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from minting import CALL, NOW, SECRET, Wallet, bearer, hour, token

from rpcguard import AuthError, BackendError, ConfigError, Request, Verifier
from rpcguard.backends.base import Backend
from rpcguard.backends.memory import MemoryBackend
from rpcguard.issuing import ROUTES
from rpcguard.measured import MeasuredBackend
from rpcguard.observer import (
    OPERATIONS,
    Consulted,
    Event,
    Judged,
    Loaded,
    LookedUp,
    together,
)

REGISTRY = f"""
version: 1
backend: "memory://?restart_guard=off"
projects:
  bsc:
    preset: meganode
    id: an-id-that-errors-show
    match: {{path: [/v1, /ws/v1]}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
    limits: {{per_key: 3/day}}
    allow: {{methods: [eth_blockNumber]}}
  solana:
    preset: nodius
    match: {{path: /solana}}
    wallets: open
    session: {{secret: "{SECRET}", refresh: rotating}}
  free:
    preset: bearer
    match: {{path: /free}}
    keys: [{{kid: k, alg: HS256, secret: "{SECRET}"}}]
    revocation: false
"""


def ask(target: str = "/v1", headers: Any = None, body: bytes = CALL, **facts: Any) -> Request:
    fields = bearer(token(hour(sub="alice"))) if headers is None else headers
    return Request("POST", target, fields, body, "192.0.2.1", **facts)


def drive(verifier: Verifier, request: Request, *, loop: bool = False, **options: Any) -> str:
    """Return "accepted", or why not."""
    try:
        if loop:
            asyncio.run(verifier.averify(request, **options))
        else:
            verifier.verify(request, **options)
    except AuthError as error:
        return error.reason
    return "accepted"


def judged(events: list[Event]) -> list[Judged]:
    return [event for event in events if isinstance(event, Judged)]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def verifier(guard, events) -> Verifier:
    made: Verifier = guard(REGISTRY, observers=[events.append])
    return made


LOOPS = pytest.mark.parametrize("loop", [False, True], ids=["verify", "averify"])
FORGED = bearer(token(hour(), "x" * 32))

VERDICTS: dict[str, tuple[Request, tuple[Any, ...]]] = {
    "accepted": (ask(), ("request", "bsc", "jwt", None, None, None, "alice", "a")),
    "handshake": (
        ask("/solana", Wallet().v1(b""), b"", websocket=True),
        ("handshake", "solana", "signature", None, None, None, Wallet().pubkey, Wallet().pubkey),
    ),
    "no credential": (
        ask(headers=[]),
        ("request", "bsc", "none", "missing_credentials", -32001, 401, None, None),
    ),
    "not proved": (
        ask(headers=FORGED),
        ("request", "bsc", "jwt", "invalid_credentials", -32001, 401, None, None),
    ),
    "expired": (
        ask(headers=bearer(token(hour(exp=NOW - 5, sub="alice")))),
        ("request", "bsc", "jwt", "expired", -32001, 401, None, None),
    ),
    "two kinds": (
        ask("/solana", [*Wallet().v1(), *FORGED]),
        ("request", "solana", "none", "ambiguous_credentials", -32600, 400, None, None),
    ),
    "policy": (
        ask(body=CALL.replace(b"eth_b", b"x")),
        ("request", "bsc", "jwt", "forbidden_method", -32003, 403, "alice", "a"),
    ),
    "no project": (
        ask("/elsewhere"),
        ("request", "", "none", "no_project", -32003, 403, None, None),
    ),
    "target": (ask("//"), ("request", "", "none", "invalid_target", -32600, 400, None, None)),
}


@LOOPS
@pytest.mark.parametrize("case", VERDICTS)
def test_each_verdict_is_told_once_by_names_of_the_registry(verifier, events, loop, case):
    request, expected = VERDICTS[case]
    drive(verifier, request, loop=loop)
    (told,) = judged(events)
    kind, project, scheme, reason, code, status, subject, key_id = expected
    assert 0 < told.seconds < 60
    assert told == Judged(
        kind, project, scheme, told.seconds, reason, code, status, subject, key_id
    )


@LOOPS
def test_what_a_limit_refuses_is_told_with_who_was_proved(verifier, events, loop):
    for _ in range(4):
        drive(verifier, ask(), loop=loop)
    *accepted, refused = judged(events)
    assert [each.reason for each in accepted] == [None] * 3
    assert (refused.reason, refused.scheme, refused.subject) == ("rate_limited", "jwt", "alice")
    counts = [each for each in events if isinstance(each, Consulted) and each.operation == "count"]
    assert [each.failed for each in counts] == [False] * 4


def test_a_route_that_names_its_project_is_told_by_that_name(verifier, events):
    drive(verifier, ask("/anywhere", headers=[]), project="solana")
    drive(verifier, ask("/anywhere", headers=[]), project="unknown")
    assert [each.project for each in judged(events)] == ["solana", ""]


def test_a_recheck_is_told_only_where_it_refuses(verifier, events):
    drive(verifier, ask("/solana", Wallet().v1()), standing=True)
    assert judged(events) == []
    drive(verifier, ask("/solana", []), standing=True)
    assert [(each.kind, each.reason) for each in judged(events)] == [
        ("recheck", "missing_credentials")
    ]


@pytest.mark.parametrize("loop", [False, True], ids=["check_message", "acheck_message"])
def test_messages_are_told(verifier, events, loop):
    def send(text: bytes) -> None:
        try:
            if loop:
                asyncio.run(_awaited(verifier.acheck_message(caller, text)))
            else:
                verifier.check_message(caller, text)
        except AuthError:
            pass

    caller = verifier.verify(ask("/ws/v1", body=b"", websocket=True), frames=True)
    for text in (CALL, b"{", CALL, CALL):
        send(text)
    shown = [(each.project, each.scheme, each.reason, each.subject) for each in judged(events)[1:]]
    assert shown == [
        ("bsc", "jwt", None, "alice"),
        ("bsc", "jwt", "invalid_body", "alice"),
        ("bsc", "jwt", None, "alice"),
        ("bsc", "jwt", "rate_limited", "alice"),
    ]
    assert {each.kind for each in judged(events)[1:]} == {"message"}


async def _awaited(answer: Any) -> None:
    await answer


def test_the_routes_that_issue_are_told_by_their_own_names(verifier, events):
    wallet = Wallet()

    def post(route: str, body: Any = None, headers: Any = ()) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        return verifier.serve(route, Request("POST", route, list(headers), content), "solana")

    challenge = post("/auth/challenge", {"pubkey": wallet.pubkey})["challenge"]
    signed = {"pubkey": wallet.pubkey, "signature": wallet.sign(challenge)}
    session = post("/auth/verify", signed)
    with pytest.raises(AuthError):
        post("/auth/verify", {})
    renewed = post("/auth/refresh", {"refreshToken": session["refreshToken"]})
    post("/auth/logout", None, bearer(renewed["token"]))
    with pytest.raises(AuthError):
        post("/account/api-key", None, bearer(renewed["token"]))
    shown = [(each.kind, each.project, each.scheme, each.reason) for each in judged(events)]
    assert shown == [
        ("/auth/challenge", "solana", "none", None),
        ("/auth/verify", "solana", "session", None),
        ("/auth/verify", "solana", "none", "invalid_body"),
        ("/auth/refresh", "solana", "session", None),
        ("/auth/logout", "solana", "session", None),
        ("/account/api-key", "solana", "session", "missing_credentials"),
    ]
    assert {each.kind for each in judged(events)} == set(ROUTES)
    operations = {each.operation for each in events if isinstance(each, Consulted)}
    assert operations == {"settle", "epoch", "spent", "put", "rotate", "drop", "revoke"}


def test_an_issuing_route_whose_project_has_gone_is_told_and_recorded(verifier, events, caplog):
    caplog.set_level(logging.INFO, "rpcguard.audit")
    with pytest.raises(AuthError):
        verifier.serve("/auth/challenge", Request("POST", "/auth/challenge", [], b"{}"), "gone")
    shown = [(each.kind, each.project, each.reason) for each in judged(events)]
    assert shown == [("/auth/challenge", "", "no_project")]
    assert [record.rpcguard["reason"] for record in caplog.records] == ["no_project"]


class Broken(MemoryBackend):
    """A backend that does not answer."""

    def settle(self, owed: Any, now: float) -> Any:
        raise BackendError("down")

    async def asettle(self, owed: Any, now: float) -> Any:
        raise BackendError("down")


@LOOPS
def test_a_question_to_the_backend_is_told_with_its_failure(guard, events, loop):
    for backend in (MemoryBackend(now=NOW, restart_guard=False), Broken(now=NOW)):
        drive(
            guard(REGISTRY, backend=backend, observers=[events.append]),
            ask("/solana", Wallet().v1()),
            loop=loop,
        )
    asked = [each for each in events if isinstance(each, Consulted)]
    assert [(each.operation, each.failed) for each in asked] == [
        ("settle", False),
        ("settle", True),
    ]
    assert all(0 < each.seconds < 60 for each in asked)
    assert [each.reason for each in judged(events)] == [None, "backend_unavailable"]


def test_where_nothing_is_owed_no_question_is_told(verifier, events):
    drive(verifier, ask("/free", bearer(token(hour(), kid="k"))))
    assert [each.reason for each in judged(events)] == [None]
    assert [each for each in events if isinstance(each, Consulted)] == []


def test_a_question_that_was_given_up_is_not_told(guard, events):
    class Slow(MemoryBackend):
        async def asettle(self, owed: Any, now: float) -> Any:
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(verifier.averify(ask("/solana", Wallet().v1())))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    verifier = guard(REGISTRY, backend=Slow(now=NOW), observers=[events.append])
    asyncio.run(cancelled())
    assert [each for each in events if not isinstance(each, Loaded)] == []


def test_look_ups_of_tokens_are_told_by_project(verifier, events):
    session = verifier.issue("solana", Wallet().pubkey)["token"]
    for target, text in (
        ("/v1", token(hour())),
        ("/v1", token(hour())),
        ("/v1", token(hour(), "x" * 32)),
        ("/solana", session),
        ("/solana", session),
    ):
        drive(verifier, ask(target, bearer(text)))
    found = [(each.project, each.found) for each in events if isinstance(each, LookedUp)]
    assert found == [
        ("bsc", False),
        ("bsc", True),
        ("bsc", False),
        ("solana", False),
        ("solana", True),
    ]


def test_each_load_of_the_registry_is_told_and_the_new_one_tells_too(verifier, events, tmp_path):
    file = tmp_path / "registry.yaml"
    verifier.reload()
    file.write_text("version: 1\nprojects: [")
    with pytest.raises(ConfigError):
        verifier.reload()
    file.write_text(REGISTRY)
    verifier.reload()
    drive(verifier, ask())
    loads = [each for each in events if isinstance(each, Loaded)]
    assert loads == [Loaded(1, True), Loaded(2, True), Loaded(2, False), Loaded(3, True)]
    assert [each for each in events if isinstance(each, LookedUp)] == [LookedUp("bsc", False)]


def test_a_reload_by_the_watcher_is_told(tmp_path, events):
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    with Verifier.from_yaml(path, observers=[events.append]) as verifier:
        path.write_text("version: 2")
        verifier._live._reload_quietly()
    assert [each for each in events if isinstance(each, Loaded)] == [
        Loaded(1, True),
        Loaded(1, False),
    ]


class OfTheObserverError(Exception):
    """Its text quotes what nobody may log."""


def fails(event: Event) -> None:
    raise OfTheObserverError(f"alice {event!r}")


@LOOPS
@pytest.mark.parametrize("case", VERDICTS)
def test_an_observer_that_fails_changes_no_verdict(guard, events, caplog, loop, case):
    request, (*_, reason, _, _, _, _) = VERDICTS[case]
    verifier = guard(REGISTRY, observers=[fails, events.append])
    assert drive(verifier, request, loop=loop) == (reason or "accepted")
    assert drive(verifier, ask(headers=[]), loop=loop) == "missing_credentials"
    assert len(judged(events)) == 2  # the others are told all the same
    lines = [record.getMessage() for record in caplog.records if record.name == "rpcguard"]
    (line,) = [line for line in lines if "observer failed" in line]  # once, not at every request
    assert "OfTheObserverError at " in line
    assert "test_observer.py" in line
    assert "alice" not in line


def test_an_observer_that_fails_stops_neither_messages_nor_issuing_nor_reloads(guard):
    verifier = guard(REGISTRY, observers=[fails])
    caller = verifier.verify(ask("/ws/v1", body=b"", websocket=True), frames=True)
    verifier.check_message(caller, CALL)
    with pytest.raises(AuthError):
        verifier.check_message(caller, b"{")
    body = json.dumps({"pubkey": Wallet().pubkey}).encode()
    verifier.serve("/auth/challenge", Request("POST", "/auth/challenge", [], body), "solana")
    verifier.reload()


@pytest.mark.parametrize("case", ["accepted", "no credential"])
def test_who_ends_the_process_in_an_observer_lets_nobody_in(guard, case):
    def ends(event: Event) -> None:
        if isinstance(event, Judged):
            raise SystemExit

    verifier = guard(REGISTRY, observers=[ends])
    with pytest.raises(SystemExit):
        verifier.verify(VERDICTS[case][0])


def test_what_cannot_be_called_is_no_observer(guard):
    with pytest.raises(TypeError, match="list cannot"):
        guard(REGISTRY, observers=[[]])


def test_observers_are_told_in_their_order(events):
    order: list[str] = []
    everyone = together([lambda _: order.append("first"), lambda _: order.append("second")])
    assert everyone is not None
    everyone(Loaded(1, successful=True))
    assert order == ["first", "second"]
    assert together([]) is None


def test_without_observers_nothing_is_built(guard, monkeypatch):
    def built(*_: Any) -> Any:
        raise AssertionError("built")

    for place in ("audit.Judged", "measured.Consulted", "registry.live.LookedUp"):
        monkeypatch.setattr(f"rpcguard.{place}", built)
    monkeypatch.setattr("rpcguard.authenticator.Authenticator.claimed", built)
    verifier = guard(REGISTRY)
    assert type(verifier._backend) is MemoryBackend
    for case in VERDICTS:
        drive(verifier, VERDICTS[case][0])


def test_no_question_to_the_backend_goes_unmeasured():
    methods = {name for name, value in vars(Backend).items() if callable(value) and name[0] != "_"}
    assert methods == set(OPERATIONS) - {"count"} | {"asettle", "close"}
    assert methods <= set(vars(MeasuredBackend))
