"""
Mutates one file: `python -m mutation.one FILE`, in a folder of its own, where what is known stays
for the next time. `make mutation` calls it; see `mutation.__main__`.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import mutmut.workers.isolation
from mutmut.__main__ import _run, create_mutants
from mutmut.runners.harness import BadTestExecutionCommandsException, PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir
from mutmut.workers.isolation import get_mutant_runner

from mutation.explained import explained
from mutation.files import SOURCE
from mutation.mutants import ASIDE, KILLED, mutants_of, results_path

SUSPICIOUS = 35  # mutmut's number


class Tests(PytestRunner):
    """Runs whole test functions: pytest does not find each parameter's id again by its name."""

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        functions = dict.fromkeys(test.partition("[")[0] for test in tests)
        _forget()
        try:
            return super().run_tests(mutant_name=mutant_name, tests=functions)
        except BadTestExecutionCommandsException:
            return SUSPICIOUS  # raised on, it would count as a kill


def _forget() -> None:
    """Empty the caches, which hold what the code said before it was a mutant."""
    modules = [module for name, module in sys.modules.items() if name.startswith("rpcguard")]
    for held in [held for module in modules for held in vars(module).values()]:
        if isinstance(held, functools._lru_cache_wrapper):
            held.cache_clear()


def main(name: str) -> None:
    """Make the mutants of the file *name* and run those of which nothing is known yet."""
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(1)
    if _set_aside(name):
        mutmut.workers.isolation.PytestRunner = Tests
        _run((), 1)
        if not _passes_without_a_mutant():
            results_path(Path("mutants", SOURCE, name)).unlink()
            sys.exit("the tests fail without a mutant too, run as they are for each mutant")


def _passes_without_a_mutant() -> bool:
    runner = get_mutant_runner()
    runner.submit("none", list(state().duration_by_test), 240, 240.0)
    return runner.wait_for_result().exit_code == 0


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
