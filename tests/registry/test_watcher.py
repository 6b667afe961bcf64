"""Edits of real files are noticed once each, and never half done."""

from __future__ import annotations

import gc
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rpcguard.errors import ConfigError
from rpcguard.registry.files import Files, look
from rpcguard.registry.merge import examine
from rpcguard.registry.watcher import Watcher

TICK = 0.02  # seconds; file times are coarser than a test is fast
PATIENCE = 12
PATIENT = 60  # seconds until a test is a hang


class Owner:
    """What a verifier is to a watcher: it knows its files, and reads them when they changed."""

    def __init__(self, *paths: Path) -> None:
        self.paths: tuple[str, ...] = tuple(map(str, paths))
        self.reads: queue.Queue[list[str]] = queue.Queue()

    def files(self) -> tuple[str, ...]:
        return self.paths

    def changed(self) -> None:
        self.reads.put([Path(p).read_text() if Path(p).is_file() else "" for p in self.paths])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text("old")
    time.sleep(TICK)
    return path


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    """Return a starter of watchers that are stopped in the end."""
    started = []

    def watch(owner: Any, poll: float = TICK) -> Watcher:
        watcher = Watcher(owner.files, owner.changed, poll)
        started.append(watcher)
        watcher.start()
        return watcher

    yield watch
    for watcher in started:
        watcher.stop()


def polled(owner: Owner) -> Callable[[], list[list[str]]]:
    """Return a function that polls once, by hand, and returns what the owner read then."""
    watcher = Watcher(owner.files, owner.changed)
    watcher.look()

    def poll() -> list[list[str]]:
        watcher.look()
        return [owner.reads.get() for _ in range(owner.reads.qsize())]

    return poll


def replace(path: Path, text: str) -> None:
    draft = path.with_name(".draft")
    draft.write_text(text)
    draft.replace(path)


def test_a_replaced_file_is_reported_at_the_next_poll_and_once(file: Path) -> None:
    poll = polled(Owner(file))
    assert poll() == []
    replace(file, "new")
    assert poll() == [["new"]]
    assert [poll() for _ in range(5)] == [[]] * 5


def test_a_file_changed_in_place_is_reported_when_two_more_polls_saw_it_unchanged(
    file: Path,
) -> None:
    poll = polled(Owner(file))
    file.write_text("new")
    assert [poll() for _ in range(5)] == [[], [], [["new"]], [], []]


def test_a_file_that_is_being_written_is_not_read(file: Path) -> None:
    poll = polled(Owner(file))
    with file.open("w") as writing:
        for part in ("one ", "two ", "three"):
            writing.write(part)
            writing.flush()
            time.sleep(TICK)
            assert poll() == []
            assert poll() == []
    assert [poll() for _ in range(3)] == [[["one two three"]], [], []]


def test_an_edit_that_keeps_size_and_modification_time_is_noticed(file: Path) -> None:
    poll = polled(Owner(file))
    before = file.stat()
    file.write_text("new")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [poll() for _ in range(3)] == [[], [], [["new"]]]


def test_a_narrowed_mode_is_noticed(file: Path) -> None:
    poll = polled(Owner(file))
    file.chmod(0o600)
    assert [poll() for _ in range(4)] == [[], [], [["old"]], []]


def test_a_vanished_file_is_a_change_and_its_return_another(file: Path) -> None:
    poll = polled(Owner(file))
    file.unlink()
    assert [poll() for _ in range(4)] == [[], [], [[""]], []]
    file.write_text("back")
    assert [poll() for _ in range(4)] == [[], [], [["back"]], []]


def test_an_editor_that_removes_and_writes_anew_is_one_change(file: Path) -> None:
    poll = polled(Owner(file))
    file.unlink()
    assert poll() == []
    file.write_text("new")
    assert [read for _ in range(5) for read in poll()] == [["new"]]


def test_a_missing_file_that_appears_is_a_change(file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "secret"
    poll = polled(Owner(file, missing))
    assert poll() == []
    missing.write_text("s")
    assert [poll() for _ in range(4)] == [[], [], [["old", "s"]], []]


def test_a_second_edit_while_the_first_settles_is_one_change(file: Path) -> None:
    poll = polled(Owner(file))
    file.write_text("new")
    assert [poll(), poll()] == [[], []]
    time.sleep(TICK)
    file.write_text("newer")
    assert [poll() for _ in range(4)] == [[], [], [["newer"]], []]


def test_a_replaced_file_waits_for_another_that_is_being_written(
    file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "secret"
    other.write_text("whole")
    time.sleep(TICK)
    poll = polled(Owner(file, other))
    other.write_text("ha")
    replace(file, "new")
    assert poll() == []
    time.sleep(TICK)
    other.write_text("half no more")
    assert [poll() for _ in range(4)] == [[], [], [["new", "half no more"]], []]


def test_a_file_that_never_comes_to_rest_does_not_hold_up_the_others(
    file: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("")
    poll = polled(Owner(file, log))
    replace(file, "new")
    reads = []
    for polls in range(2 * PATIENCE):
        log.write_text("x" * polls)
        reads += poll()
    assert [text for text, _ in reads] == ["new"]


def volume(tmp_path: Path, *versions: str) -> Path:
    """Return a file as Kubernetes mounts it: a link through `..data`; all times are the same."""
    for version in versions:
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "registry.yaml").write_text(version)
        os.utime(tmp_path / f"..{version}" / "registry.yaml", ns=(10**18, 10**18))
    (tmp_path / "..data").symlink_to(f"..{versions[0]}")
    path = tmp_path / "mounted.yaml"
    path.symlink_to("..data/registry.yaml")
    return path


def swap(tmp_path: Path, version: str) -> None:
    (tmp_path / "..data_tmp").symlink_to(f"..{version}")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")


def test_a_swapped_link_is_a_replaced_file_though_no_time_changes(tmp_path: Path) -> None:
    path = volume(tmp_path, "v1", "v2")
    poll = polled(Owner(path))
    swap(tmp_path, "v2")
    shutil.rmtree(tmp_path / "..v1")
    assert [poll(), poll()] == [[["v2"]], []]


def test_a_swapped_link_to_the_same_inode_is_no_change(tmp_path: Path) -> None:
    path = volume(tmp_path, "v1")
    (tmp_path / "..v2").mkdir()
    os.link(tmp_path / "..v1/registry.yaml", tmp_path / "..v2/registry.yaml")
    poll = polled(Owner(path))
    swap(tmp_path, "v2")
    assert [poll() for _ in range(4)] == [[]] * 4


def test_the_files_are_asked_for_anew(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    time.sleep(TICK)
    owner = Owner(file)
    poll = polled(owner)
    replace(other, "unwatched")
    assert poll() == []
    owner.paths = (str(other),)
    assert poll() == []
    replace(other, "watched")
    replace(file, "no more")
    assert poll() == [["watched"]]


def test_an_edit_between_reading_and_watching_is_not_lost(file: Path, tmp_path: Path) -> None:
    file.write_text("version: 1\nprojects: {p: {preset: bearer, id: '${file:id}'}}")
    owner = Owner()
    owner.paths = examine(file, {}).files
    (tmp_path / "id").write_text("x")
    poll = polled(owner)
    assert [read for _ in range(4) for read in poll()] == [[file.read_text(), "x"]]


def test_what_a_reload_has_read_is_not_reported_again(file: Path) -> None:
    owner = Owner(file)
    poll = polled(owner)
    replace(file, "new")
    owner.paths = Files({str(file): look(str(file))})
    assert [poll() for _ in range(4)] == [[]] * 4


def test_files_of_an_older_and_a_newer_load_are_watched_together(
    file: Path, tmp_path: Path
) -> None:
    other = str(tmp_path / "other")
    old = Files({str(file): look(str(file))})
    replace(file, "new")
    both = old.also(Files({str(file): look(str(file)), other: None}))
    assert both == (str(file), other)
    assert both.stamps[str(file)] == look(str(file)) != old.stamps[str(file)]
    assert old.also((other,)).stamps == {**old.stamps, other: None}


def test_the_thread_reports_what_the_polls_see(file: Path, watch: Any) -> None:
    owner = Owner(file)
    watch(owner)
    replace(file, "replaced")
    assert owner.reads.get(timeout=PATIENT) == ["replaced"]
    time.sleep(TICK)
    with file.open("r+") as writing:  # in one step: a busy machine may stop between two
        writing.write("in place")
    assert owner.reads.get(timeout=PATIENT) == ["in place"]
    with pytest.raises(queue.Empty):
        owner.reads.get(timeout=10 * TICK)


def test_what_is_raised_is_logged_without_its_text_and_the_thread_lives(
    file: Path, watch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner(file)
    read = owner.changed

    class Failing(Owner):
        def changed(self) -> None:
            read()
            raise ValueError("hunter2")

    failing = Failing(file)
    watch(failing)
    for text in ("one", "two"):
        replace(file, text)
        assert owner.reads.get(timeout=PATIENT) == [text]
    (record,) = [r for r in caplog.records if r.name == "rpcguard.registry"]
    assert record.levelno == logging.ERROR
    assert "ValueError at " in record.getMessage()
    assert "hunter2" not in caplog.text


def test_a_config_error_is_logged_as_it_is(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ConfigError("no such preset")

    watcher = Watcher(lambda: (str(file),), fail)
    watcher.look()
    replace(file, "new")
    watcher.look()
    assert "no such preset" in caplog.text


def test_it_stops_at_once_and_twice(file: Path) -> None:
    others = set(threading.enumerate())
    watcher = Watcher(lambda: (str(file),), lambda: None, poll=3600)
    watcher.start()
    watcher.start()
    started = set(threading.enumerate()) - others
    (thread,) = [each for each in started if each.name == "rpcguard-watcher"]
    assert thread.daemon
    watcher.stop()
    watcher.stop()
    assert not thread.is_alive()


def test_it_can_be_stopped_by_what_it_calls(file: Path) -> None:
    done = threading.Event()

    def stop() -> None:
        watcher.stop()
        done.set()

    watcher = Watcher(lambda: (str(file),), stop, poll=TICK)
    watcher.start()
    replace(file, "new")
    assert done.wait(PATIENT)


def test_it_starts_again_after_a_stop(file: Path, watch: Any) -> None:
    owner = Owner(file)
    watcher = watch(owner)
    watcher.stop()
    replace(file, "missed by nobody")
    watcher.start()
    assert owner.reads.get(timeout=PATIENT) == ["missed by nobody"]


def test_the_thread_ends_with_its_owner(file: Path) -> None:
    owner = Owner(file)
    watcher = Watcher(owner.files, owner.changed, poll=3600)
    watcher.start()
    thread = watcher._thread
    assert thread is not None
    del owner
    gc.collect()
    thread.join(PATIENT)
    assert not thread.is_alive()
    watcher.look()


FORK = """
import os, sys, threading, time
from pathlib import Path
from rpcguard.registry.watcher import Watcher

path = Path(sys.argv[1])
lock = threading.Lock()
seen = threading.Event()
busy = threading.Event()

class Owner:
    def files(self): return (str(path),)
    def changed(self):
        with lock:  # what a reload holds; a child made now would find it locked for ever
            busy.set()
            time.sleep(0.3)
        if path.read_text() == "last":
            seen.set()

def replace(text):
    path.with_name("draft").write_text(text)
    path.with_name("draft").replace(path)

owner = Owner()
watcher = Watcher(owner.files, owner.changed, 0.02)
watcher.start()
replace("first")
assert busy.wait(30)
child = os.fork()
if child == 0:
    ok = lock.acquire(timeout=30)
    lock.release()
    os._exit(0 if ok and seen.wait(30) else 1)
replace("last")
ok = seen.wait(30)
_, status = os.waitpid(child, 0)
watcher.stop()
print(ok, os.waitstatus_to_exitcode(status))
"""


def test_a_child_watches_on_after_a_fork_even_in_the_middle_of_a_reload(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(file)],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True 0\n", "")
