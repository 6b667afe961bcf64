"""Time that passes when a test says so."""

from __future__ import annotations

START = 1_760_000_000.0  # 2025-10-09T08:53:20Z


class FrozenClock:
    """
    A clock for `Verifier.from_yaml(..., clock=...)` and for signers.

    Attributes:
        now: Unix seconds; set it, or `advance` it.
    """

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; negative ones go back."""
        self.now += seconds

    def __repr__(self) -> str:
        return f"FrozenClock({self.now!r})"
