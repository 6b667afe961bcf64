"""Strangers who ask for challenges write nothing, displace nothing, and lock nobody out."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from backends.redis_servers import until
from minting import NOW, Wallet

from issuing.site import ALICE, BOB, OPEN, Site, proof, registry
from rpcguard import AuthError

REQUESTS = 5_000


def _rows(store: Path) -> dict[str, int]:
    with closing(sqlite3.connect(store)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
        }


def _bytes(store: Path) -> dict[str, str]:
    """Return a digest of the file and of its log; the third file holds locks alone."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.parent.glob(f"{store.name}*")
        if not path.name.endswith("-shm")
    }


@pytest.fixture
def site(tmp_path: Path, store: Path):
    site = Site(tmp_path, OPEN, f"sqlite:///{store}")
    with closing(site.verifier):
        site.sign_in()
        yield site


def test_a_flood_of_requests_for_challenges_writes_nothing(site, store):
    strangers = [Wallet(1000 + number) for number in range(50)]
    rows, raw = _rows(store), _bytes(store)
    assert rows["recent"] + rows["spent"] == 1
    for number in range(REQUESTS):
        site.now = NOW + number / 10
        site.challenge(strangers[number % 50] if number % 2 else ALICE)
    assert _rows(store) == rows
    assert _bytes(store) == raw
    assert site.sign_in()


def test_wrong_answers_write_nothing_either(site, store):
    rows, raw = _rows(store), _bytes(store)
    text = site.challenge()
    for number in range(50):
        site.refuses("/auth/verify", proof(text) | {"signature": BOB.sign(str(number))})
        site.refuses("/auth/refresh", {"refreshToken": f"rfr_00{number:065x}"})
        site.denies(f"nod_{number:050x}")
    assert _rows(store) == rows
    assert _bytes(store) == raw
    assert site.verify(text)


def test_an_unlisted_wallet_writes_nothing(tmp_path, store):
    site = Site(tmp_path, registry(f"wallets: [{{pubkey: {ALICE.pubkey}}}]"), f"sqlite:///{store}")
    with closing(site.verifier):
        rows = _rows(store)
        for _ in range(50):
            body = proof(site.challenge(BOB), BOB)
            assert site.refuses("/auth/verify", body).reason == "not_listed"
        assert _rows(store) == rows


def test_a_victim_signs_in_during_a_flood_in_its_name(make):
    """Strangers take its challenges by the thousand; they are still its own to answer."""
    site = make(OPEN)
    held = site.challenge()
    stop = threading.Event()
    asked = [0] * 4
    failed: list[AuthError] = []

    def flood(number: int) -> None:
        while not stop.is_set() and asked[number] < REQUESTS // 4:
            try:
                site.challenge(ALICE)
            except AuthError as error:  # the victim's own sign-ins may use all sixteen up
                failed.append(error)
            asked[number] += 1

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(asked), "the flood")
        tokens = [site.verify(held)["token"]]
        tokens += [site.sign_in()["token"] for _ in range(8)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert all(asked)
    assert {error.reason for error in failed} <= {"backend_unavailable"}
    for token in tokens:
        assert site.admits(token)
