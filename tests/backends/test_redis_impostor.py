"""Somebody in the place of the server who sends what no server would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from backends.kinds import HERE, START, owe
from backends.redis_opened import opened
from rpcguard.backends.base import Backend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

ABOUT = b"run_id:one\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
GREETING = b"$%d\r\n%b\r\n" % (len(ABOUT), ABOUT) * 2


class Impostor:
    """Greets as a server does, and answers whatever is asked then with *data*, over and over."""

    def __init__(self, data: bytes, pause: float | None) -> None:
        self._data = data
        self._pause = pause
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._threads:
            each.join(30)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(10)
            asked = b""
            while asked.count(b"INFO") < 2:
                asked += client.recv(4096)
            client.sendall(GREETING)
            client.recv(1 << 20)
            client.sendall(self._data)
            while self._pause is not None and not self._ended.wait(self._pause):
                client.sendall(self._data[-1:] if self._pause else self._data[-1:] * 65536)
            client.recv(1 << 20)


@contextmanager
def asking_impostor(data: bytes, pause: float | None = None) -> Iterator[Backend]:
    with (
        closing(Impostor(data, pause)) as impostor,
        opened(impostor.port, timeout="250ms") as backend,
    ):
        yield backend


WRONG = {
    "no number": b":x\r\n",
    "deep": b"*1\r\n" * 5000,
    "long": b"*99999999999\r\n",
    "large": b"$99999999999\r\n",
    "less than none": b"$-7\r\n",
    "a push": b">1\r\n:0\r\n",
    "no text": b"*2\r\n:0\r\n$2\r\n\xff\xff\r\n",
    "a number for a text": b"*2\r\n:0\r\n:5\r\n",
    "nothing": b"*0\r\n",
    "another verdict": b":99\r\n",
    "a redirection to a socket": b"-ASK 7 /run/somebody:0\r\n",
    "a redirection to no port": b"-ASK 7 somebody:99999999\r\n",
    "a redirection to no host": b"-ASK 7 some\x00body:1\r\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_server_says_is_a_refusal(driver: Callable[..., Answer], name: str) -> None:
    with asking_impostor(WRONG[name]) as backend:
        with pytest.raises(BackendError):
            driver(backend, owe("n"), START)
        with pytest.raises(BackendError):
            backend.epoch(HERE)
        with pytest.raises(BackendError):
            backend.spent("p", "s", [b"n"], START)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("data", [b"+x", b"-x", b"$1000000\r\nx", b"*9\r\n+x", b":1"])
@pytest.mark.parametrize("pause", [0.02, 0])
def test_an_answer_that_never_ends_is_waited_for_no_longer_than_one_that_never_comes(
    driver: Callable[..., Answer], data: bytes, pause: float
) -> None:
    with asking_impostor(data, pause) as backend, pytest.raises(BackendError):
        driver(backend, owe("n"), START)


def test_a_server_is_believed_where_it_greets_so() -> None:
    """The others would pass too if the greeting were refused already."""
    with asking_impostor(b":0\r\n") as backend:
        assert backend.settle(owe("n"), START) is Answer.OK
