"""
A projected volume as kubelet writes and updates it, and the manifests as what they say to do.

An update is a new directory named for its time, to which the link `..data` is turned in one step;
the names that a container sees are links through `..data` that never change (AtomicWriter in
Kubernetes, pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deployment.site import OPERATIONS

Document = dict[str, Any]


def documents() -> dict[str, Document]:
    """Return the manifests by their kind."""
    text = (OPERATIONS / "kubernetes.yaml").read_text(encoding="utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def pod() -> Document:
    """Return the pod's specification."""
    found: Document = documents()["Deployment"]["spec"]["template"]["spec"]
    return found


def payload(config: dict[str, str], secret: dict[str, str]) -> dict[str, str]:
    """Return what the pod's volume holds, by path, of a ConfigMap's and a Secret's data."""
    (volume,) = pod()["volumes"]
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        data = config if "configMap" in source else secret
        (one,) = source.values()
        items = one.get("items") or [{"key": key, "path": key} for key in data]
        files.update({item["path"]: data[item["key"]] for item in items})
    return files


@dataclass
class Volume:
    """
    The mounted directory.

    Attributes:
        directory: Where it is mounted.
        mode: The files' mode.
    """

    directory: Path
    mode: int
    _number: Any = field(default_factory=itertools.count, repr=False)

    def write(self, files: dict[str, str]) -> None:
        """Project *files*, all at once."""
        new = self.directory / f"..2026_11_26_10_00_0{next(self._number)}.123456789"
        for path, text in files.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(self.mode)
        data = self.directory / "..data"
        old = data.resolve() if data.exists() else None
        (self.directory / "..data_tmp").symlink_to(new.name)
        os.replace(self.directory / "..data_tmp", data)
        for name in {path.partition("/")[0] for path in files}:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)
