"""Fork again and again while threads and tasks use the backend; see `test_sqlite_failures`."""

import asyncio
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, ask, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

backend = SqliteBackend(Path(sys.argv[2]), now=START, timeout=5)
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
        except BackendError as error:
            bad.append(error)
        number += 1


threads = [threading.Thread(target=keep_settling, args=(me,)) for me in range(4)]
for thread in threads:
    thread.start()
for number in range(8):
    assert backend.settle(owe(f"before {number}"), START) is Answer.OK
    child = os.fork()
    if child == 0:
        answers = [backend.settle(owe(f"{word} {number}"), START) for word in ("before", "after")]
        answers.append(asyncio.run(backend.asettle(owe(f"after {number}"), START)))
        backend.close()
        os._exit(0 if answers == [Answer.REPLAYED, Answer.OK, Answer.REPLAYED] else 1)
    ended = os.waitpid(child, 0)[1]
    print(
        "ok"
        if ended == 0 and backend.settle(owe(f"after {number}"), START) is Answer.REPLAYED
        else f"child ended with {ended}"
    )
stop.set()
for thread in threads:
    thread.join(30)
backend.close()
assert not bad, bad
