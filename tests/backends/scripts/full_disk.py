"""Spend nonces until the log may grow no more, then lift the limit; see `test_sqlite_failures`."""

import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.backends.sqlite_nonces import RECENT
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

path = Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with closing(SqliteBackend(path, now=START)) as backend:
    log = path.with_name(path.name + "-wal")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spent = []

    def spend(name: str) -> None:
        assert backend.settle(owe(name), START) is Answer.OK
        spent.append(name)

    def refuses(room: int) -> None:
        """Let the log grow by so many bytes, and spend until that is too little five times."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + room, hard))
        refusals = 0
        while refusals < 5:
            try:
                spend(f"{len(spent)} {refusals}")
            except BackendError:
                refusals += 1
                print("refused")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    backend.epoch(0)  # another connection, with which the log stays as long as it is
    spend("first")
    refuses(100_000)
    assert len(spent) > 1
    while len(spent) % RECENT:
        spend(f"recent {len(spent)}")
    held = len(spent)
    refuses(3_000)  # a page, and to move them takes more
    assert len(spent) == held
    spend("room again")
    assert {backend.settle(owe(name), START) for name in spent} == {Answer.REPLAYED}
    print("recovered")
