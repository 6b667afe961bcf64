"""
What is looked at on the way to a verdict, in order, for whoever asks why (`rpcguard explain`).

The rules note what they are about to check where they check it, so that no second account of them
exists. Nobody else asks: without a trace a check costs one comparison with None more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Step:
    """
    One check.

    Attributes:
        check: Its name, such as "signature".
        fact: What it looks at and its limit, measured; never input that could be a secret.
        seconds: For a time: how far ahead of now it is; negative when it has passed.
    """

    check: str
    fact: str = ""
    seconds: float | None = None


class Trace:
    """
    The checks of one request.

    Attributes:
        steps: In order. Each is noted before it is made: a refusal is that of the last one.
    """

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def note(self, check: str, fact: str = "") -> None:
        """Note that *check* comes next."""
        self.steps.append(Step(check, fact))

    def time(self, check: str, ahead: float, limit: str) -> None:
        """Note that *check* comes next, of a time that is *ahead* seconds from now."""
        where = "ahead" if ahead >= 0 else "behind"
        self.steps.append(Step(check, f"{abs(ahead):.3f} s {where}; {limit}", ahead))

    def found(self, fact: str) -> None:
        """Add to the last check what it found."""
        last = self.steps[-1]
        self.steps[-1] = replace(last, fact="; ".join(filter(None, [last.fact, fact])))
