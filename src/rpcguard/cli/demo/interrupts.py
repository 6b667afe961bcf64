"""Ctrl-C and the ending signals, as `KeyboardInterrupt` at a moment that can bear it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """
    Turns the ending signals into one `KeyboardInterrupt`, even where the shell had them ignored.

    Inside `held` they wait, so that no process is started without being remembered and nothing cuts
    a clean-up short. Once one was raised, further ones are ignored: the end is under way.
    """

    def __init__(self) -> None:
        self._holds = 0
        self._arrived = False
        self._raised = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take the signals over, and give them back at the end."""
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.signal(number, self._take) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._arrived = True
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._arrived and not self._raised and not self._holds:
            self._raised = True
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait until the end of the block; then one that came is raised."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        self._raise_if_due()
