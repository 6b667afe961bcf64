"""The short script before `settle.lua`: it answers as that would, and leaves the same behind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis

from backends import redis_servers
from backends.kinds import HERE, START, neighbours, owe
from backends.redis_servers import Server
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
        start = question.start.replace(b"{a:", b"{%b:" % self._prefix)
        start = start.replace(question.script.by_hash, script.by_hash)
        here = Question(question.bucket, script, start, question.rest, True)
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

    def close(self) -> None:
        self.clear()
        self._client.connection_pool.release(self._connection)

    def clear(self) -> None:
        for key in self._client.keys(b"{%b:*" % self._prefix):
            self._client.delete(key)


@pytest.fixture(params=["single", "floor"])
def sides(request: pytest.FixtureRequest) -> Iterator[tuple[Side, Side]]:
    server = getattr(redis_servers, request.param)()
    with closing(redis.Redis(port=server.port, protocol=2)) as client:
        sides = Side(client, b"a", WITH), Side(client, b"b", WITHOUT)
        yield sides
        for side in sides:
            side.close()


def some(draw: random.Random, now: float) -> Owed:
    """Return what a request owes: of few names and with small budgets, so that all answers come."""
    owed = owe(
        str(draw.randrange(300)),
        lasts=now - START + draw.choice((-1, 3, 20, 20, 20.5, 20.5, 400, 9000)),
        subject=draw.choice(SUBJECTS),
        issued_at=now + draw.choice((-30, -1, 0.5, 0.5, 0.5, 30)),
        revocable=tuple(draw.sample(NAMES, draw.choice((0, 2, 2)))),
        # a project has 1/256 of its budget in a bucket, but not less than a subject may have
        project_limit=draw.choice((70, 256 * 70, 256 * 70, 20)),
        subject_limit=draw.choice((40, 40, 40, 4)),
    )
    return owed._replace(nonce=None) if draw.random() < 0.1 else owed


def test_the_short_script_and_the_long_one_agree(sides: tuple[Side, Side]) -> None:
    verdicts: Counter[Verdict] = Counter()
    for seed in range(6):
        for reply in replies_of_both(sides, random.Random(seed), 350):
            verdicts[answer_of(reply).verdict] += 1
        for side in sides:
            side.clear()
    assert verdicts[Verdict.OK] > 400
    assert min(verdicts[each] for each in Verdict if each is not Verdict.UNKNOWN) > 10


def replies_of_both(sides: tuple[Side, Side], draw: random.Random, count: int) -> Iterator[Any]:
    """Yield what both say to the same questions, while time, servers and revocations change."""
    asking = Asking("a", 0.25)
    now, server = START, SERVERS[1]
    owed = some(draw, now)
    last = asking.settle(owed, now)
    for _ in range(count):
        now += draw.choice((0, 0.1, 0.1, 0.1, 1, 2, -1))
        chance = draw.random()
        if chance < 0.04:
            server = draw.choice(SERVERS)
        elif chance < 0.05:
            for side in sides:
                side.forget("nonces", "live")
        elif chance < 0.07:
            name, before = draw.choice(NAMES), draw.choice((None, START))
            for question in asking.revoke([Revocation(name, before, now + 2, HERE)], now):
                assert [side.ask(question, server, again=False) for side in sides] == [0, 0]
        again = draw.random() < 0.1
        if not again:
            owed = owed if draw.random() < 0.1 else some(draw, now)  # a replay, or another one
            last = asking.settle(owed, now)
        one, other = (side.ask(last, server, again=again) for side in sides)
        assert one == other
        assert sides[0].content() == sides[1].content()
        yield one


def test_both_let_keys_go_by_themselves_whose_nonces_had_all_ended(
    sides: tuple[Side, Side],
) -> None:
    def settle(number: int, now: float, subject_limit: int) -> set[Any]:
        owed = owe(
            str(number),
            lasts=now - START + 1,
            issued_at=now + 1,
            subject=SUBJECTS[0],
            subject_limit=subject_limit,
        )
        question = Asking("a", 0.25).settle(owed, now)
        return {side.ask(question, SERVERS[1], again=False) for side in sides}

    assert all(settle(number, START, 100) == {0} for number in range(20))
    full = list(Verdict).index(Verdict.SUBJECT_FULL)
    assert settle(20, START + 2, 0) == {
        full
    }  # it drops all that has ended, and is not there itself
    assert settle(21, START + 2, 100) == {0}
    found = sides[0].content()
    assert found == sides[1].content()
    lasting = {key.split(b":")[1] for key, (_, goes) in found.items() if not goes}
    assert (len(found), lasting) == (3, {b"state"})


def test_a_question_that_comes_after_its_own_repetition_is_no_second_acceptance(
    sides: tuple[Side, Side],
) -> None:
    replayed = list(Verdict).index(Verdict.REPLAYED)
    for number in range(20):
        owed = owe(str(number), issued_at=START + 1, subject=SUBJECTS[0])
        question = Asking("a", 0.25).settle(owed, START)
        for again, verdict in ((True, 0), (True, 0), (False, replayed), (True, replayed)):
            found = {side.ask(question, SERVERS[1], again=again) for side in sides}
            assert found == {verdict}
            assert sides[0].content() == sides[1].content()


@pytest.mark.parametrize("program", [None, redis_servers.carried()], ids=["found", "floor"])
def test_where_memory_is_full_both_leave_all_as_it_was_and_make_room_of_what_has_ended(
    program: str | None,
) -> None:
    server = Server() if program is None else Server(program=program)
    with ExitStack() as stack:
        stack.callback(server.clear_away)
        client = stack.enter_context(closing(server.start().client))
        sides = Side(client, b"a", WITH), Side(client, b"b", WITHOUT)

        def settle(name: str, now: float, lasts: float = 2) -> set[Any]:
            owed = owe(name, lasts=now - START + lasts, issued_at=now + 1, subject=SUBJECTS[0])
            question = Asking("a", 0.25).settle(owed, now)
            return {side.ask(question, SERVERS[1], again=False) for side in sides}

        assert all(settle(str(n), START) == {0} for n in range(5))
        assert settle("long", START, 60) == {0}
        before = [side.content() for side in sides]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="OOM|maxmemory"):
            settle("more", START)
        assert [side.content() for side in sides] == before
        assert settle("more", START + 3) == {0}
        assert sides[0].content() == sides[1].content()
        client.config_set("maxmemory", 0)
        assert settle("more", START + 3) == {list(Verdict).index(Verdict.REPLAYED)}
        for side in sides:
            side.close()


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
