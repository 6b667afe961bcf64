"""
The short way of a request that a wallet has signed gives what the long way gives: the same caller,
the same questions for the backend, the same wish for the body, the same refusal to the letter. Or
it gives nothing, and the long way is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import base58
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minting import CALL, NOW, SECRET, Headers, Wallet, key_digest, token, without

from rpcguard import AuthError, Principal, Request, Verifier
from rpcguard.authenticator import Authenticator
from rpcguard.keys import verify_ed25519
from rpcguard.pending import Pending
from rpcguard.registry.compile import load
from rpcguard.schemes import signature
from rpcguard.schemes.base import Proof
from rpcguard.schemes.signature import SignatureScheme
from rpcguard.schemes.signature_rules import Version
from rpcguard.steps import PLAIN, Asked, BodyWanted, Counting

TARGET, OTHER_TARGET = "/rpc", "/rpc/other"
API_KEY, PATH_KEY = "nod_0123456789abcdef", "0123456789abcdef"
LISTED, STRICT, JUDGED, STRANGER = (Wallet(number) for number in range(4))
LIST = f"""wallets:
      - {{pubkey: {LISTED.pubkey}, name: ops}}
      - {{pubkey: {STRICT.pubkey}, min_version: 2}}
      - {{pubkey: {JUDGED.pubkey}, allow: {{methods: [eth_call]}}}}"""
KEYS = f'api_keys: [{{id: k, digest: "{key_digest(API_KEY)}"}}]'
OPEN = "preset: nodius\n    wallets: open"
TOKENS = f"""{OPEN}
    schemes: [signature, session, jwt, api_key]
    key_by: secret
    algorithms: [HS256]
    secrets: [{{id: s, secret: "${{env:SECRET}}"}}]"""
# By name: the project; its requests may take the short way.
USUAL = {
    "open": OPEN,
    "listed": f"preset: nodius\n    {LIST}",
    "version 2": f"{OPEN}\n    min_version: 2",
    "prefixed": f"{OPEN}\n    public_prefix: /public\n    refusals: bare\n    id: shown",
    "free": f"{OPEN}\n    revocation: false",
    "sessions": f'{OPEN}\n    {KEYS}\n    session: {{secret: "${{env:SECRET}}"}}',
    "keys in paths": f"{OPEN}\n    {KEYS}\n    api_key: {{read: [path]}}",
    "2026": f"preset: nodius-2026\n    wallets: open\n    {KEYS}",
    "tokens beside": TOKENS,
    "keys beside": f"{OPEN}\n    {KEYS}\n    api_key: {{read: [header], header: X-Nonce}}",
}
# What looks at more than the signature, whatever the request.
LONG = {
    "methods": f"{OPEN}\n    allow: {{methods: [eth_blockNumber]}}",
    "addresses": f"{OPEN}\n    allow: {{ips: [10.0.0.0/8]}}",
    "limits": f"{OPEN}\n    limits: {{per_key: 5/minute}}",
    "https": f"{OPEN}\n    require_https: true",
}
ALL = USUAL | LONG
NEVER = {*LONG, "keys beside"}  # its field holds a key of the other scheme too


@dataclass(frozen=True)
class Ask:
    """A request, and how it is signed; by default the usual one."""

    wallet: Wallet = LISTED
    version: str = "v2"
    target: str = TARGET
    signed_target: str | None = None
    method: str = "POST"
    signed_method: str = "POST"
    body: bytes | None = CALL
    signed_body: bytes = CALL
    nonce: str = "0123456789abcdef"
    timestamp: str = str(NOW)
    edit: Callable[[Headers], Headers] = lambda headers: headers
    facts: dict[str, Any] = field(default_factory=dict)
    asked: Asked = PLAIN
    now: float = NOW

    def request(self, project: str) -> Request:
        """Return the request, as *project* wants it signed."""
        target = self.target if self.signed_target is None else self.signed_target
        target = f"/public{target}" if project == "prefixed" else target
        how: dict[str, Any] = {"timestamp": self.timestamp, "nonce": self.nonce}
        if self.version == "v1":
            signed = self.wallet.v1(self.signed_body, **how)
        elif project == "2026":
            path = target.partition("?")[0]
            signed = self.wallet.v2026(self.signed_method, path, self.signed_body, **how)
        else:
            signed = self.wallet.v2(self.signed_method, target, self.signed_body, **how)
        headers = self.edit([("Host", "rpc.example"), ("Accept", "*/*"), *signed])
        return Request(self.method, self.target, headers, self.body, **self.facts)


def _set(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: [(key, value if key.lower() == name else old) for key, old in headers]


def _add(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: [*headers, (name, value)]


def _drop(name: str) -> Callable[[Headers], Headers]:
    return lambda headers: without(headers, name)


def _twice(name: str, spelled: str) -> Callable[[Headers], Headers]:
    return lambda headers: [*headers, (spelled, dict(headers).get(name, ""))]


def _changed(name: str, place: int, letter: str) -> Callable[[Headers], Headers]:
    def edit(headers: Headers) -> Headers:
        old = dict(headers)[name]
        at = place % len(old)
        return [(n, old[:at] + letter + old[at + 1 :] if n == name else v) for n, v in headers]

    return edit


OWN = ("X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce")
ECHO = ("X-Auth-Version", "X-Http-Method", "X-Http-Path")
EDITS: list[Callable[[Headers], Headers]] = [
    lambda headers: [(name.lower(), value) for name, value in headers],
    lambda headers: [(name.upper(), value) for name, value in headers],
    lambda headers: [(name.replace("-", "_"), value) for name, value in headers],
    lambda headers: [*reversed(headers)],
    *(_drop(name) for name in (*OWN, *ECHO, "Host")),
    *(_twice(name, name) for name in (*OWN, *ECHO, "Host", "Accept")),
    *(_twice(name, name.lower()) for name in OWN),
    *(_twice(name, name.replace("-", "_")) for name in OWN),
    *(_set(name.lower(), "") for name in (*OWN, *ECHO)),
    *(_set(name.lower(), "é") for name in (*OWN, *ECHO)),
    *(_set(name.lower(), "1" * 44) for name in OWN),
    *(_set("x-auth-version", text) for text in ("0", "1", "3", "02", "x", "²", "2,2")),
    _set("x-http-method", "post"),
    _set("x-http-path", f"{TARGET}/"),
    _set("host", "RPC.example:80"),
    _set("host", "rpc.example,rpc.example"),
    _add("Authorization", f"Bearer {token({}, SECRET)}"),
    _add("Authorization", f"Bearer {API_KEY}"),
    _add("Authorization", "Bearer"),
    _add("Authorization", "Basic x"),
    _add("X-Api-Key", API_KEY),
    _add("X-Api-Key", ""),
    _add("Sec-WebSocket-Protocol", "auth.x"),
    _add("Content-Encoding", "gzip"),
    _add("Content-Encoding", "identity"),
    _add("Origin", "https://a.example"),
    _add("X-Forwarded-For", "10.0.0.1"),
    _add("X-Never-Seen-Before", "x"),
    _add("X-" + "Long" * 20, "x"),
    _add("X_Odd", "x"),
]
CHANGES: list[dict[str, Any]] = [
    {},
    *({"edit": edit} for edit in EDITS),
    *({"wallet": wallet} for wallet in (STRICT, JUDGED, STRANGER)),
    *({"wallet": wallet, "version": "v1"} for wallet in (LISTED, STRICT, JUDGED, STRANGER)),
    *({"wallet": wallet, "signed_body": b""} for wallet in (STRICT, JUDGED, STRANGER)),
    *({"target": target} for target in (OTHER_TARGET, f"{TARGET}?a=b", f"{TARGET}/{PATH_KEY}")),
    *({"target": target} for target in ("/elsewhere", "//", "/rpc/../x", "")),
    {"signed_target": OTHER_TARGET},
    {"method": "GET"},
    {"signed_method": "GET"},
    {"method": "GET", "signed_method": "GET"},
    {"method": "\ud800", "signed_method": "POST"},
    *({"signed_body": body} for body in (b"", b"x", CALL + b" ")),
    {"body": None},
    {"body": None, "signed_body": b""},
    {"body": None, "edit": _add("Content-Encoding", "gzip")},
    {"body": None, "timestamp": str(NOW - 31)},
    {"body": None, "nonce": "x"},
    {"body": b"", "signed_body": b""},
    {"body": b"x" * 2000, "signed_body": b"x" * 2000},
    {"body": b"x" * 2001, "signed_body": b"x" * 2001},
    *({"nonce": nonce} for nonce in ("", "0", "0" * 17, "A" * 16, "n-1", "5:a", "a,b", "²" * 16)),
    *({"nonce": nonce, "facts": {"joined": True}} for nonce in ("a,b", "n-1", "0" * 16)),
    *({"timestamp": str(NOW + off)} for off in (-61, -60, -31, -30, -1, 1, 30, 31, 60, 61)),
    *({"now": NOW + off} for off in (-30.001, -30, 30, 30.001, 60, 60.001)),
    *({"timestamp": text} for text in ("", "nan", "inf", "0", f"0{NOW}", f"{NOW}.0", f"+{NOW}")),
    *({"timestamp": text} for text in ("1" * 17, "1" * 12, "²", f" {NOW}", "-1", "1e9")),
    {"now": float("inf")},
    *({"now": now} for now in (0.0, -1.0, float("nan"))),
    {"facts": {"websocket": True}},
    {"facts": {"websocket": True}, "edit": _add("Sec-WebSocket-Protocol", "auth.x")},
    {"facts": {"joined": True}},
    {"facts": {"client": "10.0.0.1", "scheme": "http"}},
    *({"asked": Asked(schemes=kinds)} for kinds in (["signature"], ["api_key"], [])),
    {"asked": Asked(standing=True)},
    {"asked": Asked(standing=True), "timestamp": str(NOW - 3600)},
    {"asked": Asked(project="one")},
    {"asked": Asked(project="one"), "target": "/elsewhere"},
    {"asked": Asked(project="none")},
    {"asked": Asked(calls=False, frames=True, counted=True)},
]


def opened(folder: Path, project: str) -> Authenticator:
    """Return a new authenticator of *project* alone."""
    return loaded(folder, f"  one:\n    match: {{path: {TARGET}}}\n    {ALL[project]}\n")


def all_opened(folder: Path) -> Authenticator:
    """Return a new authenticator of all the projects, each on a host of its own."""
    return loaded(
        folder,
        "".join(
            f"  {slug(name)}:\n    match: {{path: {TARGET}, host: {slug(name)}.example}}\n    {body}\n"
            for name, body in ALL.items()
        ),
    )


def slug(project: str) -> str:
    """Return the name of *project* where it is one of many."""
    return project.replace(" ", "-")


def loaded(folder: Path, projects: str) -> Authenticator:
    """Return a new authenticator of *projects*, in YAML."""
    file = folder / "registry.yaml"
    file.write_text(
        f"version: 1\nbackend: memory://\nbounds: {{max_body: 2000}}\nprojects:\n{projects}"
    )
    return load(file, {"SECRET": SECRET}).authenticator


def signing(guard: Authenticator) -> SignatureScheme:
    """Return the scheme of signed requests of its project."""
    schemes = guard.projects["one"].schemes
    return next(each for each in schemes if isinstance(each, SignatureScheme))


def verdict(guard: Authenticator, project: str, ask: Ask) -> tuple[Any, ...]:
    """Return all that anybody can learn of what *guard* says."""
    try:
        return told(guard.authenticate(ask.request(project), ask.now, ask.asked))
    except AuthError as error:
        return (
            *(error.reason, error.status, error.code, error.message, error.cause, error.detail),
            *(error.project, error.bare, error.challenges, error.caller, error.headers),
        )


def told(step: Pending | BodyWanted | Counting | None) -> tuple[Any, ...]:
    """Return what there is to a *step*."""
    if isinstance(step, Pending):
        who = step._outcome
        refused = step.dress(AuthError("replayed"))
        form = refused.project, refused.bare, refused.challenges, refused.caller
        # Of a WebSocket it is a function, which gives a principal
        who = who if isinstance(who, Principal) else who(None)
        return who, who.network, step.owed, step.charges, step._caller, form
    if isinstance(step, BodyWanted):
        return BodyWanted, step.limit, step.project.name, step.kept
    if isinstance(step, Counting):
        return Counting, step.charges, step.project.name
    return ()


@dataclass(frozen=True)
class Pair:
    """A guard that may take the short way, and one that may not."""

    project: str
    short: Authenticator
    long: Authenticator

    @classmethod
    def of(cls, folder: Path, project: str) -> Pair:
        """Return a new pair, both of which have seen the usual requests."""
        pair = cls(project, opened(folder, project), opened(folder, project))
        pair.long._places.signing = frozenset()
        for more in ({}, {"target": OTHER_TARGET}, {"asked": Asked(project="one")}):
            pair.same(replace(Ask(), **more))
        return pair

    def same(self, ask: Ask) -> bool:
        """See that both say the same; return whether the request was let in, as far as we know."""
        short, long = (verdict(each, self.project, ask) for each in (self.short, self.long))
        assert short == long
        return isinstance(short[0], Principal)

    def went_short(self, ask: Ask) -> bool:
        """Return whether *ask* is answered without the long way."""
        try:
            step = self.short._short_signed(ask.request(self.project), ask.now, ask.asked)
        except AuthError:
            return True
        return step is not None


@pytest.mark.parametrize("project", [*ALL])
def test_no_change_of_a_usual_request_makes_a_difference(tmp_path: Path, project: str) -> None:
    pair = Pair.of(tmp_path, project)
    accepted = sum(pair.same(replace(Ask(), **change)) for change in CHANGES)
    # And in the other order, when each name and place is known
    accepted += sum(pair.same(replace(Ask(), **change)) for change in reversed(CHANGES))
    assert accepted >= (1 if project in LONG else 20) or project == "keys beside"


@pytest.mark.parametrize("named", [True, False])
def test_projects_of_one_registry_keep_to_themselves(tmp_path: Path, named: bool) -> None:
    # each reads fields that say nothing to another
    short, long = all_opened(tmp_path), all_opened(tmp_path)
    long._places.signing = frozenset()
    accepted = 0
    for change in (*CHANGES, *reversed(CHANGES)):
        for project in ALL:
            asked = Asked(project=slug(project)) if named else PLAIN
            ask = replace(Ask(), **{"asked": asked, **change})
            host = _set("host", f"{slug(project)}.example")
            if not named and "edit" not in change:
                ask = replace(ask, edit=host)
            told = verdict(short, project, ask)
            assert told == verdict(long, project, ask), (project, change)
            accepted += isinstance(told[0], Principal)
    assert accepted > 10 * len(USUAL)


@pytest.mark.parametrize("project", sorted(ALL))
def test_the_usual_request_takes_the_short_way_and_no_other(tmp_path: Path, project: str) -> None:
    pair = Pair.of(tmp_path, project)
    for change in (
        *({}, {"body": None}, {"target": OTHER_TARGET}, {"asked": Asked(project="one")}),
        *({"timestamp": str(NOW - 30)}, {"timestamp": str(NOW + 30)}, {"facts": {"joined": True}}),
        {"body": b"x" * 2000, "signed_body": b"x" * 2000},
    ):
        ask = replace(Ask(), **change)
        known = project != "keys in paths" or "target" not in change
        assert pair.went_short(ask) is (project not in NEVER and known), change
    for change in (
        *({"edit": edit} for edit in (_drop("Host"), _drop("X-Nonce"), _twice("Host", "Host"))),
        {"edit": _add("Content-Encoding", "identity")},
        {"target": f"{TARGET}?a=b"},
        {"target": "/rpc/never"},
        {"body": b"x" * 2001, "signed_body": b"x" * 2001},
        {"facts": {"websocket": True}},
        {"asked": Asked(standing=True)},
        {"asked": Asked(schemes=["signature"])},
    ):
        assert not pair.went_short(replace(Ask(), **change)), change


@pytest.mark.parametrize("word", ["method", "path", "target"])
@pytest.mark.parametrize("is_", ["method", "path", "target"])
def test_a_field_echoes_what_its_version_says(tmp_path: Path, word: str, is_: str) -> None:
    version = Version("{timestamp}:{nonce}:{sha256_hex_of_body}", (("x-echo", word),))
    rules = replace(
        signing(opened(tmp_path, "open"))._rules, version_header="", versions={"1": version}
    )
    real = {"method": "POST", "path": "/rpc", "target": "/rpc?a=b"}
    fields = {name.lower(): value for name, value in LISTED.v1()} | {"x-echo": real[is_]}
    request = Request("POST", "/rpc?a=b", [], CALL)
    usual = SignatureScheme(rules).usual
    proof = usual(fields, request, real["path"], real["target"], NOW)
    assert isinstance(proof, Proof) is (word == is_)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("signed_body", [CALL, b"another"], ids=["signed", "forged"])
def test_who_is_listed_takes_no_other_way_than_who_is_not(
    tmp_path: Path, signed_body: bytes, version: str
) -> None:
    # else the time would tell who is listed, to anybody and without a signature
    pair = Pair.of(tmp_path, "listed")
    for wallet in (LISTED, STRICT, JUDGED, STRANGER):
        ask = Ask(wallet=wallet, version=version, signed_body=signed_body)
        assert pair.went_short(ask)
        pair.same(ask)


def test_the_usual_request_is_not_matched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair.of(tmp_path, "open")
    monkeypatch.delattr(Authenticator, "_match")
    assert pair.short.authenticate(Ask().request("open"), NOW) is not None
    with pytest.raises(AttributeError):
        pair.long.authenticate(Ask().request("open"), NOW)


def test_what_a_wallet_may_do_is_judged_on_the_short_way(tmp_path: Path) -> None:
    pair = Pair.of(tmp_path, "listed")
    allowed = CALL.replace(b"eth_blockNumber", b"eth_call")
    for body, reason in ((CALL, "forbidden_method"), (b"x", "invalid_body"), (allowed, None)):
        ask = Ask(wallet=JUDGED, body=body, signed_body=body)
        assert pair.went_short(ask)
        assert pair.same(ask) is (reason is None)
        if reason:
            assert verdict(pair.short, "listed", ask)[0] == reason


@pytest.mark.parametrize("text", ["x" * 60_000, "nan", "9" * 17, "0", ""])
def test_nothing_is_kept_of_what_is_no_timestamp(tmp_path: Path, text: str) -> None:
    guard = opened(tmp_path, "open")
    scheme = signing(guard)
    for timestamp, kept in ((text, 0), (str(NOW), 1), (text, 1)):
        verdict(guard, "open", Ask(timestamp=timestamp))
        assert scheme._time.cache_info().currsize == kept


def test_a_signature_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []

    def told_of(public: bytes, message: bytes, signed: bytes) -> bool:
        checked.append(message)
        return verify_ed25519(public, message, signed)

    monkeypatch.setattr(signature, "verify_ed25519", told_of)
    pair = Pair.of(tmp_path, "listed")
    for wallet in (LISTED, STRICT, JUDGED, STRANGER):
        for version in ("v1", "v2"):
            for body in (CALL, b"another"):
                checked.clear()
                ask = Ask(wallet=wallet, version=version, signed_body=body)
                verdict(pair.short, "listed", ask)
                assert len(checked) == 1


def test_the_rest_of_a_target_that_may_be_a_key_is_never_passed_over(tmp_path: Path) -> None:
    pair = Pair.of(tmp_path, "keys in paths")
    ask = Ask(target=f"{TARGET}/{PATH_KEY}")
    for _ in range(3):
        assert verdict(pair.short, "keys in paths", ask)[0] == "ambiguous_credentials"
        assert not pair.went_short(ask)


def test_a_body_that_was_not_read_is_asked_for_once_and_then_signed(tmp_path: Path) -> None:
    opened(tmp_path, "open")
    path, read = tmp_path / "registry.yaml", []

    def read_body(limit: int) -> bytes:
        read.append(limit)
        return CALL

    with Verifier.from_yaml(
        path, backend="memory://?restart_guard=off", watch=False, clock=lambda: NOW
    ) as guard:
        for number in range(3):
            ask = Ask(body=None, nonce=f"{number:016x}")
            assert guard.verify(ask.request("open"), read_body).subject == LISTED.pubkey
            assert read == [2000]
            with pytest.raises(AuthError) as caught:
                guard.verify(ask.request("open"), read_body)
            assert caught.value.reason == "replayed"
            read.clear()


ASKS = st.builds(
    lambda changes, wallet, version, off: replace(
        Ask(wallet=wallet, version=version, timestamp=str(NOW + off)),
        **{name: value for change in changes for name, value in change.items()},
    ),
    st.lists(st.sampled_from(CHANGES), max_size=3),
    st.sampled_from([LISTED, STRICT, JUDGED, STRANGER]),
    st.sampled_from(["v1", "v2"]),
    st.integers(-62, 62) | st.just(0),
)


@settings(max_examples=200, deadline=None)
@given(project=st.sampled_from([*ALL]), asks=st.lists(ASKS, min_size=1, max_size=6))
def test_no_history_makes_a_difference(
    tmp_path_factory: pytest.TempPathFactory, project: str, asks: list[Ask]
) -> None:
    pair = Pair.of(tmp_path_factory.mktemp("signed"), project)
    for ask in asks:
        pair.same(ask)
        pair.same(ask)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([*OWN, *ECHO]),
    place=st.integers(0, 100),
    letter=st.characters(max_codepoint=0x17F),
)
def test_no_letter_of_a_field_is_read_otherwise(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, letter: str
) -> None:
    pair = Pair.of(tmp_path_factory.mktemp("signed"), "open")
    pair.same(Ask(edit=_changed(name, place, letter)))


def test_a_key_that_fits_every_message_is_refused_on_both_ways(tmp_path: Path) -> None:
    def neutral(headers: Headers) -> Headers:
        key, made = (base58.b58encode(b"\1" + bytes(size)).decode() for size in (31, 63))
        return _set("x-signature", made)(_set("x-pubkey", key)(headers))

    pair = Pair.of(tmp_path, "open")
    assert verdict(pair.short, "open", Ask(edit=neutral))[0] == "invalid_credentials"
    pair.same(Ask(edit=neutral))
