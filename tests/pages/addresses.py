"""The ports that a page shows, and the free ones that stand for them while it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from backends.redis_servers import free_port


def _free_port(page: str) -> int:
    """Return a free port that is no number of the *page* already, such as that of an order."""
    while str(port := free_port()) in page:
        pass
    return port


class Addresses:
    """Puts real ports in the place of those shown, and back."""

    def __init__(self, shown: Iterable[int], page: str) -> None:
        self._real = {port: _free_port(page) for port in sorted(set(shown))}
        self._aliases: list[str] = []

    def add_alias(self, host: str) -> None:
        """Let https://*host* mean the server at port 8000."""
        self._aliases.append(host)

    def port(self, shown: int) -> int:
        """Return the port that stands for *shown*."""
        return self._real[shown]

    def real(self, text: str) -> str:
        """Return *text* with the ports that are listened on."""
        for host in self._aliases:
            for scheme in ("http", "ws"):
                text = text.replace(f"{scheme}s://{host}", f"{scheme}://127.0.0.1:8000")
        for shown, real in self._real.items():
            text = re.sub(rf"(?<![\d.]){shown}(?!\d)", str(real), text)
        return text

    def shown(self, text: str) -> str:
        """Return *text* as a page shows it."""
        for shown, real in self._real.items():
            text = re.sub(rf"(?<![\d.]){real}(?!\d)", str(shown), text)
        for host in self._aliases:
            for scheme in ("http", "ws"):
                text = text.replace(f"{scheme}://127.0.0.1:8000", f"{scheme}s://{host}")
        return text
