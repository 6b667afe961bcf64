"""Fork while the forking thread itself has a question under way; see `test_sqlite_failures`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

backend = SqliteBackend(Path(sys.argv[2]), now=START, timeout=0.01)
assert backend.settle(owe("n"), START) is Answer.OK
lane = backend._writers[0]
assert lane.try_take()  # as a signal handler that forks would find it
child = os.fork()
if child == 0:
    try:
        backend.settle(owe("n"), START)
    except BackendError:
        print("child-refused", flush=True)
    backend.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
lane.give()
if backend.settle(owe("n"), START) is Answer.REPLAYED:
    print("parent-ok")
backend.close()
