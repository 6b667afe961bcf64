"""Fork again and again while threads and tasks use the backend; see `test_sqlite_failures`."""

import asyncio
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, ask, issue, owe, present

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Verdict

backend = SqliteBackend(Path(sys.argv[2]), now=START, timeout=30)
stop = threading.Event()
bad = []


def keep_settling(me: int) -> None:
    number = 0
    while not stop.is_set():
        try:
            bad.extend(
                {backend.settle(owe(f"{me} {number}", subject=f"{me}"), START)} - {Answer.OK}
            )
            bad.extend({backend.settle(ask(b"t"), START)} - {Answer.OK})
            backend.put(issue(f"{me} {number}", f"{me}"), START)
            bad.extend({backend.settle(present(f"{me} {number}"), START).verdict} - {Verdict.OK})
        except BackendError as error:
            bad.append(error)
        number += 1


threads = [threading.Thread(target=keep_settling, args=(me,)) for me in range(4)]
for thread in threads:
    thread.start()
for number in range(8):
    assert backend.settle(owe(f"before {number}"), START) is Answer.OK
    backend.put(issue(f"old {number}", "forks"), START)
    child = os.fork()
    if child == 0:
        old = issue(f"old {number}").name
        rotated = backend.rotate(old, issue(f"new {number}", "forks"), START).verdict
        answers = [backend.settle(owe(f"{word} {number}"), START) for word in ("before", "after")]
        answers.append(asyncio.run(backend.asettle(owe(f"after {number}"), START)))
        backend.close()
        assert rotated is Verdict.OK
        os._exit(0 if answers == [Answer.REPLAYED, Answer.OK, Answer.REPLAYED] else 1)
    ended = os.waitpid(child, 0)[1]
    seen = [
        backend.settle(owe(f"after {number}"), START).verdict,
        backend.settle(present(f"old {number}", "forks"), START).verdict,
        backend.settle(present(f"new {number}"), START).verdict,
    ]
    print(
        "ok"
        if ended == 0 and seen == [Verdict.REPLAYED, Verdict.REPLAYED, Verdict.OK]
        else f"child ended with {ended}"
    )
stop.set()
for thread in threads:
    thread.join(30)
backend.close()
assert not bad, bad
