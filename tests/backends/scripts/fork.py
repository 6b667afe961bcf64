"""Fork with a backend in use; see `test_sqlite_failures`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from backends.kinds import START, ask, owe

from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.owed import Answer

path = Path(sys.argv[2])
backend = SqliteBackend(path, now=START, timeout=10)
assert backend.settle(owe("before"), START) is Answer.OK
assert backend.settle(ask(b"t"), START) is Answer.OK
go_read, go_write = os.pipe()
from_child, to_parent = os.pipe()
child = os.fork()
won = [n for n in range(300) if backend.settle(owe(str(n)), START) is Answer.OK]
replayed = backend.settle(owe("before"), START) is Answer.REPLAYED
if child == 0:
    os.write(to_parent, (" ".join(map(str, won)) + f" {replayed}\n").encode())
    os.read(go_read, 1)
    backend.close()
    os._exit(0)
*theirs, their_replayed = os.read(from_child, 65536).decode().split()
assert replayed
assert their_replayed == "True"
if sorted([*won, *map(int, theirs)]) == list(range(300)):
    print("won-once")
backend.close()
again = SqliteBackend(path, now=START)
if {again.settle(owe(str(n)), START) for n in range(300)} == {Answer.REPLAYED}:
    print("whole")
# The child's own locks stand on the file: a child of a fork with an open connection has none.
inode = str(path.stat().st_ino)
locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
held = {line[4] for line in locks if line[5].rpartition(":")[2] == inode}
if str(child) in held:
    print("locked-by-child")
os.write(go_write, b"x")
assert os.waitpid(child, 0)[1] == 0
again.close()
