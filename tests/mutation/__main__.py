"""
Runs mutmut over the files that decide, one after the other: `make mutation`, or one of them:
`make mutation FILE=owed.py`. What is known of a mutant is kept in `.mutation` and not asked again
while its function stays as it is; `rm -r .mutation` begins anew.

Fails if a mutant lives that `explained.txt` does not explain, or one is killed that it does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mutation.explained import explained
from mutation.files import FILES, ROOT, SOURCE
from mutation.mutants import ASIDE, KILLED, Mutant, mutants_of

SETTINGS = """

[tool.mutmut]
source_paths = ["src"]
only_mutate = ["{file}"]
also_copy = ["examples"]
pytest_add_cli_args_test_selection = {tests}
# The same examples every time: a mutant that lives by luck is a test to write.
pytest_add_cli_args = [
  "-p", "no:cacheprovider", "--hypothesis-seed=0",
  "-k", "not no_public_way",  # mutmut's own names would be public
]
use_git_change_detection = false
timeout_multiplier = 10.0
"""


def main(names: list[str]) -> int:
    """Return the exit code."""
    totals = [0, 0, 0, 0, 0]
    for name in names:
        folder = ROOT / ".mutation" / name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        _lay_out(folder, name)
        if not _run(folder, name):
            print(f"{name}: could not be run; see {folder}/log")
            return 1
        counts = _report(name, mutants_of(folder / "mutants" / SOURCE / name))
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
    _tell("all", totals)
    return 1 if totals[-1] else 0


def _lay_out(folder: Path, name: str) -> None:
    """Make *folder* a project for mutmut, of which one file is mutated."""
    for link in ("src", "tests", "examples"):
        (folder / link).unlink(missing_ok=True)
        (folder / link).symlink_to(ROOT / link)
    tests = [f"tests/{test}" for test in FILES[name]]
    settings = SETTINGS.format(file=SOURCE / name, tests=json.dumps(tests))
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings)
    (folder / "mutants").mkdir(exist_ok=True)
    shutil.rmtree(folder / "mutants/tests", ignore_errors=True)
    (folder / "mutants/mutmut-stats.json").unlink(missing_ok=True)  # which test runs what


def _run(folder: Path, name: str) -> bool:
    command = [sys.executable, "-m", "mutation.one", name]
    paths = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths},
            stdout=log,
            stderr=log,
        )
    return done.returncode == 0


def _report(name: str, mutants: list[Mutant]) -> list[int]:
    """Print what is wrong in the file *name*, and return the counts."""
    known = explained().get(name, {})
    aside = [mutant for mutant in mutants if mutant.result == ASIDE]
    killed = [mutant for mutant in mutants if mutant.result in KILLED]
    lived = [mutant for mutant in mutants if mutant not in aside and mutant not in killed]
    left = [mutant for mutant in lived if mutant.key not in known]
    live = {mutant.key for mutant in lived}
    wrong = [mutant for mutant in killed if mutant.key in known and mutant.key not in live]
    gone = known.keys() - {mutant.key for mutant in mutants}
    for mutant in left:
        _show(name, "lives", *mutant.key)
    for mutant in wrong:
        _show(name, "is explained, and killed", *mutant.key)
    for change in gone:
        _show(name, "is explained, and no mutant", *change)
    counts = [len(mutants), len(killed), len(aside), len(lived) - len(left)]
    counts.append(len(left) + len(wrong) + len(gone))
    _tell(name, counts)
    return counts


def _show(
    name: str, what: str, function: str, removed: tuple[str, ...], added: tuple[str, ...]
) -> None:
    print(f"# {what}")
    print("\n".join([f"@ {name} {function}", *(f"- {line}" for line in removed)]))
    print("\n".join([*(f"+ {line}" for line in added), ""]))


def _tell(name: str, counts: list[int]) -> None:
    told = "{}: {} mutants, {} killed, {} of wording alone, {} explained, {} left"
    print(told.format(name, *counts), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(FILES)))
