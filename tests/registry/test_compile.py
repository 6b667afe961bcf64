"""The registry's fixed points, from YAML to what answers requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from minting import (
    CALL,
    NOW,
    OTHER_SECRET,
    SECRET,
    Wallet,
    bearer,
    hour,
    key_digest,
    order_token,
    private_key,
    public_pem,
    replaced,
    token,
)

from rpcguard import AuthError, ConfigError, Request
from rpcguard.registry.compile import load
from rpcguard.verifier import Verifier

KID = "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"
HEX = "ab" * 32

# The registry of design.md, section "The registry", word for word but for the digest and `solana`'s
# comment.
SAMPLE = """
version: 1
backend: sqlite:///var/rpcguard.db      # memory:// | sqlite:///PATH | redis://…
trusted_proxies: [127.0.0.1/32]         # whose X-Forwarded-* count; default none
bounds: {max_credential: 8KiB, max_body: 5MiB, max_batch: 100}     # these are the defaults
projects:
  bsc:
    preset: meganode
    match: {path: [/v1/, /ws/v1/]}      # see "Matching"; one project may have no match
    secrets:
      - {id: 2026-11, secret: "${env:NODEREAL_JWT_SECRET}"}
      - {id: 2026-10, secret: "${file:secrets/old}", not_after: 2026-12-01T00:00:00Z}
    api_keys:
      - {id: ops, digest: "DIGEST"}
  evm:
    preset: allthatnode
    id: 2a8428f5a79b09aadff75a745397cf6d2f59d51e   # what errors show
    match: {path: /evm}
    audience_suffix: allthatnode.com
    keys:
      - {kid: 54f26cb4-15a9-11ee-a1d8-0a58538e0d0c, name: ci, public_key: "${file:keys/ci.pem}"}
  solana:
    preset: nodius
    match: {path: [/solana, /ws/solana]}
    wallets: open                       # or a list of {pubkey, name, min_version, allow}
    session: {secrets: [{id: a, secret: "${env:RPCGUARD_SESSION_SECRET}"}], ttl: 1h, refresh: off}
  payouts:
    preset: oppiwallet
    match: {path: /payouts}
    keys:
      - {auth_key: merchant-1, enc_key: "${env:ENC_KEY}"}
    digest_fields: {/payouts/withdraw: [currency, amount, orderId]}
  engine:
    preset: engine-api
    match: {path: /engine}
    secrets: [{id: jwt, secret: "${file:jwt.hex}"}]
  bots:
    preset: bearer
    match: {path: /bots}
    issuer: https://id.example.com
    audience: bots
    revocation: true                    # default
    keys: [{kid: a, alg: EdDSA, public_key: "${file:keys/a.pem}"}]
    allow:                              # AND across kinds, OR within one
      methods: [eth_call, "eth_get*"]
      ips: [10.0.0.0/8]
      origins: ["https://*.example.com"]
"""
ENVIRON = {
    "NODEREAL_JWT_SECRET": SECRET,
    "RPCGUARD_SESSION_SECRET": "s" * 32,
    "ENC_KEY": SECRET,
}


@pytest.fixture
def sample(guard, tmp_path) -> Verifier:
    """The sample registry with the files that it names."""
    for name, text in {
        "secrets/old": OTHER_SECRET + "\n",
        "keys/ci.pem": public_pem("RS256"),
        "keys/a.pem": public_pem("EdDSA"),
        "jwt.hex": f"0x{HEX}\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
    text = SAMPLE.replace("DIGEST", key_digest("k1"))
    return guard(text, environ=ENVIRON, backend="memory://?restart_guard=off")


def ask(verifier: Verifier, target: str, headers, body=CALL, **facts):
    """Return the principal, or the reason of the refusal."""
    try:
        return verifier.verify(Request("POST", target, headers, body, **facts))
    except AuthError as error:
        return error.reason


def test_the_sample_registry_answers_for_each_project(sample):
    claims = {"iss": "https://id.example.com", "aud": "bots"}
    bots = bearer(token(hour(**claims), private_key("EdDSA"), "EdDSA", kid="a"))
    bots += [("Origin", "https://x.example.com")]
    get = CALL.replace(b"eth_blockNumber", b"eth_getLogs")
    order = b'{"currency": "BTC", "amount": "0.001", "orderId": "12345"}'
    cases = [
        ("/v1/", bearer(token(hour())), CALL, "bsc", "2026-11"),
        ("/ws/v1/", bearer(token(hour(), OTHER_SECRET)), CALL, "bsc", "2026-10"),
        ("/v1/k1", [], CALL, "bsc", "ops"),
        ("/evm", bearer(token({}, private_key("RS256"), "RS256", kid=KID)), CALL, "evm", KID),
        ("/solana", Wallet().v1(), CALL, "solana", Wallet().pubkey),
        (
            "/payouts/withdraw",
            [*bearer(order_token()), ("x-auth-key", "merchant-1")],
            order,
            "payouts",
            "merchant-1",
        ),
        ("/engine", bearer(token({"iat": NOW}, bytes.fromhex(HEX))), CALL, "engine", "jwt"),
        ("/bots", bots, get, "bots", "a"),
    ]
    for target, headers, body, project, key_id in cases:
        principal = ask(sample, target, headers, body, client="10.0.0.1")
        assert (principal.project, principal.key_id) == (project, key_id)


def test_the_sample_registry_refuses_for_each_project(sample):
    for target, wanted in {
        "/v1/": "missing_credentials",
        "/v1/k2": "invalid_credentials",
        "/evm": "missing_credentials",
        "/solana": "missing_credentials",
        "/payouts": "missing_credentials",
        "/engine": "missing_credentials",
        "/bots": "missing_credentials",
        "/": "no_project",
        "/v2/": "no_project",
    }.items():
        assert ask(sample, target, []) == wanted


def test_what_errors_show_is_the_id_or_else_the_name(sample):
    assert {name: p.id for name, p in sample.registry.projects.items()} == {
        "bsc": "bsc",
        "evm": "2a8428f5a79b09aadff75a745397cf6d2f59d51e",
        "solana": "solana",
        "payouts": "payouts",
        "engine": "engine",
        "bots": "bots",
    }


def test_kinds_of_policy_are_joined_by_and_and_entries_by_or(sample):
    claims = {"iss": "https://id.example.com", "aud": "bots"}
    good = bearer(token(hour(**claims), private_key("EdDSA"), "EdDSA", kid="a"))
    good += [("Origin", "https://x.example.com")]
    call = CALL.replace(b"eth_blockNumber", b"eth_call")
    assert ask(sample, "/bots", good, call, client="10.9.9.9").subject == "a"
    assert ask(sample, "/bots", good, call, client="192.0.2.1") == "forbidden_ip"
    proxied = [*good, ("X-Forwarded-For", "192.0.2.1, 10.0.0.1")]
    assert ask(sample, "/bots", proxied, call, client="127.0.0.1").subject == "a"
    assert ask(sample, "/bots", proxied, call, client="192.0.2.1") == "forbidden_ip"
    evil = replaced(good, "Origin", "https://example.com")
    assert ask(sample, "/bots", evil, call, client="10.9.9.9") == "forbidden_origin"
    assert ask(sample, "/bots", good[:1], call, client="10.9.9.9") == "forbidden_origin"
    assert ask(sample, "/bots", good, CALL, client="10.9.9.9") == "forbidden_method"
    batch = b"[" + call + b"," + CALL + b"]"
    assert ask(sample, "/bots", good, batch, client="10.9.9.9") == "forbidden_method"
    assert ask(sample, "/bots", good, b"{}", client="10.9.9.9") == "invalid_body"


def test_the_bounds_are_the_defaults(sample, guard):
    assert sample.registry.bounds == guard(text()).registry.bounds
    bounds = sample.registry.bounds
    assert (bounds.max_credential, bounds.max_body, bounds.max_batch) == (8192, 5242880, 100)
    assert (bounds.body_timeout, bounds.issuing_timeout) == (30.0, 5.0)
    assert guard(text(head="bounds: {issuing_timeout: 2s}")).registry.bounds.issuing_timeout == 2.0
    assert guard(text(head="bounds: {body_timeout: 1500ms}")).registry.bounds.body_timeout == 1.5


# --- Matching -------------------------------------------------------------------------------------


def text(*projects: str, head: str = "") -> str:
    """Return a registry of meganode projects a, b, …, each with its own lines."""
    listed = "\n".join(
        f"  {name}:\n    preset: meganode\n    secrets: [{{id: s, secret: '{SECRET}'}}]\n    {lines}"
        for name, lines in zip("abcdefgh", projects or ("",), strict=False)
    )
    return f"version: 1\n{head}\nprojects:\n{listed}\n"


def project(verifier: Verifier, target: str, host: str = "") -> str:
    headers = [*bearer(token(hour())), *([("Host", host)] if host else [])]
    found = ask(verifier, target, headers)
    return found if isinstance(found, str) else found.project


@pytest.mark.parametrize("prefix", ["/evm", "/evm/"])
def test_a_prefix_with_or_without_its_slash_is_the_same(guard, prefix):
    verifier = guard(text(f"match: {{path: {prefix}}}"))
    for target in ("/evm", "/evm/", "/evm/x", "/evm/x/", "/evm?x"):
        assert project(verifier, target) == "a"
    for target in ("/evmx", "/", "/Evm", "/x/evm"):
        assert project(verifier, target) == "no_project"


def test_host_first_then_the_longest_path_else_the_default(guard):
    verifier = guard(
        text(
            "match: {path: /evm}",
            "match: {path: /evm/long}",
            "match: {host: a.example}",
            "match: {host: [b.example, C.Example], path: [/evm, /x]}",
            "",
        )
    )
    for target, host, wanted in [
        ("/evm", "", "a"),
        ("/evm/long/x", "", "b"),
        ("/evm/long", "a.example", "c"),
        ("/else", "A.EXAMPLE:8080", "c"),
        ("/evm/long", "b.example", "d"),
        ("/x", "c.example", "d"),
        ("/y", "b.example", "e"),
        ("/x", "", "e"),
        ("/x", "d.example", "e"),
    ]:
        assert project(verifier, target, host) == wanted


def test_the_path_is_matched_as_it_is_decoded(guard):
    verifier = guard(text("match: {path: '/a%20b'}", "match: {path: '/%C3%A9'}"))
    assert project(verifier, "/a%20b/x") == "a"
    assert project(verifier, "/%c3%a9") == "b"
    for target in ("/%65vm", "/a%2Fb", "//a%20b", "/./a%20b"):
        assert project(verifier, target) == "invalid_target"


SAME = [
    ("match: {path: /evm}", "match: {path: /evm}"),
    ("match: {path: /evm}", "match: {path: /evm/}"),
    ("match: {path: [/x, /evm]}", "match: {path: [/evm, /y]}"),
    ("match: {host: a.example}", "match: {host: A.Example}"),
    ("match: {host: a.example}", "match: {host: a.example, path: /}"),
    ("match: {host: [a.example, b.example], path: /x}", "match: {host: b.example, path: [/x]}"),
    ("", ""),
]


@pytest.mark.parametrize("two", SAME)
def test_two_projects_that_match_the_same_are_an_error_at_load(guard, two):
    with pytest.raises(ConfigError, match=r"projects\.b") as caught:
        guard(text(*two))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].line > 0
    assert "'a'" in str(caught.value)


@pytest.mark.parametrize(
    "two",
    [
        ("match: {path: /evm}", "match: {path: /evm/x}"),
        ("match: {path: /evm}", "match: {path: /evm, host: a.example}"),
        ("match: {host: a.example}", "match: {host: b.example}"),
        ("match: {path: [/evm, /evm/]}", ""),
    ],
)
def test_projects_that_overlap_are_none(guard, two):
    guard(text(*two))


@pytest.mark.parametrize(
    "match",
    [
        "{path: evm}",
        "{path: ''}",
        "{path: /evm//x}",
        "{path: /evm/../x}",
        "{path: '/evm?x'}",
        "{path: '/evm%2Fx'}",
        "{path: '/e%76m'}",
        "{path: []}",
        "{}",
        "{host: 'a.example:80'}",
        "{host: 'https://a.example'}",
        "{host: '*.example'}",
        "{host: 'exämple.com'}",
        "{host: ''}",
        "{hosts: a.example}",
    ],
)
def test_a_match_that_could_never_match_is_an_error_at_load(guard, match):
    with pytest.raises(ConfigError, match=r"projects\.a\.match"):
        guard(text(f"match: {match}"))


# --- Problems -------------------------------------------------------------------------------------


def test_every_problem_is_listed_at_once_with_its_place_and_without_values(guard):
    registry = f"""version: 1
backend: memory://
projects:
  one:
    preset: meganode
    match: {{path: /same}}
    secrets:
      - {{id: a, secret: "${{env:NOT_SET}}"}}
      - {{id: b, secret: "${{file:not/there}}"}}
      - {{id: c, secret: needle-too-short}}
    leeway: needle
  two:
    preset: allthatnode
    match: {{path: /same/}}
    nonsense: needle
    keys:
      - {{kid: a, public_key: {json.dumps(public_pem("ES384"))}}}
      - {{kid: b, public_key: needle}}
  three:
    preset: nodius
    match: {{path: /three}}
    match: {{path: /three}}
    wallets: [{{pubkey: needle}}]
  four:
    preset: bearer
    match: {{path: /four}}
    keys: []
    allow: {{ips: [10.0.0.1/8], origins: [needle]}}
"""
    with pytest.raises(ConfigError) as caught:
        guard(registry)
    found = {(problem.line, problem.key) for problem in caught.value.problems}
    wanted = {
        (8, "projects.one.secrets[0].secret"),
        (9, "projects.one.secrets[1].secret"),
        (10, "projects.one.secrets[2]"),
        (11, "projects.one.leeway"),
        (14, "projects.two.match"),
        (15, "projects.two.nonsense"),
        (17, "projects.two.keys[0].public_key"),
        (18, "projects.two.keys[1].public_key"),
        (22, "projects.three.match"),
        (23, "projects.three.wallets[0].pubkey"),
        (28, "projects.four.allow.ips[0]"),
        (28, "projects.four.allow.origins[0]"),
    }
    assert {line for line, _ in wanted} <= {line for line, _ in found}
    assert {key for _, key in wanted} <= {key.removesuffix(".path") for _, key in found}
    for problem in caught.value.problems:
        assert problem.file.endswith("registry.yaml")
        assert problem.column > 0
        assert "needle" not in problem.message


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("allow: {ips: [10.0.0.1/8]}", "allow.ips[0]"),
        ("allow: {ips: [010.0.0.0/8]}", "allow.ips[0]"),
        ("allow: {ips: [localhost]}", "allow.ips[0]"),
        ("allow: {origins: ['*']}", "allow.origins[0]"),
        ("allow: {origins: [example.com]}", "allow.origins[0]"),
        ("allow: {addresses: ['0x12']}", "allow.addresses[0]"),
        ("allow: {method: [eth_call]}", "allow.method"),
        ("public_prefix: rpc", "public_prefix"),
        ("public_prefix: /rpc//x", "public_prefix"),
        ("algorithms: []", "algorithms"),
        ("algorithms: [none]", "algorithms[0]"),
        ("wallets: open", "wallets"),
        ("keys: []", "keys"),
        ("audience: a\n    audience_suffix: b", "audience_suffix"),
        ("max_lifetime: 0s", "max_lifetime"),
        ("max_nonces: 0", "max_nonces"),
        ("max_nonces: -1", "max_nonces"),
        ("api_keys: [{id: a, digest: 'md5:00'}]", "api_keys[0].digest"),
        ("api_keys: [{id: a, digest: 'sha256:00'}]", "api_keys[0].digest"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(guard, lines, key):
    with pytest.raises(ConfigError) as caught:
        guard(text(lines))
    assert f"projects.a.{key}" in {problem.key for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]"),
        ("trusted_proxies: [unix, proxy]", "trusted_proxies[1]"),
        ("bounds: {max_body: 0}", "bounds.max_body"),
        ("bounds: {max_batch: many}", "bounds.max_batch"),
        ("bounds: {max_size: 1}", "bounds.max_size"),
        ("max_server_skew: -1s", "max_server_skew"),
    ],
)
def test_a_wrong_setting_of_the_whole_is_named_by_its_key(guard, head, key):
    with pytest.raises(ConfigError) as caught:
        guard(text(head=head))
    assert key in {problem.key for problem in caught.value.problems}


@pytest.mark.parametrize(
    "keys",
    [
        "api_keys: [{id: a, digest: D1}, {id: a, digest: D2}]",
        "api_keys: [{id: a, digest: D1}, {id: b, digest: D1}]",
        "secrets: [{id: a, secret: S1}, {id: a, secret: S2}]",
    ],
)
def test_one_id_or_digest_twice_is_an_error_at_load(guard, keys):
    keys = keys.replace("D1", f"'{key_digest('1')}'").replace("D2", f"'{key_digest('2')}'")
    keys = keys.replace("S1", f"'{SECRET}'").replace("S2", f"'{OTHER_SECRET}'")
    registry = text().replace(f"secrets: [{{id: s, secret: '{SECRET}'}}]", keys)
    with pytest.raises(ConfigError, match=r"\[1\]"):
        guard(registry)


def test_what_may_be_right_is_a_warning(guard, caplog):
    guard(text().replace(f"[{{id: s, secret: '{SECRET}'}}]", "[]"))
    assert "projects.a.secrets" in caplog.text
    assert "literal" not in caplog.text
    guard(text())
    assert "literal secret" in caplog.text
    assert SECRET not in caplog.text


def test_trusted_proxies_unix(guard):
    registry = text("allow: {ips: [192.0.2.0/24]}", head="trusted_proxies: [unix]")
    verifier = guard(registry)
    headers = [*bearer(token(hour())), ("X-Forwarded-For", "192.0.2.1")]
    assert ask(verifier, "/", headers, client="unix").project == "a"
    assert ask(verifier, "/", headers, client="127.0.0.1") == "forbidden_ip"
    assert ask(verifier, "/", headers[:1], client="unix") == "forbidden_ip"


# --- Presets of one's own ----------------------------------------------------------------------------

OWN = """
schemes: [jwt, api_key]
algorithms: [HS256]
key_by: secret
api_key: {read: [bearer, header, query], prefix: "key_", header: X-Token, query: token}
"""


def test_a_new_provider_is_a_new_yaml_file(guard, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    digest = key_digest("key_1")
    registry = text(f"api_keys: [{{id: k, digest: '{digest}'}}]").replace("meganode", "./own.yaml")
    verifier = guard(registry)
    assert ask(verifier, "/", bearer(token(hour()))).scheme == "jwt"
    assert ask(verifier, "/", [("X-Token", "key_1")]).scheme == "api_key"
    assert ask(verifier, "/?token=key_1", []).scheme == "api_key"


def test_a_bearer_is_a_key_or_a_token_by_its_prefix_once(guard, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    digest = key_digest("key_1")
    registry = text(f"api_keys: [{{id: k, digest: '{digest}'}}]").replace("meganode", "./own.yaml")
    verifier = guard(registry)
    assert ask(verifier, "/", bearer("key_1")).scheme == "api_key"
    assert ask(verifier, "/", bearer("key_2")) == "invalid_credentials"
    assert ask(verifier, "/", bearer(token(hour()))).scheme == "jwt"


WHICH = """
import sys
from minting import NOW, SECRET, bearer, hour, token
from rpcguard import AuthError, ConfigError, Request, Verifier
try:
    verifier = Verifier.from_yaml(sys.argv[1], clock=lambda: NOW, watch=False)
except ConfigError as error:
    print("refused at load")
    raise SystemExit
for alg in ("HS256", "HS512"):
    request = Request("POST", "/", bearer(token(hour(), SECRET * 2, alg)))
    try:
        verifier.verify(request)
        print(alg)
    except AuthError as error:
        print(error.reason)
"""


def test_the_algorithm_of_a_secret_does_not_depend_on_chance(tmp_path):
    """A set has another order in every process; the algorithm of a secret must not."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    registry = text("algorithms: [HS256, HS512]", head="backend: memory://")
    (tmp_path / "r.yaml").write_text(registry.replace(SECRET, SECRET * 2), encoding="utf-8")
    answers = set()
    for seed in ("0", "6"):
        run = subprocess.run(
            [sys.executable, "-c", WHICH, str(tmp_path / "r.yaml")],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        answers.add(run.stdout)
    assert len(answers) == 1
    assert answers <= {"refused at load\n", "HS256\nunsupported_algorithm\n"}


# --- What a preset of one's own may say -------------------------------------------------------------

SIGNED = """
schemes: [signature]
signature:
  headers: {pubkey: X-Key, signature: X-Sig, timestamp: X-Time, nonce: X-Once}
  encoding: base64
  timestamp: "[1-9][0-9]{0,11}"
  nonce: "[a-z]{1,16}"
  window: 10s
  default_version: "7"
  versions:
    "7": {payload: "own|{method}|{path}|{timestamp}|{nonce}|{sha256_hex_of_body}"}
"""


def own(guard, tmp_path, preset: str, lines: str = "wallets: open") -> Verifier:
    (tmp_path / "own.yaml").write_text(preset, encoding="utf-8")
    return guard(
        f"version: 1\nbackend: memory://\nprojects:\n  a:\n    preset: own.yaml\n    {lines}\n"
    )


def test_a_signature_in_other_words(guard, tmp_path):
    import base64

    import nacl.signing
    from minting import sha256

    key = nacl.signing.SigningKey(b"k" * 32)
    payload = f"own|POST|/x|{NOW}|once|{sha256(CALL)}"
    headers = [
        ("X-Key", base64.b64encode(bytes(key.verify_key)).decode()),
        ("X-Sig", base64.b64encode(key.sign(payload.encode()).signature).decode()),
        ("X-Time", str(NOW)),
        ("X-Once", "once"),
    ]
    verifier = own(guard, tmp_path, SIGNED)
    assert ask(verifier, "/y", headers) == "invalid_credentials"
    assert ask(verifier, "/x?q", headers).scheme == "signature"
    assert ask(verifier, "/x?q", headers) == "replayed"
    assert ask(verifier, "/x", Wallet().v1()) == "missing_credentials"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[a-z]{1,16}", "[a-z", "signature.nonce"),
        ("[1-9][0-9]{0,11}", "(", "signature.timestamp"),
        ("{nonce}", "{once}", "signature.versions.7.payload"),
        ("{nonce}", "{nonce!r}", "signature.versions.7.payload"),
        ("{nonce}", "{nonce:>9}", "signature.versions.7.payload"),
        ("{nonce}", "{nonce.x}", "signature.versions.7.payload"),
        ("{nonce}", "{}", "signature.versions.7.payload"),
        ("{nonce}", "{nonce", "signature.versions.7.payload"),
        ('default_version: "7"', 'default_version: "8"', "signature.default_version"),
        ('    "7"', '    "x7"', "signature.versions.x7"),
        ("encoding: base64", "encoding: base32", "signature.encoding"),
        ("window: 10s", "window: 0s", "signature.window"),
        ("window: 10s", "algorithm: ES256", "signature.algorithm"),
    ],
)
def test_a_wrong_word_of_a_preset_is_named_at_its_place_in_the_preset(
    guard, tmp_path, old, new, key
):
    assert old in SIGNED
    with pytest.raises(ConfigError) as caught:
        own(guard, tmp_path, SIGNED.replace(old, new))
    found = {problem.key: problem for problem in caught.value.problems}
    assert f"projects.a.{key}" in found
    assert found[f"projects.a.{key}"].file.endswith("own.yaml")
    assert found[f"projects.a.{key}"].line > 0


@pytest.mark.parametrize(
    ("preset", "lines", "message"),
    [
        ("schemes: [signature]", "wallets: open", "signature"),
        ("schemes: [api_key]", f"api_keys: [{{id: a, digest: '{key_digest('x')}'}}]", "read"),
        (SIGNED, "allow: {}", "wallets"),
        (SIGNED, "wallets: open\n    keys: []", "no use"),
        ("schemes: [jwt]\nkey_by: header\nalgorithms: [HS256]", "keys: []", "key_header"),
        (
            "schemes: [jwt]\nalgorithms: [HS256]",
            f"keys: [{{auth_key: a, enc_key: '{SECRET}'}}]",
            "auth_key",
        ),
        (
            "schemes: [jwt]\nalgorithms: [HS256]",
            f"keys: [{{kid: a, alg: HS512, secret: '{SECRET * 2}'}}]",
            "HS256",
        ),
        (
            "schemes: [jwt]\nalgorithms: [HS256, HS512]",
            f"keys: [{{kid: a, secret: '{SECRET * 2}'}}]",
            "alg is required",
        ),
        (
            "schemes: [jwt]\nalgorithms: [HS256]\nsingle_use: true\nrequired: [iat]",
            f"keys: [{{kid: a, secret: '{SECRET}'}}]",
            "single_use",
        ),
    ],
)
def test_a_preset_and_a_project_that_do_not_fit_are_an_error_at_load(
    guard, tmp_path, preset, lines, message
):
    with pytest.raises(ConfigError, match=message):
        own(guard, tmp_path, preset, lines)


def test_a_wallet_listed_twice_is_an_error_at_load(guard):
    pubkey = Wallet().pubkey
    registry = f"""
version: 1
projects:
  a: {{preset: nodius, wallets: [{{pubkey: {pubkey}}}, {{pubkey: {pubkey}}}]}}
"""
    with pytest.raises(ConfigError, match=r"wallets\[1\]\.pubkey: listed before"):
        guard(registry)


def test_no_repr_of_a_generation_shows_the_backend_s_password(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(
        "version: 1\nbackend: redis://user:hunter2@127.0.0.1\nprojects:\n"
        f"  one: {{preset: meganode, secrets: [{{id: a, secret: {'s' * 32}}}]}}\n"
    )
    compiled = load(file, {})
    assert compiled.backend.startswith("redis://user:hunter2@")
    assert repr(compiled) == str(compiled) == "Compiled(projects=['one'])"
