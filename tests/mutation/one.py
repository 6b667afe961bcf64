"""
Mutates one file: `python -m mutation.one FILE`, in a folder of its own, where what is known stays
for the next time. `make mutation` calls it; see `mutation.__main__`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mutmut.__main__ import _run, create_mutants
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir

from mutation.explained import explained
from mutation.files import SOURCE
from mutation.mutants import ASIDE, KILLED, mutants_of, results_path


def main(name: str) -> None:
    """Make the mutants of the file *name* and run those of which nothing is known yet."""
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(1)
    if _set_aside(name):
        _run((), 1)


def _set_aside(name: str) -> bool:
    """Leave out what is only wording, take up again what lived, and say whether any are to run."""
    mutated = Path("mutants", SOURCE, name)
    known = explained().get(name, {})
    kept = results_path(mutated)
    data = json.loads(kept.read_text())
    results = data["exit_code_by_key"]
    for mutant in mutants_of(mutated):
        if mutant.is_wording:
            results[mutant.name] = ASIDE
        elif mutant.result not in KILLED and not (mutant.result == 0 and mutant.key in known):
            results[mutant.name] = None
    kept.write_text(json.dumps(data))
    return None in results.values()


if __name__ == "__main__":
    main(sys.argv[1])
