"""`rpcguard explain` says what the server says, names the check that failed, and spends nothing."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import time

import pytest
from conftest import NOW
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import AuthError, Request, Verifier
from rpcguard.backends.memory import MemoryBackend
from rpcguard.cli.demo.headers import signers
from rpcguard.cli.demo.kit import load as load_kit
from rpcguard.cli.explain import shown
from rpcguard.cli.explain.verdict import Backends, judge
from rpcguard.registry.compile import load
from rpcguard.steps import Asked, BodyWanted
from rpcguard.trace import Trace

CALL = b'{"jsonrpc":"2.0","id":7,"method":"eth_blockNumber"}'
PATHS = {
    "bsc": "/v1/", "bsc-rs256": "/v2", "evm": "/evm", "solana": "/solana",
    "solana-2026": "/solana-2026", "payouts": "/payouts/withdraw", "engine": "/engine", "bots": "/bots",
}  # fmt: skip
ORDER = b'{"currency":"USD","amount":"1.50","orderId":"o-1"}'


def signed(starter, project: str, at: float | None = None, body: bytes | None = None) -> dict:
    """A captured request of *project*, signed now or at another time, as JSON members."""
    body = body if body is not None else ORDER if project == "payouts" else CALL
    signer = signers(load_kit(starter))[project]
    headers = signer.headers("POST", PATHS[project], body, time.time() if at is None else at)
    return {"method": "POST", "target": PATHS[project], "headers": headers, "body": body.decode()}


def raw(request: dict) -> str:
    head = "".join(f"{name}: {value}\r\n" for name, value in request["headers"].items())
    return f"{request['method']} {request['target']} HTTP/1.1\r\n{head}\r\n{request['body']}"


@pytest.fixture
def explain(cli, starter):
    """Explain a request on standard input; return exit code and document."""

    def run(text: str | dict, *options: str):
        text = text if isinstance(text, str) else json.dumps(text)
        arguments = ["explain", "shop/registry.yaml", "--request", "-", "--json", *options]
        told = cli(*arguments, input=text)
        assert told.stderr == ""
        return told.returncode, json.loads(told.stdout)

    return run


@pytest.mark.parametrize("project", PATHS)
def test_a_good_request_is_accepted_and_every_check_is_named(explain, starter, project):
    code, told = explain(signed(starter, project))
    assert (code, told["verdict"]) == (0, "accepted")
    assert told["principal"]["project"] == project
    names = [check["check"] for check in told["checks"]]
    assert names[:3] == ["target", "project", "credential"]
    assert "signature" in names
    assert {check["result"] for check in told["checks"]} == {"ok", "not asked"}


def test_an_old_timestamp_is_measured_against_its_limit(explain, starter):
    at = int(time.time())
    code, told = explain(signed(starter, "solana", at), "--now", str(at + 74))
    last = told["checks"][-1]
    assert (code, told["verdict"], told["reason"]) == (1, "refused", "expired")
    assert last == {
        "check": "timestamp",
        "result": "refused",
        "what": "74.000 s behind; limit 30 s either way",
        "seconds": -74.0,
    }
    assert told["skew"] == -74.0
    assert told["answer"]["status"] == 401


def test_a_clock_that_is_ahead_is_measured_too(explain, starter):
    at = int(time.time())
    code, told = explain(signed(starter, "engine", at + 100), "--now", str(at))
    assert (code, told["reason"], told["skew"]) == (1, "not_yet_valid", 100.0)
    assert told["checks"][-1]["what"] == "100.000 s ahead; limit 60 s ahead, 60 s behind"


def test_a_captured_request_is_explained_at_its_own_time(explain, starter):
    request = signed(starter, "solana", 1_700_000_000)
    assert explain(request)[1]["reason"] == "expired"
    assert explain(request, "--now", "2023-11-14T22:13:25Z")[1]["verdict"] == "accepted"


def test_the_wire_answer_is_the_servers_own(explain, starter):
    request = signed(starter, "evm", 1_700_000_000)
    _, told = explain(request)
    with Verifier.from_yaml(starter / "registry.yaml", watch=False) as verifier:
        headers = list(request["headers"].items())
        with pytest.raises(AuthError) as refused:
            verifier.verify(Request("POST", "/evm", headers, CALL))
    assert told["answer"]["status"] == refused.value.status == 403
    assert told["answer"]["body"] == {
        "code": -32013,
        "message": "invalid JWT token (expired token)",
        "project": "evm",
    }


def test_the_answer_has_the_requests_id_only_where_the_server_reads_the_body(explain, starter):
    def id_of(project):
        request = signed(starter, project, 1_700_000_000)
        return explain(request)[1]["answer"]["body"]["id"]

    assert id_of("bots") is None  # refused before a policy looks at the body
    request = signed(starter, "bots") | {
        "body": CALL.replace(b"eth_blockNumber", b"eth_sign").decode()
    }
    _, told = explain(request)
    assert (told["reason"], told["answer"]["body"]["id"]) == ("forbidden_method", 7)
    assert told["checks"][-1]["check"] == "calls"


@pytest.mark.parametrize(
    ("project", "change", "reason", "check"),
    [
        ("solana", {"body": "{}"}, "invalid_credentials", "signature"),
        ("solana", {"method": "PUT"}, "invalid_binding", "binding"),
        ("payouts", {"target": "/payouts/other"}, "invalid_binding", "url"),
        ("payouts", {"body": "{}"}, "invalid_binding", "digest"),
        ("bots", {"target": "/v2"}, "unsupported_algorithm", "algorithm"),
        ("bsc", {"target": "/nowhere"}, "no_project", "project"),
        ("bsc", {"target": "/v1/../x"}, "invalid_target", "target"),
        ("bsc", {"headers": {}}, "missing_credentials", "credential"),
        ("bsc", {"headers": {"Authorization": "Bearer a.b"}}, "malformed_credentials", "token"),
        ("bsc", {"target": "/v1/0123"}, "ambiguous_credentials", "credential"),
        ("evm", {"target": "/bots"}, "invalid_credentials", "key"),
    ],
)
def test_the_check_that_fails_is_the_last_one(explain, starter, project, change, reason, check):
    code, told = explain(signed(starter, project) | change)
    assert (code, told["reason"]) == (1, reason)
    assert told["checks"][-1]["check"] == check
    assert [c["result"] for c in told["checks"]] == ["ok"] * (len(told["checks"]) - 1) + ["refused"]


def test_a_nonce_is_asked_for_and_not_spent(explain, starter, shop):
    request = signed(starter, "solana")
    sent = Request("POST", "/solana", list(request["headers"].items()), CALL)
    for _ in range(2):
        code, told = explain(request)
        assert (code, told["checks"][-1]["check"]) == (0, "single use")
    assert shop.verifier.verify(sent).project == "solana"
    code, told = explain(request)
    assert (code, told["reason"], told["checks"][-1]["check"]) == (1, "replayed", "single use")
    assert explain(request, "--offline")[0] == 0


def test_a_revoked_session_and_an_ended_api_key_are_told_from_the_backend(
    explain, cli, starter, shop
):
    token, key = shop.sign_in(), shop.verifier.new_api_key("solana", shop.wallet.pubkey)

    def ask(credential, *options):
        headers = {"Authorization": f"Bearer {credential}"}
        return explain({"target": "/solana", "headers": headers, "body": "{}"}, *options)

    assert ask(token)[1]["principal"]["scheme"] == "session"
    assert ask(key)[1]["principal"]["subject"] == shop.wallet.pubkey
    code, told = ask(key, "--offline")
    assert (code, told["verdict"]) == (1, "undecided")
    shop.verifier.revoke("solana", token=token)
    shop.verifier.drop_api_key("solana", shop.wallet.pubkey)
    assert ask(token)[1]["checks"][-1] == {
        "check": "revocation", "result": "refused", "what": "", "seconds": None
    }  # fmt: skip
    assert ask(key)[1]["reason"] == "invalid_credentials"


def test_no_backend_file_is_made(explain, starter):
    explain(signed(starter, "solana"))
    assert not (starter / "rpcguard.db").exists()


def test_a_token_alone_is_explained_from_a_file_or_standard_input(cli, starter, tmp_path):
    token = signed(starter, "evm")["headers"]["Authorization"].removeprefix("Bearer ")
    (tmp_path / "token").write_text(token)
    arguments = ["explain", "shop/registry.yaml", "--project", "evm", "--json"]
    for options, typed in ((["--token-file", "token"], ""), (["--token-file", "-"], token)):
        told = cli(*arguments, *options, input=typed)
        assert told.returncode == 0
        document = json.loads(told.stdout)
        assert document["token"]["header"]["alg"] == "ES256"
        assert set(document["token"]["times"]) == {"nbf", "exp"}
        assert token.split(".")[2] not in told.stdout


def test_the_secret_that_signed_is_named_among_those_that_are_tried(cli, starter):
    shop = "shop/registry.yaml"
    secret = "shop/keys/bsc-previous.secret"
    token = cli("token", "--preset", "meganode", "--secret-file", secret).stdout
    told = cli("explain", shop, "--token-file", "-", "--project", "bsc", "--json", input=token)
    signature = [step for step in json.loads(told.stdout)["checks"] if step["check"] == "signature"]
    assert [(step["result"], step["what"]) for step in signature] == [
        ("ok", "HS256, by current or previous; it is previous")
    ]
    other = "shop/keys/payouts.enc-key"
    token = cli("token", "--preset", "meganode", "--secret-file", other).stdout
    told = cli("explain", shop, "--token-file", "-", "--project", "bsc", "--json", input=token)
    last = json.loads(told.stdout)["checks"][-1]
    assert (last["result"], last["what"]) == ("refused", "HS256, by current or previous")


def test_a_bound_token_needs_its_request(cli, starter):
    headers = signed(starter, "payouts")["headers"]
    token = headers["Authorization"].removeprefix("Bearer ")
    arguments = ["explain", "shop/registry.yaml", "--token-file", "-", "--target", PATHS["payouts"]]
    arguments += ["--header", "X-Auth-Key: merchant-1"]
    told = cli(*arguments, input=token)
    assert told.returncode == 1
    assert "Undecided: the body is needed" in told.stdout
    (starter / "order").write_bytes(ORDER)
    told = cli(*arguments, "--body-file", "shop/order", input=token)
    assert told.returncode == 0
    assert "Accepted: merchant-1 of payouts, by jwt." in told.stdout


@pytest.mark.parametrize("project", ["solana", "payouts", "bsc"])
def test_people_get_text_with_no_secret_in_it(cli, starter, project):
    request = signed(starter, project, 1_700_000_000)
    told = cli("explain", "shop/registry.yaml", "--request", "-", input=raw(request))
    assert told.returncode == 1
    assert "Refused: expired (" in told.stdout
    assert "The answer: HTTP 401 Unauthorized" in told.stdout
    assert "s behind" in told.stdout
    for name, value in request["headers"].items():
        if name in ("Authorization", "X-Signature"):
            assert value.split(".")[-1] not in told.stdout
    for secret in (starter / "keys").glob("*.secret"):
        assert secret.read_text().strip() not in told.stdout


def test_an_api_key_in_the_path_is_not_shown(cli, starter):
    key = json.loads((starter / "credentials.json").read_text())["projects"]["bsc"]["api_key"]
    for text in (f"POST /v1/{key} HTTP/1.1\n\n", f"curl -d x http://a.example/v1/{key}x"):
        told = cli("explain", "shop/registry.yaml", "--request", "-", input=text)
        assert key not in told.stdout + told.stderr


def test_the_connection_is_described_by_options(explain, starter):
    registry = starter / "registry.yaml"
    text = registry.read_text().replace(
        "    preset: engine-api",
        "    preset: engine-api\n    require_https: true\n    allow: {ips: [10.0.0.0/8]}",
    )
    registry.write_text(text)
    request = signed(starter, "engine")
    assert explain(request, "--http")[1]["checks"][-1]["check"] == "https"
    assert explain(request)[1]["reason"] == "forbidden_ip"
    assert explain(request, "--client", "10.1.2.3")[0] == 0
    assert explain(request | {"client": "10.1.2.3"}, "--websocket")[0] == 0
    assert explain(request, "--project", "bsc")[1]["project"] == "bsc"


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["--request", "-"], "", "not an HTTP request"),
        (["--request", "-"], "curl", "exactly one URL"),
        (["--request", "missing"], "", "No such file"),
        (["--token-file", "-"], "two words", "no single credential"),
        (["--token-file", "-", "--project", "nothing"], "a.b.c", "no project 'nothing'"),
    ],
)
def test_what_cannot_be_read_is_exit_code_1(cli, starter, arguments, given, said):
    told = cli("explain", "shop/registry.yaml", *arguments, input=given)
    assert told.returncode == 1
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_backend_that_does_not_answer_is_the_servers_503(explain, starter):
    registry = starter / "registry.yaml"
    registry.write_text(
        registry.read_text().replace("sqlite:///rpcguard.db", "redis://127.0.0.1:1/0")
    )
    code, told = explain(signed(starter, "bsc"))
    assert (code, told["reason"], told["answer"]["status"]) == (1, "backend_unavailable", 503)
    assert told["checks"][-1]["check"] == "revocation"
    assert explain(signed(starter, "bsc"), "--offline")[0] == 0


def test_limits_are_named_and_not_counted(explain, starter):
    registry = starter / "registry.yaml"
    limits = "    limits: {per_ip: [1/day], per_key: [1/day]}\n"
    registry.write_text(
        registry.read_text().replace("preset: meganode\n", f"preset: meganode\n{limits}")
    )
    for _ in range(2):
        code, told = explain(signed(starter, "bsc"))
        assert code == 0
        unasked = [check["check"] for check in told["checks"] if check["result"] == "not asked"]
        assert unasked == ["limits", "revocation"]


def test_a_status_of_the_operators_own_has_no_phrase(cli, starter):
    registry = starter / "registry.yaml"
    text = registry.read_text().replace(
        "preset: meganode\n", "preset: meganode\n    refusal: {status: 499}\n"
    )
    registry.write_text(text)
    told = cli("explain", "shop/registry.yaml", "--request", "-", input="GET /v1/ HTTP/1.1\n\n")
    assert "The answer: HTTP 499\n" in told.stdout


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["iat", "exp", "nbf", "iss", "aud", "sub", "x\x1b"]), JUNK),
    JUNK,
)
def test_whatever_a_token_says_of_itself_can_be_shown(compiled, claims, kid):
    def part(document):
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'HS256', 'kid': kid})}.{part(claims)}.AAAA"
    request = Request("POST", "/v1/", [("Authorization", f"Bearer {token}")], CALL)
    outcome = judge(compiled, request, NOW, Backends(None, NOW, "offline"))
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        shown.show(json.loads(json.dumps(shown.document(outcome, request, NOW))))
    assert "\x1b" not in told.getvalue()
    assert "Refused: " in told.getvalue()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A registry of several kinds of credential."""
    path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    path.write_text(
        "version: 1\nbackend: memory://\nprojects:\n"
        "  w: {preset: nodius, match: {path: /w}, wallets: open,"
        " session: {secret: 0123456789abcdef0123456789abcdef}}\n"
        "  j: {preset: meganode, secrets: [{id: a, secret: 0123456789abcdef0123456789abcdef}],"
        " api_keys: [], allow: {methods: [a]}}\n"
        "  o: {preset: oppiwallet, match: {path: /o}, digest_fields: {/o: [a]},"
        " keys: [{auth_key: m, enc_key: 0123456789abcdef0123456789abcdef}]}\n"
    )
    return load(path, {}).authenticator


NAMES = st.sampled_from(
    ["Authorization", "X-Auth-Key", "X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce", "Host",
     "X-Auth-Version", "X-Http-Method", "X-Http-Path", "Content-Encoding", "Sec-WebSocket-Protocol"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["Bearer a.b.c", "Bearer nod_00ff", "m", "1", "2", f"{NOW:.0f}", "0123456789abcdef",
                     "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi", "auth.x", "POST", "/w"]),
)  # fmt: skip


@given(
    st.sampled_from(["/w", "/o", "/v1/", "/", "//", "/k"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.binary(max_size=20),
    st.booleans(),
)
def test_whatever_comes_the_trace_changes_no_verdict(compiled, target, headers, body, websocket):
    request = Request("POST", target, headers, body, websocket=websocket)
    backend = MemoryBackend(now=NOW - 1000, restart_guard=False)
    outcome = judge(compiled, request, NOW, Backends(backend, NOW))
    try:  # as a server does: the body is read when it is asked for
        unread = request.with_body(b"" if websocket else None)
        if isinstance(compiled.authenticate(unread, NOW, Asked()), BodyWanted):
            compiled.authenticate(request, NOW)
        expected = None
    except AuthError as error:
        expected = error
    if expected is not None:
        assert outcome.error is not None
        assert (outcome.error.reason, outcome.error.cause, outcome.error.detail) == (
            expected.reason,
            expected.cause,
            expected.detail,
        )
        assert outcome.steps
    for step in outcome.steps:
        assert not any(value in step.fact for _, value in headers if len(value) > 12)


def test_a_trace_bypasses_the_cache_of_verified_tokens(starter):
    """A token that was seen before is explained in full too."""
    authenticator = load(starter / "registry.yaml", {}).authenticator
    now = time.time()
    headers = list(signed(starter, "bsc", now)["headers"].items())
    traces = []
    for _ in range(2):
        trace = Trace()
        authenticator.authenticate(Request("POST", "/v1/", headers, None), now, Asked(trace=trace))
        authenticator.authenticate(Request("POST", "/v1/", headers, None), now)
        traces.append([step.check for step in trace.steps])
    assert traces[0] == traces[1]
    assert "signature" in traces[0]
