"""Challenges are derived: the same inputs give the same text, and others another."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from minting import NOW

from rpcguard import owed
from rpcguard.schemes.challenge import LIFETIME, SLOTS, STEP, STEPS, Challenges

SECRET = b"a session secret of more than 32 bytes"
KEY, EPOCH = "4Nd1m…", b"an epoch"
T = NOW // 100 * 100

text = st.text(max_size=20)


def _texts(project="p", service="s", secret=SECRET, key=KEY, now=NOW, epoch=EPOCH) -> list[str]:
    return [each.text for each in Challenges(project, service, secret).at(key, now, epoch)]


def test_the_numbers_of_the_protocol():
    assert (STEP, STEPS, SLOTS, LIFETIME) == (100, 3, 16, 300)


def test_the_derivation():
    """HMAC-SHA-256 over project, key, time, slot and epoch, under a key by HKDF (RFC 5869)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"rpcguard challenge v1")
    key = kdf.derive(SECRET)
    for slot, found in enumerate(_texts()):
        parts = [b"p", KEY.encode(), str(T).encode(), str(slot).encode(), EPOCH]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        random = hmac.new(key, message, hashlib.sha256).digest()[:16].hex()
        assert found == f"s:challenge:{random}:{T}"


def test_it_is_the_same_in_every_process():
    assert _texts() == _texts()


@pytest.mark.parametrize(
    "other",
    [
        {"project": "q"},
        {"key": "other"},
        {"secret": SECRET + b"x"},
        {"now": NOW + 100},
        {"now": NOW - 100},
        {"epoch": b"another"},
    ],
)
def test_everything_that_matters_changes_the_random_part(other):
    def randoms(**values):
        return {each.split(":")[2] for each in _texts(**values)}

    assert len(randoms()) == 16
    assert not randoms() & randoms(**other)


@given(text, text, text, text)
def test_no_two_lists_of_parts_are_confused(project, key, more, epoch):
    """Parts are framed: moving a letter from one to the next is another challenge."""
    one = _texts(project=project + more, key=key, epoch=epoch.encode())
    other = _texts(project=project, key=more + key, epoch=epoch.encode())
    assert (one == other) == (more == "" or (project + more, key) == (project, more + key))


@pytest.mark.parametrize("offset", [0, 0.5, 99, 99.999])
def test_the_time_is_rounded_down(offset):
    assert _texts(now=T + offset) == _texts(now=T)
    assert _texts(now=T + 100) != _texts(now=T)


def test_recent_ones_are_those_of_the_current_and_two_earlier_times_the_latest_first():
    challenges = Challenges("p", "s", SECRET)
    recent = challenges.recent(KEY, NOW, EPOCH)
    assert len(recent) == 48
    wanted = [each for back in (0, 100, 200) for each in challenges.at(KEY, NOW - back, EPOCH)]
    assert list(recent) == wanted
    assert len({each.text for each in recent}) == len({each.name for each in recent}) == 48


@given(st.floats(min_value=1000, max_value=4e9), st.floats(min_value=0, max_value=400))
def test_one_lives_as_long_as_its_end_says(now, age):
    """What is not tried any more has ended, and what has not ended is tried."""
    challenges = Challenges("p", "s", SECRET)
    given_ = challenges.at(KEY, now, EPOCH)[0]
    assert now + 200 < given_.ends + 1e-6
    assert given_.ends <= now + 300
    later = {each.text for each in challenges.recent(KEY, now + age, EPOCH)}
    assert (given_.text in later) == (now + age < given_.ends)


def test_it_is_spent_by_project_key_and_text():
    (first, *_) = Challenges("p", "s", SECRET).at(KEY, NOW, EPOCH)
    assert first.name == owed.digest("challenge", "p", KEY, first.text)


def test_the_secret_is_nowhere_shown():
    challenges = Challenges("p", "s", SECRET)
    shown = repr(challenges) + repr(challenges.at(KEY, NOW, EPOCH))
    assert SECRET.decode() not in shown
