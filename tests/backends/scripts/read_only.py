"""Use a store that may be read and not written; see `test_sqlite_failures`."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, ask, issue, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Revocation

directory = Path(sys.argv[2])
path = directory / "store.db"
backend = SqliteBackend(path, now=START)
backend.settle(owe("n"), START)
backend.put(issue("a"), START)
backend.before_fork()  # drops its connections: the next question opens one
backend.after_fork_in_parent()
path.chmod(0o444)
directory.chmod(0o555)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

for question in (
    lambda: backend.settle(owe("n"), START),
    lambda: backend.settle(owe("m"), START),
    lambda: asyncio.run(backend.asettle(owe("m"), START)),
    lambda: backend.revoke([Revocation(b"t")], START),
    lambda: backend.put(issue("b"), START),
    lambda: backend.rotate(issue("a").name, issue("b"), START),
    lambda: backend.drop(0, issue("a").slot, START),
):
    try:
        question()
        print("answered")
    except BackendError:
        print("refused")
with contextlib.suppress(BackendError):  # may work where the log's companions are still there
    backend.settle(ask(b"t"), START)
backend.close()
try:
    SqliteBackend(path, now=START)
    print("opened")
except ConfigError:
    print("not opened")
