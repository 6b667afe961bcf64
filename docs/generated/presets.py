"""Every shipped preset, word for word."""

from __future__ import annotations

from importlib.resources import files

from rpcguard.registry.presets import shipped


def presets() -> str:
    """Return a section for each preset."""
    folder = files("rpcguard") / "presets"
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in shipped()}
    return "\n".join(f"## {name}\n\n```yaml\n{text}```\n" for name, text in texts.items())
