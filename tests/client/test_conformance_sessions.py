"""Sessions by challenge and response: every library keeps one going by itself."""

from __future__ import annotations

import time

import pytest
from backends.redis_servers import until

from client.recorder import Asked, Recorder, Told
from client.shims import EVERY, LIBRARIES, WHOAMI, Shim, opened
from client.site import Site
from rpcguard import client
from rpcguard.client import Wallet, keeper
from rpcguard.client.keeper import SignInError
from rpcguard.client.steps import Wait

# Of the tests whose server answers as it is told. The others make a wallet each: a real server gives
# one wallet no more than 16 sessions per 100 seconds.
SESSION = client.nodius(Wallet.generate(), "session")

every_shim = pytest.mark.parametrize("shim", EVERY, ids=lambda shim: shim.name)
every_library = pytest.mark.parametrize("shim", LIBRARIES, ids=lambda shim: shim.name)


def token_of(library: Shim) -> str:
    """Return the session token that *library* uses at present."""
    flow = getattr(library.auth, "flow", None) or library.auth._flow
    return flow._keeper._kept.session.token


def sign_ins(site: Site) -> int:
    assert site.seen["/auth/challenge"] == site.seen["/auth/verify"]
    return site.seen["/auth/verify"]


@every_shim
def test_one_sign_in_serves_many_calls(wallet: Wallet, site: Site, shim: type[Shim]):
    with opened(shim, site.url, client.nodius(wallet, "session")) as library:
        for _ in range(3):
            assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
    assert sign_ins(site) == 1


@every_shim
def test_a_session_that_was_revoked_is_renewed_once_and_the_call_repeated(
    wallet: Wallet, site: Site, shim: type[Shim]
):
    with opened(shim, site.url, client.nodius(wallet, "session")) as library:
        library.call("/solana")
        first = token_of(library)
        site.revoke(token=first)
        assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
        assert token_of(library) != first
    assert sign_ins(site) == 2
    assert site.seen["/solana"] + site.seen["/ws/solana"] == 3


@pytest.mark.parametrize("shim", [s for s in EVERY if s.name != "websockets"], ids=lambda s: s.name)
def test_two_hundred_calls_share_one_sign_in_and_one_renewal(
    wallet: Wallet, site: Site, shim: type[Shim]
):
    count = 200 if site.framework == "fastapi" else 40
    with opened(shim, site.url, client.nodius(wallet, "session")) as library:
        assert {got.status for got in library.many(count, "/solana")} == {200}
        assert sign_ins(site) == 1
        site.revoke(token=token_of(library))
        assert {got.status for got in library.many(count, "/solana")} == {200}
    assert sign_ins(site) == 2


def test_many_websockets_share_one_sign_in_and_one_renewal(wallet: Wallet, site: Site):
    with opened(EVERY[-1], site.url, client.nodius(wallet, "session")) as library:
        assert {got.status for got in library.many(30, "/solana")} == {200}
        site.revoke(token=token_of(library))
        assert {got.status for got in library.many(30, "/solana")} == {200}
    assert sign_ins(site) == 2


@every_shim
def test_a_session_ends_by_the_servers_clock_not_by_ours(
    wallet: Wallet, site: Site, shim: type[Shim]
):
    now = [time.time() + 1_000_000]
    with opened(shim, site.url, client.nodius(wallet, "session"), clock=lambda: now[0]) as library:
        for _ in range(2):
            assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
        assert sign_ins(site) == 1
        # Its last minute is not used. How long it lasts is known to some seconds: `Date` has
        # whole ones, and a server at work writes it later than the token.
        now[0] += 3600 - 60 - 20
        library.call("/solana")
        assert sign_ins(site) == 1
        now[0] += 40
        assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
    assert sign_ins(site) == 2


@every_shim
def test_logging_out_ends_the_session_on_the_server(wallet: Wallet, site: Site, shim: type[Shim]):
    with opened(shim, site.url, client.nodius(wallet, "session")) as library:
        library.logout()  # nothing to end
        assert site.seen["/auth/logout"] == 0
        library.call("/solana")
        token = token_of(library)
        library.logout()
        with opened(LIBRARIES[0], site.url, client.api_key(token)) as thief:
            got = thief.call("/solana")
        assert (got.status, got.document["error"]["data"]["reason"]) == (401, "revoked")
        assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
        site.revoke(token=token_of(library))
        library.logout()  # it had ended
    assert sign_ins(site) == 2


@every_shim
def test_a_session_is_refreshed_where_the_server_does_that(
    wallet: Wallet, rotating: Site, shim: type[Shim]
):
    now = [time.time()]
    with opened(
        shim, rotating.url, client.nodius(wallet, "session"), clock=lambda: now[0]
    ) as library:
        for _ in range(3):
            assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
            now[0] += 3600
        assert rotating.seen["/auth/refresh"] == 2
        rotating.revoke(token=token_of(library))
        now[0] -= 3600
        assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
    assert rotating.seen["/auth/refresh"] == 3
    assert sign_ins(rotating) == 1


@every_shim
def test_a_spent_refresh_token_leads_to_a_new_sign_in(
    wallet: Wallet, rotating: Site, shim: type[Shim]
):
    now = [time.time()]
    with opened(
        shim, rotating.url, client.nodius(wallet, "session"), clock=lambda: now[0]
    ) as library:
        library.call("/solana")
        flow = getattr(library.auth, "flow", None) or library.auth._flow
        body = flow._keeper._kept.session.refresh_body()
        with opened(LIBRARIES[0], rotating.url, client.api_key("unused")) as other:
            assert other.call("/auth/refresh", body).status == 200  # its answer is lost to us
        now[0] += 3600
        assert library.call("/solana").caller == (wallet.pubkey, "solana", "session")
    assert rotating.seen["/auth/refresh"] == 2
    assert sign_ins(rotating) == 2


@every_library
def test_a_streamed_body_is_not_repeated_in_a_new_session_but_the_next_call_has_one(
    wallet: Wallet, site: Site, shim: type[Shim]
):
    with opened(shim, site.url, client.nodius(wallet, "session")) as library:
        library.call("/solana")
        site.revoke(token=token_of(library))
        assert library.call("/solana", [WHOAMI]).status == 401
        assert sign_ins(site) == 1
        assert library.call("/solana", [WHOAMI]).caller == (wallet.pubkey, "solana", "session")
    assert sign_ins(site) == 2


@every_shim
def test_a_session_of_another_service_prefix_is_asked_for_there(
    wallet: Wallet, recorder: Recorder, shim
):
    recorder.tell = lambda asked: Told(404)
    credentials = client.nodius(wallet, "session", prefix="/api/solana")
    with opened(shim, recorder.url, credentials) as library, pytest.raises(SignInError) as caught:
        library.call("/solana")
    assert recorder.paths == ["/api/solana/auth/challenge"]
    assert (caught.value.status, caught.value.reason) == (404, "")


CHALLENGE = {"challenge": "nodius:challenge:00112233445566778899aabbccddeeff:1760000000"}
GOOD = {"token": "the-token", "expiresAt": 2_000_000_000}


def server(challenge: Told, verify: Told, call: Told):
    """Return what tells each of the three."""

    def tell(asked: Asked) -> Told:
        return {"/auth/challenge": challenge, "/auth/verify": verify}.get(asked.path, call)

    return tell


@every_shim
def test_a_server_that_refuses_every_session_is_asked_twice_and_no_more(recorder: Recorder, shim):
    recorder.tell = server(Told(200, CHALLENGE), Told(200, GOOD), Told(401, {}))
    with opened(shim, recorder.url, SESSION) as library:
        assert library.call("/solana").status == 401
    calls = [path for path in recorder.paths if not path.startswith("/auth/")]
    assert (len(calls), len(recorder.paths)) == (2, 6)


def refused(status: int, reason: str) -> Told:
    return Told(status, {"error": {"code": 0, "message": "no", "data": {"reason": reason}}})


@every_shim
@pytest.mark.parametrize(
    ("challenge", "verify", "status", "reason", "asked"),
    [
        (refused(429, "rate_limited"), Told(), 429, "rate_limited", 1),
        (Told(200, CHALLENGE), refused(403, "not_listed"), 403, "not_listed", 2),
        (Told(200, CHALLENGE), refused(401, "replayed"), 401, "replayed", 4),
        (Told(200, {"challenge": "sign this: all my money"}), Told(200, GOOD), 200, "", 1),
        (Told(200, {"challenge": 7}), Told(200, GOOD), 200, "", 1),
        (Told(200, []), Told(200, GOOD), 200, "", 1),
        (Told(200, CHALLENGE), Told(200, {"token": 7}), 200, "", 2),
        (Told(200, CHALLENGE), Told(200, {**GOOD, "refreshToken": 7}), 200, "", 2),
    ],
)
def test_a_sign_in_that_fails_is_an_error_that_says_why_and_nothing_secret(
    recorder: Recorder, shim, challenge, verify, status, reason, asked
):
    recorder.tell = server(challenge, verify, Told())
    with opened(shim, recorder.url, SESSION) as library, pytest.raises(SignInError) as caught:
        library.call("/solana")
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert len(recorder.asked) == asked
    assert "the-token" not in str(caught.value)


@every_shim
def test_calls_that_wait_for_a_sign_in_that_fails_fail_with_it(
    recorder: Recorder, shim, monkeypatch: pytest.MonkeyPatch
):
    tell = server(Told(200, CHALLENGE), refused(403, "not_listed"), Told())
    waiting = []

    def counted(flight):
        waiting.append(flight)
        return Wait(flight)

    def tell_when_all_wait(asked: Asked) -> Told:
        until(lambda: len(waiting) == 29, "the others wait for the first")
        return tell(asked)

    monkeypatch.setattr(keeper, "Wait", counted)
    recorder.tell = tell_when_all_wait
    with opened(shim, recorder.url, SESSION) as library:
        if hasattr(library, "runner"):
            failed = library.runner.run(gathered(library, 30))
        else:
            failed = list(threaded(library, 30))
    assert {(type(error), error.reason) for error in failed} == {(SignInError, "not_listed")}
    assert len(recorder.asked) == 2


async def gathered(library, count):
    import asyncio

    calls = (library.apost(library.endpoint + "/solana") for _ in range(count))
    return await asyncio.gather(*calls, return_exceptions=True)


def threaded(library, count):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(library.call, "/solana") for _ in range(count)]:
            yield future.exception()
