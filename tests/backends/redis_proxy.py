"""What stands between a backend and its server in some tests: it loses answers, or speaks TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes on what it gets; the next answers can be lost, and their connections with them."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._lose = 0
        self._mute: set[socket.socket] = set()
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._spawn(self._accept)

    def lose(self, answers: int) -> None:
        """Close the connection instead of passing on each of the next *answers*."""
        with self._lock:
            self._lose = answers

    def mute(self) -> None:
        """Pass nothing on any more over the connections that there are; new ones are good."""
        self._mute.update(self._sockets)

    def cut(self) -> None:
        """Close the connections that there are; new ones are good."""
        for client in self._clients:
            client.shutdown(socket.SHUT_RDWR)

    def say(self, data: bytes) -> None:
        """Send *data* to all clients, as if the server had."""
        for client in self._clients:
            client.sendall(data)

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _spawn(self, work: object, *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            self._sockets.append(client)
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            self._clients.append(client)
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets.append(server)
            self._spawn(self._pump, client, server, False)
            self._pump(server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source in self._mute:
                    continue
                if answers and self._loses():
                    break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _loses(self) -> bool:
        with self._lock:
            if not self._lose:
                return False
            self._lose -= 1
            return True


@contextmanager
def proxied(target: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    proxy = Proxy(target, tls)
    try:
        yield proxy
    finally:
        proxy.close()
