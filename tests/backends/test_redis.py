"""What is special about Redis: answers that are lost, keys, and servers that restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from issuing.site import ALICE, OPEN, Site
from minting import CALL, NOW, bearer

from backends import redis_servers
from backends.kinds import HERE, START, ask, issue, owe, present, run_in_threads
from backends.redis_opened import forgetful, opened
from backends.redis_servers import Server, until
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Revocation, Verdict

OK, REPLAYED, FORGOTTEN = Answer.OK, Answer.REPLAYED, Answer.FORGOTTEN
TOKEN = b"t" * 16


# Lost answers


def test_a_question_whose_answer_was_lost_is_asked_again_and_is_no_replay(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, ask(TOKEN), START) is OK
        for number in range(5):
            proxy.lose(0 if number == 4 else 1)
            assert driver(backend, owe(str(number)), START) is OK
            assert driver(backend, owe(str(number)), START) is REPLAYED


def test_an_answer_that_is_lost_twice_is_a_refusal_and_the_nonce_may_be_spent(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, ask(TOKEN), START) is OK
        proxy.lose(2)
        with pytest.raises(BackendError, match="the connection failed"):
            driver(backend, owe("n"), START)
        proxy.lose(0)
        assert driver(backend, owe("n"), START) in (OK, REPLAYED)


def test_a_replay_whose_answer_was_lost_stays_a_replay(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, owe("n"), START) is OK
        for _ in range(3):
            proxy.lose(1)
            assert driver(backend, owe("n"), START) is REPLAYED


def test_records_are_written_once_whatever_answer_is_lost(prefix: str) -> None:
    with forgetful(prefix) as (proxy, backend):

        def losing(work: Callable[[], Any]) -> Any:
            backend.settle(ask(TOKEN), START)
            proxy.lose(1)
            return work()

        assert losing(lambda: backend.put(issue("a"), START)) is OK
        rotated = losing(lambda: backend.rotate(issue("a").name, issue("b"), START))
        assert rotated == Answer(Verdict.OK, issue("a").value)
        assert backend.settle(present("b"), START) == Answer(Verdict.OK, issue("b").value)
        assert losing(lambda: backend.drop(HERE, issue("b").slot, START)) is True
        assert losing(lambda: backend.drop(HERE, issue("b").slot, START)) is False
        losing(lambda: backend.revoke([Revocation(TOKEN)], START))
        assert backend.settle(ask(TOKEN), START) is Answer.REVOKED


def test_idle_connections_that_the_server_has_closed_cost_nobody_an_answer(
    driver: Callable[..., Answer], prefix: str
) -> None:
    server = redis_servers.single()
    with opened(server.port, key_prefix=prefix) as backend:
        for number in range(3):
            assert driver(backend, owe(str(number)), START) is OK
            server.client.client_kill_filter(_type="normal", skipme=True)
            run_in_threads(lambda: backend.settle(ask(TOKEN), START), 4)


def test_a_server_that_has_lost_its_scripts_is_told_them_again(
    driver: Callable[..., Answer], prefix: str
) -> None:
    server = redis_servers.single()
    with opened(server.port, key_prefix=prefix) as backend:
        server.client.script_flush()
        assert driver(backend, owe("n"), START) is OK
        server.client.script_flush()
        assert driver(backend, owe("n"), START) is REPLAYED


# Keys


def test_keys_are_in_the_slot_of_their_bucket_hold_no_text_of_callers_and_go_by_themselves(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    secret = "caller}{text"
    with opened(server.port) as backend:
        for project, subject in (("p", secret), (secret, "s")):
            owed = owe(secret, project=project, subject=subject, revocable=(TOKEN,))
            assert backend.settle(owed, START) is OK
            backend.revoke([Revocation(TOKEN, None, START + 50, owed.bucket or HERE)], START)
        backend.put(issue(secret, secret, lasts=10), START)
        keys = server.client.keys()
        lasting = {key for key in keys if server.client.pttl(key) < 0}
    assert {key.split(b"}:")[0] for key in keys} == {b"{rpcguard:%02x" % n for n in range(256)}
    assert lasting == {b"{rpcguard:%02x}:state" % number for number in range(256)}
    kinds = Counter(key.split(b":")[2] for key in keys)
    assert set(kinds) == {
        *(b"state", b"nonces", b"live", b"attempt", b"revoked"),
        *(b"names", b"records", b"ends", b"held"),
    }
    assert not [key for key in keys if b"caller" in key or b"text" in key]


def test_what_has_ended_leaves_no_entry_behind(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server.port) as backend:
        for number in range(100):
            assert backend.settle(owe(str(number), lasts=1), START) is OK
        for number in range(100):
            assert backend.settle(owe(f"later {number}"), START + 2) is OK
        (nonces,) = server.client.keys("*:nonces:*")
        (live,) = server.client.keys("*:live:*")
        assert server.client.zcount(nonces, 0, "inf") == 100
        assert list(server.client.hgetall(live).values()) == [b"100"]
        for number in range(100):  # when nobody asks again whose answer was lost
            assert backend.settle(owe(f"last {number}", issued_at=START + 60), START + 60) is OK
        assert server.client.zcount(nonces, "-inf", "(0") == 100
        assert list(server.client.hgetall(live).values()) == [b"200"]


def test_keys_that_went_by_themselves_are_remembered(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert backend.settle(owe("n", lasts=90), START) is OK
        server.client.delete(*server.client.keys("*:nonces:*"), *server.client.keys("*:live:*"))
        assert backend.settle(owe("n", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("m", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("m", lasts=91), START) is OK


# Restarts


def test_a_server_that_restarts_without_its_data_refuses_what_it_may_have_known(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert driver(backend, owe("n"), START + 5) is OK
        epoch = backend.epoch(HERE)
        server.kill()
        server.start()
        assert driver(backend, owe("n", issued_at=START + 6), START + 7) is FORGOTTEN
        assert driver(backend, owe("m", issued_at=START + 7), START + 7) is FORGOTTEN
        assert driver(backend, owe("m", issued_at=START + 7.1), START + 8) is OK
        assert backend.epoch(HERE) not in (epoch, b"")
        assert backend.epoch(HERE) == backend.epoch(HERE)


def test_an_epoch_that_is_read_first_after_a_restart_forgives_nothing(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert backend.settle(owe("n"), START) is OK
        server.client.flushall()
        epoch = backend.epoch(HERE)
        assert backend.settle(owe("n", issued_at=START + 1), START + 1) is FORGOTTEN
        assert backend.epoch(HERE) == epoch


def test_a_server_that_restarts_with_its_data_may_have_lost_the_last_of_it(
    serve: Callable[..., Server],
) -> None:
    server = serve("--appendonly", "yes")
    with opened(server.port) as backend, opened(server.port, restart_guard="off") as trusting:
        assert backend.settle(owe("n"), START) is OK
        backend.revoke([Revocation(TOKEN)], START)
        server.kill()
        server.start()
        until(lambda: server.client.info("persistence")["loading"] == 0, "loaded")
        assert trusting.settle(owe("n"), START + 1) is REPLAYED
        assert trusting.settle(owe("m"), START + 1) is OK
        assert backend.settle(owe("m"), START + 1) is FORGOTTEN
        assert backend.settle(ask(TOKEN), START + 1) is Answer.REVOKED


def test_a_server_that_was_emptied_refuses_what_it_may_have_known(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port, restart_guard="off") as backend:
        assert driver(backend, owe("n"), START) is OK
        server.client.flushall()
        assert driver(backend, owe("n"), START + 1) is FORGOTTEN
        assert driver(backend, owe("n", issued_at=START + 2), START + 2) is OK


@pytest.mark.parametrize("credential", ["signature", "session", "api_key"])
def test_a_request_is_one_command_to_the_server(
    serve: Callable[..., Server], tmp_path: Path, credential: str
) -> None:
    server = serve()
    url = f"redis://127.0.0.1:{server.port}?timeout=10s&restart_guard=off"
    site = Site(tmp_path, OPEN, url)
    with closing(site.verifier):
        token, key = site.sign_in()["token"], site.key_for()
        for number in (2, 3):  # the first loads the script and opens the connection
            shown = {
                "signature": ALICE.v2("POST", "/", CALL, timestamp=NOW, nonce=f"{number:016x}"),
                "session": bearer(token),
                "api_key": bearer(key),
            }[credential]
            server.client.config_resetstat()
            site.admits(shown)
        commands = server.client.info("commandstats")
    ours = {name: found["calls"] for name, found in commands.items() if "evalsha" in name}
    assert ours == {"cmdstat_evalsha": 1}
    # what the script does inside counts as well, what came over the wire beside it does not exist
    assert not {"cmdstat_eval", "cmdstat_multi", "cmdstat_wait"} & commands.keys()
