"""`rpcguard keys add`, `list` and `remove`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rpcguard.cli.keys import edits
from rpcguard.cli.keys.edits import LayoutError
from rpcguard.cli.keys.making import Made, Wanted, make
from rpcguard.cli.keys.replacing import ChangedError, editing, read_text, replaced
from rpcguard.cli.opened import STDIN, RefusalError, answered
from rpcguard.cli.output import complain, say, say_json
from rpcguard.registry import schema
from rpcguard.registry.merge import examine

MEMBERS = {"keys": ("kid", "auth_key"), "secrets": ("id",), "api_keys": ("id",)}
_BY_HAND = (
    "this part of the file is laid out in a way that is not edited for you (an alias, perhaps):"
    " nothing was written; edit it by hand"
)
_NOTES = {
    "public": "the registry reads it",
    "secret": "the registry reads it; the caller needs a copy",
    "api-key": "for the caller: the registry has its digest alone; move it",
    **dict.fromkeys(("rsa", "ec", "ed25519"), "for the caller: no server needs it; move it"),
}
_CHANGED = "the file was changed by somebody else meanwhile: nothing was written; try again"


def add(file: Path, project: str, wanted: Wanted, *, as_json: bool) -> int:
    """
    Make a key and register it; return the exit code.

    Args:
        file: The registry.
        project: Name of the project.
        wanted: What to add.
        as_json: Print JSON.

    Raises:
        OSError: If something cannot be written.
    """
    printed = wanted.out == STDIN

    def work() -> dict[str, Any] | None:
        with editing(file):
            read_text(file)  # what is wrong with the YAML comes before what is asked
            made = make(file.parent, project, _model(file, project), wanted)
            done = _document(file, project, made, printed=printed)

            def edit(text: str) -> str:
                return edits.added(text, project, made.member, made.entry)

            def ready() -> None:  # what could not be printed would be registered and lost
                if printed:
                    _print_private(done, as_json=as_json)

            with _written(file, made):
                _replace(file, edit, ready)
        return None if printed and as_json else done

    return answered(file, work, _show_added, as_json=as_json)


def remove(file: Path, project: str, kid: str, *, as_json: bool) -> int:
    """
    Take a key out of the registry; return the exit code.

    Args:
        file: The registry.
        project: Name of the project.
        kid: Id of the key, in whichever list it stands.
        as_json: Print JSON.

    Raises:
        OSError: If the registry cannot be written.
    """

    def work() -> dict[str, Any]:
        with editing(file):
            found, index, count = _find(file, project, kid)
            _replace(file, lambda text: edits.removed(text, project, found, index))
        return {"removed": kid, "project": project, "list": found, "left": count - 1}

    def show(done: dict[str, Any]) -> None:
        say(f"Removed from {project}: {kid}. What it proves is refused within a second.")
        if not done["left"]:
            say(f"`{done['list']}: []` is left behind, which lets nobody in.")

    return answered(file, work, show, as_json=as_json)


def _replace(
    file: Path, edit: Callable[[str], str], ready: Callable[[], None] = lambda: None
) -> None:
    try:
        replaced(file, edit, os.environ, ready)
    except LayoutError:
        raise RefusalError(_BY_HAND) from None
    except ChangedError:
        raise RefusalError(_CHANGED) from None


def _model(file: Path, project: str) -> schema.Project:
    found = examine(file, os.environ)
    projects = found.registry.projects if found.registry is not None else {}
    if project in projects:
        return projects[project]
    known = ", ".join(projects) or "none that can be read"
    raise RefusalError(f"no project {project!r} (there are {known})")


def _find(file: Path, project: str, kid: str) -> tuple[str, int, int]:
    """Return the list with the entry *kid*, its position there and the length of the list."""
    try:
        projects = edits.plain(read_text(file)).get("projects")
    except LayoutError:
        raise RefusalError(_BY_HAND) from None
    model = projects.get(project) if isinstance(projects, dict) else None
    if not isinstance(model, dict):
        raise RefusalError(f"no project {project!r}")
    found = [
        (name, index, len(entries))
        for name, ids in MEMBERS.items()
        if isinstance(entries := model.get(name), list)
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and kid in [entry.get(key) for key in ids]
    ]
    if len(found) != 1:
        number = f"{len(found)} entries" if found else "no entry"
        raise RefusalError(f"project {project!r} has {number} {kid!r}")
    return found[0]


@contextlib.contextmanager
def _written(registry: Path, made: Made) -> Iterator[None]:
    """Write the files of *made*; if what follows fails, they go again."""
    owner = registry.stat()
    done: list[Path] = []
    made_here: list[Path] = []
    try:
        for path, text, mode in (
            (made.private_file, made.private, 0o600),
            (made.public_file, made.public, 0o644),
        ):
            if path is None or not text:
                continue
            if _make_directory(path.parent, owner):
                made_here.append(path.parent)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                raise RefusalError(f"{path} exists: nothing is overwritten") from None
            done.append(path)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(handle, mode)
                _give(handle, owner)
                os.fsync(handle)
        yield
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        for directory in made_here:
            directory.rmdir()
        raise


def _make_directory(directory: Path, owner: os.stat_result) -> bool:
    """Make *directory* where it is missing; return whether it was."""
    if directory.exists():
        return False
    directory.mkdir(mode=0o700)
    _give(directory, owner)
    return True


def _give(target: int | Path, owner: os.stat_result) -> None:
    """Give a new file to the registry's *owner*: the server must read what root makes."""
    if owner.st_uid != os.geteuid():
        os.chown(target, owner.st_uid, owner.st_gid)


def _document(registry: Path, project: str, made: Made, *, printed: bool) -> dict[str, Any]:
    files = {
        "private": made.private_file if made.private else None,
        "public": made.public_file if made.public else None,
    }
    document: dict[str, Any] = {
        "kid": made.kid,
        "project": project,
        "list": made.member,
        "type": made.type,
        "alg": made.alg or None,
        "registry": str(registry),
        "files": {kind: str(path) for kind, path in files.items() if path is not None},
    }
    return {**document, "private": made.private.rstrip("\n")} if printed else document


def _print_private(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(done)
    else:
        sys.stdout.write(done["private"] + "\n")
        sys.stdout.flush()


def _show_added(done: dict[str, Any]) -> None:
    what = f"{done['alg']} {done['type']}" if done["alg"] else done["type"]
    notes = [f"{what} added to {done['list']} of {done['project']} in {done['registry']}"]
    if "private" in done:
        notes.append(f"  kid: {done['kid']}")
    else:
        say(done["kid"])
    for kind, path in done["files"].items():
        note = _NOTES["public" if kind == "public" else done["type"]]
        notes.append(f"  {kind} part: {path} ({note})")
    complain(*notes)
