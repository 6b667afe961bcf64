"""
The short way of a usual request gives what the long way gives: the same caller, the same questions
for the backend, the same refusal to the letter. Or it gives nothing, and the long way is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minting import (
    NOW,
    OTHER_SECRET,
    SECRET,
    bearer,
    flip_bit,
    hour,
    private_key,
    public_pem,
    token,
)

from rpcguard import AuthError, Request, Verifier
from rpcguard.authenticator import KNOWN_REQUESTS, Authenticator
from rpcguard.keys import Key, secret_key
from rpcguard.owed import Answer
from rpcguard.pending import Pending
from rpcguard.registry.compile import load
from rpcguard.schemes.jwt import KNOWN_HEADS, JwtScheme
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.schemes.jwt_verified import KNOWN_SIGNERS, Judge, name_of

HOST = ("Host", "rpc.example")
TARGET = "/rpc"
KEYS = """keys:
      - {kid: a, alg: HS256, secret: "${env:SECRET}"}
      - {kid: b, alg: RS256, public_key: "${env:PEM}"}"""
NAMED = {"kid": "a"}
# By name: the project, the header of its usual token, and its claims.
USUAL: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "plain": (f"preset: bearer\n    {KEYS}", NAMED, {}),
    "strict": (
        (
            "preset: bearer\n    audience: rpc\n    issuer: me\n    leeway: 10s\n"
            f"    max_lifetime: 2h\n    {KEYS}"
        ),
        NAMED,
        {"aud": "rpc", "iss": "me"},
    ),
    "free": (f"preset: bearer\n    revocation: false\n    {KEYS}", NAMED, {}),
    "short tokens": (f"preset: bearer\n    {KEYS}", NAMED, {}),
    "one secret": (
        'preset: meganode\n    secrets: [{id: a, secret: "${env:SECRET}"}]'
        '\n    api_keys: [{id: ops, digest: "sha256:' + "0" * 64 + '"}]',
        {},
        {},
    ),
    "engine": ('preset: engine-api\n    secrets: [{id: a, secret: "${env:HEX}"}]', {}, {}),
    "types first": (
        'preset: allthatnode\n    keys: [{kid: b, public_key: "${env:PEM}"}]',
        {"kid": "b"},
        {},
    ),
}
# What looks at more than the token, whatever the request.
LONG = {
    "policy": f"preset: bearer\n    allow: {{methods: [eth_call]}}\n    {KEYS}",
    "addresses": f"preset: bearer\n    allow: {{ips: [10.0.0.0/8]}}\n    {KEYS}",
    "limits": f"preset: bearer\n    limits: {{per_ip: 5/minute}}\n    {KEYS}",
    "https": f"preset: bearer\n    require_https: true\n    {KEYS}",
    "single use": f"preset: bearer\n    single_use: true\n    {KEYS}",
    "narrowing": f"preset: bearer\n    narrowing: [methods]\n    {KEYS}",
    "key's policy": 'preset: bearer\n    keys: [{kid: a, alg: HS256, secret: "${env:SECRET}",'
    " allow: {methods: [eth_call]}}]",
    "bound": "preset: bearer\n    url_claim: url\n    keys: [{kid: a, alg: HS256,"
    ' secret: "${env:SECRET}"}]',
    "header key": "preset: bearer\n    key_by: header\n    key_header: x-auth-key\n"
    '    key_claim: key\n    keys: [{auth_key: a, alg: HS256, enc_key: "${env:SECRET}"}]',
    "dated key": 'preset: bearer\n    keys: [{kid: a, alg: HS256, secret: "${env:SECRET}",'
    " not_after: 2026-01-01T00:00:00Z}]",
    "several secrets": "preset: meganode\n    secrets:"
    '\n      - {id: a, secret: "${env:SECRET}"}\n      - {id: b, secret: "${env:OTHER}"}',
    "wallets": 'preset: nodius\n    wallets: open\n    session: {secret: "${env:SECRET}"}',
}
ENVIRON = {
    "SECRET": SECRET,
    "OTHER": OTHER_SECRET,
    "HEX": SECRET.encode()[:32].hex(),
    "PEM": public_pem("RS256"),
}


def opened(folder: Path, project: str) -> Authenticator:
    """Return a new authenticator of *project* alone."""
    bounds = "bounds: {max_credential: 600}\n" if project == "short tokens" else ""
    body = USUAL[project][0] if project in USUAL else LONG[project]
    file = folder / "registry.yaml"
    file.write_text(
        f"version: 1\nbackend: memory://\n{bounds}projects:\n"
        f"  one:\n    match: {{path: {TARGET}}}\n    {body}\n"
    )
    return load(file, ENVIRON).authenticator


def signed(project: str, claims: Any, **header: Any) -> str:
    """Return a token that the key of *project* signs."""
    usual = {} if project == "several secrets" else NAMED
    named = {**USUAL.get(project, ("", usual, {}))[1], **header}
    if named.get("kid") == "b":
        return token(claims, private_key("RS256"), "RS256", **named)
    return token(claims, SECRET[:32] if project == "engine" else SECRET, **named)


def good(project: str, **more: Any) -> str:
    return signed(project, hour(**{**USUAL.get(project, ("", {}, {}))[2], **more}))


def told(error: AuthError) -> tuple[Any, ...]:
    """Return all that anybody is told of a refusal."""
    return (
        *(error.reason, error.status, error.code, error.message, error.detail, error.cause),
        *(error.project, error.bare, error.challenges, error.caller, error.headers),
    )


def outcome(step: Any) -> tuple[Any, ...]:
    """Return what there is to a verdict."""
    if not isinstance(step, Pending):
        return (type(step),)
    who = step._outcome
    return who, getattr(who, "claims", None), step.owed, step.charges, step._caller


def long_way(guard: Authenticator, request: Request, now: float) -> tuple[Any, ...]:
    try:
        return outcome(guard.authenticate(request, now))
    except AuthError as error:
        return told(error)


def short_way(guard: Authenticator, request: Request, now: float) -> tuple[Any, ...] | None:
    """Return the same of the short way, None where it is not taken."""
    fields = request.bearer_fields()
    if fields is None:
        return None
    host, authorization = fields
    asked = (None, request.target, host, blake2b(authorization).digest())
    try:
        left = guard.seen.younger.get(asked) or guard.learn(asked, authorization, now)
    except AuthError as error:
        return told(error)
    if left is None:
        return None
    begin, end, owed, principal, step = left
    assert (principal, owed) == (step.conclude(Answer.OK), step.owed)
    return outcome(step) if begin <= now < end else None


def asking(*headers: tuple[str, str], target: str = TARGET) -> Request:
    return Request("POST", target, [HOST, *headers], None)


def taught(guard: Authenticator, project: str) -> Authenticator:
    """Return *guard* after it has seen a usual request of *project*."""
    long_way(guard, asking(*bearer(good(project, jti="first"))), NOW)
    return guard


def variants(project: str) -> Iterable[str]:
    """Give tokens of every kind, good and bad, most of them with a good signature."""
    yield good(project)
    for more in (
        *({"jti": "t"}, {"jti": ""}, {"jti": 1}, {"sub": "alice"}, {"sub": ""}, {"sub": None}),
        *({"sub": 5}, {"sid": "s"}, {"sid": ["s"]}, {"iss": "me"}, {"iss": "you"}, {"iss": 1}),
        *({"aud": "rpc"}, {"aud": "other"}, {"aud": ["other", "rpc"]}, {"aud": [1]}, {"aud": {}}),
        *({"exp": None}, {"exp": NOW}, {"exp": NOW - 9}, {"exp": NOW + 0.5}, {"exp": "1"}),
        *({"exp": True}, {"exp": -1}, {"exp": NOW * 1000}, {"exp": 1e400}, {"exp": NOW + 9e6}),
        *({"iat": NOW + 5}, {"iat": NOW + 6}, {"iat": NOW - 61}, {"iat": None}, {"iat": []}),
        *({"nbf": NOW}, {"nbf": NOW + 1}, {"nbf": NOW + 11}, {"nbf": NOW - 1}, {"nbf": "x"}),
        *({"name": "é\\u"}, {"name": "\ud800"}, {"methods": []}, {"a": "b" * 3000}),
        {"exp": NOW - 1, "aud": "other"},
    ):
        yield good(project, **more)
    yield signed(project, b'{"exp": 1760003600, "exp": 1760003601}')
    for payload in (b"[]", b"{", b"", b"\xff", b' {"exp":1760003600}', b'{"exp":NaN}'):
        yield signed(project, payload)
    for algorithm in (5, [], "ES256", "RS384", "none"):
        for kid in ("a", "?"):
            yield token(hour(), SECRET, header={"alg": algorithm, "typ": "JWT", "kid": kid})
    for header in ({"kid": "?"}, {"kid": 1}, {"typ": "at+jwt"}, {"typ": "jwt"}, {"crit": ["x"]}):
        yield signed(project, hour(), **header)
    yield token(hour(), OTHER_SECRET, **NAMED)
    yield token(hour(), SECRET, "HS512", **NAMED)
    yield token(hour(), SECRET, header={"alg": "none", "typ": "JWT", "kid": "a"})
    head, body, end = good(project, sub="parts").split(".")
    parts = (f"{head}.{body}", f"{head}..{end}", f".{body}.{end}", f"{head}.{body}.", head, "..")
    yield from parts
    yield from (f"{head}.{body}.{end}.", f"{head}.{body}.{end}.{end}", f"{head}.{body}.{end}=")
    yield from (f"{head}.{body}.{end[:-1]}", f"{head}.{body}.{end}A", f"{head}.{body[:-1]}.{end}")
    yield from (f"{head}.{body}.{'B' if end[0] == 'A' else 'A'}{end[1:]}", f"{head}={body}.{end}")
    yield from (f"{head}.{body}.{end}\n", f" {head}.{body}.{end}", f"{head}.{body}.é", "", "a b")


@pytest.mark.parametrize("project", [*USUAL, *LONG])
def test_the_short_way_says_what_the_long_way_says(tmp_path: Path, project: str) -> None:
    short = taught(opened(tmp_path, project), project)
    for text in variants(project):
        long = opened(tmp_path, project)  # which has seen nothing
        for now in (NOW, NOW, NOW + 1, NOW + 3599.9995, NOW + 3600, NOW + 3610, NOW - 5.5):
            request = asking(*bearer(text))
            expected = long_way(long, request, now)
            found = short_way(short, request, now)
            assert found in (None, expected)
            accepted = found is not None and not isinstance(found[0], str)
            assert project in USUAL or not accepted


@pytest.mark.parametrize("project", USUAL)
def test_a_usual_request_takes_the_short_way(tmp_path: Path, project: str) -> None:
    guard = taught(opened(tmp_path, project), project)
    assert guard.short_ways
    for number in range(3):
        request = asking(*bearer(good(project, jti=f"new {number}")))
        for _ in range(2):
            assert short_way(guard, request, NOW) == long_way(guard, request, NOW)
            assert short_way(guard, request, NOW) is not None
    forged = asking(*bearer(f"{good(project, jti='new').rpartition('.')[0]}.AAAA"))
    refusal = short_way(guard, forged, NOW)
    assert refusal is not None
    assert refusal[0] == "invalid_credentials"


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10_000), kid=st.sampled_from(["a", "b"]))
def test_no_bit_of_a_token_is_read_otherwise(
    tmp_path_factory: pytest.TempPathFactory, position: int, kid: str
) -> None:
    folder = tmp_path_factory.mktemp("short")
    short = taught(opened(folder, "plain"), "plain")
    key, alg = (SECRET, "HS256") if kid == "a" else (private_key("RS256"), "RS256")
    short.authenticate(asking(*bearer(token(hour(), key, alg, kid=kid))), NOW)
    changed = flip_bit(token(hour(jti="x"), key, alg, kid=kid), position)
    request = asking(*bearer(changed))
    expected = long_way(opened(folder, "plain"), request, NOW)
    assert short_way(short, request, NOW) in (None, expected)


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, *bearer("TOKEN"), *bearer("TOKEN")],
        [HOST, *bearer("TOKEN"), ("AUTHORIZATION", "Basic x")],
        [HOST, HOST, *bearer("TOKEN")],
        [HOST, ("HOST", "rpc.example"), *bearer("TOKEN")],
        bearer("TOKEN"),
    ],
)
def test_a_field_that_is_not_there_once_is_for_the_long_way(headers: list[tuple[str, str]]) -> None:
    assert Request("POST", TARGET, headers).bearer_fields() is None


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Basic", "Bearer ", "Bearer\t", ""])
def test_another_spelling_of_the_scheme_is_for_the_long_way(tmp_path: Path, scheme: str) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    assert short_way(guard, asking(*bearer(good("plain"), scheme)), NOW) is None


@pytest.mark.parametrize(
    "place", [("/rpc?x", "rpc.example"), ("/rpc/", "rpc.example"), (TARGET, "other.example")]
)
def test_where_nobody_has_been_is_for_the_long_way(tmp_path: Path, place: tuple[str, str]) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    target, host = place
    request = Request("POST", target, [("Host", host), *bearer(good("plain"))], None)
    assert short_way(guard, request, NOW) is None


def test_a_key_in_the_path_beside_a_token_is_ambiguous_on_every_way(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "one secret"), "one secret")
    request = asking(*bearer(good("one secret")), target=f"{TARGET}/key-in-the-path")
    for _ in range(2):
        assert long_way(guard, request, NOW)[0] == "ambiguous_credentials"
        assert short_way(guard, request, NOW) is None


@pytest.mark.parametrize(
    ("more", "now", "reason"),
    [
        ({}, NOW + 3600, "expired"),
        ({"nbf": NOW + 1}, NOW, "not_yet_valid"),
        ({"iat": NOW + 6}, NOW, "not_yet_valid"),
        ({"exp": None}, NOW, "invalid_claims"),
        ({"aud": "other"}, NOW, "invalid_audience"),
    ],
)
def test_both_ways_refuse_what_is_not_good(
    tmp_path: Path, more: dict[str, Any], now: float, reason: str
) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    request = asking(*bearer(good("plain", **more)))
    for _ in range(2):
        refusal = short_way(guard, request, now)
        assert refusal is not None
        assert refusal[0] == long_way(guard, request, now)[0] == reason


def test_a_token_that_ends_while_it_is_known_is_for_the_long_way(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    request = asking(*bearer(good("plain")))
    assert short_way(guard, request, NOW) == long_way(guard, request, NOW)
    assert short_way(guard, request, NOW + 3600) is None
    assert long_way(guard, request, NOW + 3600)[0] == "expired"


@pytest.mark.parametrize("project", ["single use", "bound", "header key"])
def test_a_token_that_something_else_binds_is_never_usual(tmp_path: Path, project: str) -> None:
    guard = opened(tmp_path, project)
    scheme: Any = guard.projects["one"].schemes[0]
    text = good(project, url=TARGET).encode()
    for _ in range(2):
        assert scheme.usual(text, name_of(text), NOW, guard.projects["one"].dress) is None


def test_a_token_does_not_name_its_key_where_a_header_does(tmp_path: Path) -> None:
    guard = opened(tmp_path, "header key")
    scheme: Any = guard.projects["one"].schemes[0]
    forged = token(hour(), OTHER_SECRET, **NAMED).encode()
    assert scheme.usual(forged, name_of(forged), NOW, guard.projects["one"].dress) is None


def test_what_the_tokens_of_a_key_share_is_kept_for_a_bounded_number() -> None:
    judge = Judge(JwtRules("one", frozenset({"HS256"})), "jwt")
    for number in range(KNOWN_SIGNERS + 1):
        key = secret_key(str(number), "HS256", SECRET.encode())
        assert judge.signer(key) is judge.signer(key)
        assert judge.signer(key).key is key
        assert len(judge._signers) <= KNOWN_SIGNERS


@pytest.mark.parametrize("now", [0.0, -1.0, float("nan"), float("-inf")])
def test_a_clock_that_gives_no_time_lets_nobody_in(tmp_path: Path, now: float) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    for text in (good("plain"), good("plain", exp=None), good("plain", jti="new")):
        assert short_way(guard, asking(*bearer(text)), now) is None


def test_first_parts_of_tokens_are_remembered_in_bounded_number(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    scheme: Any = guard.projects["one"].schemes[0]
    for number in range(2 * KNOWN_HEADS + 1):
        text = signed("plain", hour(), extra=number)
        assert short_way(guard, asking(*bearer(text)), NOW)
        assert text.partition(".")[0].encode() in scheme._heads
        assert len(scheme._heads) <= KNOWN_HEADS


def test_of_an_only_key_the_first_part_is_remembered_too(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "one secret"), "one secret")
    scheme: Any = next(s for s in guard.projects["one"].schemes if s.name == "jwt")
    assert list(scheme._heads) == [good("one secret").partition(".")[0].encode()]


def test_a_known_token_is_not_verified_again(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    scheme: Any = guard.projects["one"].schemes[0]
    project, text = guard.projects["one"], good("plain").encode()
    name = name_of(text)
    first = scheme.usual(text, name, NOW, project.dress)
    assert scheme.usual(text, name, NOW, project.dress) is first
    scheme._cache.younger, scheme._cache._older = {}, scheme._cache.younger
    assert scheme.usual(text, name, NOW, project.dress) is first
    assert len(scheme._cache.younger) == 1  # what is asked for again stays


def test_what_has_not_verified_is_not_remembered(tmp_path: Path) -> None:
    guard = opened(tmp_path, "plain")
    scheme: Any = guard.projects["one"].schemes[0]
    forged = asking(*bearer(token(hour(), OTHER_SECRET, **NAMED)))
    long_way(guard, forged, NOW)
    for _ in range(2):
        assert short_way(guard, forged, NOW)
    assert scheme._heads == {}


def test_usual_requests_are_remembered_in_bounded_number(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    for number in range(KNOWN_REQUESTS + 1):
        request = asking(*bearer(good("plain", jti=str(number))))
        assert short_way(guard, request, NOW)
        assert 0 < len(guard.seen) <= KNOWN_REQUESTS
    assert len(guard.seen) < KNOWN_REQUESTS
    assert short_way(guard, asking(*bearer(good("plain", jti="0"))), NOW)  # one that was forgotten


def test_who_comes_again_while_many_others_do_is_not_verified_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    verified: list[Any] = []
    judge = Judge.judge

    def judged(self: Judge, signed: bytes, claims: Any, *more: Any, **options: Any) -> Any:
        verified.append(claims.get("jti"))
        return judge(self, signed, claims, *more, **options)

    monkeypatch.setattr(Judge, "judge", judged)
    again = asking(*bearer(good("plain", jti="again")))
    for number in range(2 * KNOWN_REQUESTS):
        assert short_way(guard, again, NOW)
        assert short_way(guard, asking(*bearer(good("plain", jti=str(number)))), NOW)
    assert verified.count("again") == 1


def test_nothing_that_is_remembered_of_a_request_lets_anybody_in(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    text = good("plain")
    assert short_way(guard, asking(*bearer(text)), NOW)
    remembered = repr(guard.seen.younger)
    assert TARGET in remembered
    assert not any(part in remembered for part in text.split("."))


def test_a_request_that_comes_again_is_remembered_anew(tmp_path: Path) -> None:
    guard = taught(opened(tmp_path, "plain"), "plain")
    request = asking(*bearer(good("plain")))
    first = short_way(guard, request, NOW)
    guard.seen._older, guard.seen.younger = guard.seen.younger, {}
    guard._places.known.clear()  # nor is its place looked at
    assert first == short_way(guard, request, NOW)
    assert len(guard.seen.younger) == 1


@pytest.mark.parametrize("project", ["plain", "key's policy", "dated key"])
def test_an_unknown_key_costs_what_a_wrong_one_does(
    tmp_path: Path, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = taught(opened(tmp_path, project), project)
    tried: list[str] = []
    member: Any = Key.verify

    def told_of(key: Key) -> Any:
        tried.append(key.kid)
        return member.__get__(key)

    monkeypatch.setattr(Key, "verify", property(told_of))
    for kid, extra in (("a", 0), ("?", 0), ("a", 1), ("?", 1)):
        forged = token(hour(), OTHER_SECRET, kid=kid, extra=extra)
        refusal = short_way(guard, asking(*bearer(forged)), NOW)
        assert refusal is not None
        assert refusal[0] == "invalid_credentials"
        assert tried == ["a"]
        tried.clear()


# --- The drivers ---------------------------------------------------------------------------------


def verifier(folder: Path, backend: Any = "memory://", **options: Any) -> Verifier:
    opened(folder, "plain")
    path = folder / "registry.yaml"
    return Verifier.from_yaml(
        path, environ=ENVIRON, backend=backend, watch=False, clock=lambda: NOW, **options
    )


def known(of: Verifier, text: str, **options: Any) -> Any:
    return of.known(TARGET, HOST[1], f"Bearer {text}".encode(), **options)


def aknown(of: Verifier, text: str, **options: Any) -> Any:
    return asyncio.run(of.aknown(TARGET, HOST[1], f"Bearer {text}".encode(), **options))


@pytest.mark.parametrize("ask", [known, aknown])
def test_who_is_known_is_who_verify_gives(tmp_path: Path, ask: Any) -> None:
    text = good("plain", sub="alice")
    with verifier(tmp_path) as guard:
        assert ask(guard, text) is None  # nobody has been here
        principal = guard.verify(asking(*bearer(text)))
        assert (principal.subject, principal.project, principal.key_id) == ("alice", "one", "a")
        assert (ask(guard, text), ask(guard, text).claims) == (principal, principal.claims)
        assert ask(guard, good("plain", sub="bob")).subject == "bob"
        assert ask(guard, text, project="one") is None
        guard.verify(asking(*bearer(text)), project="one")
        assert ask(guard, text, project="one") == principal


def test_a_subclass_may_ask_verify_who_is_known(tmp_path: Path) -> None:
    class Asking(Verifier):
        def known(self, target: str, host: str, authorization: bytes, *_: Any) -> Any:
            headers = [("Host", host), ("Authorization", authorization.decode())]
            return self.verify(Request("POST", target, headers, None))

        async def aknown(self, target: str, host: str, authorization: bytes, *_: Any) -> Any:
            headers = [("Host", host), ("Authorization", authorization.decode())]
            return await self.averify(Request("POST", target, headers, None))

    opened(tmp_path, "plain")
    path, text = tmp_path / "registry.yaml", good("plain", sub="alice")
    with Asking.from_yaml(path, environ=ENVIRON, watch=False, clock=lambda: NOW) as guard:
        for ask in (known, aknown) * 2:
            assert ask(guard, text).subject == "alice"


@pytest.mark.parametrize("ask", [known, aknown])
def test_a_request_that_came_before_is_found_at_once(
    tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = good("plain", sub="alice")
    with verifier(tmp_path) as guard:
        for _ in range(2):
            guard.verify(asking(*bearer(text)))
        monkeypatch.delattr(Authenticator, "learn")
        assert ask(guard, text).subject == "alice"
        with pytest.raises(AttributeError):
            ask(guard, good("plain", sub="bob"))


@pytest.mark.parametrize("ask", [known, aknown])
def test_what_the_long_way_has_verified_is_known_on_the_short_one(
    tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = good("plain", sub="alice")
    with verifier(tmp_path) as guard:
        guard.verify(asking(*bearer(text)), schemes=["jwt"])
        monkeypatch.delattr(JwtScheme, "_verify_usual")
        assert ask(guard, text).subject == "alice"


@pytest.mark.parametrize("ask", [known, aknown])
def test_who_is_revoked_is_known_no_more(tmp_path: Path, ask: Any) -> None:
    text = good("plain", sub="alice")
    with verifier(tmp_path) as guard:
        request = asking(*bearer(text))
        guard.verify(request)
        assert ask(guard, text).subject == "alice"
        guard.revoke("one", subject="alice")
        with pytest.raises(AuthError) as short:
            ask(guard, text)
        with pytest.raises(AuthError) as long:
            guard.verify(request, schemes=["jwt"])
        assert told(short.value) == told(long.value)
        assert (short.value.reason, short.value.caller) == ("revoked", ("jwt", "alice", "a"))


@pytest.mark.parametrize("ask", [known, aknown])
def test_a_backend_that_does_not_answer_lets_nobody_in(tmp_path: Path, ask: Any) -> None:
    text = good("plain")
    guard = verifier(tmp_path)
    guard.verify(asking(*bearer(text)))
    guard.close()
    with pytest.raises(AuthError) as short:
        ask(guard, text)
    with pytest.raises(AuthError) as long:
        guard.verify(asking(*bearer(text)), schemes=["jwt"])
    assert told(short.value) == told(long.value)
    assert short.value.reason == "backend_unavailable"


def verify(of: Verifier, text: str) -> Any:
    return of.verify(asking(*bearer(text)))


def averify(of: Verifier, text: str) -> Any:
    return asyncio.run(of.averify(asking(*bearer(text))))


@pytest.mark.parametrize("ask", [known, aknown, verify, averify])
@pytest.mark.parametrize("seen", [True, False])
def test_no_traceback_shows_a_token_that_may_be_good(tmp_path: Path, ask: Any, seen: bool) -> None:
    text = good("plain")
    guard = verifier(tmp_path)
    for each in (text, text) if seen else (good("plain", jti="1"),):
        guard.verify(asking(*bearer(each)))
    guard.close()
    with pytest.raises(AuthError, match="backend_unavailable") as caught:
        ask(guard, text)
    frames = [
        frame
        for error in (caught.value, caught.value.__cause__)
        for frame, _ in walk_tb(error and error.__traceback__)
        if frame.f_globals["__name__"].startswith("rpcguard.")
    ]
    assert frames
    for frame in frames:
        assert not any(text in repr(value) for value in frame.f_locals.values()), frame


@pytest.mark.parametrize("ask", [known, aknown])
def test_where_somebody_listens_the_long_way_is_taken(
    tmp_path: Path, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    text = good("plain")
    events: list[Any] = []
    with verifier(tmp_path, observers=[events.append]) as guard:
        guard.verify(asking(*bearer(text)))
        assert ask(guard, text) is None
        events.clear()
        guard.verify(asking(*bearer(text)))
        assert [type(event).__name__ for event in events] == ["LookedUp", "Consulted", "Judged"]
    with verifier(tmp_path) as guard:
        guard.verify(asking(*bearer(text)))
        assert ask(guard, text) is not None
        with caplog.at_level("INFO", "rpcguard.audit"):
            assert ask(guard, text) is None
            guard.verify(asking(*bearer(text)))
        assert [record.name for record in caplog.records] == ["rpcguard.audit"]


def test_an_event_loop_may_ask_at_once_where_the_backend_never_waits(tmp_path: Path) -> None:
    with verifier(tmp_path) as memory, verifier(tmp_path, "sqlite:///a.db") as file:
        assert (memory.at_once, file.at_once) == (True, False)


def test_a_token_counts_where_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(
        "version: 1\nbackend: memory://\nprojects:\n"
        f"  one:\n    match: {{path: /one}}\n    preset: bearer\n    audience: one\n    {KEYS}\n"
        f"  two:\n    match: {{path: /two}}\n    preset: bearer\n    audience: two\n    {KEYS}\n"
        f"  host:\n    match: {{host: three, path: /one}}\n    preset: bearer\n    {KEYS}\n"
    )
    path, text = tmp_path / "registry.yaml", signed("plain", hour(aud="one"))
    with Verifier.from_yaml(path, environ=ENVIRON, watch=False, clock=lambda: NOW) as guard:
        for target, host, project, expected in [
            ("/one", "a", None, "one"),
            ("/two", "a", None, "invalid_audience"),
            ("/one", "three", None, "invalid_audience"),  # which asks for none
            ("/two", "a", "one", "one"),
            ("/one", "a", "two", "invalid_audience"),
        ] * 3:
            request = Request("POST", target, [("Host", host), *bearer(text)], None)
            try:
                found = guard.verify(request, project=project).project
            except AuthError as error:
                found = error.reason
            assert found == expected


def test_the_clock_is_read_once(tmp_path: Path) -> None:
    opened(tmp_path, "plain")
    readings: list[float] = []

    def clock() -> float:
        readings.append(NOW)
        return NOW

    path = tmp_path / "registry.yaml"
    with Verifier.from_yaml(path, environ=ENVIRON, watch=False, clock=clock) as guard:
        for text in ("first", "second", "second"):
            readings.clear()
            guard.verify(asking(*bearer(good("plain", jti=text))))
            asyncio.run(guard.averify(asking(*bearer(good("plain", jti=text)))))
            assert len(readings) == 2
