"""Where a value stands in its file: from the steps that lead to it to a `Problem` that says so."""

from __future__ import annotations

from rpcguard.errors import Problem
from rpcguard.registry.nodes import Items, Mapping, Node, Path, Place, Text, show


class Places:
    """
    Builds problems that know their file, line, column and key.

    Called with the steps from the root, such as ``("projects", "bsc", "secrets", 0, "secret")``. A
    value that is not there is placed at the nearest one around it that is.
    """

    def __init__(self, root: Node) -> None:
        """Take the tree that the steps lead through."""
        self._root = root

    def __call__(self, loc: Path, message: str, *, warning: bool = False) -> Problem:
        """
        Return the problem *message* at *loc*.

        Args:
            loc: Steps from the root.
            message: What is wrong; never a value.
            warning: Whether the registry still loads.
        """
        _, place, path = self.find(loc)
        return Problem(message, *place, show(path), warning=warning)

    def key(self, loc: Path, message: str) -> Problem:
        """Return the problem *message* at the key, not the value, that *loc* leads to."""
        around, place, path = self.find(loc[:-1])
        if isinstance(around, Mapping):
            place = around.keys.get(str(loc[-1]), place)
        return Problem(message, *place, show((*path, *loc[-1:])))

    def node(self, loc: Path) -> Node | None:
        """Return the value at *loc*, or None if there is none."""
        return self.find(loc)[0]

    def original(self, loc: Path) -> Path:
        """Return *loc* with list positions as they are in the file."""
        return self.find(loc)[2]

    def find(self, loc: Path) -> tuple[Node | None, Place, Path]:
        """Return the value at *loc* or None, where it stands, and *loc* as the file has it."""
        node: Node | None = self._root
        place = self._root.place
        path: list[str | int] = []
        for step in loc:
            if isinstance(node, Text) and step == 0:
                continue  # one value in the place of a list
            path.append(_position(node, step))
            child = node.child(step) if node else None
            if isinstance(node, Mapping) and isinstance(step, str) and step in node.keys:
                place = node.keys[step]
                if isinstance(child, Text) and child.text is not None:
                    place = child.place
            elif child is not None:
                place = child.place
            node = child
        return node, place, tuple(path)


def _position(node: Node | None, step: str | int) -> str | int:
    if isinstance(node, Items) and node.numbers is not None and isinstance(step, int):
        return node.numbers[step]
    return step
