"""What two at the same moment get: threads on every backend, processes on every shared one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from minting import NOW

from issuing.racers import attempt, racing
from issuing.site import ALICE, BOB, OPEN, ROTATING, Site, proof
from rpcguard import AuthError

LOST = {"replayed", "revoked", "invalid_credentials", "backend_unavailable"}


def _together(threads: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what *work* gives in each of *threads* that start at once."""
    barrier = threading.Barrier(threads)
    results: list[Any] = []

    def run(number: int) -> None:
        barrier.wait(30)
        results.append(work(number))

    started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
    assert len(results) == threads
    return results


def _asking(sites: list[Site], route: str, *args: Any) -> Callable[[int], dict[str, Any]]:
    """Return what asks the same of *route*, each time of the next of *sites*."""
    return lambda number: attempt(sites[number % len(sites)], route, *args)


def _part(parts: list[Callable[[int], Any]], number: int) -> Any:
    return parts[number](number)


def _one_won(results: list[dict[str, Any]]) -> dict[str, Any]:
    won = [each for each in results if "token" in each]
    assert len(won) == 1
    assert {each["reason"] for each in results if each is not won[0]} <= LOST
    return won[0]


@pytest.mark.parametrize("threads", [2, 32])
def test_verifies_of_one_challenge_in_threads(make, threads):
    site = make(OPEN)
    for _ in range(10 if threads == 2 else 3):
        asking = _asking([site], "/auth/verify", proof(site.challenge()))
        results = _together(threads, asking)
        assert site.admits(_one_won(results)["token"])


def test_verifies_of_one_challenge_through_two_verifiers(make):
    sites = [make(OPEN), make(OPEN)]
    for turn in range(10):
        body = proof(sites[turn % 2].challenge())
        _one_won(_together(8, _asking(sites, "/auth/verify", body)))


@pytest.mark.parametrize("racers", [2, 6])
def test_verifies_of_one_challenge_in_processes(tmp_path, url, racers):
    site = Site(tmp_path, OPEN, url)
    with racing(OPEN, url, racers, "verify", site.challenge()) as race:
        won = _one_won(race.results())
    assert site.admits(won["token"])
    site.verifier.close()


def test_sign_ins_of_one_wallet_at_once_all_get_in_when_they_name_their_challenges(make):
    """Sixteen challenges for a wallet at a time: that many may sign in side by side."""
    site = make(OPEN)
    texts = [site.challenge() for _ in range(16)]
    bodies = [proof(text, challenge=text) for text in texts]
    results = _together(16, lambda number: attempt(site, "/auth/verify", bodies[number]))
    refused = {each["reason"] for each in results if "token" not in each}
    assert refused <= {"backend_unavailable"}
    assert sum("token" in each for each in results) >= 1


# Refresh


def _assert_the_family_is_over(sites: list[Site], first: dict, results: list[dict]) -> None:
    """Two held the token, so nobody has one that lives; and signing in again works."""
    won = [each for each in results if "token" in each]
    assert len(won) <= 1
    assert {each["reason"] for each in results if "token" not in each} <= LOST
    replayed = any(each.get("reason") == "replayed" for each in results)
    for site in sites:
        for each in won if replayed else []:
            assert site.denies(each["token"]) == "revoked"
            assert site.refuses_refresh(each["refreshToken"]) in ("revoked", "invalid_credentials")
        assert site.refuses_refresh(first["refreshToken"]) in (
            "replayed",
            "revoked",
            "invalid_credentials",
        )
        assert site.admits(site.sign_in()["token"])


@pytest.mark.parametrize("threads", [2, 32])
def test_refreshes_with_one_token_in_threads(make, threads):
    sites = [make(ROTATING), make(ROTATING)]
    for _ in range(3):
        first = sites[0].sign_in()
        body = {"refreshToken": first["refreshToken"]}
        results = _together(threads, _asking(sites, "/auth/refresh", body))
        assert any("token" in each for each in results)
        _assert_the_family_is_over(sites, first, results)


def test_refreshes_with_one_token_in_processes(tmp_path, url):
    site = Site(tmp_path, ROTATING, url)
    first = site.sign_in()
    with racing(ROTATING, url, 4, "refresh", first["refreshToken"]) as race:
        results = race.results()
    _assert_the_family_is_over([site], first, results)
    site.verifier.close()


def test_logging_out_and_refreshing_at_once_leaves_nothing_alive(make):
    sites = [make(ROTATING), make(ROTATING)]
    for _ in range(10):
        first = sites[0].sign_in()
        headers = [("Authorization", f"Bearer {first['token']}")]
        body = {"refreshToken": first["refreshToken"]}
        parts = [
            _asking(sites[:1], "/auth/logout", b"", headers),
            _asking(sites[1:], "/auth/refresh", body),
        ]
        results = _together(2, partial(_part, parts))
        assert {"revoked": True} in results
        for pair in (each for each in results if "token" in each):
            assert sites[1].denies(pair["token"]) == "revoked"
            assert sites[1].refuses_refresh(pair["refreshToken"]) in (
                "revoked",
                "invalid_credentials",
            )
        for site in sites:
            site.now += 100  # sixteen challenges for a wallet at a time


def test_logging_out_and_refreshing_in_processes_leaves_nothing_alive(tmp_path, url):
    site = Site(tmp_path, ROTATING, url)
    for _ in range(3):
        first = site.sign_in()
        arguments = (first["token"], first["refreshToken"])
        with racing(ROTATING, url, 4, "leave_or_refresh", *arguments) as race:
            left, *pairs = race.results()
        assert left == {"revoked": True} or left["reason"] == "revoked"
        assert {each["reason"] for each in pairs if "token" not in each} <= LOST
        assert site.denies(first["token"]) == "revoked"
        for pair in (each for each in pairs if "token" in each):
            assert site.denies(pair["token"]) == "revoked"
            assert site.refuses_refresh(pair["refreshToken"]) in ("revoked", "invalid_credentials")
    site.verifier.close()


# API keys


def test_after_the_answer_the_old_key_never_works_and_the_new_always_does(make):
    """Three threads ask about the keys while a fourth rotates."""
    rotating, other = make(OPEN), make(OPEN)
    keys = [rotating.key_for()]
    asked = 0  # rotations that were begun
    done = threading.Event()
    wrong: list[str] = []
    looked = [0, 0]

    def watch(number: int) -> None:
        site = (rotating, other)[number % 2]
        while not done.is_set():
            last = len(keys) - 1
            newest = _works(site, keys[last])
            if not newest and asked == last:  # nobody had begun to replace it
                wrong.append("the new one did not work")
            if last and _works(site, keys[last - 1]):
                wrong.append("the old one worked")
            looked[number % 2] += 1

    def rotate() -> None:
        nonlocal asked
        for turn in range(40):
            asked += 1
            keys.append(rotating.key_for(nonce=100 + turn))
            assert _works(rotating, keys[-1])
            assert _works(other, keys[-1])
            assert not _works(rotating, keys[-2])
            assert not _works(other, keys[-2])

    def work(number: int) -> None:
        if number:
            return watch(number)
        try:
            rotate()
        finally:
            done.set()

    _together(4, work)
    assert len(keys) == 41
    assert wrong == []
    assert all(looked)


def _works(site: Site, key: str) -> bool:
    while True:
        try:
            return bool(site.admits(key))
        except AuthError as error:
            if error.reason != "backend_unavailable":
                assert error.reason == "invalid_credentials"
                return False


@pytest.mark.parametrize("threads", [2, 16])
def test_keys_made_at_once_leave_exactly_one(make, threads):
    sites = [make(OPEN), make(OPEN)]
    bobs = sites[0].key_for(BOB)
    signed = [sites[0].asks_for_key(ALICE, 1000 + number) for number in range(threads)]
    results = _together(
        threads, lambda n: attempt(sites[n % 2], "/account/api-key", b"", signed[n])
    )
    given = [each["apiKey"] for each in results if "apiKey" in each]
    assert {each["reason"] for each in results if "apiKey" not in each} <= {"backend_unavailable"}
    assert given
    for site in sites:
        assert sum(_works(site, key) for key in given) == 1
        assert _works(site, bobs)


def test_keys_made_by_processes_leave_exactly_one(tmp_path, url):
    site = Site(tmp_path, OPEN, url, now=NOW)
    before = site.key_for(nonce=1 << 50)
    with racing(OPEN, url, 3, "rotate", "10") as race:
        results = race.results()
    given = [key for each in results for key in each["given"]]
    assert [each["wrong"] for each in results] == [[]] * 3
    assert len(set(given)) == len(given) >= 3
    assert sum(_works(site, key) for key in given) == 1
    assert not _works(site, before)
    site.verifier.close()


def test_after_the_answer_no_process_takes_the_old_key_and_each_takes_the_new(tmp_path, url):
    site = Site(tmp_path, OPEN, url)
    key = site.key_for(nonce=1 << 50)
    with racing(OPEN, url, 3, "judge") as race:
        for turn in range(20):
            old, key = key, site.key_for(nonce=1 << 51 | turn)
            race.tell(f"{old} {key}")
            race.each_says("invalid_credentials admitted")
        race.tell("end")
        assert race.results() == [20] * 3
    site.verifier.close()
