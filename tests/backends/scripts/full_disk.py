"""Spend nonces until the log may grow no more, then lift the limit; see `test_sqlite_failures`."""

import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

path = Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with closing(SqliteBackend(path, now=START)) as backend:
    assert backend.settle(owe("first"), START) is Answer.OK
    size = path.with_name(path.name + "-wal").stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
    spent = []
    refusals = 0
    while refusals < 5:
        try:
            name = f"{len(spent)} {refusals}"
            assert backend.settle(owe(name), START) is Answer.OK
            spent.append(name)
        except BackendError:
            refusals += 1
            print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert spent
    assert backend.settle(owe("room again"), START) is Answer.OK
    assert {backend.settle(owe(name), START) for name in spent} == {Answer.REPLAYED}
    print("recovered")
