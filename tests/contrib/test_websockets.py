"""WebSockets from the handshake to their end, on real servers, with the `websockets` client."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jwt
import pytest
from minting import Wallet
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from contrib import websocket_apps as apps
from contrib.credentials import PUBKEY, nodius
from contrib.websocket_apps import Served
from contrib.wire import HANDSHAKE, TIMEOUT, handshake, request, websocket
from rpcguard import Verifier
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Answer, Owed

HERE = [
    "uvicorn-auto",
    "uvicorn-wsproto",
    "uvicorn-whole",
    "werkzeug",
    "aiohttp",
]  # in this process
SERVERS = [*HERE, "gunicorn"]
FIELD = apps.FIELD
QUIET = 20.0  # seconds within which what must happen within a recheck has happened; by default,
# rechecks are further apart


def _call(socket: ClientConnection, text: str = "hello") -> list[Any]:
    socket.send(text)
    answer: list[Any] = json.loads(socket.recv(TIMEOUT))
    return answer


def _closed_with(socket: ClientConnection, timeout: float = QUIET) -> int | None:
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout)
    return caught.value.rcvd.code if caught.value.rcvd is not None else None


@pytest.fixture(scope="module", autouse=True)
def _secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in apps.SECRETS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module", params=SERVERS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    registry = apps.write_registry(tmp_path_factory.mktemp("sockets"), PUBKEY)
    with Verifier.from_yaml(registry) as verifier, apps.serve(request.param, registry) as port:
        yield Served(request.param, port, verifier, registry)


class TestCarrying:
    def test_a_session_token_in_the_authorization_header(self, served: Served) -> None:
        with served.connect(bearer=served.token()) as socket:
            assert socket.subprotocol is None
            assert _call(socket) == [[], "solana", "session", "hello"]

    @pytest.mark.parametrize(
        ("offered", "selected", "seen"),
        [
            (["TOKEN"], "TOKEN", []),
            (["TOKEN", "jsonrpc"], "jsonrpc", ["jsonrpc"]),
            (["jsonrpc", "TOKEN"], "jsonrpc", ["jsonrpc"]),
            (["other", "TOKEN", "jsonrpc"], "jsonrpc", ["other", "jsonrpc"]),
            (["TOKEN", "other"], "TOKEN", ["other"]),
            (["other", "TOKEN"], "TOKEN", ["other"]),
        ],
    )
    def test_G2_a_session_token_as_a_subprotocol(
        self, served: Served, offered: list[str], selected: str, seen: list[str]
    ) -> None:
        carrier = f"auth.{served.token()}"
        names = [carrier if name == "TOKEN" else name for name in offered]
        with served.connect(offer=names) as socket:
            assert socket.subprotocol == (carrier if selected == "TOKEN" else selected)
            assert _call(socket) == [seen, "solana", "session", "hello"]

    def test_several_fields_are_one_offer(self, served: Served) -> None:
        carrier = f"auth.{served.token()}"
        answer = handshake(served.port, "/ws/solana", [(FIELD, "other"), (FIELD, carrier)])
        assert (answer.status, answer.all(FIELD)) == (101, [carrier])

    def test_both_ways_with_the_same_token_are_one(self, served: Served) -> None:
        token = served.token()
        with served.connect(bearer=token, offer=[f"auth.{token}"]) as socket:
            assert socket.subprotocol == f"auth.{token}"
            assert _call(socket)[1] == "solana"

    def test_header_bytes_that_are_no_utf_8_do_no_harm(self, served: Served) -> None:
        fields = [(FIELD, f"auth.{served.token()}"), ("Cookie", "name=\xe9")]
        assert handshake(served.port, "/ws/solana", fields).status == 101

    def test_a_project_without_sessions_ignores_the_subprotocol(self, served: Served) -> None:
        now = int(time.time())
        secret = apps.SECRETS["SESSION_SECRET"]
        bearer = jwt.encode({"iat": now, "exp": now + 60}, secret, "HS256")
        with served.connect("bsc", bearer=bearer, offer=["auth.nonsense", "jsonrpc"]) as socket:
            assert socket.subprotocol == "jsonrpc"
            assert _call(socket) == [["jsonrpc"], "bsc", "jwt", "hello"]

    def test_a_wallet_signature_opens_a_socket(self, served: Served) -> None:
        with served.connect(headers=nodius(method="GET", target="/ws/solana")) as socket:
            assert _call(socket)[2] == "signature"

    def test_an_api_key_opens_a_socket(self, served: Served) -> None:
        key = served.verifier.new_api_key("solana", Wallet(7).pubkey)
        with served.connect(bearer=key) as socket:
            assert _call(socket)[2] == "api_key"


class TestRefusals:
    """They come before the handshake is accepted, with the reason's own status."""

    def _refused(self, served: Served, offered: str, *headers: tuple[str, str]) -> tuple[int, str]:
        answer = handshake(served.port, "/ws/solana", [(FIELD, offered), *headers])
        return answer.status, answer.reason

    def test_no_credential(self, served: Served) -> None:
        with pytest.raises(InvalidStatus) as caught:
            served.connect()
        assert caught.value.response.status_code == 401

    def test_G1_two_tokens(self, served: Served) -> None:
        token = served.token()
        offered = f"auth.{token}, auth.{token}"
        assert self._refused(served, offered) == (401, "malformed_credentials")

    @pytest.mark.parametrize("tail", ["=", "/", ":", " x", "%41", "@"])
    def test_G1_characters_that_no_token_has(self, served: Served, tail: str) -> None:
        # Some servers refuse such a field by themselves, with 400
        answer = handshake(served.port, "/ws/solana", [(FIELD, f"auth.{served.token()}{tail}")])
        assert answer.status == 400 or answer.reason == "malformed_credentials"

    def test_an_empty_token(self, served: Served) -> None:
        assert self._refused(served, "auth.") == (401, "malformed_credentials")

    def test_G1_a_token_longer_than_a_credential_may_be(self, served: Served) -> None:
        answer = handshake(served.port, "/ws/solana", [(FIELD, "auth." + "x" * 8100)])
        assert 400 <= answer.status < 500

    def test_G3_the_header_and_the_subprotocol_differ(self, served: Served) -> None:
        header = ("Authorization", f"Bearer {served.token()}")
        offered = f"auth.{served.token()}"
        assert self._refused(served, offered, header) == (400, "ambiguous_credentials")

    def test_another_letter_case_carries_no_token(self, served: Served) -> None:
        offered = f"Auth.{served.token()}"
        assert self._refused(served, offered) == (401, "missing_credentials")

    def test_an_api_key_is_no_subprotocol(self, served: Served) -> None:
        key = served.verifier.new_api_key("solana", Wallet(8).pubkey)
        status, _ = self._refused(served, f"auth.{key}")
        assert status == 401

    def test_a_token_that_was_logged_out(self, served: Served) -> None:
        token = served.token()
        served.verifier.revoke("solana", token=token)
        assert self._refused(served, f"auth.{token}") == (401, "revoked")

    @pytest.mark.parametrize(
        ("origin", "status"),
        [
            ("https://good.example", 101),
            ("https://good.example:443", 101),
            ("HTTPS://GOOD.example", 101),
            ("https://good.example:444", 403),
            ("http://good.example", 403),
            ("https://evil.example", 403),
            ("https://good.example.evil.example", 403),
            ("null", 403),
            (None, 403),
        ],
    )
    def test_G4_the_origin_is_judged_at_the_handshake(
        self, served: Served, origin: str | None, status: int
    ) -> None:
        fields = [(FIELD, f"auth.{served.token('sited')}")]
        fields += [("Origin", origin)] if origin is not None else []
        assert handshake(served.port, "/ws/sited", fields).status == status


class TestForm:
    """What is no handshake is refused as such, and spends nothing."""

    # The other frameworks' servers see to it by themselves
    @pytest.mark.parametrize("served", ["werkzeug", "gunicorn"], indirect=True)
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Sec-WebSocket-Key", None),
            ("Sec-WebSocket-Key", ""),
            ("Sec-WebSocket-Key", "short"),
            ("Sec-WebSocket-Version", None),
            ("Sec-WebSocket-Version", "12"),
        ],
    )
    def test_a_bad_field(self, served: Served, name: str, value: str | None) -> None:
        signed = nodius(method="GET", target="/ws/solana")
        fields = [*((key, value if key == name else old) for key, old in HANDSHAKE), *signed]
        present = [(key, each) for key, each in fields if each is not None]
        answer = request(served.port, "GET", "/ws/solana", present, None)
        assert (answer.status, answer.one("Sec-WebSocket-Version")) == (400, "13")
        assert name in answer.body.decode()
        assert handshake(served.port, "/ws/solana", signed).status == 101

    def test_another_method(self, served: Served) -> None:
        fields = [*HANDSHAKE, ("Authorization", f"Bearer {served.token()}")]
        answer = request(served.port, "HEAD", "/ws/solana", fields, None)
        assert answer.status in (400, 405)


@contextmanager
def _brief(
    served: Served, way: str, *, talks: bool
) -> Iterator[tuple[ClientConnection, dict[str, Any]]]:
    """Open a socket whose session ends soon, but not before a busy machine has come so far."""
    for seconds in (2, 4, 8, 16):
        issued = served.brief(seconds)
        token: Any = issued["token"] if way == "bearer" else [f"auth.{issued['token']}"]
        try:
            socket = served.connect("brief", **{way: token})
        except InvalidStatus as refused:
            assert refused.response.status_code == 401
            continue
        with socket:
            try:
                if talks:
                    assert _call(socket)[1] == "brief"
            except ConnectionClosed:
                continue
            yield socket, issued
            return
    raise AssertionError("each session had ended before its socket was of use")


class TestEnd:
    @pytest.mark.parametrize("way", ["bearer", "offer"])
    def test_G5_it_is_closed_when_the_token_expires(self, served: Served, way: str) -> None:
        with _brief(served, way, talks=True) as (socket, issued):
            assert _closed_with(socket) == 1008
            assert issued["expiresAt"] <= time.time()

    def test_it_is_closed_though_the_client_says_nothing_and_does_not_hang_up(
        self, served: Served
    ) -> None:
        with _brief(served, "bearer", talks=False) as (socket, _):
            assert _closed_with(socket) == 1008

    def test_G5_logging_out_closes_it(self, served: Served) -> None:
        token = served.token()
        with served.connect(bearer=token) as socket, served.connect(bearer=served.token()) as other:
            assert _call(socket)[1] == "solana"
            served.verifier.revoke("solana", token=token)
            assert _closed_with(socket) == 1008
            assert _call(other)[1] == "solana"

    def test_revoking_the_subject_closes_its_sockets(self, served: Served) -> None:
        subject = Wallet(9).pubkey
        with served.connect(bearer=served.token(subject=subject)) as socket:
            served.verifier.revoke("solana", subject=subject)
            assert _closed_with(socket) == 1008

    def test_a_new_api_key_closes_the_sockets_of_the_old_one(self, served: Served) -> None:
        subject = Wallet(10).pubkey
        key = served.verifier.new_api_key("solana", subject)
        with served.connect(bearer=key) as socket:
            assert _call(socket)[2] == "api_key"
            served.verifier.new_api_key("solana", subject)
            assert _closed_with(socket) == 1008

    def test_taking_the_wallet_off_the_list_closes_its_sockets(self, served: Served) -> None:
        text = served.registry.read_text()
        with (
            served.connect("listed", bearer=served.token("listed")) as socket,
            served.connect("listed", headers=nodius(method="GET", target="/ws/listed")) as signed,
        ):
            assert _call(socket)[1] == _call(signed)[1] == "listed"
            try:
                served.registry.write_text(text.replace(PUBKEY, Wallet(11).pubkey))
                assert _closed_with(socket) == 1008
                assert _closed_with(signed) == 1008
            finally:
                served.registry.write_text(text)

    def test_a_signature_needs_no_fresh_nonce_to_stay(self, served: Served) -> None:
        with served.connect(headers=nodius(method="GET", target="/ws/solana")) as socket:
            for _ in range(8):  # several rechecks pass
                time.sleep(0.15)
                assert _call(socket)[2] == "signature"

    def test_many_end_at_once_and_others_stay(self, served: Served) -> None:
        token, other = served.token(), served.token()
        with served.connect(bearer=other) as stays, ExitStack() as stack:
            sockets = [
                stack.enter_context(served.connect(offer=[f"auth.{token}"])) for _ in range(10)
            ]
            served.verifier.revoke("solana", token=token)
            assert [_closed_with(socket) for socket in sockets] == [1008] * 10
            assert _call(stays)[1] == "solana"


class _Turns:
    """Backends that are asked in turn."""

    def __init__(self, *backends: Backend) -> None:
        self._backends = itertools.cycle(backends)
        self.asked = 0

    def settle(self, owed: Owed, now: float) -> Answer:
        self.asked += 1
        return next(self._backends).settle(owed, now)

    async def asettle(self, owed: Owed, now: float) -> Answer:
        self.asked += 1
        return await next(self._backends).asettle(owed, now)


@pytest.fixture(params=HERE)
def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """A server of this process whose verifier's backend the test can close."""
    registry = apps.write_registry(tmp_path, PUBKEY)
    with (
        Verifier.from_yaml(registry, watch=False) as verifier,
        apps.serve(request.param, registry, verifier) as port,
    ):
        yield Served(request.param, port, verifier, registry)


class TestInside:
    def test_it_is_closed_when_three_rechecks_stay_without_an_answer(self, inside: Served) -> None:
        with inside.connect(bearer=inside.token()) as socket:
            assert _call(socket)[1] == "solana"
            start = time.monotonic()
            inside.verifier._backend.close()
            assert _call(socket)[1] == "solana"  # the handler works on meanwhile
            assert _closed_with(socket) == 1013
            assert time.monotonic() - start > 2 * apps.RECHECK

    def test_one_answer_starts_the_count_again(
        self, inside: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        verifier = inside.verifier
        bad = open_backend("memory://", now=time.time(), base=tmp_path)
        bad.close()
        with inside.connect(bearer=inside.token()) as socket:
            turns = _Turns(bad, bad, verifier._backend)
            monkeypatch.setattr(verifier, "_backend", turns)
            assert apps.until(lambda: turns.asked > 6 or socket.close_code)
            assert _call(socket)[1] == "solana"

    def test_a_peer_that_does_not_hang_up_is_served_no_longer(self, inside: Served) -> None:
        before, token = _watchers(), inside.token()
        fields = [("Authorization", f"Bearer {token}")]
        with websocket(inside.port, "/ws/solana", fields) as (socket, _):
            assert socket.call('"hello"')[1] == "solana"
            inside.verifier.revoke("solana", token=token)
            assert socket.receive() == 1008
            assert apps.until(lambda: _watchers() <= before)  # some of earlier tests may end
            with suppress(OSError):
                socket.send("hello")
                assert isinstance(socket.receive(), int)

    def test_no_thread_and_no_task_stays_behind(self, inside: Served) -> None:
        before = _watchers()
        token = inside.token()
        with ExitStack() as stack:
            sockets = [stack.enter_context(inside.connect(bearer=token)) for _ in range(20)]
            assert [_call(socket)[1] for socket in sockets] == ["solana"] * 20
            assert _watchers() > before
            for socket in sockets[:10]:
                socket.close()
            inside.verifier.revoke("solana", token=token)
            assert [_closed_with(socket) for socket in sockets[10:]] == [1008] * 10
        assert apps.until(lambda: _watchers() <= before)

    def test_a_refusal_is_no_error_in_the_servers_log(
        self, inside: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        for _ in range(5):
            assert handshake(inside.port, "/ws/solana").status == 401
        assert "reason=missing_credentials" in caplog.text
        assert [each for each in caplog.records if each.levelno > logging.INFO] == []

    def test_F17_no_log_line_holds_the_token(
        self, inside: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        for name in ("websockets.client", "uvicorn.error"):  # which at DEBUG write every header
            caplog.set_level(logging.INFO, name)
        token = inside.token()
        for offered in (
            [f"auth.{token}"],
            ["other", f"auth.{token}"],
            [f"auth.{token}", "jsonrpc"],
        ):
            with inside.connect(offer=offered) as socket:
                _call(socket)
        inside.verifier.revoke("solana", token=token)
        with pytest.raises(InvalidStatus):
            inside.connect(offer=["other", f"auth.{token}"])
        written = caplog.text + "".join(capfd.readouterr())
        assert "reason=revoked" in written
        assert token not in written
        assert token.rpartition(".")[2] not in written


def _watchers() -> int:
    """Return how many threads and tasks of ours and of simple-websocket run in this process."""
    threads = sum("websocket" in each.name for each in threading.enumerate())
    # Of every loop: the servers run in threads, with loops of their own
    tasks = [each for each in gc.get_objects() if type(each) is asyncio.Task and not each.done()]
    return threads + sum("_socket" in repr(task) for task in tasks)


def test_gunicorns_sockets_are_closed_when_three_rechecks_stay_without_an_answer(
    tmp_path: Path,
) -> None:
    registry = apps.write_registry(tmp_path, PUBKEY)
    with Verifier.from_yaml(registry) as verifier, apps.serve("gunicorn", registry) as port:
        served = Served("gunicorn", port, verifier, registry)
        with served.connect(bearer=served.token()) as socket:
            assert _call(socket)[1] == "solana"
            assert request(port, "POST", "/silence").body == b"silent"
            assert _call(socket)[1] == "solana"  # the handler works on meanwhile
            assert _closed_with(socket) == 1013
        with pytest.raises(InvalidStatus) as caught:
            served.connect(bearer=served.token())
        assert caught.value.response.status_code == 503


def test_F17_gunicorns_logs_hold_no_token(tmp_path: Path) -> None:
    registry = apps.write_registry(tmp_path, PUBKEY)
    with Verifier.from_yaml(registry) as verifier, apps.serve("gunicorn", registry) as port:
        served = Served("gunicorn", port, verifier, registry)
        token = served.token()
        for offered in ([f"auth.{token}"], [f"auth.{token}", "other"]):
            with served.connect(offer=offered) as socket:
                _call(socket)
    written = (tmp_path / "log").read_text()
    assert "/open" in written
    assert token not in written


@pytest.mark.parametrize("recheck", [0, -1, float("nan"), float("inf"), 86_401])
def test_an_interval_that_is_none_is_an_error(recheck: float, tmp_path: Path) -> None:
    registry = apps.write_registry(tmp_path, PUBKEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apps, "RECHECK", recheck)
        for make in (apps.fastapi_app, apps.flask_app, apps.aiohttp_app):
            with pytest.raises(ValueError, match="recheck"):
                make(str(registry))
