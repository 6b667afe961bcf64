"""How a question is brought to an answer, whatever servers say: the pure half of it."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from backends.kinds import START, owe
from rpcguard.backends.redis_flow import LostError, Reply, Send, Wait, answering
from rpcguard.backends.redis_links import greeted, written
from rpcguard.backends.redis_questions import Asking, answer_of
from rpcguard.backends.redis_scripts import bulk
from rpcguard.backends.redis_settings import Address
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

ONE, TWO = Address("one", 1), Address("two", 2)


class Directory:
    """Knows what it is told, and notes what it hears."""

    def __init__(self, *known: Address | None) -> None:
        self.known = list(known)
        self.heard: list[Any] = []

    def locate(self, bucket: int) -> Address | None:
        return self.known.pop(0) if len(self.known) > 1 else self.known[0]

    def moved(self, bucket: int, address: Address) -> None:
        self.heard.append(address)

    def suspect(self) -> None:
        self.heard.append("suspect")


class Run:
    """A flow, told outcomes one by one."""

    def __init__(self, directory: Directory, min_replicas: int = 0) -> None:
        question = Asking("x", 0.25).settle(owe("n"), START)
        self.flow = answering(question, directory, min_replicas)
        self.step = next(self.flow)
        self.result: Any = None

    def tell(self, *outcomes: Any) -> Any:
        for outcome in outcomes:
            try:
                self.step = self.flow.send(outcome)
            except StopIteration as done:
                self.result = done.value
        return self.step


def error(text: str) -> ResponseError:
    """Return an error reply as it comes."""
    return ResponseError(text)


def test_a_reply_is_the_result() -> None:
    run = Run(Directory(ONE))
    assert (run.step.address, run.step.again, run.step.in_full) == (ONE, False, False)
    run.tell(Reply(0))
    assert run.result == 0


@pytest.mark.parametrize("min_replicas", [0, 1])
@pytest.mark.parametrize(
    "outcome",
    [
        *(Reply(0), Reply(0, 1), Reply([0, b"{}"], 1), Reply(1), Reply(2), Reply(None)),
        *(LostError("gone", sent=True), LostError("gone"), LostError("late", late=True)),
        *(error("NOSCRIPT"), error("MOVED 7 two:2"), error("ASK 7 two:2"), error("MOVED 7 x")),
        *(error("READONLY"), error("TRYAGAIN"), error("LOADING"), error("OOM"), error("")),
    ],
    ids=repr,
)
def test_a_flow_whose_first_step_was_taken_goes_on_as_one_that_took_it(
    outcome: Any, min_replicas: int
) -> None:
    question = Asking("x", 0.25).settle(owe("n"), START)

    def begun(*, taken: bool) -> Any:
        directory = Directory(ONE)
        result: Any
        try:
            if taken:
                result = next(answering(question, directory, min_replicas, (ONE, outcome)))
            else:
                flow = answering(question, directory, min_replicas)
                assert next(flow) == Send(ONE, question)
                result = flow.send(outcome)
        except StopIteration as done:
            result = ("result", done.value)
        except BackendError as refusal:
            result = str(refusal)
        return result, directory.heard

    assert begun(taken=True) == begun(taken=False)
    if isinstance(outcome, Reply) and not min_replicas:  # what `Loops.run` does without a flow
        assert begun(taken=False) == (("result", outcome.value), [])


def test_where_nobody_is_known_one_is_looked_for_once() -> None:
    run = Run(Directory(None, ONE))
    assert run.step is Wait.SEARCH
    assert run.tell(None).address == ONE
    with pytest.raises(BackendError, match="where the primary is"):
        Run(Directory(None)).tell(None)


@pytest.mark.parametrize("sent", [True, False])
def test_what_was_lost_is_sent_once_more_and_says_so_where_it_may_have_arrived(sent: bool) -> None:
    directory = Directory(ONE, TWO)
    run = Run(directory)
    assert run.tell(LostError("gone", sent=sent)) is Wait.SEARCH
    step = run.tell(None)
    assert (step.address, step.again) == (TWO, sent)
    assert directory.heard == ["suspect"]
    with pytest.raises(BackendError, match="two:2: gone"):
        run.tell(LostError("gone", sent=sent))


def test_when_the_time_is_up_nothing_is_sent_again() -> None:
    directory = Directory(ONE)
    with pytest.raises(BackendError, match="too late"):
        Run(directory).tell(LostError("too late", sent=True, late=True))
    assert directory.heard == ["suspect"]


def test_an_unknown_script_is_sent_in_full_once() -> None:
    run = Run(Directory(ONE))
    step = run.tell(error("NOSCRIPT No matching script."))
    assert (step.in_full, step.again) == (True, False)
    with pytest.raises(BackendError):
        run.tell(error("NOSCRIPT again"))


def test_a_moved_bucket_is_followed_and_noted() -> None:
    directory = Directory(ONE)
    run = Run(directory)
    step = run.tell(error("MOVED 7 two:2"))
    assert (step.address, step.asking, step.again) == (TWO, False, False)
    assert directory.heard == [TWO]
    run.tell(Reply(2))
    assert run.result == 2


def test_a_bucket_that_moves_is_asked_for_at_its_target_once() -> None:
    directory = Directory(ONE)
    run = Run(directory)
    step = run.tell(error("ASK 7 two:2"))
    assert (step.address, step.asking) == (TWO, True)
    assert directory.heard == []
    assert run.tell(error("NOSCRIPT")).asking is False


def test_a_redirection_without_a_host_means_the_one_that_was_asked() -> None:
    assert Run(Directory(ONE)).tell(error("MOVED 7 :9")).address == Address("one", 9)


@pytest.mark.parametrize(
    "target",
    ["nowhere", "/run/somebody:0", "/run/somebody:1", "two:0", "two:65536", "two:-1", "a\0b:1"],
)
def test_a_redirection_to_where_nobody_can_listen_is_a_refusal(target: str) -> None:
    with pytest.raises(BackendError, match="cannot be read"):
        Run(Directory(ONE)).tell(error(f"MOVED 7 {target}"))


def test_servers_that_send_a_question_round_are_given_up() -> None:
    run = Run(Directory(ONE))
    with pytest.raises(BackendError):
        run.tell(*[error("MOVED 7 two:2")] * 4)


def test_a_replica_is_left_for_the_primary_that_is_found() -> None:
    directory = Directory(ONE, TWO)
    run = Run(directory)
    assert run.tell(error("READONLY You can't write …")) is Wait.SEARCH
    assert run.tell(None).address == TWO
    assert directory.heard == ["suspect"]
    with pytest.raises(BackendError, match="the server is a replica"):
        run.tell(error("ERR Error running script: -READONLY You can't write against …"))


def test_keys_that_are_under_way_are_asked_for_again_after_a_pause() -> None:
    run = Run(Directory(ONE))
    assert run.tell(error("TRYAGAIN Multiple keys request during rehashing of slot")) is Wait.PAUSE
    assert isinstance(run.tell(None), Send)
    with pytest.raises(BackendError, match="being moved"):
        run.tell(error("TRYAGAIN"))


@pytest.mark.parametrize(
    ("outcome", "meaning"),
    [
        (error("CLUSTERDOWN Hash slot not served"), "the Cluster is down"),
        (error("CLUSTERDOWN The cluster is down"), "the Cluster is down"),
        (error("MASTERDOWN Link with MASTER is down"), "lost its primary"),
        (error("OOM command not allowed"), "memory is full"),
        (error("ERR Error running script (call to f_1): -OOM command not allowed"), "memory is"),
        (error("NOPERM this user has no permissions"), "ACL"),
        (error("MISCONF Redis is configured to save"), "cannot save"),
        (error("NOREPLICAS Not enough good replicas to write."), "fewer good replicas"),
        (error("BUSY Redis is busy running a script"), "busy"),
        (error("ERR max number of clients reached"), "as many clients"),
        (error("ERR This instance has cluster support disabled"), "redis://"),
        (error("ERR something else"), "refused the question"),
        (ResponseError(), "refused the question"),
    ],
)
def test_what_a_server_refuses_is_told_without_its_words(
    outcome: ResponseError, meaning: str
) -> None:
    with pytest.raises(BackendError, match=f"one:1: .*{meaning}"):
        Run(Directory(ONE)).tell(outcome)


def test_an_answer_counts_when_enough_replicas_have_confirmed_it() -> None:
    for value in (0, [0, b"{}"]):
        with pytest.raises(BackendError, match="1 of 2 replicas"):
            Run(Directory(ONE), 2).tell(Reply(value, 1))
    run = Run(Directory(ONE), 2)
    run.tell(Reply(0, 2))
    assert run.result == 0
    refused = Run(Directory(ONE), 2)
    refused.tell(Reply(2, 0))  # nothing was written
    assert refused.result == 2


def test_wait_goes_behind_what_is_written_and_has_less_time_than_is_left() -> None:
    asking = Asking("x", 0.25)
    spends = Send(ONE, asking.settle(owe("n"), START))
    reads = Send(ONE, asking.epoch(7))
    assert len(written([reads, reads], b"", 2, 1.0)) == 2
    assert (
        written([reads, spends], b"", 2, 1.0)[-1] == b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$3\r\n900\r\n"
    )
    assert written([spends], b"", 1, 0.0001)[-1].endswith(b"$1\r\n1\r\n")  # 0 would be for ever
    assert len(written([spends], b"", 0, 1.0)) == 1


@pytest.mark.parametrize(
    ("memory", "good"),
    [
        (b"maxmemory:0\r\nmaxmemory_policy:allkeys-lru", True),
        (b"maxmemory:100\r\nmaxmemory_policy:noeviction", True),
        (b"maxmemory:100\r\nmaxmemory_policy:volatile-lru", False),
        (b"maxmemory:100", False),
        (b"# Memory", False),
    ],
)
def test_a_server_must_say_that_it_does_not_evict(memory: bytes, good: bool) -> None:
    server = b"# Server\r\nrun_id:abc\r\n"
    if not good:
        with pytest.raises(LostError, match="noeviction"):
            greeted([server, memory], guard=True)
        return
    assert greeted([server, memory], guard=True) == bulk(b"abc")
    assert greeted([server, memory], guard=False) == bulk(b"")


def test_a_server_that_does_not_say_who_it_is_is_not_used() -> None:
    memory = b"maxmemory:0\r\nmaxmemory_policy:noeviction"
    with pytest.raises(LostError, match="restart_guard=off"):
        greeted([b"# Server\r\n", memory], guard=True)
    assert greeted([b"# Server\r\n", memory], guard=False) == bulk(b"")
    with pytest.raises(LostError, match=r"\+info"):
        greeted([b"run_id:abc", error("NOPERM no")], guard=True)


@pytest.mark.parametrize("reply", [None, b"OK", [], [b"x"], -1, 8, [99]])
def test_a_reply_that_is_none_of_ours_is_no_answer(reply: Any) -> None:
    with pytest.raises(BackendError, match="none of ours"):
        answer_of(reply)


def test_replies_are_answers() -> None:
    assert answer_of(0) is Answer.OK
    assert answer_of([3]) is Answer.FORGOTTEN
    assert answer_of([2, b"{}"]) == Answer(Answer.REPLAYED.verdict, "{}")
    with pytest.raises(BackendError, match="another slot"):
        answer_of([7])
