"""
Everything that is logged, raised or returned while every kind of credential is used, well and badly,
is searched for every secret, token, signature and key that was used.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contrib import credentials as cred
from contrib.servers import Served, serve
from contrib.wire import Headers, handshake, request, websocket
from rpcguard import AuthError, Request, Verifier
from rpcguard.audit import JsonFormatter

CALL = b'{"jsonrpc":"2.0","id":7,"method":"eth_call"}'
ORDER = b'{"currency":"BNB","amount":"1.5","orderId":"o-1"}'
SHORT = 12  # a shorter text may occur by chance
SESSIONS = """\
  signed-in:
    preset: nodius
    match: {path: [/in, /ws/in]}
    wallets: open
    session: {secret: "${env:MEGANODE_SECRET}", refresh: rotating}
"""

CREDENTIALS: dict[str, tuple[str, Callable[[], Headers], bytes]] = {
    "meganode": ("/v1/", cred.meganode, CALL),
    "meganode key": (f"/v1/{cred.API_KEY}", list, CALL),
    "allthatnode": ("/evm", cred.allthatnode, CALL),
    "nodius v1": ("/solana", lambda: cred.nodius(CALL), CALL),
    "nodius v2": ("/solana/x?y=1", lambda: cred.nodius(CALL, target="/solana/x?y=1"), CALL),
    "oppiwallet": (
        "/payouts/withdraw",
        lambda: cred.oppiwallet("/payouts/withdraw", "BNB", "1.5", "o-1"),
        ORDER,
    ),
    "engine": ("/engine", cred.engine, CALL),
    "policy": ("/limited", cred.meganode, CALL.replace(b"eth_call", b"admin_peers")),
    "https": ("/secure", cred.meganode, CALL),
    "expired": ("/v1/", lambda: cred.meganode(expires_in=-5), CALL),
    "wrong secret": ("/v1/", lambda: cred.meganode(secret="w" * 40), CALL),
    "wrong key in the path": (f"/v1/{cred.API_KEY[::-1]}", list, CALL),
    "key on another path": (f"/v2/{cred.API_KEY}", list, CALL),
    "key behind two slashes": (f"/v1//{cred.API_KEY}", list, CALL),
    "key in the query": (f"/v1/?key={cred.API_KEY}", list, CALL),
}


def tampered(headers: Headers) -> Iterator[Headers]:
    """Yield the fields as they are, and damaged in each way that is refused for another reason."""
    yield headers
    for index, (name, value) in enumerate(headers):
        for other in (
            value[:-2],
            value[::-1],
            value + "=",
            value.replace(" ", "  x "),
            "Bearer " + value,
        ):
            yield [*headers[:index], (name, other), *headers[index + 1 :]]
        yield [*headers, (name, value)]
    yield [*headers, ("Authorization", "Bearer nod_0123456789abcdef0123456789abcdef")]


class Used:
    """Every text that must not show, with the parts by which it would be recognised."""

    def __init__(self) -> None:
        self.texts: set[str] = set()

    def add(self, *texts: str) -> None:
        for text in texts:
            for part in (text, *re.split(r"[ .]", text)):
                if len(part) >= SHORT and not part.startswith("eyJ"):  # a header is public
                    self.texts.add(part)

    def take(self, target: str, headers: Headers) -> None:
        self.add(*re.split(r"[/?=&]", target))
        for name, value in headers:
            if name.lower() in ("authorization", "x-signature", "x-nonce"):
                self.add(value)

    def found_in(self, shown: str) -> list[str]:
        return sorted(text for text in self.texts if text in shown)


class Shown(logging.Handler):
    """Keeps whatever any logger says, in every form that a handler could write."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        members = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.texts += [record.getMessage(), repr(members), JsonFormatter().format(record)]
        if record.exc_info:
            self.texts.append("".join(traceback.format_exception(*record.exc_info)))


@pytest.fixture
def shown() -> Iterator[Shown]:
    handler, root = Shown(), logging.getLogger()
    names = [
        "",
        "rpcguard",
        "rpcguard.audit",
        "rpcguard.registry",
        "aiohttp",
        "werkzeug",
        "asyncio",
        "uvicorn",
    ]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@pytest.fixture
def secrets_used() -> Used:
    used = Used()
    used.add(cred.MEGANODE_SECRET, cred.ENC_KEY, cred.API_KEY, cred.ENGINE_SECRET.hex())
    used.add(bytes(cred.WALLET).hex())
    return used


@pytest.fixture(scope="module", params=["uvicorn", "werkzeug", "aiohttp"])
def here(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    path = cred.write_registry(tmp_path_factory.mktemp("hygiene"))
    with serve(request.param, path) as served:
        yield served


def test_no_server_logs_or_answers_what_was_used(
    here: Served, shown: Shown, secrets_used: Used, capfd: pytest.CaptureFixture[str]
) -> None:
    answers: list[str] = []
    statuses: set[int] = set()
    for target, make, body in CREDENTIALS.values():
        for headers in tampered(make()):
            secrets_used.take(target, headers)
            answer = request(here.port, "POST", target, headers, body)
            statuses.add(answer.status)
            answers.append(repr(answer.headers) + answer.body.decode("latin-1"))
        if target.startswith(("/v1/", "/evm", "/solana", "/engine", "/limited")):
            path = "/ws" + target.partition("?")[0]
            headers = cred.nodius(method="GET", target=path) if "solana" in path else make()
            secrets_used.take(path, headers)
            answer = handshake(here.port, path, headers)
            answers.append(repr(answer.headers) + answer.body.decode("latin-1"))
    with websocket(here.port, "/ws/v1/", cred.meganode()) as (socket, _):
        answers.append(json.dumps(socket.call('{"id":1}')))
    assert {200, 400, 401, 403} <= statuses
    assert any("outcome" in text for text in shown.texts)
    for text in ("\n".join(shown.texts), "\n".join(answers), "".join(capfd.readouterr())):
        assert secrets_used.found_in(text) == []


def everything(error: AuthError) -> str:
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    parts = [repr(vars(each)) + repr(each) + str(each) for each in chain if each is not None]
    return " ".join(parts) + "".join(traceback.format_exception(error))


def test_nothing_that_is_raised_or_issued_shows_what_was_used(
    registry: Path, tmp_path: Path, shown: Shown, secrets_used: Used
) -> None:
    path = cred.write_registry(tmp_path)
    path.write_text(path.read_text() + SESSIONS)
    raised: list[str] = []
    reasons: set[str] = set()
    with closing(Verifier.from_yaml(path, watch=False)) as verifier:

        def serve_route(route: str, body: Any, headers: Headers = ()) -> dict[str, Any]:  # type: ignore[assignment]
            secrets_used.take(route, list(headers))
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                return verifier.serve(route, Request("POST", route, headers, raw), "signed-in")
            except AuthError as error:
                raised.append(everything(error))
                reasons.add(error.reason)
                return {}

        text = serve_route("/auth/challenge", {"pubkey": cred.PUBKEY})["challenge"]
        signature = cred.base58.b58encode(cred.WALLET.sign(text.encode()).signature).decode()
        secrets_used.add(text, signature)
        for proof in (signature, signature[::-1], signature[:-1]):
            body = {"pubkey": cred.PUBKEY, "signature": proof}
            issued = serve_route("/auth/verify", body)
            secrets_used.add(*(value for value in issued.values() if isinstance(value, str)))
            serve_route("/auth/verify", body)
            if "refreshToken" in issued:
                first, refresh = issued["token"], issued["refreshToken"]
        renewed = serve_route("/auth/refresh", {"refreshToken": refresh})
        secrets_used.add(renewed["token"], renewed["refreshToken"])
        serve_route("/auth/refresh", {"refreshToken": refresh})  # used twice: the family ends
        key = verifier.new_api_key("signed-in", cred.PUBKEY)
        signed = cred.nodius(b"", target="/account/api-key")
        key_again = serve_route("/account/api-key", b"", signed)["apiKey"]
        secrets_used.add(key, key_again)
        serve_route("/auth/logout", b"", [("Authorization", f"Bearer {first}")])
        bearers = [first, renewed["token"], key, key_again, refresh]
        used = [
            *CREDENTIALS.values(),
            *(("/in", lambda b=b: [("Authorization", f"Bearer {b}")], CALL) for b in bearers),
        ]
        for target, make, body in used:
            for headers in tampered(make()):
                secrets_used.take(target, headers)
                try:
                    principal = verifier.verify(Request("POST", target, headers, body))
                    raised.append(repr(principal) + str(principal))
                except AuthError as error:
                    raised.append(everything(error))
                    reasons.add(error.reason)
        raised.append(repr(verifier) + repr(verifier.registry) + repr(vars(verifier)))
    assert len(reasons) >= 12
    for found in ("\n".join(shown.texts), "\n".join(raised)):
        assert secrets_used.found_in(found) == []


def test_the_search_would_find_what_shows(shown: Shown, secrets_used: Used) -> None:
    logging.getLogger("anything").debug("oops %s", cred.API_KEY)
    assert secrets_used.found_in("\n".join(shown.texts)) == [cred.API_KEY]
