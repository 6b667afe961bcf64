"""A good edit reaches every worker within a second; a bad one changes nothing."""

from __future__ import annotations

import http.client
import logging
import os
import secrets
import subprocess
import sys
import textwrap
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from rpcguard import AuthError, ConfigError, Request, Verifier

SECRETS = {name: secrets.token_hex(32) for name in ("first", "second")}


def token(name: str) -> str:
    now = int(time.time())
    return jwt.encode({"iat": now, "exp": now + 600}, SECRETS[name], algorithm="HS256")


def registry(name: str) -> str:
    return textwrap.dedent(f"""\
        version: 1
        backend: memory://
        projects:
          bsc:
            preset: meganode
            revocation: false
            secrets: [{{id: {name}, secret: "${{env:SECRET_{name.upper()}}}"}}]
        """)


ENVIRON = {f"SECRET_{name.upper()}": value for name, value in SECRETS.items()}


def accepts(verifier: Verifier, name: str) -> bool:
    request = Request("POST", "/", [("Authorization", f"Bearer {token(name)}")])
    try:
        verifier.verify(request)
    except AuthError as error:
        assert error.reason == "invalid_credentials"
        return False
    return True


def eventually(check: Callable[[], bool]) -> bool:
    """Return whether *check* comes true; the bound says "not for ever", the bench measures times."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return False


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(registry("first"))
    return path


@pytest.fixture
def verifier(path: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(path, environ=ENVIRON) as verifier:
        yield verifier


def test_a_replaced_registry_is_used_and_its_old_key_is_gone(
    verifier: Verifier, path: Path
) -> None:
    assert accepts(verifier, "first")
    replace(path, registry("second"))
    assert eventually(lambda: accepts(verifier, "second"))
    assert not accepts(verifier, "first")


def test_a_registry_edited_in_place_is_used(verifier: Verifier, path: Path) -> None:
    path.write_text(registry("second"))
    assert eventually(lambda: accepts(verifier, "second"))


def test_a_symlink_swap_as_kubernetes_does_it_is_used(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "registry.yaml").write_text(registry(name))
        os.utime(
            tmp_path / name / "registry.yaml", (1, 1)
        )  # the same mtime, as Kubernetes may have it
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "registry.yaml").symlink_to("..data/registry.yaml")
    with Verifier.from_yaml(tmp_path / "registry.yaml", environ=ENVIRON) as verifier:
        assert accepts(verifier, "first")
        (tmp_path / "..new").symlink_to("second")
        os.replace(tmp_path / "..new", tmp_path / "..data")
        assert eventually(lambda: accepts(verifier, "second"))


def test_a_bad_edit_is_logged_and_the_last_good_registry_stays(
    verifier: Verifier, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "rpcguard"):
        replace(path, registry("second") + "  oops: [")
        assert eventually(lambda: "registry not reloaded" in caplog.text)
    assert accepts(verifier, "first")
    replace(path, registry("second"))
    assert eventually(lambda: accepts(verifier, "second"))


def test_a_bad_edit_is_repaired_by_the_file_it_lacks(verifier: Verifier, path: Path) -> None:
    text = registry("second").replace("${env:SECRET_SECOND}", "${file:late}")
    replace(path, text)
    (path.parent / "new").write_text(SECRETS["second"])
    (path.parent / "new").chmod(0o600)
    time.sleep(0.6)  # let the watcher meet the missing file
    os.replace(path.parent / "new", path.parent / "late")
    assert eventually(lambda: accepts(verifier, "second"))


def test_reload_raises_what_is_wrong_and_keeps_the_last_good_registry(path: Path) -> None:
    with Verifier.from_yaml(path, environ=ENVIRON, watch=False) as verifier:
        path.write_text(registry("second").replace("meganode", "meganodes"))
        with pytest.raises(ConfigError, match="meganode"):
            verifier.reload()
        assert accepts(verifier, "first")
        path.write_text(registry("second"))
        verifier.reload()
        assert accepts(verifier, "second")


class Awaited(UserDict[str, str]):
    """An environment whose first reader, once it is watched, waits."""

    def __init__(self) -> None:
        super().__init__(ENVIRON)
        self.entered, self.go = threading.Event(), threading.Event()
        self.watched = False

    def __getitem__(self, name: str) -> str:
        if self.watched and not self.entered.is_set():
            self.entered.set()
            assert self.go.wait(30)
        return super().__getitem__(name)


@pytest.mark.parametrize("watch", [True, False], ids=["watched", "by hand alone"])
def test_of_two_reloads_at_once_the_later_file_stays(path: Path, watch: bool) -> None:
    environ = Awaited()
    with Verifier.from_yaml(path, environ=environ, watch=watch) as verifier:
        environ.watched = True
        earlier = threading.Thread(target=verifier.reload)
        earlier.start()
        assert environ.entered.wait(30)  # the earlier one has read the first file
        replace(path, registry("second"))
        later = threading.Thread(target=verifier.reload)
        later.start()
        later.join(0.5)  # it would be through by now, if it did not wait
        environ.go.set()
        for thread in (earlier, later):
            thread.join(30)
            assert not thread.is_alive()
        assert accepts(verifier, "second")


FORK = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_reload as here
from rpcguard import Verifier
from rpcguard.registry import watcher

watcher._LONGEST_RELOAD = 0.05  # the reload under way does not end before the fork
environ = here.Awaited()
path = Path(sys.argv[2])
verifier = Verifier.from_yaml(path, environ=environ, watch=sys.argv[3] == "watch")
environ.watched = True
earlier = threading.Thread(target=verifier.reload)
earlier.start()
assert environ.entered.wait(30)
here.replace(path, here.registry("second"))
child = os.fork()
if child == 0:
    verifier.reload()
    os._exit(0 if here.accepts(verifier, "second") else 1)
ended = os.waitpid(child, 0)[1]
environ.go.set()
earlier.join(30)
verifier.close()
print(ended)
"""


@pytest.mark.parametrize("watch", ["watch", "by hand alone"])
def test_a_child_that_is_forked_during_a_reload_reloads_all_the_same(
    path: Path, watch: str
) -> None:
    arguments = [str(Path(__file__).parent), str(path), watch]
    done = subprocess.run(
        [sys.executable, "-c", FORK, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


APP = """
import os
import rpcguard
from flask import Flask
from rpcguard.contrib.flask import RPCGuard

app = Flask(__name__)
RPCGuard(app, os.environ["REGISTRY"])

@app.post("/")
@rpcguard.protect
def rpc():
    return str(os.getpid())
"""


@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "per worker"])
def test_every_worker_of_a_forking_server_takes_the_edit(path: Path, preload: bool) -> None:
    (path.parent / "workers_app.py").write_text(APP)
    options = [
        "--workers",
        "3",
        "--bind",
        "127.0.0.1:0",
        "--chdir",
        str(path.parent),
        "--no-control-socket",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, *(["--preload"] * preload), "workers_app:app"],
        env={**os.environ, **ENVIRON, "REGISTRY": str(path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        port = next(
            int(line.rpartition(":")[2].split()[0].rstrip(")"))
            for line in process.stderr
            if "Listening at" in line
        )

        def ask(name: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {"Authorization": f"Bearer {token(name)}"}
            connection.request("POST", "/", body=b"{}", headers=headers)
            response = connection.getresponse()
            answer = response.status, response.read().decode()
            connection.close()
            return answer

        workers: set[str] = set()
        assert eventually(lambda: len(workers.add(ask("first")[1]) or workers) == 3)
        replace(path, registry("second"))
        renewed: set[str] = set()

        def note() -> bool:
            status, worker = ask("second")
            renewed.update({worker} if status == 200 else ())
            return renewed == workers

        assert eventually(note)
        assert {ask("first")[0] for _ in range(20)} == {401}
    finally:
        process.terminate()
        process.communicate(timeout=60)
