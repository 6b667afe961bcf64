"""Paths as they may be shown and logged: without their query, and without any API key."""

from __future__ import annotations

from collections.abc import Iterable

from rpcguard.errors import AuthError
from rpcguard.project import Project
from rpcguard.target import matched_depth, split


class ShownPaths:
    """
    Hides the keys that callers put into paths. Immutable and shared by all threads.

    Attributes:
        keys_in_path: Whether any project reads keys there.
    """

    def __init__(self, projects: Iterable[Project]) -> None:
        """
        Args:
            projects: All of the registry.
        """
        keyed = [project for project in projects if project.keys_in_path]
        self.keys_in_path = bool(keyed)
        self._key_prefixes = frozenset(
            prefix for project in keyed for prefix in project.prefixes if prefix
        )

    def shown(self, target: str, found: Project | None) -> str | None:
        """
        Return the path of *target* as it may be shown; None where that cannot be told.

        Args:
            target: The raw target of a request.
            found: The project that the request was judged by; None if it has none.
        """
        path = target.partition("?")[0]
        try:
            decoded = split(target)[1]
        except AuthError:
            found = None
        if found is None:
            # where it is meant for cannot be told, and so neither whether it holds a key
            return None if self.keys_in_path else path
        depth = self._key_depth(found, decoded)
        if depth is not None:
            *shown, rest = path.split("/", depth + 1)
            path = "/".join([*shown, "<key>"]) if len(shown) > depth and rest else path
        return path

    def _key_depth(self, found: Project, path: str) -> int | None:
        """
        Return behind how many segments of *path* a key may stand, None for nowhere: of the project
        that was *found*, or of the one it is meant for, where a route or the Host led elsewhere.
        """
        own = matched_depth(path, found.prefixes)
        meant = matched_depth(path, self._key_prefixes) if self._key_prefixes else None
        if meant is not None and meant >= (own or 0):
            return meant
        return own if found.keys_in_path else None
