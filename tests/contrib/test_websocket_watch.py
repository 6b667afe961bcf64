"""When an accepted WebSocket must be closed, at times that the test chooses; no server, no wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib.credentials import PUBKEY
from rpcguard import Request, Verifier
from rpcguard.contrib._sockets import Watch, offer

NOW = 1_760_000_000.0
REGISTRY = """\
version: 1
backend: "memory://?restart_guard=off"
projects:
  solana:
    preset: nodius
    wallets: open
    session: {secret: "a session secret of more than 32 bytes"}
"""
Check = Callable[[Watch], int | None]


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


@pytest.fixture
def verifier(tmp_path: Path, clock: list[float]) -> Iterator[Verifier]:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    with Verifier.from_yaml(path, clock=lambda: clock[0], environ={}, watch=False) as made:
        yield made


@pytest.fixture(params=["check", "acheck"])
def check(request: pytest.FixtureRequest) -> Check:
    def ask(watch: Watch) -> int | None:
        return watch.check() if request.param == "check" else asyncio.run(watch.acheck())

    return ask


@pytest.fixture
def token(verifier: Verifier) -> str:
    issued: str = verifier.issue("solana", PUBKEY)["token"]
    return issued


@pytest.fixture
def watch(verifier: Verifier, token: str) -> Watch:
    headers = [("Authorization", f"Bearer {token}")]
    request = Request("GET", "/", headers, b"", websocket=True)
    watch = Watch(request, 30.0)
    watch.add(verifier, None, None, verifier.verify(request))
    return watch


def test_it_waits_for_the_recheck_or_the_expiry_whichever_is_sooner(
    watch: Watch, clock: list[float]
) -> None:
    assert watch.wait() == 30.0
    clock[0] = NOW + 3590
    assert watch.wait() == 10.0
    clock[0] = NOW + 3700
    assert 0 < watch.wait() < 0.1


def test_a_good_session_stays_until_its_last_second(
    watch: Watch, clock: list[float], check: Check
) -> None:
    for later in (0, 30, 3599):
        clock[0] = NOW + later
        assert check(watch) is None
    clock[0] = NOW + 3600
    assert check(watch) == 1008


def test_expiry_needs_no_backend(
    watch: Watch, verifier: Verifier, clock: list[float], check: Check
) -> None:
    verifier._backend.close()
    clock[0] = NOW + 3600
    assert check(watch) == 1008


def test_a_revoked_token_is_refused(
    watch: Watch, verifier: Verifier, token: str, check: Check
) -> None:
    verifier.revoke("solana", token=token)
    assert check(watch) == 1008


def test_the_third_recheck_without_an_answer_is_the_last(
    watch: Watch, verifier: Verifier, check: Check
) -> None:
    verifier._backend.close()
    assert [check(watch) for _ in range(3)] == [None, None, 1013]


@pytest.mark.parametrize("silent", [1, 2])
def test_one_answer_starts_the_count_again(
    watch: Watch, verifier: Verifier, tmp_path: Path, silent: int, check: Check
) -> None:
    good = verifier._backend
    with Verifier.from_yaml(tmp_path / "registry.yaml", environ={}, watch=False) as other:
        bad = other._backend
    for _ in range(3):
        verifier._backend = bad
        assert [check(watch) for _ in range(silent)] == [None] * silent
        verifier._backend = good
        assert check(watch) is None


def test_an_error_that_is_ours_counts_as_no_answer(
    watch: Watch, verifier: Verifier, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "_backend", None)
        assert [check(watch) for _ in range(3)] == [None, None, 1013]
    assert "a recheck of a WebSocket failed" in caplog.text


def test_every_guard_is_asked(
    watch: Watch, verifier: Verifier, tmp_path: Path, check: Check
) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY + '    allow: {origins: ["https://good.example"]}\n')
    with Verifier.from_yaml(path, clock=lambda: NOW, environ={}, watch=False) as other:
        assert check(watch) is None
        watch.add(other, "solana", frozenset({"session"}), verifier.verify(watch.request))
        assert check(watch) == 1008  # its policy refuses the handshake now


@pytest.mark.parametrize(
    ("values", "plain", "carrier", "carries"),
    [
        ([], (), None, False),
        (["a, b"], ("a", "b"), None, False),
        (["auth.x"], (), "auth.x", True),
        (["a,auth.x ,b"], ("a", "b"), "auth.x", True),
        (["a", "auth.x", "b"], ("a", "b"), "auth.x", True),
        (["auth.x, auth.y"], (), "auth.x", True),
        (["auth."], (), None, True),
        (["auth.x\r\nSet-Cookie: a=b"], (), None, True),
        (["auth.x=", "a"], ("a",), None, True),
        (["authx.y, Auth.x, xauth.y"], ("authx.y", "Auth.x", "xauth.y"), None, False),
        ([", ,"], (), None, False),
    ],
)
def test_what_an_offer_holds(values: list[str], plain: Any, carrier: Any, carries: bool) -> None:
    found = offer(values)
    assert (found.plain, found.carrier, found.carries) == (plain, carrier, carries)


def test_a_printed_offer_shows_no_token() -> None:
    assert "secret" not in repr(offer(["auth.secret", "a"]))
