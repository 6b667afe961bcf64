"""The vocabulary: what each key takes, and how a mistake in it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpcguard.registry import schema
from rpcguard.registry.editor import json_schema

PEM = "-----BEGIN PUBLIC KEY-----"


def test_absent_keys_are_none_and_the_top_has_its_defaults(look_at: Any) -> None:
    found = look_at("version: 1\nprojects: {p: {preset: engine-api}}")
    registry = found.registry
    assert registry.backend == "sqlite:///rpcguard.db"
    assert registry.trusted_proxies == []
    assert registry.bounds.model_dump() == {
        "max_credential": 8192, "max_body": 5 << 20, "max_batch": 100, "body_timeout": 30.0,
        "issuing_timeout": 5.0,
    }  # fmt: skip
    assert registry.max_server_skew == 30.0
    project = registry.projects["p"]
    assert (project.match, project.keys, project.secrets, project.wallets) == (None,) * 4


def test_an_empty_list_is_not_an_absent_one(project: Any) -> None:
    found = project("keys: []\nwallets: []\nallow: {methods: []}")
    assert (found.keys, found.secrets, found.wallets) == ([], None, [])
    assert (found.allow.methods, found.allow.ips) == ([], None)


@pytest.mark.parametrize("key", ["path", "host"])
def test_one_value_stands_for_a_list_of_one_in_match(project: Any, key: str) -> None:
    assert getattr(project(f"match: {{{key}: /a}}").match, key) == ["/a"]
    assert getattr(project(f"match: {{{key}: [/a, /b]}}").match, key) == ["/a", "/b"]


@pytest.mark.parametrize("key", ["audience", "issuer"])
def test_one_value_stands_for_a_list_of_one_in_claims(project: Any, key: str) -> None:
    assert getattr(project(f"{key}: x"), key) == ["x"]
    assert getattr(project(f"{key}: [x, y]"), key) == ["x", "y"]


def test_values_have_the_types_that_the_compiler_wants(project: Any) -> None:
    found = project(
        "leeway: 250ms\nmax_lifetime: 1h\nsingle_use: true\nmax_nonces: 5\nsession:\n"
        "  {secrets: [{id: 1, secret: '${env:S}', not_after: 2026-12-01T00:00:00Z}],\n"
        "   ttl: 1h, refresh: off}\n"
        "refusal: {status: 403, code: -32013, messages: {expired: gone}}\nwallets: open",
        S="s" * 32,
    )
    assert (found.leeway, found.max_lifetime, found.single_use) == (0.25, 3600.0, True)
    assert found.session.secrets[0].not_after == 1796083200.0
    assert found.session.refresh == "off"
    assert (found.refusal.status, found.refusal.code) == (403, -32013)
    assert found.refusal.messages == {"expired": "gone"}
    assert (found.wallets, found.max_nonces) == ("open", 5)


def test_ids_stay_as_they_were_written(project: Any) -> None:
    found = project(
        f"keys:\n  - {{kid: 0123, public_key: '{PEM}'}}\n  - {{kid: off, public_key: x}}\n"
        "  - {kid: 54_26, public_key: x}\n  - {kid: 2026-11, public_key: x}\n"
        "  - {kid: 12:30:45, public_key: x}"
    )
    assert [key.kid for key in found.keys] == ["0123", "off", "54_26", "2026-11", "12:30:45"]


def test_models_are_frozen(project: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        project("").leeway = 5


def test_no_model_shows_a_secret(look_at: Any) -> None:
    found = look_at(
        "version: 1\nbackend: redis://u:hunter2@h/0\nprojects:\n"
        "  a: {preset: meganode, secrets: [{id: a, secret: hunter2}]}\n"
        "  b: {preset: bearer, keys: [{kid: a, secret: hunter2}, {kid: b, public_key: hunter2}]}\n"
        "  c: {preset: oppiwallet, keys: [{auth_key: a, enc_key: hunter2}]}\n"
        "  d: {preset: nodius, session: {secret: hunter2}}\n"
    )
    assert found.problems == ()
    assert "hunter2" not in repr(found) + str(found) + repr(found.registry) + str(found.registry)
    assert "hunter2" not in repr(found.registry.projects)


WRONG = [
    ("leeway: 121", "leeway: must be at most 120s"),
    ("leeway: -1", "leeway: expected a duration, such as 30s, 250ms, 5m, 1h or 7d"),
    ("leeway: [1]", "leeway: expected one value, found a list"),
    ("leeway:", "leeway: empty: give a value, or leave the key out"),
    ("iat_leeway: 1000000000", "iat_leeway: must be at most 120s"),
    ("iat_window: 0", "iat_window: must be more than 0"),
    ("iat_window: 2d", "iat_window: must be at most 24h"),
    ("max_lifetime: 0s", "max_lifetime: must be more than 0"),
    ("max_lifetime: 9999d", "max_lifetime: must be at most 3650d"),
    ("max_ahead: 0", "max_ahead: must be more than 0"),
    ("lifetime_grace: 3m", "lifetime_grace: must be at most 120s"),
    ("algorithms: []", "algorithms: must not be empty"),
    ("algorithms: RS256", "algorithms: expected a list, found text"),
    (
        "algorithms: [none]",
        (
            "algorithms[0]: expected HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256, ES384"
            " or EdDSA"
        ),
    ),
    ("schemes: []", "schemes: must not be empty"),
    ("schemes: [jwt, oauth]", "schemes[1]: expected jwt, signature, api_key or session"),
    ("typ: []", "typ: must not be empty"),
    ("audience: []", "audience: must not be empty"),
    ("audience: ''", "audience: must not be empty"),
    ("audience: ['']", "audience[0]: must not be empty"),
    ("issuer: {a: b}", "issuer: expected a list, found a mapping"),
    (
        "audience_suffix: ''",
        "audience_suffix: must hold more than dots: such a suffix would match every audience",
    ),
    (
        "audience_suffix: '..'",
        "audience_suffix: must hold more than dots: such a suffix would match every audience",
    ),
    ("aud: check", "aud: expected ignore"),
    ("key_by: jwk", "key_by: expected kid, secret or header"),
    ("key_header: 'x y'", "key_header: expected the name of an HTTP header (RFC 9110)"),
    ("time_unit: us", "time_unit: expected s or ms"),
    ("single_use: yes", "single_use: expected true or false"),
    ("revocation: 1", "revocation: expected true or false"),
    ("require_https: on", "require_https: expected true or false"),
    ("types_first: {}", "types_first: expected one value, found a mapping"),
    ("when_no_keys: open", "when_no_keys: expected allow or deny"),
    ("max_keys: 0", "max_keys: must be from 1 to 1000000000"),
    ("max_nonces: 1_000", "max_nonces: expected a whole number from 1 to 1000000000"),
    ("max_subject_nonces: 0", "max_subject_nonces: must be from 1 to 1000000000"),
    ("max_records: 1M", "max_records: expected a whole number from 1 to 1000000000"),
    ("max_subject_records: 0", "max_subject_records: must be from 1 to 1000000000"),
    ("secret_bytes: 0", "secret_bytes: must be from 1 to 4096"),
    ("secret_encoding: hexx", "secret_encoding: expected utf8, hex, base64 or base64url"),
    ("public_prefix: api", "public_prefix: expected a path that begins with /"),
    ("digest_fields: {a: [b]}", "digest_fields.a: expected a path that begins with /"),
    ("digest_fields: {/a: []}", "digest_fields./a: must not be empty"),
    ("digest_fields: {/a: b}", "digest_fields./a: expected a list, found text"),
    ("refusals: soap", "refusals: expected jsonrpc or bare"),
    ("refusal: {status: 200}", "refusal.status: must be from 400 to 599"),
    (
        "refusal: {code: 1.5}",
        "refusal.code: expected a whole number from -2147483648 to 2147483647",
    ),
    ("refusal: {messages: {Bad: x}}", "refusal.messages.Bad: expected a reason such as expired"),
    ("id: ''", "id: must not be empty"),
    ('id: "a\\x1bb"', "id: must not hold control characters"),
    (f"id: {'x' * 2049}", "id: longer than 2048 characters"),
    ("match: /v1", "match: expected a mapping, found text"),
    ("match: {path: []}", "match.path: must not be empty"),
    ("match: {path: ''}", "match.path: must not be empty"),
    ("match: {path: [[a]]}", "match.path[0]: expected one value, found a list"),
    ("match: {paths: /a}", "match.paths: unknown key; did you mean path?"),
    ("algoritms: [RS256]", "algoritms: unknown key; did you mean algorithms?"),
    ("zzz: 1", "zzz: unknown key"),
    ("allow: {method: [a]}", "allow.method: unknown key; did you mean methods?"),
    ("allow: {ips: 10.0.0.0/8}", "allow.ips: expected a list, found text"),
    ("allow: {missing_origin: yes}", "allow.missing_origin: expected allow or deny"),
    ("secrets: [{id: a}]", "secrets[0].secret: required"),
    ("secrets: [hunter2]", "secrets[0]: expected a mapping, found text"),
    (
        "secrets: [{id: a, secret: {hunter2: x}}]",
        "secrets[0].secret: expected one value, found a mapping",
    ),
    ("secrets: [{id: a, secret: ''}]", "secrets[0].secret: must not be empty"),
    (
        "secrets: [{id: a, secret: }]",
        "secrets[0].secret: empty: give a value, or leave the key out",
    ),
    (
        "secrets: [{id: a, secret: x, not_after: 2026-12-01}]",
        "secrets[0].not_after: expected a date, time and zone, such as 2026-12-01T00:00:00Z",
    ),
    (
        (
            "secrets: [{id: a, secret: x, not_before: 2026-12-01T00:00:00Z,"
            " not_after: 2026-12-01T00:00:00Z}]"
        ),
        "secrets[0].not_after: must be later than not_before",
    ),
    (
        "secrets: [{id: a, secret: x, allow: {methds: []}}]",
        "secrets[0].allow.methds: unknown key; did you mean methods?",
    ),
    ("keys: {kid: a}", "keys: expected a list, found a mapping"),
    ("keys: []\nkeys: []", "keys: duplicate key, first on line 5"),
    ("keys:", "keys: empty: give a value, or leave the key out"),
    (
        "keys: [{kid: a}]",
        "keys[0]: needs exactly one of public_key, secret, or auth_key with enc_key",
    ),
    (
        "keys: [{kid: a, public_key: x, secret: y}]",
        "keys[0]: needs exactly one of public_key, secret, or auth_key with enc_key",
    ),
    (
        "keys: [{kid: a, secret: x, auth_key: y, enc_key: z}]",
        "keys[0]: needs exactly one of public_key, secret, or auth_key with enc_key",
    ),
    ("keys: [{auth_key: y}]", "keys[0]: auth_key and enc_key belong together"),
    ("keys: [{kid: a, enc_key: y}]", "keys[0]: auth_key and enc_key belong together"),
    ("keys: [{public_key: x}]", "keys[0].kid: required"),
    (
        "api_keys: [{id: a, digest: abc}]",
        "api_keys[0].digest: expected sha256: and 64 lower-case hex digits",
    ),
    (
        f"api_keys: [{{id: a, digest: 'sha256:{'A' * 64}'}}]",
        "api_keys[0].digest: expected sha256: and 64 lower-case hex digits",
    ),
    ("wallets: closed", "wallets: expected open or a list"),
    ("wallets: {open: x}", "wallets: expected a list, found a mapping"),
    ("wallets: [{name: a}]", "wallets[0].pubkey: required"),
    ("wallets: [open]", "wallets[0]: expected a mapping, found text"),
    (
        "wallets: [{pubkey: a, min_version: two}]",
        "wallets[0].min_version: expected a whole number from 0 to 999",
    ),
    (
        "session: {secret: a, secrets: [{id: a, secret: b}]}",
        "session.secret: choose secret or secrets",
    ),
    ("session: {secrets: []}", "session.secrets: must not be empty"),
    ("session: {ttl: 0}", "session.ttl: must be more than 0"),
    ("session: {ttl: -5s}", "session.ttl: expected a duration, such as 30s, 250ms, 5m, 1h or 7d"),
    ("session: {refresh: on}", "session.refresh: expected off or rotating"),
    (
        "session: {service: Bad_Name}",
        (
            "session.service: expected up to 32 lower-case letters, digits and hyphens that begin"
            " with a letter"
        ),
    ),
    ("session:", "session: empty: give a value, or leave the key out"),
    ("signature: {window: 30s}", "signature.headers: required"),
    ("api_key: {read: []}", "api_key.read: must not be empty"),
    ("api_key: {read: [cookie]}", "api_key.read[0]: expected bearer, header, path or query"),
    (
        "api_key: {prefix: 'a b'}",
        "api_key.prefix: expected up to 64 characters that a bearer token may have",
    ),
    ("api_key: {query: 'a=b'}", "api_key.query: expected the name of a query parameter"),
]


@pytest.mark.parametrize(("lines", "expected"), WRONG, ids=[line[:60] for line, _ in WRONG])
def test_a_mistake_is_told_once_by_key_and_without_its_value(
    complaints: Any, lines: str, expected: str
) -> None:
    found = complaints(lines)
    if lines.startswith("signature"):  # an incomplete mapping names everything that is missing
        found = found[:1]
    assert found == [expected]


TOP = [
    ("projects: {p: {preset: bearer}}", "1:1: version: required"),
    (
        "version: 2\nprojects: {p: {preset: bearer}}",
        "1:10: version: expected 1: this release knows no other version of the vocabulary",
    ),
    ("version: 1", "1:1: projects: required"),
    ("version: 1\nprojects:", "2:1: projects: empty: give a value, or leave the key out"),
    ("version: 1\nprojects: {}", "2:1: projects: must not be empty"),
    ("version: 1\nprojects: []", "2:1: projects: expected a mapping, found a list"),
    ("version: 1\nprojects: {p: }", "2:12: projects.p: empty: give a value, or leave the key out"),
    ("version: 1\nprojects: {p: bearer}", "2:15: projects.p: expected a mapping, found text"),
    ("version: 1\nprojects: {p: {}}", "2:12: projects.p.preset: required"),
    (
        "version: 1\nprojects: {p: {preset: }}",
        "2:16: projects.p.preset: empty: give a value, or leave the key out",
    ),
    (
        "version: 1\nprojects: {p: {preset: [bearer]}}",
        "2:16: projects.p.preset: expected one value, found a list",
    ),
    (
        "version: 1\nbounds: {max_batch: 0}\nprojects: {p: {preset: bearer}}",
        "2:21: bounds.max_batch: must be from 1 to 100000",
    ),
    (
        "version: 1\nbounds: {max_credential: 2MiB}\nprojects: {p: {preset: bearer}}",
        "2:26: bounds.max_credential: must be from 1 to 1048576 bytes",
    ),
    (
        "version: 1\nbounds: {max_body: 0}\nprojects: {p: {preset: bearer}}",
        "2:20: bounds.max_body: must be from 1 to 1073741824 bytes",
    ),
    (
        "version: 1\nbounds: {body_timeout: 0s}\nprojects: {p: {preset: bearer}}",
        "2:24: bounds.body_timeout: must be more than 0",
    ),
    (
        "version: 1\nbounds: {body_timeout: 2h}\nprojects: {p: {preset: bearer}}",
        "2:24: bounds.body_timeout: must be at most 60m",
    ),
    (
        "version: 1\nbounds: {issuing_timeout: 61s}\nprojects: {p: {preset: bearer}}",
        "2:27: bounds.issuing_timeout: must be at most 60s",
    ),
    (
        "version: 1\nmax_server_skew: 2h\nprojects: {p: {preset: bearer}}",
        "2:18: max_server_skew: must be at most 60m",
    ),
    (
        "version: 1\ntrusted_proxies: unix\nprojects: {p: {preset: bearer}}",
        "2:18: trusted_proxies: expected a list, found text",
    ),
    ("version: 1\nsecret: a\nprojects: {p: {preset: bearer}}", "2:1: secret: unknown key"),
    (
        "version: 1\nbackned: x\nprojects: {p: {preset: bearer}}",
        "2:1: backned: unknown key; did you mean backend?",
    ),
]


@pytest.mark.parametrize(("text", "expected"), TOP)
def test_a_mistake_at_the_top_is_told_with_its_line_and_column(
    look_at: Any, text: str, expected: str
) -> None:
    assert [str(problem).split("registry.yaml:")[1] for problem in look_at(text).problems] == [
        expected
    ]


@pytest.mark.parametrize("name", ["a b", ".a", "-a", "é", "a/b", "x" * 65, "a:b", "${env:A}"])
def test_the_name_of_a_project_has_a_grammar(look_at: Any, name: str) -> None:
    (problem,) = look_at(f"version: 1\nprojects:\n  '{name}': {{preset: bearer}}", A="a").problems
    assert (problem.line, problem.column) == (3, 3)
    assert problem.message.startswith("a project's name is up to 64 letters")


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-d", "x" * 64, "no", "123"])
def test_other_names_are_fine(look_at: Any, name: str) -> None:
    assert list(
        look_at(f"version: 1\nprojects: {{{name}: {{preset: bearer}}}}").registry.projects
    ) == [name]


@pytest.mark.parametrize(
    ("loc", "has"),
    [
        ((), "trusted_proxies"),
        (("bounds",), "max_batch"),
        (("projects", "p"), "preset"),
        (("projects", "p", "keys", 0), "enc_key"),
        (("projects", "p", "wallets", 0, "allow"), "methods"),
        (("projects", "p", "signature", "versions", "1"), "payload"),
        (("projects", "p", "session", "secrets", 3), "secret"),
    ],
)
def test_the_known_keys_of_every_mapping_can_be_told(loc: Any, has: str) -> None:
    assert has in schema.known_keys(loc)


@pytest.mark.parametrize(
    "loc",
    [
        ("projects",),
        ("nope",),
        ("version",),
        ("projects", "p", "refusal", "messages"),
        ("projects", "p", "digest_fields"),
    ],
)
def test_where_the_operator_chooses_the_keys_there_are_none_to_suggest(loc: Any) -> None:
    assert schema.known_keys(loc) == []


def descriptions(node: Any) -> Any:
    for name, field in node.get("properties", {}).items():
        yield node["title"], name, field.get("description")


def test_the_json_schema_describes_every_key() -> None:
    described = json_schema()
    assert described["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    found = [f for node in (described, *described["$defs"].values()) for f in descriptions(node)]
    assert len(found) > 100
    assert [entry for entry in found if not entry[2]] == []
    assert all(node["description"] for node in described["$defs"].values())


def test_the_json_schema_is_json_without_null_and_the_same_each_time() -> None:
    text = json.dumps(json_schema())
    assert '"null"' not in text
    assert json.dumps(json_schema()) == text


def test_the_json_schema_says_what_an_editor_sees() -> None:
    described = json_schema()
    project = described["$defs"]["Project"]["properties"]
    assert described["properties"]["version"]["const"] == 1
    assert project["single_use"]["anyOf"][0] == {"type": "boolean"}
    assert project["leeway"]["anyOf"][0] == {"type": "number", "maximum": 120, "minimum": 0}
    assert project["audience"]["anyOf"][0]["type"] == "string"
    assert project["wallets"]["anyOf"][0] == {"const": "open"}
    assert "bearer" in project["preset"]["anyOf"][0]["enum"]
    assert described["$defs"]["Key"]["properties"]["kid"]["type"] == ["string", "number"]
    assert described["$defs"]["Secret"]["properties"]["secret"]["writeOnly"]
    assert "required" not in described["$defs"]["SignatureSpec"]
    assert described["$defs"]["Secret"]["required"] == ["id", "secret"]
    assert not described["properties"]["projects"]["additionalProperties"]
