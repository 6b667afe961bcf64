"""The Python of a page, in a process of its own: runs blocks in one namespace, one JSON line each."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback


def main() -> None:
    """Read blocks from standard input until it ends; answer each on standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a block's children print must not be taken for an answer
    sys.path[0] = ""  # what a page saves can be imported, and nothing of this folder
    names: dict[str, object] = {"__name__": "__main__"}
    for line in sys.stdin:
        block = json.loads(line)
        os.environ.clear()
        os.environ.update(block["environ"])
        os.chdir(block["directory"])
        printed, failed = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                code = "\n" * (block["line"] - 1) + block["code"]
                exec(compile(code, block["page"], "exec", dont_inherit=True), names)
            except BaseException:
                failed = traceback.format_exc()
        answer = json.dumps({"printed": printed.getvalue(), "failed": failed}) + "\n"
        with os.fdopen(os.dup(answers), "w", encoding="utf-8") as pipe:
            pipe.write(answer)


if __name__ == "__main__":
    main()
