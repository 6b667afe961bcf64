"""The short script before `settle.lua`: it answers as that would, and leaves the same behind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from backends import redis_servers
from backends.kinds import HERE, START, neighbours, owe
from rpcguard.backends.redis_questions import Asking, Question, answer_of
from rpcguard.backends.redis_scripts import SETTLE, Script, bulk
from rpcguard.owed import Owed, Revocation, Verdict

WITH, WITHOUT = SETTLE, Script("bucket", "owed", "state", "records", "settle")
SUBJECTS = neighbours(3)
NAMES = [b"name %d" % number for number in range(4)]
SERVERS = (bulk(b""), bulk(b"one"), bulk(b"two"))


class Side:
    """One of two sets of keys, and the script that settles there."""

    def __init__(self, client: redis.Redis, prefix: bytes, settle: Script) -> None:
        self._connection = client.connection_pool.get_connection()
        self._client = client
        self._prefix = prefix
        self._settle = settle

    def ask(self, question: Question, server: bytes, *, again: bool) -> Any:
        """Return the reply to *question*, whose keys begin with `{a:`, about this side's keys."""
        script = self._settle if question.script is SETTLE else question.script
        keys = question.keys.replace(b"{a:", b"{%b:" % self._prefix)
        here = Question(question.bucket, script, keys, question.rest, question.arguments, True)
        self._connection.send_packed_command([here.command(server, again, True)])
        return self._connection.read_response()

    def content(self) -> dict[bytes, Any]:
        """Return all keys, what is in them, and whether they go by themselves."""
        found: dict[bytes, Any] = {}
        for key in self._client.keys(b"{%b:*" % self._prefix):
            kind = self._client.type(key)
            read = {
                b"hash": self._client.hgetall,
                b"zset": lambda key: self._client.zrange(key, 0, -1, withscores=True),
            }[kind]
            found[key.partition(b"}")[2]] = (read(key), self._client.pttl(key) > 0)
        return found

    def forget(self, *keys: str) -> None:
        """Let keys go as they do by themselves."""
        for key in keys:
            for found in self._client.keys(f"{{{self._prefix.decode()}:*:{key}:*"):
                self._client.delete(found)

    def clear(self) -> None:
        self._client.connection_pool.release(self._connection)
        for key in self._client.keys(b"{%b:*" % self._prefix):
            self._client.delete(key)


@pytest.fixture(params=["single", "floor"])
def sides(request: pytest.FixtureRequest) -> Iterator[tuple[Side, Side]]:
    server = getattr(redis_servers, request.param)()
    with closing(redis.Redis(port=server.port, protocol=2)) as client:
        sides = Side(client, b"a", WITH), Side(client, b"b", WITHOUT)
        yield sides
        for side in sides:
            side.clear()


def some(draw: random.Random, now: float) -> Owed:
    """Return what a request owes: of few names and with small budgets, so that all answers come."""
    owed = owe(
        str(draw.randrange(300)),
        lasts=now - START + draw.choice((-1, 3, 20, 20, 20.5, 20.5, 400, 9000)),
        subject=draw.choice(SUBJECTS),
        issued_at=now + draw.choice((-30, -1, 0.5, 0.5, 0.5, 30)),
        revocable=tuple(draw.sample(NAMES, draw.choice((0, 2, 2)))),
        project_limit=draw.choice((70, 70, 70, 20)),
        subject_limit=draw.choice((40, 40, 40, 4)),
    )
    return owed._replace(nonce=None) if draw.random() < 0.1 else owed


@pytest.mark.parametrize("seed", range(4))
def test_the_short_script_and_the_long_one_agree(sides: tuple[Side, Side], seed: int) -> None:
    draw = random.Random(seed)
    asking = Asking("a", 0.25)
    now, server = START, SERVERS[1]
    owed = some(draw, now)
    last = asking.settle(owed, now)
    verdicts: Counter[Verdict] = Counter()
    for _ in range(500):
        now += draw.choice((0, 0.1, 0.1, 0.1, 1, 2, -1))
        chance = draw.random()
        if chance < 0.01:
            server = draw.choice(SERVERS)
        elif chance < 0.02:
            for side in sides:
                side.forget("nonces", "live")
        elif chance < 0.04:
            name, before = draw.choice(NAMES), draw.choice((None, START))
            revocation = Revocation(name, before, now + 2, HERE)
            for question in asking.revoke([revocation], now):
                assert [side.ask(question, server, again=False) for side in sides] == [0, 0]
        again = draw.random() < 0.1
        if not again:
            owed = owed if draw.random() < 0.1 else some(draw, now)  # a replay, or another one
            last = asking.settle(owed, now)
        one, other = (side.ask(last, server, again=again) for side in sides)
        assert one == other
        assert sides[0].content() == sides[1].content()
        verdicts[answer_of(one).verdict] += 1
    assert verdicts[Verdict.OK] > 80
    assert verdicts.keys() == set(Verdict) - {Verdict.UNKNOWN}


@pytest.mark.parametrize("nonce", [True, False])
def test_the_usual_question_does_not_come_to_the_long_script(
    sides: tuple[Side, Side], nonce: bool
) -> None:
    only_short = Script("bucket", "owed", "usual")
    side = sides[0]
    side.ask(Asking("a", 0.25).opening(START)[HERE], SERVERS[1], again=False)
    found = []
    for number in range(40):
        owed = owe(str(number), subject=SUBJECTS[0], revocable=(b"x", b"y"))
        question = Asking("a", 0.25).settle(owed if nonce else owed._replace(nonce=None), START)
        side._settle = only_short
        found.append(side.ask(question, SERVERS[1], again=False))
        if found[-1] is None:
            side._settle = WITH
            assert side.ask(question, SERVERS[1], again=False) == 0
    # not the first, when all is new; nor each sixteenth, which looks what has ended
    assert Counter(found) == ({0: 37, None: 3} if nonce else {0: 40})
