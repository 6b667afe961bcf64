"""The issuing routes in FastAPI, Flask and aiohttp, behind their real servers, on every backend."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from backends.kinds import SHARED_STORES, STORES, Kind
from contrib.wire import Answer, Headers, chunked_request, request
from minting import Wallet, bearer

from issuing.apps import CREATE, FRAMEWORKS, running
from issuing.site import ALICE, BOB, SECRETS, proof, registry
from rpcguard import AuthError, Request
from rpcguard.backends.open import open_backend
from rpcguard.issuing import MAX_BODY, ROUTES
from rpcguard.verifier import Verifier

SOLANA = registry(
    "wallets: open\nmatch: {path: [/solana, /ws/solana]}", ", refresh: rotating, refresh_ttl: 1d"
)
SECOND = SOLANA.partition("projects:\n")[2].replace("solana", "other.net").replace("sol-1", "sol-2")
BARE = SECOND.replace("other.net", "bare").replace("sol-2", "sol-3")
BARE = BARE.replace(
    "    id: sol-3", "    id: sol-3\n    refusals: bare\n    refusal: {status: 403, code: -32013}"
)

MOUNTS: list[dict[str, Any]] = [
    {"project": "solana"},
    {"project": "other.net", "prefix": "/second"},
    {"project": "bare", "prefix": "/third/level"},
]


def _write(directory: Path, text: str, kind: Kind = STORES[0]) -> Path:
    url = kind.url(directory)
    if not kind.shared:  # it refuses the signatures of the second in which it starts
        url += "?restart_guard=off"
    if kind.spread:  # so does a store that is new
        open_backend(url, now=time.time() - 60, base=directory).close()
    path = directory / "registry.yaml"
    path.write_text(f'{text}\nbackend: "{url}"\n', encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(
    scope="module",
    params=[(framework, kind) for framework in FRAMEWORKS for kind in STORES],
    ids=lambda param: f"{param[0]}-{param[1].name}",
)
def port(
    request: pytest.FixtureRequest, environment: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    framework, kind = request.param
    directory = tmp_path_factory.mktemp(f"{framework}-{kind.name}")
    path = _write(directory, f"{SOLANA}\n{SECOND}\n{BARE}", kind)
    mounts = MOUNTS
    if framework == "flask":  # other.net: see test_a_project_whose_name_has_a_dot
        mounts = [MOUNTS[0], MOUNTS[2]]
    with running(framework, path, *mounts) as port:
        yield port


def _post(port: int, route: str, body: Any = b"", headers: Headers | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(port, "POST", route, headers or [], raw)


def _sign_in(port: int, wallet: Wallet, prefix: str = "") -> dict[str, Any]:
    answer = _post(port, f"{prefix}/auth/challenge", {"pubkey": wallet.pubkey})
    assert answer.status == 200
    text = answer.json["challenge"]
    answer = _post(port, f"{prefix}/auth/verify", proof(text, wallet, challenge=text))
    assert answer.status == 200
    return answer.json


def _signed(wallet: Wallet, target: str, body: bytes = b"") -> Headers:
    # Rounded up: memory:// refuses a proof from before its own start, which may be in this second
    now = math.ceil(time.time())
    return wallet.v2("POST", target, body, timestamp=now, nonce=token_hex(8))


def test_the_whole_life_of_a_session(port):
    answer = _post(port, "/auth/challenge", {"pubkey": ALICE.pubkey})
    assert (answer.status, list(answer.json)) == (200, ["challenge"])
    assert answer.one("content-type") == "application/json"
    assert answer.one("cache-control") == "no-store"
    body = proof(answer.json["challenge"])
    answer = _post(port, "/auth/verify", body)
    session = answer.json
    assert list(session) == ["token", "expiresAt", "refreshToken", "refreshExpiresAt"]
    assert answer.one("cache-control") == "no-store"
    assert abs(session["expiresAt"] - time.time() - 3600) < 60
    again = _post(port, "/auth/verify", body)
    assert (again.status, again.reason) == (401, "replayed")
    headers = bearer(session["token"])
    assert _post(port, "/solana", b"{}", headers).json == {
        "subject": ALICE.pubkey,
        "project": "solana",
        "scheme": "session",
    }
    renewed = _post(port, "/auth/refresh", {"refreshToken": session["refreshToken"]}).json
    assert _post(port, "/solana/x", b"{}", bearer(renewed["token"])).status == 200
    answer = _post(port, "/auth/logout", b"", bearer(renewed["token"]))
    assert (answer.status, answer.json) == (200, {"revoked": True})
    for token in (session["token"], renewed["token"]):
        refused = _post(port, "/solana", b"{}", bearer(token))
        assert (refused.status, refused.reason) == (401, "revoked")
    answer = _post(port, "/auth/refresh", {"refreshToken": renewed["refreshToken"]})
    assert (answer.status, answer.reason) == (401, "invalid_credentials")
    assert answer.all("www-authenticate")
    assert _post(port, "/auth/logout", b"", bearer(renewed["token"])).status == 401


def test_the_whole_life_of_an_api_key(port):
    wallet = Wallet(200)
    first = _post(port, "/account/api-key", b"", _signed(wallet, "/account/api-key"))
    assert (first.status, list(first.json)) == (200, ["apiKey"])
    key = first.json["apiKey"]
    assert _post(port, "/solana", b"{}", bearer(key)).json == {
        "subject": wallet.pubkey,
        "project": "solana",
        "scheme": "api_key",
    }
    signed = _signed(wallet, "/account/api-key", b'{"a": 1}')
    second = _post(port, "/account/api-key", b'{"a": 1}', signed).json["apiKey"]
    answer = _post(port, "/account/api-key", b'{"a": 1}', signed)
    assert (answer.status, answer.reason) == (401, "replayed")
    assert _post(port, "/solana", b"{}", bearer(key)).reason == "invalid_credentials"
    assert _post(port, "/solana", b"{}", bearer(second)).status == 200


def test_a_session_is_no_credential_for_an_api_key(port):
    headers = bearer(_sign_in(port, Wallet(201))["token"])
    answer = _post(port, "/account/api-key", b"", headers)
    assert (answer.status, answer.reason) == (401, "missing_credentials")


def test_the_routes_below_a_prefix_belong_to_their_project(port):
    wallet = Wallet(202)
    session = _sign_in(port, wallet, "/third/level")
    headers = bearer(session["token"])
    assert _post(port, "/bare", b"{}", headers).json["project"] == "bare"
    assert _post(port, "/solana", b"{}", headers).status == 401
    assert _post(port, "/auth/logout", b"", headers).status == 401
    route = "/third/level/account/api-key"
    key = _post(port, route, b"", _signed(wallet, route)).json["apiKey"]
    assert _post(port, "/bare", b"{}", bearer(key)).status == 200
    assert _post(port, "/solana", b"{}", bearer(key)).status == 401
    # What is signed is the target as it was sent.
    assert _post(port, route, b"", _signed(wallet, "/account/api-key")).status == 403
    assert _post(port, "/third/level/auth/logout", b"", headers).json == {"revoked": True}


def test_refusals_have_the_projects_form_and_id_null(port):
    body = {"id": 7, "pubkey": ALICE.pubkey, "signature": ALICE.sign("x")}
    answer = _post(port, "/auth/verify", body)
    assert answer.status == 401
    assert answer.json["jsonrpc"] == "2.0"
    assert answer.json["id"] is None
    assert answer.json["error"]["data"] == {"reason": "invalid_credentials", "project": "sol-1"}
    answer = _post(port, "/third/level/auth/verify", body)
    assert answer.status == 403
    assert answer.json == {
        "code": -32013,
        "message": answer.json["message"],
        "project": "sol-3",
    }


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"pubkey": 7}', b"\xff", b"{}"])
def test_bodies_that_are_not_what_the_route_reads(port, body):
    for route in ("/auth/challenge", "/auth/verify", "/auth/refresh"):
        answer = _post(port, route, body)
        assert (answer.status, answer.reason) == (400, "invalid_body")


@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/verify", "/auth/refresh"])
def test_bodies_that_are_too_large(port, route):
    body = json.dumps({"pubkey": ALICE.pubkey}).encode()
    exact, more = body.ljust(MAX_BODY), body.ljust(MAX_BODY + 1)
    assert _post(port, route, exact).status != 413
    for large in (more, body.ljust(1 << 20)):
        answer = _post(port, route, large)
        assert (answer.status, answer.reason) == (413, "body_too_large")
    answer = chunked_request(port, route, [], more, 1000)
    assert (answer.status, answer.reason) == (413, "body_too_large")
    assert chunked_request(port, "/auth/challenge", [], exact, 1000).status == 200


def test_a_large_body_does_not_keep_anybody_from_a_key_or_from_logging_out(port):
    answer = _post(port, "/account/api-key", b"x" * (1 << 20), _signed(BOB, "/account/api-key"))
    assert answer.status == 413


def test_other_methods_are_not_answered(port):
    for route in ROUTES:
        for method in ("GET", "PUT", "DELETE"):
            assert request(port, method, route).status in (401, 403, 404, 405)


def test_neighbours_of_the_routes_are_guarded(port):
    for route in ("/auth/challenge/", "/auth/", "/auth/verify/x", "/AUTH/verify", "/auth"):
        answer = _post(port, route, {"pubkey": ALICE.pubkey})
        assert answer.status != 200
        assert b'challenge":' not in answer.body


def test_a_second_spelling_of_a_route_is_not_left_open(port):
    for route in ("/auth/%63hallenge", "//auth/challenge", "/auth//challenge", "/x/../auth/verify"):
        assert _post(port, route, {"pubkey": "x"}).status in (400, 401, 403, 404, 405, 308)


# Mounting


@pytest.fixture
def verifier(environment: None, tmp_path: Path) -> Iterator[Any]:
    made: list[Verifier] = []

    def make(text: str) -> Verifier:
        path = _write(tmp_path, text)
        made.append(Verifier.from_yaml(path, watch=False))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("text", "mount"),
    [
        (SOLANA.partition("    session:")[0], {}),
        (SOLANA, {"project": "missing"}),
        (f"{SOLANA}\n{BARE}", {}),
        (f"{SOLANA}\n{BARE}", {"project": "missing"}),
    ],
)
def test_a_project_that_is_not_there_or_not_clear_is_an_error_at_once(
    verifier, framework, text, mount
):
    with pytest.raises(LookupError):
        CREATE[framework](verifier(text), mount)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_project_may_be_left_out_where_one_has_sessions(verifier, framework):
    plain = "  plain: {preset: meganode, match: {path: /v1}, secrets: []}"
    assert CREATE[framework](verifier(f"{SOLANA}\n{plain}"), {})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_project_whose_name_has_a_dot(verifier, framework):
    text = f"{SOLANA}\n{SECOND}"
    assert CREATE[framework](verifier(text), *MOUNTS[:2])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_project_mounted_twice(verifier, framework):
    """Under the root and behind a version prefix, say."""
    assert CREATE[framework](verifier(SOLANA), {}, {"prefix": "/v2"})


def test_the_middleware_of_aiohttp_leaves_the_routes_open_and_nothing_else(environment, tmp_path):
    path = _write(tmp_path, SOLANA)
    with running("aiohttp", path, {"prefix": "/api"}) as port:
        assert _sign_in(port, ALICE, "/api")["token"]
        assert _post(port, "/auth/challenge", {"pubkey": ALICE.pubkey}).status == 403
        assert _post(port, "/solana/api/auth/challenge", {"pubkey": ALICE.pubkey}).status == 401


@pytest.mark.parametrize("kind", SHARED_STORES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_session_of_one_server_is_known_to_another_and_so_is_its_end(
    environment, tmp_path, framework, kind
):
    path = _write(tmp_path, SOLANA, kind)
    with running(framework, path, {}) as one, closing(Verifier.from_yaml(path)) as other:
        token = _sign_in(one, ALICE)["token"]
        asked = Request("POST", "/solana", bearer(token), b"{}")
        assert other.verify(asked).subject == ALICE.pubkey
        assert _post(one, "/auth/logout", b"", bearer(token)).status == 200
        with pytest.raises(AuthError) as caught:
            other.verify(asked)
        assert caught.value.reason == "revoked"
