"""All That Node: up to 25 public keys, and refusals in the provider's own words and order."""

from __future__ import annotations

import itertools
import json
import uuid

import pytest
from minting import CALL, NOW, OTHER_SECRET, bearer, hour, private_key, public_pem, token

from rpcguard import ConfigError

PROJECT = "2a8428f5a79b09aadff75a745397cf6d2f59d51e"
RSA_KID = "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"
EC_KID = "7c1e5a90-15aa-11ee-a1d8-0a58538e0d0c"
REVOKED_KID = "9be0d3f2-15aa-11ee-a1d8-0a58538e0d0c"


def key(kid: str, pem: str, more: str = "") -> str:
    return f"      - {{kid: {kid}, public_key: {json.dumps(pem)}{more}}}"


KEYS = "\n".join(
    [
        "    keys:",
        key(RSA_KID, public_pem("RS256"), ", name: ci"),
        key(EC_KID, public_pem("ES256")),
        key(REVOKED_KID, public_pem("RS256", 1)),
    ]
)


def registry(keys: str = KEYS, extra: str = "") -> str:
    return f"""
version: 1
projects:
  evm:
    preset: allthatnode
    id: {PROJECT}
    match: {{path: /evm}}
    audience_suffix: AllThatNode.com
{extra}
{keys}
"""


def rs256(claims: object = None, *, number: int = 0, **more: object) -> str:
    """Return a token of the RSA key."""
    head = {"kid": RSA_KID, **more}
    return token({} if claims is None else claims, private_key("RS256", number), "RS256", **head)


def es256(claims: object = None, **more: object) -> str:
    """Return a token of the EC key."""
    return token(claims or {}, private_key("ES256"), "ES256", **{"kid": EC_KID, **more})


# --- Accepted -------------------------------------------------------------------------------------


def test_the_documents_header_with_rs256(service):
    principal = service(registry()).accepts("/evm", bearer(rs256(hour())))
    assert (principal.project, principal.scheme) == ("evm", "jwt")
    assert (principal.key_id, principal.subject, principal.name) == (RSA_KID, RSA_KID, "ci")


def test_the_documents_header_with_es256(service):
    assert service(registry()).accepts("/evm", bearer(es256(hour()))).key_id == EC_KID


def test_two_spaces_as_in_the_documents_curl(service):
    service(registry()).accepts("/evm", bearer(rs256(), "Bearer "))


def test_exp_nbf_and_aud_are_optional(service):
    """The document: accepted without any further inspection if they are not present."""
    principal = service(registry()).accepts("/evm", bearer(rs256({})))
    assert (principal.expires_at, principal.claims) == (None, {})


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW + 1},
        {"nbf": NOW},
        {"nbf": NOW - 10, "exp": NOW + 10},
        {"aud": "allthatnode.com"},
        {"iss": "me", "sub": "you", "jti": "x", "iat": NOW, "other": [1]},
    ],
)
def test_each_is_checked_only_when_present(service, claims):
    service(registry()).accepts("/evm", bearer(rs256(claims)))


AUDIENCES = [
    ("allthatnode.com", True),
    ("AllThatNode.com", True),
    ("ALLTHATNODE.COM", True),
    ("evm.AllThatNode.com", True),
    ("https://evm.allthatnode.com", True),
    ("https://allthatnode.com", True),
    ("ethereum-mainnet.g.allthatnode.com", True),
    ("x@allthatnode.com", True),
    (["https://other.example", "evm.allthatnode.com"], True),
    ("evilallthatnode.com", False),
    ("evil-allthatnode.com", False),
    ("evil_allthatnode.com", False),
    ("0allthatnode.com", False),
    ("Zallthatnode.com", False),
    ("allthatnode.com.evil.com", False),
    ("allthatnode.com.", False),
    ("allthatnode.com ", False),
    ("allthatnode.com\n", False),
    ("allthatnode.com\0", False),
    ("allthatnode.com/", False),
    ("allthatnode.co", False),
    (".com", False),
    ("", False),
    ([], False),
    (["evilallthatnode.com", ""], False),
    ("ａllthatnode.com", False),  # a full-width letter
    ("\u0430llthatnode.com", False),  # a Cyrillic letter
    ("éallthatnode.com", False),  # a letter before the suffix
    ("allthatnode.\u212aom", False),  # a Kelvin sign has a lower-case k, and no c
]


@pytest.mark.parametrize(("audience", "accepted"), AUDIENCES, ids=[repr(a) for a, _ in AUDIENCES])
def test_aud_ends_with_the_suffix_at_a_boundary(service, audience, accepted):
    guarded = service(registry())
    headers = bearer(rs256({"aud": audience}))
    if accepted:
        guarded.accepts("/evm", headers)
    else:
        error = guarded.refuses("/evm", headers)
        assert error.message == "invalid JWT token (invalid audience)"
        assert error.reason == "invalid_audience"


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [("evm.allthatnode.com", True), ("allthatnode.com", False), ("x..allthatnode.com", True)],
)
def test_a_suffix_that_begins_with_a_dot_is_its_own_boundary(service, audience, accepted):
    guarded = service(registry().replace("AllThatNode.com", ".allthatnode.com"))
    headers = bearer(rs256({"aud": audience}))
    if accepted:
        guarded.accepts("/evm", headers)
    else:
        assert guarded.refuses("/evm", headers).reason == "invalid_audience"


def test_aud_is_refused_while_no_suffix_is_configured(service):
    guarded = service(registry().replace("    audience_suffix: AllThatNode.com\n", ""))
    guarded.accepts("/evm", bearer(rs256()))
    for audience in ("allthatnode.com", "", []):
        error = guarded.refuses("/evm", bearer(rs256({"aud": audience})))
        assert error.message == "invalid JWT token (invalid audience)"


@pytest.mark.parametrize("suffix", ["''", "'.'", "'...'", "' '"])
def test_a_suffix_that_would_match_everything_is_an_error_at_load(service, suffix):
    with pytest.raises(ConfigError, match="audience_suffix"):
        service(registry().replace("AllThatNode.com", suffix))


# --- Refused: the provider's table, in its order -----------------------------------------------

PREFIX = "invalid JWT token "
ROWS = {
    "missing": "missing JWT token",
    "malformed": PREFIX + "(malformatted token)",
    "alg": PREFIX + "(unsupported algorithm)",
    "no kid": PREFIX + "(empty key id)",
    "unknown kid": PREFIX + "(empty configuration)",
    "other alg": PREFIX + "(unsupported algorithm)",
    "signature": PREFIX + "(signature verification failed)",
    "exp": PREFIX + "(expired token)",
    "nbf": PREFIX + "(not reached nbf)",
    "aud": PREFIX + "(invalid audience)",
    "revoked": PREFIX + "(revoked token)",
    "policy": "request not allowed (method)",
}
ALLOW = "    allow: {methods: [eth_blockNumber]}"
FORBIDDEN = CALL.replace(b"eth_blockNumber", b"debug_traceCall")


def faulty(faults: set[str], malformed: str = "crit") -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of a request with all of *faults*."""
    if "missing" in faults:
        return [], CALL
    claims: dict[str, object] = {}
    if "exp" in faults:
        claims["exp"] = NOW
    if "nbf" in faults:
        claims["nbf"] = NOW + 1
    if "aud" in faults:
        claims["aud"] = "evilallthatnode.com"
    header = {"alg": "RS256", "typ": "JWT", "kid": RSA_KID}
    if "revoked" in faults:
        header["kid"] = REVOKED_KID
    if "unknown kid" in faults:
        header["kid"] = str(uuid.UUID(int=0))
    if "no kid" in faults:
        del header["kid"]
    if "other alg" in faults:
        header["alg"] = "ES256"
    if "alg" in faults:
        header["alg"] = "HS256"
    if "malformed" in faults:
        if malformed == "claim":
            claims["exp"] = "soon"
        else:
            header["crit"] = ["exp"]
    number = 2 if "signature" in faults else int("revoked" in faults)
    text = token(claims, private_key("RS256", number), "RS256", header=header)
    return bearer(text), FORBIDDEN if "policy" in faults else CALL


def possible(pair: tuple[str, str]) -> bool:
    """A request cannot have every two faults: no kid at all is not an unknown one."""
    impossible = [{"no kid", "unknown kid"}, {"unknown kid", "other alg"}, {"no kid", "other alg"}]
    # an unknown key has no signature that could verify, and no algorithm that could differ
    return "missing" not in pair and set(pair) not in [*impossible, {"revoked", "policy"}]


@pytest.mark.parametrize("fault", ROWS)
def test_each_row_of_the_table(service, fault):
    guarded = service(registry(extra=ALLOW))
    guarded.verifier.revoke("evm", key=REVOKED_KID)
    headers, body = faulty({fault})
    error = guarded.refuses("/evm", headers, body)
    assert error.message == ROWS[fault]
    assert (error.status, error.code, error.project) == (403, -32013, PROJECT)
    assert error.bare is True
    assert error.challenges == ()


PAIRS = [pair for pair in itertools.combinations(ROWS, 2) if possible(pair)]


@pytest.mark.parametrize(("earlier", "later"), PAIRS)
def test_a_token_that_is_wrong_in_two_ways_gets_the_earlier_message(service, earlier, later):
    guarded = service(registry(extra=ALLOW))
    guarded.verifier.revoke("evm", key=REVOKED_KID)
    for malformed in ("crit", "claim") if earlier == "malformed" else ("crit",):
        headers, body = faulty({earlier, later}, malformed)
        assert guarded.refuses("/evm", headers, body).message == ROWS[earlier]


def test_every_fault_at_once_is_a_malformed_token(service):
    guarded = service(registry(extra=ALLOW))
    headers, body = faulty(set(ROWS) - {"missing", "no kid"})
    assert guarded.refuses("/evm", headers, body).message == ROWS["malformed"]


def test_a_good_token_passes_beside_all_that(service):
    guarded = service(registry(extra=ALLOW))
    guarded.verifier.revoke("evm", key=REVOKED_KID)
    headers, body = faulty(set())
    guarded.accepts("/evm", headers, body)


GOOD = rs256(hour())
HEAD, BODY, SIGNATURE = GOOD.split(".")
MALFORMED = {
    "no token": [("Authorization", "Bearer")],
    "a space alone": [("Authorization", "Bearer ")],
    "two tokens": bearer(f"{GOOD} {GOOD}"),
    "one part": bearer(HEAD),
    "two parts": bearer(f"{HEAD}.{BODY}"),
    "four parts": bearer(f"{GOOD}.{SIGNATURE}"),
    "five parts (a JWE)": bearer(f"{GOOD}.{SIGNATURE}.{SIGNATURE}"),
    "empty header": bearer(f".{BODY}.{SIGNATURE}"),
    "empty payload": bearer(f"{HEAD}..{SIGNATURE}"),
    "padding": bearer(f"{GOOD}=="),
    "standard base64": bearer(f"{HEAD}.{BODY}.{'+/' + SIGNATURE[2:]}"),
    "header is a list": bearer(f"{HEAD.replace(HEAD, 'W10')}.{BODY}.{SIGNATURE}"),
    "payload is a list": bearer(rs256([])),
    "payload is text": bearer(rs256('"x"')),
    "payload is no JSON": bearer(rs256("exp")),
    "payload is UTF-16": bearer(rs256("{}".encode("utf-16"))),
    "payload begins with a BOM": bearer(rs256("\ufeff{}")),
    "too long": bearer(rs256({"pad": "x" * 8192})),
    "the field twice": bearer(GOOD) * 2,
    "the field twice, one Basic": [*bearer(GOOD), ("Authorization", "Basic eDp5")],
    "claim twice": bearer(rs256(f'{{"exp": {NOW + 9}, "exp": {NOW + 9}}}')),
    "claim twice, once escaped": bearer(rs256(f'{{"exp": {NOW + 9}, "e\\u0078p": {NOW + 9}}}')),
    "kid twice": bearer(
        token(
            {},
            private_key("RS256"),
            "RS256",
            header=f'{{"alg":"RS256","kid":"{RSA_KID}","kid":"{RSA_KID}"}}',
        )
    ),
    "crit": bearer(rs256(crit=["b64"])),
    "crit without names": bearer(rs256(crit=[])),
    "b64": bearer(rs256(b64=False)),
    "zip": bearer(rs256(zip="DEF")),
    "kid is a number": bearer(rs256(kid=54)),
    "kid is null": bearer(rs256(kid=None)),
    "kid is a list": bearer(rs256(kid=[RSA_KID])),
    "typ is a number": bearer(rs256(typ=1)),
    "exp is text": bearer(rs256({"exp": str(NOW + 9)})),
    "exp in milliseconds": bearer(rs256({"exp": (NOW + 9) * 1000})),
    "exp negative": bearer(rs256({"exp": -1})),
    "exp true": bearer(rs256({"exp": True})),
    "exp null": bearer(rs256({"exp": None})),
    "exp infinite": bearer(rs256('{"exp": 1e400}')),
    "exp not a number": bearer(rs256('{"exp": NaN}')),
    "nbf is text": bearer(rs256({"nbf": "0"})),
    "nbf in milliseconds": bearer(rs256({"nbf": NOW * 1000})),
    "aud is a number": bearer(rs256({"aud": 5})),
    "aud is null": bearer(rs256({"aud": None})),
    "aud is an object": bearer(rs256({"aud": {}})),
    "aud holds a number": bearer(rs256({"aud": ["allthatnode.com", 5]})),
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformatted_tokens(service, headers):
    error = service(registry()).refuses("/evm", headers)
    assert (error.status, error.code, error.message) == (403, -32013, ROWS["malformed"])
    assert error.bare is True


@pytest.mark.parametrize("alg", ["HS256", "none", "rs256", "RS384", "PS256", "ES384", "EdDSA", ""])
def test_algorithms_that_are_neither_rs256_nor_es256(service, alg):
    text = token({}, private_key("RS256"), "RS256", header={"alg": alg, "kid": RSA_KID})
    assert service(registry()).refuses("/evm", bearer(text)).message == ROWS["alg"]


@pytest.mark.parametrize("header", [{"kid": RSA_KID}, {"alg": None, "kid": RSA_KID}])
def test_no_algorithm_is_neither(service, header):
    text = token({}, private_key("RS256"), "RS256", header=header)
    assert service(registry()).refuses("/evm", bearer(text)).message == ROWS["alg"]


def test_an_empty_kid_is_no_kid(service):
    assert service(registry()).refuses("/evm", bearer(rs256(kid=""))).message == ROWS["no kid"]


@pytest.mark.parametrize("kid", [RSA_KID.upper(), f"{RSA_KID} ", "../x", "\r\nx", "é" * 500])
def test_a_kid_is_compared_exactly(service, kid):
    assert (
        service(registry()).refuses("/evm", bearer(rs256(kid=kid))).message == (ROWS["unknown kid"])
    )


@pytest.mark.parametrize(
    ("alg", "kid"), [("RS256", EC_KID), ("ES256", RSA_KID)], ids=["RS256", "ES256"]
)
def test_the_keys_own_type_decides_the_algorithm(service, alg, kid):
    text = token({}, private_key(alg), alg, kid=kid)
    assert service(registry()).refuses("/evm", bearer(text)).message == ROWS["other alg"]


def test_a_signature_by_another_key(service):
    assert (
        service(registry()).refuses("/evm", bearer(rs256(number=1))).message == (ROWS["signature"])
    )


@pytest.mark.parametrize("headers", [[], [("Authorization", "Basic eDp5")], [("X-Jwt", GOOD)]])
def test_no_jwt_in_the_request(service, headers):
    assert service(registry()).refuses("/evm", headers).message == ROWS["missing"]


POLICIES = [
    ("{methods: [eth_call]}", "method", {}),
    ("{ips: [10.0.0.0/8]}", "ip", {"client": "192.0.2.1"}),
    ("{origins: ['https://a.example']}", "origin", {}),
    ("{user_agents: [curl]}", "user_agent", {}),
]


@pytest.mark.parametrize(("allow", "kind", "facts"), POLICIES)
def test_policy_names_its_kind(service, allow, kind, facts):
    guarded = service(registry(extra=f"    allow: {allow}"))
    error = guarded.refuses("/evm", bearer(GOOD), **facts)
    assert error.message == f"request not allowed ({kind})"
    assert (error.status, error.code, error.bare) == (403, -32013, True)


def test_policy_on_addresses(service):
    guarded = service(registry(extra=f"    allow: {{addresses: ['0x{'11' * 20}']}}"))
    body = CALL.replace(b"eth_blockNumber", b"eth_getBalance").replace(
        b"[]", b'["0x%s"]' % (b"22" * 20)
    )
    assert guarded.refuses("/evm", bearer(GOOD), body).message == "request not allowed (address)"


def test_one_key_has_its_own_policy(service):
    keys = "    keys:\n" + key(RSA_KID, public_pem("RS256"), ", allow: {methods: [eth_call]}")
    error = service(registry(keys)).refuses("/evm", bearer(GOOD))
    assert error.message == "request not allowed (method)"


def test_refusals_jsonrpc_sends_the_same_error_in_an_envelope(service):
    guarded = service(registry(extra="    refusals: jsonrpc"))
    error = guarded.refuses("/evm")
    assert (error.bare, error.status, error.code) == (False, 403, -32013)
    assert (error.message, error.project) == ("missing JWT token", PROJECT)


def test_413_keeps_its_status(service):
    text = registry(extra=ALLOW).replace("projects:", "bounds: {max_body: 64}\nprojects:", 1)
    error = service(text).refuses("/evm", bearer(GOOD))
    assert (error.status, error.reason, error.bare) == (413, "body_too_large", True)


def test_503_keeps_its_status(service):
    guarded = service(registry())
    guarded.verifier.close()
    error = guarded.refuses("/evm", bearer(GOOD))
    assert (error.status, error.code, error.bare) == (503, -32002, True)
    assert error.retry_after is not None


def test_400_keeps_its_status(service):
    error = service(registry(extra=ALLOW)).refuses("/evm", bearer(GOOD), b"no JSON")
    assert (error.status, error.reason, error.bare) == (400, "invalid_body", True)


# --- The registry of keys -------------------------------------------------------------------------


def numbered(count: int) -> str:
    pem = public_pem("ES256")
    return "\n".join(["    keys:", *(key(str(uuid.UUID(int=n)), pem) for n in range(count))])


def test_25_keys_load_and_the_26th_is_an_error_that_names_project_and_count(service):
    guarded = service(registry(numbered(25)))
    guarded.accepts("/evm", bearer(es256(kid=str(uuid.UUID(int=24)))))
    with pytest.raises(ConfigError, match=r"'?evm'? has 26 keys, at most 25"):
        service(registry(numbered(26)))


def test_the_limit_is_a_setting(service):
    service(registry(numbered(26), "    max_keys: 26"))
    with pytest.raises(ConfigError, match="at most 2 "):
        service(registry(numbered(3), "    max_keys: 2"))


@pytest.mark.parametrize("alg", ["ES384", "EdDSA"])
def test_other_types_of_key_are_refused_at_load(service, alg):
    with pytest.raises(ConfigError, match=r"projects\.evm\.keys\[0\]"):
        service(registry("    keys:\n" + key(RSA_KID, public_pem(alg))))


def test_a_short_rsa_key_is_refused_at_load(service):
    with pytest.raises(ConfigError, match="1024 bits"):
        service(registry("    keys:\n" + key(RSA_KID, public_pem("RS256", 1024))))


def test_a_private_key_is_refused_at_load_and_not_printed(service):
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    pem = private_key("ES256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ConfigError, match="private key") as caught:
        service(registry("    keys:\n" + key(EC_KID, pem.decode())))
    assert pem.decode().splitlines()[1][:20] not in str(caught.value)


def test_one_kid_twice_is_an_error_at_load(service):
    twice = "\n".join(
        ["    keys:", key(EC_KID, public_pem("ES256")), key(EC_KID, public_pem("RS256"))]
    )
    with pytest.raises(ConfigError, match=r"keys\[1\]"):
        service(registry(twice))


def test_removing_a_key_revokes_every_token_that_it_signed(service, tmp_path):
    guarded = service(registry())
    headers = bearer(es256(hour()))
    guarded.accepts("/evm", headers)
    text = registry().replace(key(EC_KID, public_pem("ES256")), "")
    (tmp_path / "registry.yaml").write_text(text, encoding="utf-8")
    guarded.verifier.reload()
    assert guarded.refuses("/evm", headers).message == ROWS["unknown kid"]
    guarded.accepts("/evm", bearer(GOOD))


@pytest.mark.parametrize(
    ("dates", "accepted"),
    [
        ("not_before: 2025-10-09T08:53:20Z", True),
        ("not_before: 2025-10-09T08:53:21Z", False),
        ("not_after: 2025-10-09T08:53:21Z", True),
        ("not_after: 2025-10-09T08:53:20Z", False),
    ],
)
def test_a_key_outside_its_dates_is_no_key(service, dates, accepted):
    guarded = service(registry("    keys:\n" + key(RSA_KID, public_pem("RS256"), f", {dates}")))
    if accepted:
        guarded.accepts("/evm", bearer(GOOD))
    else:
        assert guarded.refuses("/evm", bearer(GOOD)).message == ROWS["unknown kid"]


def test_a_key_whose_date_passes_ends_a_token_that_was_seen_before(service):
    dated = key(RSA_KID, public_pem("RS256"), ", not_after: 2025-10-09T08:53:30Z")
    guarded = service(registry("    keys:\n" + dated))
    guarded.accepts("/evm", bearer(GOOD))
    guarded.now = NOW + 10
    assert guarded.refuses("/evm", bearer(GOOD)).message == ROWS["unknown kid"]


# --- Requests without a JWT -----------------------------------------------------------------------

OPEN = "    when_no_keys: allow"
ENDED = "    keys:\n" + key(EC_KID, public_pem("ES256"), ", not_after: 2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("keys", "extra"),
    [
        (KEYS, OPEN),  # "If you register at least one public key, a request without a JWT fails."
        ("    keys: []", OPEN),  # taking the last key away must not open the project
        (ENDED, OPEN),
        ("", ""),  # the default
        ("", "    when_no_keys: deny"),
        ("    keys: []", ""),
    ],
    ids=["keys", "empty list", "ended keys", "default", "deny", "empty list, default"],
)
def test_a_request_without_a_jwt_fails(service, keys, extra):
    error = service(registry(keys, extra)).refuses("/evm")
    assert (error.message, error.status) == ("missing JWT token", 403)


def test_a_request_without_a_jwt_passes_where_there_is_no_keys_member_and_allow(service):
    principal = service(registry("", OPEN)).accepts("/evm")
    assert (principal.subject, principal.scheme) == ("anonymous", "none")
    assert (principal.project, principal.key_id, principal.claims) == ("evm", None, {})


def test_even_then_a_jwt_is_refused(service):
    error = service(registry("", OPEN)).refuses("/evm", bearer(GOOD))
    assert (error.message, error.status, error.code) == (ROWS["unknown kid"], 403, -32013)


def test_even_then_a_malformed_jwt_is_refused(service):
    for headers in MALFORMED.values():
        service(registry("", OPEN)).refuses("/evm", headers)


def test_even_then_policy_applies(service):
    guarded = service(registry("", f"{OPEN}\n{ALLOW}"))
    guarded.accepts("/evm")
    error = guarded.refuses("/evm", [], FORBIDDEN)
    assert error.message == "request not allowed (method)"


@pytest.mark.parametrize("schemes", [["jwt"], ["signature"], ["jwt", "api_key"], []])
def test_a_route_that_takes_certain_credentials_alone_is_never_anonymous(service, schemes):
    guarded = service(registry("", OPEN))
    guarded.refuses("/evm", [], schemes=schemes)
    guarded.refuses("/evm", bearer(GOOD), schemes=schemes)


def test_hmac_secrets_are_not_this_presets(service):
    secret = f"    secrets: [{{id: a, secret: '{OTHER_SECRET}'}}]"
    with pytest.raises(ConfigError, match="secrets"):
        service(registry(extra=secret))
