"""The drivers: one clock, one generation, one question to the backend."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import pytest
from minting import CALL, NOW, OTHER_SECRET, SECRET, Wallet, bearer, hour, token

from rpcguard import AuthError, BackendError, ConfigError, Principal, Request, Verifier
from rpcguard.owed import Answer, Owed
from rpcguard.schemes.jws import parse

MEMORY = "memory://?restart_guard=off"
REGISTRY = f"""
version: 1
backend: {MEMORY}
projects:
  bsc:
    preset: meganode
    id: "the id"
    match: {{path: /v1}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
  solana:
    preset: nodius
    match: {{path: /solana}}
    wallets: open
"""
GOOD = bearer(token(hour()))


class Recorder:
    """A backend that answers *answer* and remembers the questions."""

    def __init__(self, answer: Answer | Exception = Answer.OK) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Owed, float]] = []
        self.closed = 0

    def settle(self, owed: Owed, now: float) -> Answer:
        return self._answer("settle", owed, now)

    async def asettle(self, owed: Owed, now: float) -> Answer:
        return self._answer("asettle", owed, now)

    def _answer(self, name: str, owed: Owed, now: float) -> Answer:
        self.asked.append((name, owed, now))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def revoke(self, revocations: Any, now: float) -> None:
        self.asked.append(("revoke", revocations, now))

    def close(self) -> None:
        self.closed += 1


def sync(verifier: Verifier, request: Request, body: bytes | None = None, **narrowed: Any):
    return verifier.verify(request, None if body is None else lambda limit: body, **narrowed)


def in_a_loop(verifier: Verifier, request: Request, body: bytes | None = None, **narrowed: Any):
    async def read(limit: int) -> bytes:
        assert body is not None
        return body

    return asyncio.run(verifier.averify(request, None if body is None else read, **narrowed))


DRIVERS = pytest.mark.parametrize("drive", [sync, in_a_loop], ids=["verify", "averify"])


def post(target: str = "/v1", headers: Any = GOOD, body: bytes | None = CALL) -> Request:
    return Request("POST", target, headers, body)


def refusal(drive: Any, *args: Any, **narrowed: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        drive(*args, **narrowed)
    return caught.value


# --- One request ------------------------------------------------------------------------------------


@DRIVERS
def test_a_good_request_gives_its_principal(guard, drive):
    principal = drive(guard(REGISTRY), post())
    assert isinstance(principal, Principal)
    assert (principal.project, principal.scheme) == ("bsc", "jwt")


@DRIVERS
def test_the_backend_is_asked_once_at_the_same_now(guard, drive):
    backend = Recorder()
    ticks = iter([NOW, NOW + 1000])
    verifier = guard(REGISTRY, backend=backend, clock=lambda: next(ticks))
    drive(verifier, post())
    ((name, owed, now),) = backend.asked
    assert name == ("settle" if drive is sync else "asettle")
    assert now == NOW
    assert (owed.project, owed.subject, owed.issued_at) == ("bsc", "a", NOW)
    assert len(owed.revocable) == 3
    assert owed.nonce is None


@DRIVERS
def test_nothing_owed_nothing_asked(guard, drive):
    backend = Recorder()
    text = REGISTRY.replace(
        "    match: {path: /v1}", "    match: {path: /v1}\n    revocation: false"
    )
    drive(guard(text, backend=backend), post())
    assert backend.asked == []


@DRIVERS
def test_a_refused_request_asks_nothing(guard, drive):
    backend = Recorder()
    verifier = guard(REGISTRY, backend=backend)
    for request in (post(headers=[]), post(headers=bearer("x")), post("/none"), post("//")):
        refusal(drive, verifier, request)
    assert backend.asked == []


@DRIVERS
@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (Answer.REVOKED, "revoked", 401),
        (Answer.REPLAYED, "replayed", 401),
        (Answer.FORGOTTEN, "expired", 401),
        (Answer.SUBJECT_FULL, "rate_limited", 429),
        (BackendError("down"), "backend_unavailable", 503),
    ],
)
def test_what_the_backend_says_is_final(guard, drive, answer, reason, status):
    error = refusal(drive, guard(REGISTRY, backend=Recorder(answer)), post())
    assert (error.reason, error.status, error.project) == (reason, status, "the id")


@DRIVERS
def test_a_project_and_the_kinds_of_credential_can_be_named(guard, drive):
    verifier = guard(REGISTRY)
    assert drive(verifier, post("/elsewhere"), project="bsc").project == "bsc"
    error = refusal(drive, verifier, post(), schemes=["signature"])
    assert error.reason == "missing_credentials"
    assert refusal(drive, verifier, post(), project="none").reason == "no_project"


# --- The body -------------------------------------------------------------------------------------

WALLET = Wallet()


@DRIVERS
def test_a_body_that_is_needed_is_read_once(guard, drive):
    verifier = guard(REGISTRY, backend=MEMORY)
    request = post("/solana", WALLET.v1(), None)
    assert drive(verifier, request, CALL).subject == WALLET.pubkey
    assert refusal(drive, verifier, request, CALL).reason == "replayed"


def test_read_body_gets_the_limit_and_is_called_at_most_once(guard):
    text = REGISTRY.replace("projects:", "bounds: {max_body: 1000}\nprojects:", 1)
    verifier = guard(text)
    limits: list[int] = []

    def read(limit: int) -> bytes:
        limits.append(limit)
        return CALL

    verifier.verify(post("/solana", WALLET.v1(), None), read)
    assert limits == [1000]


@DRIVERS
@pytest.mark.parametrize("pad", [10, 3000], ids=["remembered", "too long for that"])
def test_a_token_is_verified_once_also_where_the_body_is_wanted_then(
    guard, drive, pad, monkeypatch
):
    parsed = []

    def counting(*args: Any) -> Any:
        parsed.append(args)
        return parse(*args)

    monkeypatch.setattr("rpcguard.schemes.jwt.parse", counting)
    text = REGISTRY.replace("    match: {path: /v1}", "    allow: {methods: [eth_blockNumber]}")
    verifier, headers = guard(text), bearer(token(hour(pad="x" * pad)))
    drive(verifier, post("/v1", headers, None), CALL)
    assert len(parsed) == 1
    refused = refusal(drive, verifier, post("/v1", headers, None), CALL.replace(b"eth_", b"net_"))
    assert refused.reason == "forbidden_method"


@DRIVERS
def test_a_body_that_is_not_needed_is_not_read(guard, drive):
    def read(limit: int) -> bytes:
        raise AssertionError("read")

    verifier = guard(REGISTRY)
    verifier.verify(post(body=None), read)
    drive(verifier, post(body=None))


@DRIVERS
def test_a_refusal_to_read_has_the_form_of_the_project(guard, drive):
    verifier = guard(REGISTRY.replace("preset: nodius", "preset: nodius\n    refusals: bare"))
    request = post("/solana", WALLET.v1(), None)

    def read(limit: int) -> bytes:
        raise AuthError("body_too_large")

    async def aread(limit: int) -> bytes:
        return read(limit)

    with pytest.raises(AuthError) as caught:
        if drive is sync:
            verifier.verify(request, read)
        else:
            asyncio.run(verifier.averify(request, aread))
    error = caught.value
    assert (error.status, error.project, error.bare) == (413, "solana", True)


@DRIVERS
def test_a_reader_that_gives_too_much_is_refused(guard, drive):
    text = REGISTRY.replace("projects:", "bounds: {max_body: 10}\nprojects:", 1)
    error = refusal(drive, guard(text), post("/solana", WALLET.v1(), None), CALL)
    assert error.reason == "body_too_large"


@DRIVERS
def test_a_body_that_nobody_can_read_is_refused(guard, drive):
    error = refusal(drive, guard(REGISTRY), post("/solana", WALLET.v1(), None))
    assert (error.status, error.project) == (400, "solana")


@DRIVERS
def test_other_errors_of_a_reader_pass_through(guard, drive):
    verifier = guard(REGISTRY)

    def read(limit: int) -> bytes:
        raise ConnectionResetError

    async def aread(limit: int) -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        if drive is sync:
            verifier.verify(post("/solana", WALLET.v1(), None), read)
        else:
            asyncio.run(verifier.averify(post("/solana", WALLET.v1(), None), aread))
    drive(verifier, post("/solana", WALLET.v1()))  # and no nonce was spent


def test_wants_body(guard):
    verifier = guard(REGISTRY)
    assert verifier.wants_body(post("/solana", WALLET.v1(), None))
    assert not verifier.wants_body(post(body=None))
    assert verifier.wants_body(post("/x", WALLET.v1(), None), project="solana")


# --- Generations ----------------------------------------------------------------------------------


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_reload_is_in_use_from_the_next_request_on(guard, tmp_path):
    verifier = guard(REGISTRY)
    before = verifier.registry
    verifier.verify(post())
    rewrite(tmp_path / "registry.yaml", SECRET, OTHER_SECRET)
    verifier.verify(post())
    verifier.reload()
    assert refusal(sync, verifier, post()).reason == "invalid_credentials"
    verifier.verify(post(headers=bearer(token(hour(), OTHER_SECRET))))
    assert verifier.registry is not before


def test_a_bad_registry_is_refused_and_the_last_good_one_stays(guard, tmp_path):
    verifier = guard(REGISTRY)
    rewrite(tmp_path / "registry.yaml", "meganode", "meganod")
    with pytest.raises(ConfigError, match="meganode"):
        verifier.reload()
    verifier.verify(post())
    (tmp_path / "registry.yaml").unlink()
    with pytest.raises(ConfigError):
        verifier.reload()
    verifier.verify(post())


def test_one_request_is_judged_by_one_generation(guard, tmp_path):
    verifier = guard(REGISTRY)

    def read(limit: int) -> bytes:
        rewrite(tmp_path / "registry.yaml", "wallets: open", "wallets: []")
        verifier.reload()
        return CALL

    verifier.verify(post("/solana", WALLET.v1(), None), read)
    error = refusal(sync, verifier, post("/solana", WALLET.v1(nonce="1" * 16)))
    assert error.reason == "not_listed"


def test_revocations_and_nonces_outlive_a_reload(guard):
    verifier = guard(REGISTRY)
    verifier.verify(post("/solana", WALLET.v1()))
    verifier.revoke("bsc", key="a")
    verifier.reload()
    assert refusal(sync, verifier, post("/solana", WALLET.v1())).reason == "replayed"
    assert refusal(sync, verifier, post()).reason == "revoked"


# --- Loading --------------------------------------------------------------------------------------


def test_the_backend_of_the_registry_is_used_unless_another_is_given(guard):
    own = guard(REGISTRY)
    own.verify(post())
    backend = Recorder()
    guard(REGISTRY, backend=backend).verify(post())
    assert len(backend.asked) == 1


def test_environ_is_where_variables_are_looked_up(guard):
    text = REGISTRY.replace(f'"{SECRET}"', '"${env:BSC_SECRET}"')
    guard(text, environ={"BSC_SECRET": SECRET}).verify(post())
    with pytest.raises(ConfigError, match="BSC_SECRET"):
        guard(text, environ={})


@pytest.mark.parametrize("backend", ["redis:/x", "memory:///x", "postgres://x", "sqlite://", ""])
def test_a_wrong_backend_is_an_error_at_load(guard, backend):
    with pytest.raises(ConfigError, match="backend"):
        guard(REGISTRY, backend=backend)


def test_a_missing_file_is_an_error_at_load(tmp_path):
    with pytest.raises(ConfigError):
        Verifier.from_yaml(tmp_path / "none.yaml", watch=False)


def test_a_path_may_be_a_string(tmp_path):
    (tmp_path / "r.yaml").write_text(REGISTRY, encoding="utf-8")
    with Verifier.from_yaml(str(tmp_path / "r.yaml"), clock=lambda: NOW, watch=False) as verifier:
        verifier.verify(post())


def test_the_projects_of_the_registry_can_be_seen(guard):
    projects = guard(REGISTRY).registry.projects
    assert [(name, p.id) for name, p in projects.items()] == [
        ("bsc", "the id"),
        ("solana", "solana"),
    ]
    assert [scheme.name for scheme in projects["bsc"].schemes] == ["jwt"]
    assert [scheme.name for scheme in projects["solana"].schemes] == ["signature", "api_key"]


def test_closing_twice_is_harmless(tmp_path):
    backend = Recorder()
    path = tmp_path / "r.yaml"
    path.write_text(REGISTRY, encoding="utf-8")
    with Verifier.from_yaml(path, backend=backend, clock=lambda: NOW) as verifier:
        verifier.verify(post())
    verifier.close()
    assert backend.closed >= 1


# --- Revoking -------------------------------------------------------------------------------------


def test_there_must_be_something_to_revoke(guard):
    verifier = guard(REGISTRY)
    with pytest.raises(ValueError, match="name a subject"):
        verifier.revoke("bsc")
    with pytest.raises(ValueError, match="jti"):
        verifier.revoke("bsc", jti="x")
    with pytest.raises(LookupError, match="none"):
        verifier.revoke("none", key="a")


# --- Logging --------------------------------------------------------------------------------------


def test_a_refusal_is_logged_with_its_measured_detail_and_without_the_credential(guard, caplog):
    verifier = guard(REGISTRY)
    text = token(hour(exp=NOW - 7))
    with caplog.at_level(logging.DEBUG):
        refusal(sync, verifier, post(headers=bearer(text)))
    assert "reason=expired" in caplog.text
    assert "7.000 s" in caplog.text
    assert text not in caplog.text
    for part in text.split("."):
        assert part not in caplog.text


def test_a_line_of_the_log_is_one_line_whatever_the_caller_sends(guard, caplog):
    verifier = guard(REGISTRY)
    with caplog.at_level(logging.DEBUG):
        for kid in ("x\r\nforged", "\x1b[2J", "\u2028"):
            refusal(sync, verifier, post(headers=bearer(token(hour(), kid=kid))))
        refusal(sync, verifier, post("/v1/\r\nforged"))
    for record in caplog.records:
        assert record.getMessage().isprintable()


def test_a_refusal_carries_no_input(guard):
    verifier = guard(REGISTRY)
    text = token(hour(marker="needle", exp=NOW), kid="a")
    error = refusal(sync, verifier, post(headers=bearer(text)))
    shown = [str(error), repr(error), error.message, error.detail, error.cause, *error.challenges]
    assert not any("needle" in part or text[:20] in part for part in shown)
    assert error.__cause__ is None


@pytest.mark.parametrize("now", [float("nan"), 0.0, -1.0])
def test_a_clock_that_gives_no_time_lets_nobody_in(guard, now):
    verifier = guard(
        """
        version: 1
        backend: memory://
        projects:
          a: {preset: meganode, secrets: [{id: s, secret: ssssssssssssssssssssssssssssssss}]}
        """,
        now=now,
    )
    token = jwt.encode({"iat": 1, "exp": 2}, "s" * 32, "HS256")
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", "/", [("Authorization", f"Bearer {token}")], b""))
    assert caught.value.reason == "backend_unavailable"


def test_a_subclass_that_judges_otherwise_is_asked_for_every_request(tmp_path):
    class Loud(Verifier):
        def close(self):
            super().close()

    class Strict(Verifier):
        def verify(self, request, *args, **options):
            raise AuthError("not_listed")

    class AlsoStrict(Verifier):
        async def averify(self, request, *args, **options):
            raise AuthError("not_listed")

    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    headers = [*GOOD, ("Host", "a")]
    values = ("/v1", "a", GOOD[0][1].encode())
    for kind, knows in ((Verifier, True), (Loud, True), (Strict, False), (AlsoStrict, False)):
        with kind.from_yaml(path, clock=lambda: NOW, watch=False) as verifier:
            for drive in (sync, in_a_loop):
                with suppress(AuthError):
                    drive(verifier, post(headers=headers))
            found = (verifier.known(*values), asyncio.run(verifier.aknown(*values)))
            assert [each is not None for each in found] == [knows, knows]
