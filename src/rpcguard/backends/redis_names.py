"""
Looks up the names of servers, so that nobody waits longer for one than he has time.

The system's resolver has no bound: with a name server that is silent, a look-up takes as long as
`resolv.conf` says, half a minute perhaps. So a thread of ours makes one before each connection, one
at a time for each name, and all who need it wait for the same one. redis-py looks the name up again
while it connects, right after an answer has come; it must have the name, which TLS verifies.
"""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import Future
from ipaddress import ip_address

_lock = threading.Lock()
_running: dict[str, Future[None]] = {}


def looked_up(host: str) -> Future[None] | None:
    """
    Return a look-up of *host* that is under way; it never fails. None if there is none to make.

    Args:
        host: A name, an address, or the path of a Unix socket.
    """
    if host.startswith("/"):
        return None
    try:
        ip_address(host)
    except ValueError:
        return _begun(host)
    return None


def _begun(host: str) -> Future[None]:
    with _lock:
        running = _running.get(host)
        if running is None:
            running = Future()
            running.set_running_or_notify_cancel()  # who gives up waiting does not end it
            thread = threading.Thread(
                target=_look_up, args=(host, running), name="rpcguard-names", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter shuts down, or has no thread to give
                running.set_result(None)
            else:
                _running[host] = running
        return running


def _look_up(host: str, running: Future[None]) -> None:
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        pass  # who connects is told
    finally:
        with _lock:
            _running.pop(host, None)
        running.set_result(None)


def _start_anew() -> None:
    # The child has neither the threads nor who held the lock.
    global _lock, _running
    _lock, _running = threading.Lock(), {}


os.register_at_fork(after_in_child=_start_anew)
