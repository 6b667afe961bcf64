"""How both harnesses run: bounded in time and memory, from seeds that they write themselves."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

SECONDS = os.environ.get("FUZZ_SECONDS", "60")


def run(one_input: Callable[[bytes], None], seeds: Iterable[bytes], longest: int) -> None:
    """
    Fuzz *one_input* for `FUZZ_SECONDS`; ends the process, with an error if an input broke it.

    Args:
        one_input: Takes one input; whatever it raises is a finding.
        seeds: What to begin with.
        longest: Bytes of an input.
    """
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())
    root.setLevel(logging.DEBUG)  # the audit trail is built, and printed nowhere
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        limits = [f"-max_total_time={SECONDS}", f"-max_len={longest}", "-timeout=10"]
        limits += ["-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], str(corpus)], one_input)
        atheris.Fuzz()
