"""Who is let in and how the others are answered: the same behind every server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from contrib import credentials as cred
from contrib.servers import Served
from contrib.wire import Headers, handshake, request, websocket

CALL = b'{"jsonrpc":"2.0","id":7,"method":"eth_call"}'
WITHDRAWAL = b'{"currency":"BNB","amount":"1.5","orderId":"o-1","memo":"x"}'


def _withdrawal() -> Headers:
    return cred.oppiwallet("/payouts/withdraw", "BNB", "1.5", "o-1")


ACCEPTED: dict[str, tuple[str, Callable[[], Headers], bytes, str, str]] = {
    "meganode token": ("/v1/", cred.meganode, CALL, "bsc", "jwt"),
    "meganode key in the path": (f"/v1/{cred.API_KEY}", list, CALL, "bsc", "api_key"),
    "allthatnode token": ("/evm/x", cred.allthatnode, CALL, "evm", "jwt"),
    "nodius v1": ("/solana", lambda: cred.nodius(CALL), CALL, "solana", "signature"),
    "nodius v2 with a query": (
        "/solana/x?b=2&a=%20",
        lambda: cred.nodius(CALL, target="/solana/x?b=2&a=%20"),
        CALL,
        "solana",
        "signature",
    ),
    "oppiwallet": ("/payouts/withdraw", _withdrawal, WITHDRAWAL, "payouts", "jwt"),
    "engine": ("/engine", cred.engine, CALL, "engine", "jwt"),
    "method policy": ("/limited/x", cred.meganode, CALL, "limited", "jwt"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_each_preset_lets_its_credential_in(server: Served, case: str) -> None:
    target, credential, body, project, scheme = ACCEPTED[case]
    answer = request(server.port, "POST", target, credential(), body)
    assert answer.status == 200
    assert answer.body == body
    assert (answer.one("x-project"), answer.one("x-scheme")) == (project, scheme)


REFUSED: dict[str, tuple[str, Callable[[], Headers], bytes, int, str]] = {
    "nothing": ("/v1/", list, CALL, 401, "missing_credentials"),
    "an expired token": (
        "/v1/",
        lambda: cred.meganode(expires_in=-1),
        CALL,
        401,
        "expired",
    ),
    "another secret": (
        "/v1/",
        lambda: cred.meganode(secret="another secret of more than 32 bytes"),
        CALL,
        401,
        "invalid_credentials",
    ),
    "another body": ("/solana", lambda: cred.nodius(b"other"), CALL, 401, "invalid_credentials"),
    "another target": (
        "/solana/y",
        lambda: cred.nodius(CALL, target="/solana/x"),
        CALL,
        401,
        "invalid_binding",
    ),
    "another method": (
        "/solana",
        lambda: cred.nodius(CALL, method="PUT", target="/solana"),
        CALL,
        401,
        "invalid_binding",
    ),
    "another amount": (
        "/payouts/withdraw",
        lambda: cred.oppiwallet("/payouts/withdraw", "BNB", "9", "o-1"),
        WITHDRAWAL,
        401,
        "invalid_binding",
    ),
    "another method by policy": (
        "/limited",
        cred.meganode,
        CALL.replace(b"eth_call", b"eth_send"),
        403,
        "forbidden_method",
    ),
    "two kinds": (
        f"/v1/{cred.API_KEY}",
        cred.meganode,
        CALL,
        400,
        "ambiguous_credentials",
    ),
    "no project": ("/elsewhere", cred.meganode, CALL, 403, "no_project"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_refusal_has_its_status_and_reason(server: Served, case: str) -> None:
    target, credential, body, status, reason = REFUSED[case]
    answer = request(server.port, "POST", target, credential(), body)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.one("content-type").startswith("application/json")
    assert answer.one("cache-control") == "no-store"
    assert bool(answer.all("www-authenticate")) == (status == 401)
    error = answer.json["error"]
    assert answer.json["jsonrpc"] == "2.0"
    assert set(error) == {"code", "message", "data"}


def test_a_refusal_names_one_challenge_per_kind_in_fields_of_their_own(server: Served) -> None:
    answer = request(server.port, "POST", "/v1/", body=CALL)
    challenges = answer.all("www-authenticate")
    assert sorted(challenge.partition(" ")[0] for challenge in challenges) == ["ApiKey", "Bearer"]
    assert all('realm="bsc"' in challenge for challenge in challenges)


def test_a_bare_refusal_is_the_three_members_and_nothing_else(server: Served) -> None:
    answer = request(server.port, "POST", "/evm", body=CALL)
    assert answer.status == 403
    assert answer.json == {"code": -32013, "message": "missing JWT token", "project": cred.EVM_ID}


IDS = {
    "a number": (b"7", 7),
    "a string": (b'"x"', "x"),
    "a big integer": (b"123456789012345678901234567890", 123456789012345678901234567890),
    "null": (b"null", None),
    "an object": (b"{}", None),
    "true": (b"true", None),
}


@pytest.mark.parametrize("case", IDS)
def test_the_id_is_echoed_exactly_where_the_body_was_read(server: Served, case: str) -> None:
    text, expected = IDS[case]
    body = CALL.replace(b"7", text)
    answer = request(server.port, "POST", "/solana", cred.nodius(b"other"), body)
    assert answer.reason == "invalid_credentials"
    found = json.loads(answer.body, parse_int=str)["id"]
    assert found == (str(expected) if isinstance(expected, int) else expected)


@pytest.mark.parametrize("body", [b"[" + CALL + b"]", b"\xff", b"", b'{"id":7,"id":8}'])
def test_the_id_is_null_where_there_is_no_single_call(server: Served, body: bytes) -> None:
    answer = request(server.port, "POST", "/solana", cred.nodius(b"other"), body)
    assert answer.json["id"] is None


def test_the_id_is_null_where_the_body_was_not_read(server: Served) -> None:
    answer = request(server.port, "POST", "/v1/", body=CALL)
    assert answer.json["id"] is None


def test_a_nonce_works_once(server: Served) -> None:
    headers = cred.nodius(CALL)
    assert request(server.port, "POST", "/solana", headers, CALL).status == 200
    answer = request(server.port, "POST", "/solana", headers, CALL)
    assert (answer.status, answer.reason, answer.json["id"]) == (401, "replayed", 7)


@pytest.mark.parametrize("name", ["X-Nonce", "X-Pubkey", "X-Timestamp", "X-Signature"])
def test_E2_a_doubled_wallet_header_is_refused(server: Served, name: str) -> None:
    headers = cred.nodius(CALL)
    again = next(pair for pair in headers if pair[0] == name)
    answer = request(server.port, "POST", "/solana", [*headers, again], CALL)
    assert (answer.status, answer.reason) == (401, "malformed_credentials")


def test_E2_an_underscore_twin_is_refused_or_dropped_by_the_server(server: Served) -> None:
    headers = cred.nodius(CALL)
    answer = request(server.port, "POST", "/solana", [*headers, ("X_Nonce", "0" * 16)], CALL)
    # WSGI servers drop fields whose name has an underscore before the application sees them
    assert answer.status == (200 if server.joined else 401)


@pytest.mark.parametrize("second", ["Basic eDp5", "Bearer other", ""])
def test_E1_a_doubled_authorization_is_refused(server: Served, second: str) -> None:
    headers = [*cred.meganode(), ("Authorization", second)]
    answer = request(server.port, "POST", "/v1/", headers, CALL)
    assert answer.status in (400, 401)
    assert answer.reason in ("malformed_credentials", "ambiguous_credentials")


def test_query_parameters_narrow_nothing(server: Served) -> None:
    answer = request(
        server.port, "POST", "/v1/?project=solana&schemes=signature", cred.meganode(), CALL
    )
    assert answer.one("x-project") == "bsc"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_every_method_is_guarded(server: Served, method: str) -> None:
    assert request(server.port, method, "/v1/x/y", body=b"").status == 401
    assert request(server.port, method, "/v1/x/y", cred.meganode(), b"").status == 200


def test_head_is_guarded_and_answered_without_a_body(server: Served) -> None:
    assert request(server.port, "HEAD", "/v1/x/y", body=None).status == 401
    assert request(server.port, "HEAD", "/v1/x/y", cred.meganode(), None).status == 200


def test_E13_a_signature_for_get_does_not_open_head(server: Served) -> None:
    headers = cred.nodius(method="GET", target="/solana")
    assert request(server.port, "HEAD", "/solana", headers, None).status == 401


def test_E13_options_is_guarded(server: Served) -> None:
    assert request(server.port, "OPTIONS", "/v1/x/y", body=None).status == 401


def test_E13_an_override_header_changes_no_method(server: Served) -> None:
    headers = cred.nodius(CALL, method="PUT", target="/solana")
    headers.append(("X-HTTP-Method-Override", "PUT"))
    assert request(server.port, "POST", "/solana", headers, CALL).reason == "invalid_binding"


def test_https_is_the_connections_and_not_a_clients_word(server: Served) -> None:
    for name, value in (("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")):
        answer = request(server.port, "POST", "/secure", [*cred.meganode(), (name, value)], CALL)
        assert (answer.status, answer.reason) == (403, "https_required")


@pytest.mark.parametrize("forwarded", ["203.0.113.7", "127.0.0.1, 203.0.113.7", "unix", ""])
def test_E22_the_client_is_the_sockets_peer_and_not_its_own_word(
    server: Served, forwarded: str
) -> None:
    headers = [*cred.meganode(), ("X-Forwarded-For", forwarded), ("X-Real-IP", "203.0.113.7")]
    assert request(server.port, "POST", "/local", headers, CALL).status == 200


def test_open_routes_stay_open(server: Served) -> None:
    assert request(server.port, "GET", "/open", body=None).status == 200


class TestWebSocket:
    def test_a_good_handshake_is_accepted_and_the_handler_knows_the_caller(
        self, server: Served
    ) -> None:
        with websocket(server.port, "/ws/v1/", cred.meganode()) as (socket, answer):
            assert answer.status == 101
            assert socket.call("[1]") == [[1], "bsc"]

    def test_G6_a_handshake_is_signed_with_the_empty_body(self, server: Served) -> None:
        headers = cred.nodius(method="GET", target="/ws/solana")
        with websocket(server.port, "/ws/solana", headers) as (socket, answer):
            assert answer.status == 101
            assert socket.call("2") == [2, "solana"]

    @pytest.mark.parametrize(
        ("target", "status", "reason"),
        [
            ("/ws/v1/", 401, "missing_credentials"),
            ("/ws/solana", 401, "missing_credentials"),
            ("/ws/elsewhere", 403, "no_project"),
        ],
    )
    def test_a_bad_handshake_is_refused_before_it_is_accepted(
        self, server: Served, target: str, status: int, reason: str
    ) -> None:
        answer = handshake(server.port, target)
        assert (answer.status, answer.reason) == (status, reason)
        assert answer.json["id"] is None
        assert bool(answer.all("www-authenticate")) == (status == 401)

    def test_a_bare_refusal_is_bare_here_too(self, server: Served) -> None:
        answer = handshake(server.port, "/ws/evm")
        assert answer.status == 403
        assert set(answer.json) == {"code", "message", "project"}

    def test_a_replayed_handshake_is_refused(self, server: Served) -> None:
        headers = cred.nodius()
        assert handshake(server.port, "/ws/solana", headers).status == 101
        assert handshake(server.port, "/ws/solana", headers).reason == "replayed"


BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0"


@pytest.mark.parametrize(
    ("agents", "status"),
    [
        ([BROWSER], 200),
        (["curl/8.5"], 403),
        ([], 403),
        ([BROWSER, "curl/8.5"], 403),
        (["curl/8.5", BROWSER], 403),
        (["curl (a", "KHTML, b) Chrome/150.0"], 403),
    ],
)
def test_a_user_agent_is_judged_where_there_is_one(
    server: Served, agents: list[str], status: int
) -> None:
    headers = [*cred.meganode(), *(("User-Agent", agent) for agent in agents)]
    answer = request(server.port, "POST", "/browsers", headers)
    if server.framework == "aiohttp" and len(agents) > 1:
        assert answer.status == 400  # it refuses a second one by itself
        return
    assert answer.status == status
    if status == 403:
        assert answer.reason == "forbidden_user_agent"
