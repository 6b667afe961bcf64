"""Ctrl-C and the ending signals, as `KeyboardInterrupt` at a moment that can bear it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """
    Turns the ending signals into `KeyboardInterrupt`, even where the shell had them ignored.

    Inside `held` they wait, so that no process is started without being remembered and nothing cuts
    a clean-up short.
    """

    def __init__(self) -> None:
        self._holds = 0
        self._pending = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take the signals over, and give them back at the end."""
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.signal(number, self._arrived) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._holds:
            self._pending = True
        else:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait until the end of the block; then one that came is raised."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._pending and not self._holds:
            self._pending = False
            raise KeyboardInterrupt
