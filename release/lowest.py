"""
Prints the lowest versions that pyproject.toml promises to work with, as pip constraints.

Of the package's own dependencies and extras; what those depend on is left to pip. Each must be said
as `name>=version`, or this fails: a promise without a floor could not be tested.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_PROMISE = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?>=([0-9.]+)(?:,<[0-9.]+)?")


def lowest(project: dict[str, object]) -> dict[str, str]:
    """
    Return the floor of each dependency by its name.

    Args:
        project: The table `project` of pyproject.toml.

    Raises:
        ValueError: If a dependency has no floor, or two.
    """
    floors: dict[str, str] = {}
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(project["dependencies"], list)
    for text in [*project["dependencies"], *(text for extra in extras.values() for text in extra)]:
        if text.startswith(f"{project['name']}["):
            continue
        promise = _PROMISE.fullmatch(text)
        if promise is None:
            raise ValueError(f"no floor in {text!r}")
        name, floor = promise.groups()
        if floors.setdefault(name, floor) != floor:
            raise ValueError(f"two floors of {name}")
    return floors


def main() -> None:
    """Print the constraints."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for name, floor in lowest(project).items():
        print(f"{name}=={floor}")


if __name__ == "__main__":
    main()
