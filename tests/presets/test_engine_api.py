"""engine-api: what an Ethereum execution client demands of its consensus client."""

from __future__ import annotations

import pytest
from minting import NOW, SECRET, bearer, key_digest, token

from rpcguard import ConfigError

HEX = "7365637265747365637265747365637265747365637265747365637265747365"
RAW = bytes.fromhex(HEX)


def registry(secret: str = HEX, extra: str = "") -> str:
    return f"""
version: 1
projects:
  engine:
    preset: engine-api
    match: {{path: /engine}}
    secrets: [{{id: jwt, secret: "{secret}"}}]
{extra}
"""


def minted(alg: str = "HS256", key: bytes = RAW, **claims: object) -> str:
    payload = {"iat": NOW, **claims}
    return token({name: value for name, value in payload.items() if value is not None}, key, alg)


# geth's own matrix (node/rpcstack_test.go, TestJWT), and protocols.md section 6
CLAIMS = [
    ({}, None),
    ({"iat": NOW + 4}, None),
    ({"iat": NOW - 4}, None),
    ({"iat": NOW, "exp": NOW + 2}, None),
    ({"bar": "baz"}, None),
    ({"iat": NOW + 60}, None),
    ({"iat": NOW - 60}, None),
    ({"iat": NOW + 61}, "not_yet_valid"),
    ({"iat": NOW + 120}, "not_yet_valid"),
    ({"iat": NOW - 61}, "expired"),
    ({"iat": NOW - 60.5}, "expired"),
    ({"exp": NOW}, "expired"),
    ({"exp": NOW - 1}, "expired"),
    ({"iat": None}, "invalid_claims"),
    ({"iat": None, "exp": NOW + 9}, "invalid_claims"),
    ({"iat": str(NOW)}, "invalid_claims"),
    ({"iat": NOW * 1000}, "invalid_claims"),
    ({"iat": True}, "invalid_claims"),
    ({"id": "node-1", "clv": "v1.2"}, None),
    ({"id": 5, "clv": ["x"]}, None),
    ({"aud": "anything"}, None),
    ({"aud": ["any", "thing"]}, None),
    ({"nbf": NOW + 1}, "not_yet_valid"),
]


@pytest.mark.parametrize(("claims", "reason"), CLAIMS, ids=[str(case[0]) for case in CLAIMS])
def test_the_claims(service, claims, reason):
    guarded = service(registry())
    headers = bearer(minted(**claims))
    if reason is None:
        principal = guarded.accepts("/engine", headers)
        assert principal.claims == {"iat": NOW, **claims}
        assert principal.expires_at == claims.get("exp")
    else:
        assert guarded.refuses("/engine", headers).reason == reason


def test_iat_grows_old_while_the_token_is_in_use(service):
    guarded = service(registry())
    headers = bearer(minted())
    guarded.now = NOW + 60
    guarded.accepts("/engine", headers)
    guarded.now = NOW + 61
    assert guarded.refuses("/engine", headers).reason == "expired"
    guarded.now = NOW - 61
    assert guarded.refuses("/engine", headers).reason == "not_yet_valid"


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_only_hs256(service, alg):
    headers = bearer(minted(alg, RAW * 2))
    assert service(registry()).refuses("/engine", headers).reason == "unsupported_algorithm"


@pytest.mark.parametrize("key", [b"wrong" * 8, RAW[:-1], RAW + b"\0" * 33, HEX.encode(), b"\0"])
def test_another_secret(service, key):
    headers = bearer(minted(key=key))
    assert service(registry()).refuses("/engine", headers).reason == "invalid_credentials"


@pytest.mark.parametrize(
    ("scheme", "accepted"),
    [
        ("Bearer", True),
        ("bearer", True),
        ("Bearer ", True),  # geth takes one space; here every preset takes one or more
        ("Bearer:", False),
        ("Bearer:\t", False),
        ("Bearer\t", False),
        ("", False),
    ],
)
def test_the_authorization_field(service, scheme, accepted):
    guarded = service(registry())
    if accepted:
        guarded.accepts("/engine", bearer(minted(), scheme))
    else:
        assert guarded.refuses("/engine", bearer(minted(), scheme)).status == 401


def test_the_websocket_handshake(service):
    service(registry()).accepts("/engine", bearer(minted()), b"", method="GET", websocket=True)


def test_one_token_serves_many_requests(service):
    guarded = service(registry())
    for _ in range(3):
        guarded.accepts("/engine", bearer(minted()))


@pytest.mark.parametrize("text", [HEX, f"0x{HEX}", f"0X{HEX}", HEX.upper()])
def test_the_secret_is_hex_with_or_without_0x(service, text):
    service(registry(text)).accepts("/engine", bearer(minted()))


def test_the_secret_comes_from_a_file_with_a_final_newline(service, tmp_path):
    path = tmp_path / "jwt.hex"
    path.write_text(f"0x{HEX}\n", encoding="ascii")
    path.chmod(0o600)
    service(registry("${file:jwt.hex}")).accepts("/engine", bearer(minted()))


@pytest.mark.parametrize(
    "text", [HEX[:-2], HEX + "00", HEX[:-1], "0x", "g" * 64, SECRET, f"0x0x{HEX}", f"{HEX}  x"]
)
def test_any_other_secret_is_an_error_at_load(service, text):
    with pytest.raises(ConfigError, match=r"projects\.engine\.secrets\[0\]") as caught:
        service(registry(text))
    assert text not in str(caught.value) or len(text) < 4


def test_challenge(service):
    assert service(registry()).refuses("/engine").challenges == ('Bearer realm="engine"',)


def test_keys_of_other_kinds_are_not_this_presets(service):
    digest = key_digest("x")
    for extra in (f"    api_keys: [{{id: a, digest: '{digest}'}}]", "    wallets: open"):
        with pytest.raises(ConfigError, match="engine-api"):
            service(registry(extra=extra))
