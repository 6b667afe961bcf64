"""The flow without any library: what is put on a request, what is learnt, and what is sent again."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from client.registry import SECRET, WALLET
from rpcguard import client
from rpcguard.client.answer import MAX_BODY, Answer
from rpcguard.client.clock import Clock
from rpcguard.client.flow import Flow
from rpcguard.client.keeper import SignInError
from rpcguard.client.signers import BearerSigner
from rpcguard.client.steps import (
    Ask,
    Proof,
    Sending,
    Wait,
    aadvance,
    advance,
    next_step,
    origin_of,
)

NOW = 1_760_000_000.0
URL = "https://node.example"
CALL = Sending("POST", f"{URL}/solana", "/solana", b"{}")


def refusal(reason: str, *, status: int = 401, at: float = NOW) -> Answer:
    body = json.dumps({"error": {"code": 1, "data": {"reason": reason}}}).encode()
    return Answer(status, formatdate(at, usegmt=True), body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"data": {"reason": "expired"}}}', "expired"),
        (b'{"code": -32013, "message": "invalid JWT token (expired token)"}', "expired"),
        (b'{"code": -32013, "message": "invalid JWT token (not reached nbf)"}', "not_yet_valid"),
        (b'{"code": -32013, "message": "missing JWT token"}', ""),
        (b'{"error": {"data": {"reason": 7}}}', ""),
        (b'{"error": {"data": {"reason": "text that goes to a log"}}}', ""),
        (b'{"error": {"data": []}}', ""),
        (b'{"error": "expired"}', ""),
        (b'"expired"', ""),
        (b"expired", ""),
        (b"\xff", ""),
        (b"[" * 60_000, ""),
        (b'{"error": {"data": {"reason": "expired"}}}' + b" " * MAX_BODY, ""),
    ],
)
def test_a_refusal_says_its_reason_in_either_form(body, reason):
    assert Answer(401, None, body).reason == reason
    assert Answer(200, None, body).reason == ""


def test_a_deep_body_does_no_harm_where_a_library_has_raised_the_recursion_limit():
    """As web3.py does by importing py_ecc: Python's own parser then overruns the stack and dies."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        for body in (b"[" * MAX_BODY, b'{"a":' * (MAX_BODY // 5)):
            assert Answer(401, None, body).document == {}
        for text in ("[" * 100_000, '{"kty":' * 20_000):
            with pytest.raises(ValueError):
                client.SigningKey.from_jwk(text)
            with pytest.raises(ValueError):
                client.Wallet.from_id_json(text)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 09 Oct 2025 08:53:20 GMT", NOW),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Thu, 09 Oct 99999 08:53:20 GMT", None),
    ],
)
def test_the_servers_time_is_what_its_date_says(date, seconds):
    assert Answer(401, date).server_time == seconds


@pytest.mark.parametrize("reason", ["expired", "not_yet_valid", "invalid_claims"])
@pytest.mark.parametrize("skew", [600, -600, 3600, -3600, 2])
def test_a_clock_learns_from_a_refusal_for_its_time(reason, skew):
    clock = Clock(lambda: NOW)
    assert clock.learn(refusal(reason, at=NOW + skew), 0.0)
    assert clock.now() == NOW + skew


@pytest.mark.parametrize(
    "answer",
    [
        refusal("expired", at=NOW + 1),
        refusal("expired", at=NOW),
        refusal("expired", at=NOW + 3602),
        refusal("expired", at=NOW - 3602),
        refusal("replayed", at=NOW + 600),
        refusal("revoked", at=NOW + 600),
        refusal("expired", at=NOW + 600, status=200),
        Answer(401, None, refusal("expired").body),
        Answer(401, formatdate(NOW + 600, usegmt=True), b""),
    ],
)
def test_a_clock_learns_from_nothing_else(answer):
    clock = Clock(lambda: NOW)
    assert not clock.learn(answer, 0.0)
    assert clock.now() == NOW


def test_who_was_refused_by_an_old_skew_tries_again_when_another_has_learnt_the_new_one():
    clock = Clock(lambda: NOW)
    answer = refusal("expired", at=NOW + 600)
    assert clock.learn(answer, 0.0)
    assert clock.learn(answer, 0.0)
    assert not clock.learn(answer, 600.0)


@pytest.mark.parametrize("skew", [-1, float("inf"), float("nan")])
def test_the_bound_of_the_skew_is_a_number_of_seconds(skew):
    with pytest.raises(ValueError, match="max_skew"):
        Flow(URL, client.meganode(SECRET), skew)


def test_a_token_is_used_again_until_shortly_before_it_ends():
    now, minted = [NOW], []
    signer = BearerSigner(lambda at: minted.append(at) or f"t{len(minted)}", 100)
    flow = Flow(URL, signer, clock=lambda: now[0])

    def token() -> str:
        return next(flow.exchange(CALL)).headers["Authorization"]

    assert token() == token() == "Bearer t1"
    now[0] += 99.9
    assert token() == "Bearer t1"
    now[0] += 0.1
    assert token() == "Bearer t2"
    now[0] -= 1  # a clock that was set back
    assert token() == "Bearer t3"


def test_a_token_by_the_wrong_time_is_not_used_again():
    flow = Flow(URL, BearerSigner(str, 1000), clock=lambda: NOW)
    exchange = flow.exchange(CALL)
    assert next(exchange).headers == {"Authorization": f"Bearer {NOW}"}
    again = exchange.send(refusal("expired", at=NOW + 500))
    assert again.headers == {"Authorization": f"Bearer {NOW + 500}"}
    assert next_step(exchange, refusal("expired", at=NOW + 900)) is None
    assert next(flow.exchange(CALL)).headers == again.headers


def test_a_stream_is_never_sent_twice_and_never_signed():
    stream = Sending("POST", f"{URL}/bsc", "/bsc", None)
    exchange = Flow(URL, client.meganode(SECRET), clock=lambda: NOW).exchange(stream)
    assert isinstance(next(exchange), Proof)
    assert next_step(exchange, refusal("expired", at=NOW + 600)) is None
    with pytest.raises(ValueError, match="only once"):
        next(Flow(URL, client.nodius(WALLET)).exchange(stream))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://node.example", ("https", "node.example", 443)),
        ("HTTPS://Node.Example:443/any?q", ("https", "node.example", 443)),
        ("wss://node.example/ws", ("https", "node.example", 443)),
        ("ws://node.example", ("http", "node.example", 80)),
        ("http://[::1]:8545/", ("http", "::1", 8545)),
        ("https://bücher.example", ("https", "xn--bcher-kva.example", 443)),
        ("https://a" + "b" * 70 + ".example", ("https", "a" + "b" * 70 + ".example", 443)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        *("", "node.example", "/path", "ftp://node.example", "https://", "https://:443"),
        *("https://user@node.example", "https://u:p@node.example", "https://node.example:port"),
        "https://[::1",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(ValueError):
        Flow(url, client.meganode(SECRET))
    assert not Flow(URL, client.meganode(SECRET)).covers(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://node.example/", "https://node.example:8443/", "https://evil.example/"),
        *("https://node.example.evil.example/", "https://node.example@evil.example/"),
    ],
)
def test_another_origin_is_not_covered(url):
    flow = Flow(URL, client.nodius(WALLET))
    assert next_step(flow.exchange(Sending("POST", url, "/", b"")), None) is None


SIGN_IN = client.nodius(WALLET, "session", prefix="/api")
CHALLENGE = "nodius:challenge:00112233445566778899aabbccddeeff:1760000000"


def told(document: object, status: int = 200, at: float = NOW) -> Answer:
    return Answer(status, formatdate(at, usegmt=True), json.dumps(document).encode())


class Server:
    """Answers what a sign-in asks; each session has a number."""

    def __init__(self, refresh: bool = False) -> None:
        self.asked: list[str] = []
        self.refresh = refresh
        self.sessions = 0

    def __call__(self, step: Ask) -> Answer:
        route = step.url.removeprefix(f"{URL}:443/api")
        self.asked.append(route)
        if route == "/auth/challenge":
            return told({"challenge": CHALLENGE})
        self.sessions += 1
        fields = {"refreshToken": f"r{self.sessions}"} if self.refresh else {}
        return told({"token": f"t{self.sessions}", "expiresAt": int(NOW) + 3600, **fields})

    async def anext(self, step: Ask) -> Answer:
        await asyncio.sleep(0)
        return self(step)


def session_flow() -> Flow:
    return Flow(URL, SIGN_IN, clock=lambda: NOW)


def test_a_sign_in_is_posted_as_json_below_the_prefix():
    exchange = session_flow().exchange(CALL)
    step = next(exchange)
    assert isinstance(step, Ask)
    assert step.url == f"{URL}:443/api/auth/challenge"
    assert step.headers == {"Content-Type": "application/json"}


def test_an_address_of_version_6_stays_in_brackets():
    flow = Flow("http://[::1]:8545", SIGN_IN)
    step = next(flow.exchange(Sending("POST", "http://[::1]:8545/", "/", b"")))
    assert step.url == "http://[::1]:8545/api/auth/challenge"


class Lost(Exception):
    """The connection failed."""


def open_session(flow: Flow, server: Server) -> tuple[object, str]:
    exchange = flow.exchange(CALL)
    proof = advance(exchange, None, server)
    return exchange, proof.headers["Authorization"]


def test_a_refresh_whose_answer_was_lost_is_tried_again_and_then_the_wallet_signs_in():
    server, flow = Server(refresh=True), session_flow()
    exchange, first = open_session(flow, server)

    def lose(step: Ask) -> Answer:
        server(step)
        raise Lost

    with pytest.raises(Lost):
        advance(exchange, refusal("revoked"), lose)
    exchange = flow.exchange(CALL)
    proof = advance(exchange, None, server)
    assert proof.headers["Authorization"] == first  # nobody else has seen that it ended

    def spent(step: Ask) -> Answer:
        if step.url.endswith("/auth/refresh"):
            server.asked.append("/auth/refresh")
            assert json.loads(step.body) == {"refreshToken": "r1"}
            return refusal("replayed")
        return server(step)

    proof = advance(exchange, refusal("revoked"), spent)
    assert proof.headers["Authorization"] not in ("", first)
    expected = ["/auth/challenge", "/auth/verify", "/auth/refresh"]
    assert server.asked == [*expected, "/auth/refresh", "/auth/challenge", "/auth/verify"]


def test_a_server_that_cannot_refresh_now_is_not_asked_for_a_new_session():
    server, flow = Server(refresh=True), session_flow()
    exchange, _ = open_session(flow, server)
    with pytest.raises(SignInError) as caught:
        advance(exchange, refusal("revoked"), lambda _: refusal("backend_unavailable", status=503))
    assert (caught.value.status, caught.value.reason) == (503, "backend_unavailable")


def test_who_waits_takes_over_when_the_one_who_signs_in_is_cut_off():
    server, flow = Server(), session_flow()
    leader, follower = flow.exchange(CALL), flow.exchange(CALL)
    assert isinstance(next(leader), Ask)
    waiting = next(follower)
    assert isinstance(waiting, Wait)
    assert not waiting.done.done()
    leader.close()
    assert waiting.done.done()
    assert isinstance(advance(follower, None, server), Proof)


def test_who_waits_has_the_session_however_soon_it_ends():
    server, flow = Server(), Flow(URL, SIGN_IN, clock=lambda: NOW)
    leader, follower = flow.exchange(CALL), flow.exchange(CALL)
    ask = next(leader)
    assert isinstance(next(follower), Wait)
    verify = leader.send(server(ask))
    assert isinstance(verify, Ask)
    proof = leader.send(told({"token": "brief", "expiresAt": int(NOW)}))
    assert follower.send(None) == proof == Proof({"Authorization": "Bearer brief"})


def test_who_has_waited_in_vain_three_times_gives_up():
    flow = session_flow()
    leader, follower = flow.exchange(CALL), flow.exchange(CALL)
    next(leader)
    assert isinstance(next(follower), Wait)
    for _ in range(2):
        leader.close()
        leader = flow.exchange(CALL)
        assert isinstance(next(leader), Ask)
        assert isinstance(follower.send(None), Wait)
    leader.close()
    with pytest.raises(TimeoutError, match="cut off"):
        follower.send(None)


def test_a_task_that_is_cancelled_while_it_waits_cancels_nobody_else():
    server, flow = Server(), session_flow()

    async def scene() -> str:
        leader = flow.exchange(CALL)
        step = next(leader)
        waiting = asyncio.create_task(aadvance(flow.exchange(CALL), None, server.anext))
        other = asyncio.create_task(aadvance(flow.exchange(CALL), None, server.anext))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        step = leader.send(server(step))
        proof = leader.send(server(step))
        assert (await other).headers == proof.headers
        return proof.headers["Authorization"]

    assert asyncio.run(scene()) == "Bearer t1"
    assert server.sessions == 1


def test_threads_and_tasks_share_one_session():
    server, flow = Server(), session_flow()
    entered, gate = threading.Event(), threading.Event()

    def slow(step: Ask) -> Answer:
        entered.set()
        assert gate.wait(30)
        return server(step)

    async def tasks() -> list[Proof]:
        calls = [aadvance(flow.exchange(CALL), None, server.anext) for _ in range(20)]
        return await asyncio.gather(*calls)

    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(advance, flow.exchange(CALL), None, slow)
        assert entered.wait(30)
        threads = [pool.submit(advance, flow.exchange(CALL), None, slow) for _ in range(19)]
        others = pool.submit(asyncio.run, tasks())
        gate.set()
        made = [first.result(), *(thread.result() for thread in threads), *others.result()]
    assert {proof.headers["Authorization"] for proof in made} == {"Bearer t1"}
    assert server.sessions == 1


def test_a_logout_that_the_server_refuses_is_an_error_and_the_session_is_gone_here():
    server, flow = Server(), session_flow()
    open_session(flow, server)
    with pytest.raises(SignInError):
        advance(flow.log_out(), None, lambda _: refusal("backend_unavailable", status=503))
    assert advance(flow.log_out(), None, server) is None
    assert server.asked == ["/auth/challenge", "/auth/verify"]


def test_what_has_no_session_has_nothing_to_log_out_of():
    assert advance(Flow(URL, client.meganode(SECRET)).log_out(), None, Server()) is None


def test_no_step_shows_a_secret():
    server, flow = Server(refresh=True), session_flow()
    exchange, token = open_session(flow, server)
    step = exchange.send(refusal("revoked"))
    shown = repr(step) + repr(Proof({"Authorization": token})) + repr(CALL) + repr(told({"a": "b"}))
    assert not {each for each in ("t1", "r1", "/solana", '"a"') if each in shown}
