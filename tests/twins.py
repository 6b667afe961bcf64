"""
Two verifiers of one registry at one clock, one of which never takes the short way because somebody
listens to it; and the requests, usual and unusual, that are asked of both.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from minting import (
    CALL,
    NOW,
    OTHER_SECRET,
    SECRET,
    Headers,
    Wallet,
    hour,
    key_digest,
    order_token,
    private_key,
    public_pem,
    token,
)
from sealing import opening_key, private_pem, seal

from rpcguard import AuthError, Principal, Request, Verifier

WALLET, KEY, PATH_KEY = Wallet(), "key_0123456789abcdef", "0123456789abcdef"
OTHER_HOST = "other.example"
ENVIRON = {
    "SECRET": SECRET,
    "OTHER": OTHER_SECRET,
    "HEX": SECRET[:32].encode().hex(),
    "RS": public_pem("RS256"),
    "ES": public_pem("ES256"),
    "OPENER": private_pem(opening_key("P-256")),
}
HS = 'keys: [{kid: a, alg: HS256, secret: "${env:SECRET}"}'
BEARER = f'preset: bearer\n    {HS}, {{kid: b, public_key: "${{env:ES}}"}}]'
HEAD = token({}, kid="a").partition(".")[0]
ENDS = "2025-10-09T08:54:20Z"  # a minute after NOW


def _with(more: str) -> str:
    return f"{BEARER}\n    {more}"


def _key(more: str) -> str:
    return f"preset: bearer\n    {HS[:-1]}, {more}}}]"


def _api_keys(text: str) -> str:
    return f'api_keys: [{{id: k, digest: "{key_digest(text)}"}}]'


PROJECTS = {
    "plain": BEARER,
    "strict": _with(
        "audience: [rpc, other]\n    issuer: me\n    leeway: 10s\n    max_lifetime: 2h\n"
        "    iat_window: 50m\n    required: [exp, iat]"
    ),
    "suffix": _with("audience_suffix: example.com\n    max_ahead: 1h"),
    "lax": _with("required: []\n    leeway: 2m\n    aud: ignore\n    iat_leeway: 2m"),
    "free": _with("revocation: false"),
    "named": _with("subject_claim: name\n    id: shown"),
    "bare": _with("refusals: bare\n    public_prefix: /public"),
    "once": _with("single_use: true"),
    "narrowed": _with("narrowing: [methods]"),
    "secure": _with("require_https: true"),
    "methods": _with("allow: {methods: [eth_blockNumber]}"),
    "addresses": _with("allow: {ips: [10.0.0.0/8]}"),
    "origins": _with('allow: {origins: ["https://a.example"]}'),
    "per ip": _with("limits: {per_ip: 3/hour}"),
    "per key": _with("limits: {per_key: 3/hour, per_project: 5/hour}"),
    "key's limits": _key("limits: {per_subject: 2/hour}"),
    "key's methods": _key("allow: {methods: [eth_blockNumber]}"),
    "key ends": _key(f"not_after: {ENDS}"),
    "key begins": _key("not_before: 2025-10-09T08:53:20Z"),
    "keys in bearers": _with(f"api_key: {{read: [bearer]}}\n    {_api_keys(KEY)}"),
    "keys in fields": _with(_api_keys(KEY)),
    "keys in a header": _with(f"api_key: {{read: [header]}}\n    {_api_keys(KEY)}"),
    "keys in queries": _with(f"api_key: {{read: [query]}}\n    {_api_keys(KEY)}"),
    "keys like all tokens": _with(
        f"api_key: {{read: [bearer], prefix: eyJ}}\n    {_api_keys(KEY)}"
    ),
    "keys like tokens": _with(
        f"api_key: {{read: [bearer], prefix: {HEAD}.eyJl}}\n    {_api_keys(KEY)}"
    ),
    "sessions": _with('session: {secret: "${env:OTHER}"}'),
    "sealed": _with(
        'encryption:\n      keys: [{kid: e, alg: ECDH-ES, private_key: "${env:OPENER}"}]'
    ),
    "one secret": 'preset: meganode\n    secrets: [{id: a, secret: "${env:SECRET}"}]'
    f"\n    {_api_keys(PATH_KEY)}",
    "two secrets": 'preset: meganode\n    secrets: [{id: a, secret: "${env:SECRET}"},'
    f' {{id: b, secret: "${{env:OTHER}}", not_after: {ENDS}}}]',
    "rs256": 'preset: meganode-rs256\n    keys: [{kid: b, public_key: "${env:RS}"}]',
    "allthatnode": "preset: allthatnode\n    audience_suffix: example.com"
    '\n    keys: [{kid: b, public_key: "${env:ES}"}]',
    "open": "preset: allthatnode\n    when_no_keys: allow",
    "nodius": 'preset: nodius\n    wallets: open\n    session: {secret: "${env:OTHER}"}',
    "oppiwallet": 'preset: oppiwallet\n    keys: [{auth_key: a, enc_key: "${env:SECRET}"}]'
    "\n    unbound_paths: allow\n    single_use: false",
    "engine": 'preset: engine-api\n    secrets: [{id: a, secret: "${env:HEX}"}]',
}
# What a registry becomes when it is read again.
AFTER = {
    "as it was": ("version", "version"),
    "another secret": ("${env:SECRET}", "${env:OTHER}"),
    "trusted proxies": ("version: 1", "version: 1\ntrusted_proxies: [127.0.0.1/32]"),
    "shorter tokens": ("version: 1", "version: 1\nbounds: {max_credential: 250}"),
}


@dataclass(frozen=True)
class Ask:
    """A request and how a verifier is asked; by default the usual request of most projects."""

    now: float = 0  # seconds after `NOW`
    target: str = "/one"
    hosts: Headers = field(default_factory=lambda: [("Host", "rpc.example")])
    word: str = "Bearer "
    head: dict[str, Any] = field(default_factory=lambda: {"kid": "a"})
    claims: dict[str, Any] = field(default_factory=dict)
    signer: str = "SECRET"
    spelled: str = "as it is"
    text: str | None = None  # in place of the token
    more: Headers = field(default_factory=lambda: [("Origin", "https://a.example")])
    facts: dict[str, Any] = field(default_factory=lambda: {"client": "10.0.0.1"})
    asked: dict[str, Any] = field(default_factory=dict)

    def but(self, changes: dict[str, Any]) -> Self:
        """Return this with *changes*: what is a list or a mapping is added to, the rest replaced."""
        made: dict[str, Any] = {}
        for name, value in changes.items():
            old = getattr(self, name)
            if isinstance(old, dict):
                made[name] = old | value
            else:
                made[name] = old + value if isinstance(old, list) and name == "more" else value
        return replace(self, **made)

    @property
    def credential(self) -> str:
        """What stands behind the scheme's word."""
        if self.text is not None:
            return self.text
        return SPELLINGS[self.spelled](_minted(json.dumps([self.head, self.claims]), self.signer))

    def request(self) -> Request:
        """Return the request."""
        headers = [*self.hosts, *self.more]
        if self.credential != "none":
            headers.insert(1, ("Authorization", self.word + self.credential))
        facts = {"body": None, **self.facts}
        headers = _joined(headers) if facts.get("joined") else headers
        return Request("POST", self.target, headers, **facts)


def _joined(headers: Headers) -> Headers:
    """Return *headers* as a WSGI server gives them."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.upper().replace("_", "-")
        found[key] = f"{found[key]},{value}" if key in found else value
    return list(found.items())


SIGNERS: dict[str, tuple[Any, str]] = {
    "SECRET": (SECRET, "HS256"),
    "OTHER": (OTHER_SECRET, "HS256"),
    "HEX": (SECRET[:32], "HS256"),
    "RS": (private_key("RS256"), "RS256"),
    "ES": (private_key("ES256"), "ES256"),
    "HS512": (SECRET * 2, "HS512"),
}


@cache
def _minted(what: str, signer: str) -> str:
    head, claims = json.loads(what)
    key, alg = SIGNERS[signer]
    return token(hour(**claims), key, alg, **{n: v for n, v in head.items() if v is not None})


def _parts(change: Callable[[str, str, str], str]) -> Callable[[str], str]:
    return lambda text: change(*text.split("."))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "cut": lambda text: text[:-1],
    "longer": lambda text: f"{text}A",
    "of one more group": lambda text: f"{text}AAAA",
    "padded": lambda text: f"{text}=",
    "with a tab": lambda text: f"{text}\t",
    "with a comma": lambda text: f"{text},",
    "twice": lambda text: f"{text}, Bearer {text}",
    "not ASCII": lambda text: f"{text}\xe9",
    "sealed": lambda text: _sealed(text),  # noqa: PLW0108 - it is defined below
    "unsigned": _parts(lambda head, body, _: f"{head}.{body}."),
    "of two parts": _parts(lambda head, body, _: f"{head}.{body}"),
    "of four parts": _parts(lambda head, body, end: f"{head}.{body}.{end}.{end}"),
    "without a body": _parts(lambda head, _, end: f"{head}..{end}"),
    "without a head": _parts(lambda _, body, end: f".{body}.{end}"),
    "of another body": _parts(lambda head, _, end: f"{head}.e30.{end}"),
    "of no object": _parts(lambda head, _, end: f"{head}.W10.{end}"),
    "of no JSON": _parts(lambda head, _, end: f"{head}.AAAA.{end}"),
    "in another order": _parts(lambda head, body, end: f"{body}.{head}.{end}"),
    "with a blank": _parts(lambda head, body, end: f"{head}.{body}. {end}"),
    "of another end": _parts(
        lambda head, body, end: f"{head}.{body}.{'BA'[end[0] == 'B']}{end[1:]}"
    ),
}


@cache
def _sealed(text: str) -> str:
    return seal(text, "ECDH-ES", "P-256", kid="e")


@cache
def session() -> str:
    """Return a session token of a project "one" whose sessions OTHER signs."""
    with Twins.of("nodius") as twins:
        text: str = twins.short.issue("one", WALLET.pubkey)["token"]
    return text


ORDER = order_token("/one", key="a")
_RPC = {"claims": {"aud": "rpc", "iss": "me"}}
# The usual request of a project, where it is another.
USUAL: dict[str, dict[str, Any]] = {
    "strict": _RPC,
    "rs256": {"signer": "RS", "head": {"kid": "b"}, "claims": {"aud": "nodereal.io"}},
    "allthatnode": {"signer": "ES", "head": {"kid": "b"}},
    "one secret": {"head": {"kid": None}},
    "two secrets": {"head": {"kid": None}},
    "engine": {"signer": "HEX", "head": {"kid": None}},
    "open": {"text": "none"},
    "oppiwallet": {"text": ORDER, "more": [("x-auth-key", "a")]},
}


def usual(project: str) -> Ask:
    """Return a request that *project* lets in."""
    if project == "nodius":
        return Ask(text=session())
    return Ask().but(USUAL.get(project, {}))


_TIMES = [0, 0.0005, 1, 9.9995, 10, 59, 60, 61, 119.9995, 120, 121, 299, 3000, 3599, 3599.9995]
_TIMES += [3600, 3609.9995, 3610, 3720, 4000, 1e6]
TIMES = [*_TIMES, *(-time for time in _TIMES[1:]), -NOW, -NOW - 60.0, 0.0005 - NOW, float("nan")]
# One thing each that may be otherwise than usual; `Ask.but` says how they add up.
CLAIMS: list[dict[str, Any]] = [
    *({"aud": "rpc", "iss": "me"}, {"aud": "a.example.com"}, {"aud": ["x", "rpc"]}, {"aud": {}}),
    *(
        {"aud": "nodereal.io"},
        {"iss": "you"},
        {"iss": 1},
        {"jti": "1"},
        {"jti": ["x"]},
        {"jti": ""},
    ),
    *({"sub": "alice"}, {"sub": 1}, {"sub": ""}, {"sid": "s"}, {"sid": 1}, {"name": "alice"}),
    *({"exp": None}, {"exp": None, "iat": None}, {"exp": NOW}, {"exp": NOW + 60}, {"exp": NOW - 9}),
    *({"exp": NOW * 1000}, {"exp": True}, {"exp": "1"}, {"exp": 1e11}, {"exp": NOW + 60.25}),
    *({"iat": NOW - 60}, {"iat": NOW + 60}, {"iat": 0}, {"iat": None}, {"iat": NOW - 3000}),
    *({"nbf": 0}, {"nbf": 0, "exp": None, "iat": None}, {"nbf": NOW + 60}, {"nbf": NOW - 0.5}),
    *(
        {"methods": ["eth_call"]},
        {"methods": "x"},
        {"text": "é"},
        {"a": "b" * 100},
        {"a": "b" * 2000},
    ),
]
FIELDS: list[Headers] = [
    *([("Content-Encoding", "gzip")], [("X-Api-Key", KEY)], [("X_Api_Key", KEY)]),
    *([("x-auth-key", "a")], [("x-auth-key", "b")], [("X-Pubkey", WALLET.pubkey)]),
    *([("X-Forwarded-For", "10.1.1.1")], [("X-Forwarded-Proto", "http")], [("X-Forwarded", "x")]),
    *([("Origin", "https://b.example")], [("Sec-WebSocket-Protocol", "auth.x")]),
    *([("Sec-WebSocket-Protocol", f"auth.{'x' * 9}")], [("Host", "x.example")], [("HOST", "")]),
    *(
        [("Authorization", "")],
        [("authorization", "Basic x")],
        [("AUTHORIZATION", f"Bearer {KEY}")],
    ),
    *([("Authorization_", "x")], WALLET.v1(), [("User-Agent", "x"), ("User-Agent", "y")]),
]
CHANGES: list[dict[str, Any]] = [
    *({"claims": each} for each in CLAIMS),
    *({"head": {"kid": each}} for each in ("a", "b", "c", "", 1, None)),
    *({"head": each} for each in ({"typ": "at+jwt"}, {"typ": "x"}, {"x": 1}, {"crit": []})),
    {"head": {"typ": "rpcguard-session+jwt"}},
    *({"signer": each} for each in SIGNERS),
    *({"signer": each, "head": {"kid": "b"}} for each in SIGNERS),
    *({"spelled": each} for each in SPELLINGS),
    *({"text": each} for each in ("none", "", KEY, ORDER, "a.b.c", "..")),
    *(
        {"word": each}
        for each in ("bearer ", "Bearer  ", "BEARER ", "Basic ", "Bearer\t", "Bearer", "")
    ),
    *(
        {"target": f"/one{each}"}
        for each in ("/", "/x", f"/{PATH_KEY}", "?x=1", "?", "//x", "/%20")
    ),
    *(
        {"target": each}
        for each in (f"/one?api_key={KEY}", "/two", "/", "", "*", "//one", "/%6fne")
    ),
    *(
        {"target": each}
        for each in ("/x/../one", "/one%2F", "/one#x", "/one\\x", "/\xe9", "/%C3%A9")
    ),
    {"target": "http://rpc.example/one"},
    *({"hosts": [("Host", each)]} for each in (OTHER_HOST, "Other.Example:80", "", "a,b", "\xe9")),
    *({"hosts": each} for each in ([], [("HOST", OTHER_HOST)], [("host", "a"), ("Host", "a")])),
    *({"more": each} for each in FIELDS),
    *({"facts": {"client": each}} for each in ("127.0.0.1", "192.0.2.1", "unix", None)),
    *({"facts": {"scheme": "http"}}, {"facts": {"websocket": True}}, {"facts": {"joined": True}}),
    *({"facts": {"body": each}} for each in (b"", CALL, CALL.replace(b"blockNumber", b"call"))),
    *({"asked": {"project": each}} for each in ("one", "two", "rest", "none", "")),
    *({"asked": {"schemes": each}} for each in (["jwt"], ["api_key", "session"])),
    *({"asked": {"standing": True}}, {"asked": {"frames": True}}),
    {"asked": {"frames": True}, "facts": {"websocket": True}},
    {"asked": {"standing": True}, "facts": {"websocket": True}},
    *({"now": each} for each in TIMES),
]

WAYS = ["verify", "known", "averify", "aknown"]


class Twins:
    """
    The two verifiers, of a registry with one project by its path and another for the rest.

    Attributes:
        short: Takes the short way where it can.
        long: Never does: somebody listens.
        events: What is told to who listens.
        now: Unix seconds of both.
    """

    def __init__(self, folder: Path, first: str, second: str = "plain") -> None:
        self.now = float(NOW)
        self.events: list[Any] = []
        self._path = folder / "registry.yaml"
        self._registry = (
            "version: 1\nbackend: memory://?restart_guard=off\nprojects:\n"
            f"  one:\n    match: {{path: /one}}\n    {PROJECTS[first]}\n"
            f"  two:\n    match: {{host: {OTHER_HOST}}}\n    {PROJECTS[second]}\n"
            f"  rest:\n    {PROJECTS[second]}\n"
        )
        self._path.write_text(self._registry)
        self.short, self.long = (
            Verifier.from_yaml(
                self._path, environ=ENVIRON, watch=False, clock=self._clock, observers=observers
            )
            for observers in ([], [self.events.append])
        )
        self.both = (self.short, self.long)

    @classmethod
    @contextmanager
    def of(cls, first: str, second: str = "plain") -> Iterator[Self]:
        """Give a pair with a folder of its own."""
        with tempfile.TemporaryDirectory() as folder, cls(Path(folder), first, second) as twins:
            yield twins

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for guard in self.both:
            guard.close()

    def _clock(self) -> float:
        return self.now

    def reload(self, after: str) -> None:
        """Read the registry again, changed as `AFTER` has it."""
        self._path.write_text(self._registry.replace(*AFTER[after]))
        for guard in self.both:
            guard.reload()

    def ask(self, ask: Ask, way: str = "verify") -> tuple[Any, ...]:
        """Return what both say to *ask*; the short one is asked in one of `WAYS`."""
        self.now = NOW + ask.now
        long = outcome(self.long, ask, "averify" if way.startswith("a") else "verify")
        short = outcome(self.short, ask, way)
        assert short == long, ask
        return long


def outcome(guard: Verifier, ask: Ask, way: str) -> tuple[Any, ...]:
    """Return all that anybody can learn of a verdict."""
    try:
        who = _judged(guard, ask, way)
    except AuthError as error:
        return (
            *(error.reason, error.status, error.code, error.message, error.cause, error.detail),
            *(error.project, error.bare, error.challenges, error.caller, error.headers),
            *(error.retry_after, error.method, str(error), type(error.__cause__)),
        )
    return who, who.who, who.name, who.expires_at, who.network, json.dumps(who.claims)


def _judged(guard: Verifier, ask: Ask, way: str) -> Principal:
    request, asked = ask.request(), ask.asked
    # As an adapter does, which makes no request of what is known
    fields = request.bearer_fields() if way.endswith("known") else None
    if request.websocket or asked.keys() & {"schemes", "standing"}:
        fields = None
    values = None if fields is None else (request.target, *fields, asked.get("project"))
    if not way.startswith("a"):
        found = None if values is None else guard.known(*values)
        return found or guard.verify(request, lambda _: CALL, **asked)

    async def in_a_loop() -> Principal:
        found = None if values is None else await guard.aknown(*values)
        return found or await guard.averify(request, _body, **asked)

    return asyncio.run(in_a_loop())


async def _body(_: int) -> bytes:
    return CALL
