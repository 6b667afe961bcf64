"""
What metrics of many processes need of gunicorn: `gunicorn --config gunicorn_metrics.py …`, with
PROMETHEUS_MULTIPROC_DIR set to a directory that is gunicorn's alone.

Tried with gunicorn 27 and prometheus_client 0.26, two workers, with and without `--preload`, in
tests/observers/test_prometheus_workers.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

# Before the application is loaded, also where it is preloaded: the files of the last start would be
# counted once more.
_directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
_directory.mkdir(parents=True, exist_ok=True)
for _file in _directory.glob("*.db"):
    _file.unlink()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Forget the gauges of a worker that has ended; what it has counted stays."""
    mark_process_dead(worker.pid)
