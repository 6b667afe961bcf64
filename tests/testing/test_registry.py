"""The registries of `rpcguard.testing`, and their ready credentials."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rpcguard import AuthError, ConfigError, Request, Verifier
from rpcguard.client.session import challenge_body, verify_body
from rpcguard.testing import FrozenClock, RegistryBuilder
from rpcguard.testing.callers import MAKERS

ORDER = b'{"currency":"USD","amount":1,"orderId":"o"}'


def sent(ready, clock, target="/", body=ORDER, method="POST") -> Request:
    headers = ready.headers(method, target, body, now=clock())
    return Request(method, target, list(headers.items()), body)


@pytest.mark.parametrize("preset", MAKERS)
def test_every_presets_caller_is_let_in(rpcguard_registry, rpcguard_clock, preset):
    ready = rpcguard_registry.project("p", preset)
    verifier = rpcguard_registry.verifier(rpcguard_clock)
    principal = verifier.verify(sent(ready, rpcguard_clock))
    assert (principal.project, principal.subject) == ("p", ready.subject)


def test_settings_are_those_of_the_yaml_file(rpcguard_registry, rpcguard_clock):
    bots = rpcguard_registry.project(
        "bots", match={"path": "/bots"}, issuer="https://id.example.com", audience=["a", "b"],
        require_https=True, leeway="5s",
    )  # fmt: skip
    evm = rpcguard_registry.project(
        "evm", "allthatnode", audience_suffix="allthatnode.com", max_keys=1
    )
    rs = rpcguard_registry.project("rs", "meganode-rs256", match={"path": "/rs"}, audience="mine")
    pay = rpcguard_registry.project("pay", "oppiwallet", match={"path": ["/a", "/b"]})
    verifier = rpcguard_registry.verifier(rpcguard_clock)
    assert verifier.verify(sent(bots, rpcguard_clock, "/bots/x")).claims["aud"] == "a"
    assert verifier.verify(sent(evm, rpcguard_clock)).project == "evm"
    assert verifier.verify(sent(rs, rpcguard_clock, "/rs")).project == "rs"
    assert verifier.verify(sent(pay, rpcguard_clock, "/b")).project == "pay"
    with pytest.raises(AuthError, match="https_required"):
        verifier.verify(Request("POST", "/bots", [], b"", scheme="http"))


def test_time_passes_when_the_test_says_so(rpcguard_registry, rpcguard_clock):
    ready = rpcguard_registry.project("p", "meganode")
    verifier = rpcguard_registry.verifier(rpcguard_clock)
    request = sent(ready, rpcguard_clock)
    rpcguard_clock.advance(3599)
    assert verifier.verify(request).project == "p"
    rpcguard_clock.advance(1)
    with pytest.raises(AuthError, match="expired"):
        verifier.verify(request)
    assert repr(FrozenClock(1.0)) == "FrozenClock(1.0)"


def test_a_wallet_signs_in(rpcguard_registry, rpcguard_clock):
    ready = rpcguard_registry.project("p", "nodius")
    verifier = rpcguard_registry.verifier(rpcguard_clock)

    def post(route, body):
        return verifier.serve(route, Request("POST", route, [], body))

    challenge = post("/auth/challenge", challenge_body(ready.wallet))["challenge"]
    token = post("/auth/verify", verify_body(ready.wallet, challenge))["token"]
    request = Request("POST", "/", [("Authorization", f"Bearer {token}")], b"")
    assert verifier.verify(request).scheme == "session"
    with pytest.raises(AuthError, match="replayed"):
        again = sent(ready, rpcguard_clock)
        verifier.verify(again)
        verifier.verify(again)


def test_two_builders_share_nothing(rpcguard_clock):
    with RegistryBuilder() as one, RegistryBuilder() as other:
        ready = one.project("p")
        other.project("p")
        with pytest.raises(AuthError, match="invalid_credentials"):
            other.verifier(rpcguard_clock).verify(sent(ready, rpcguard_clock))


def test_a_registry_can_be_written_for_what_needs_a_file(
    tmp_path, rpcguard_registry, rpcguard_clock
):
    ready = rpcguard_registry.project("p", "meganode")
    path = rpcguard_registry.write(tmp_path)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "keys").iterdir()} == {0o600}
    with Verifier.from_yaml(path, clock=rpcguard_clock, watch=False) as verifier:
        assert verifier.verify(sent(ready, rpcguard_clock)).project == "p"


def test_what_is_wrong_is_said(rpcguard_registry):
    with pytest.raises(ValueError, match="preset must be one of bearer"):
        rpcguard_registry.project("p", "nothing")
    rpcguard_registry.project("p", colour="red")
    with pytest.raises(ConfigError, match="unknown key"):
        rpcguard_registry.verifier()


def test_no_repr_shows_a_secret(rpcguard_registry):
    for preset in MAKERS:
        ready = rpcguard_registry.project(preset, preset)
        assert len(repr(ready)) < 400
        for secret in rpcguard_registry._files.values():
            assert secret not in repr(ready)


def test_importing_it_loads_no_framework_and_no_pytest():
    code = (
        "import sys, rpcguard.testing\n"
        "print(sorted({'pytest', 'fastapi', 'flask', 'aiohttp', 'typer', 'httpx'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
