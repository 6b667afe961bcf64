"""
The advisories of the Python libraries for signed and encrypted tokens, each sent to rpcguard.

Not here, because there is nothing to attack: CVE-2026-41425 and CVE-2026-44681 (Authlib's OAuth
client). Of CVE-2026-80179 (jwcrypto) no details are published; rpcguard does not use jwcrypto.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from attacks.site import EC, KIDS, PUBLIC, RSA, Site, problems, project, registry
from attacks.tokens import mac, signed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from minting import OTHER_SECRET, SECRET, hour, private_key, public_pem, segment, token
from sealing import DIR_SECRET, opening_key, private_pem, seal
from trap import TRAP

MALFORMED, UNSUPPORTED = "malformed_credentials", "unsupported_algorithm"
INVALID, CLAIMS = "invalid_credentials", "invalid_claims"
SEALED = json.dumps(
    project(
        "pub",
        encryption={
            "keys": [
                {"kid": "dir", "alg": "dir", "secret": DIR_SECRET},
                {
                    "kid": "rsa",
                    "alg": "RSA-OAEP-256",
                    "private_key": private_pem(opening_key("RSA")),
                },
            ]
        },
    )
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(text: str | None = None, **options: Any) -> Site:
            site = Site(tmp_path, registry() if text is None else text, **options)
            stack.enter_context(closing(site.verifier))
            return site

        yield make


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


def forms(alg: str) -> list[bytes]:
    """Return every form in which a public key is passed around."""
    key = load_pem_public_key(public_pem(alg).encode())
    pem = public_pem(alg)
    found = [pem, pem.strip(), pem.replace("\n", "\r\n"), " " + pem, "\n" + pem, pem + " "]
    raw = [text.encode() for text in found]
    raw.append(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    raw.append(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    if alg == "RS256":
        raw.append(key.public_bytes(Encoding.PEM, PublicFormat.PKCS1))
        raw.append(RSAAlgorithm.to_jwk(key).encode())
    if alg == "ES256":
        raw.append(ECAlgorithm.to_jwk(key).encode())
    return raw


@pytest.mark.parametrize("alg", PUBLIC)
def test_CVE_2015_9235_CVE_2017_11424_CVE_2022_29217_CVE_2024_33663_CVE_2024_37568_a_public_key_is_no_hmac_secret(
    site, alg
):
    for form in forms(alg):
        for path in ("/pub", "/atn"):
            assert site.denies(path, mac(form, kid=KIDS[alg])) in (UNSUPPORTED, INVALID)
        assert site.denies("/pub", mac(form)) == INVALID
        assert site.denies("/hs", mac(form)) == INVALID


@pytest.mark.parametrize("alg", PUBLIC)
def test_CVE_2026_48526_CVE_2026_34950_nor_does_it_load_as_one(tmp_path, alg):
    for form in forms(alg):
        try:
            text = form.decode()
        except UnicodeDecodeError:
            text, encoding = form.hex(), "hex"
        else:
            encoding = "utf8"
        entry = {"id": "a", "secret": text, "encoding": encoding, "allow_weak": True}
        told = problems(tmp_path, project(secrets=[entry]))
        assert "secrets[0]" in told
        assert text not in told


def test_CVE_2024_53861_an_issuer_is_no_part_of_the_expected_one(make):
    site = make(json.dumps(project("pub", issuer="https://id.example.com")))
    for issuer in (
        "id.example",
        "https://id.example.co",
        "https://id.example.com/",
        "",
        "h",
        ["https://id.example.com"],
    ):
        claims = {**hour(), "iss": issuer}
        assert site.denies("/pub", signed("RS256", claims)) == CLAIMS
    assert site.denies("/pub", signed("RS256")) == CLAIMS
    assert site.told("/pub", signed("RS256", hour(iss="https://id.example.com"))) == ""


def test_CVE_2025_45768_short_keys_do_not_load(tmp_path):
    for secret in ("s" * 31, "secret"):
        assert "32" in problems(tmp_path, project(secrets=[{"id": "a", "secret": secret}]))
    weak = {"kid": "x", "public_key": public_pem("RS256", 1024)}
    assert "1024 bits" in problems(tmp_path, project("atn", keys=[weak]))


@pytest.mark.parametrize("crit", [["x"], [], ["exp"], ["b64"], "x", None, ["x", "x"]])
def test_CVE_2026_32597_CVE_2025_59420_python_jose_413_critical_headers_are_refused(site, crit):
    for path, text in (("/pub", signed(crit=crit)), ("/hs", mac(SECRET, crit=crit, x=1))):
        assert site.denies(path, text) == MALFORMED


def test_CVE_2026_48523_the_header_names_exactly_the_keys_algorithm(site):
    for alg in ("RS384", "RS512", "PS256"):
        labelled = token(hour(), private_key("RS256"), "RS256", header={"alg": alg, "kid": RSA})
        truly = token(hour(), private_key("RS256"), alg, kid=RSA)
        assert site.denies("/pub", labelled) == site.denies("/pub", truly) == UNSUPPORTED
    for alg, kid in (("RS256", EC), ("ES256", RSA), ("EdDSA", RSA)):
        assert site.denies("/pub", signed(alg, kid=kid)) == UNSUPPORTED


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "data:,{}", "http://127.0.0.1:9/", "https://x/"]
)
def test_CVE_2026_48522_CVE_2026_48524_no_key_is_fetched_however_often_an_unknown_one_is_named(
    site, url
):
    site.told("/pub", signed())
    for number in range(20):
        text = signed(kid=f"unknown-{number}", jku=url, x5u=url)
        assert TRAP.while_running(lambda: site.admits("/pub", text)) == []  # noqa: B023
        assert site.denies("/pub", text) == INVALID
    assert site.told("/pub", signed()) == ""


def test_CVE_2026_48525_CVE_2026_48990_an_unencoded_payload_is_refused_before_any_work(site):
    for head in ({"b64": False}, {"b64": False, "crit": ["b64"]}):
        assert site.denies("/pub", signed(**head)) == MALFORMED
        big = f"{segment({'alg': 'HS256', **head})}.{'x' * 1_000_000}.{segment(bytes(32))}"
        assert site.denies("/hs", big) == MALFORMED


def test_GHSA_hxm8_2xgr_2p9m_GHSA_5jhw_7jv7_qcqq_a_token_has_one_spelling_and_stays_revoked(make):
    site = make()
    text = token(hour())
    assert site.told("/hs", text) == ""
    site.verifier.revoke("hs", token=text)
    head, payload, signature = text.split(".")
    others = [
        f"{text}=",
        f"{text}!!!!",
        f"{text}\n",
        f"{head}.{payload}=.{signature}",
        f"{head}=.{payload}.{signature}",
    ]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others += [
        f"{head}.{payload}.{signature[:-1]}{last[last.index(signature[-1]) | bits]}"
        for bits in (1, 2, 3)
    ]
    for other in others:
        assert site.denies("/hs", other) == MALFORMED
    assert site.denies("/hs", text) == "revoked"


def deflated(way: str) -> str:
    bomb = zlib.compress(bytes(20_000_000), 9)[2:-4]
    alg, kind = ("dir", "secret") if way == "dir" else ("RSA-OAEP-256", "RSA")
    return seal(bomb[:4000], alg, kind, kid=way, header={"zip": "DEF"})


@pytest.mark.parametrize("way", ["dir", "rsa"])
def test_CVE_2024_33664_CVE_2024_28102_CVE_2026_39373_CVE_2025_62706_nothing_is_inflated(
    make, way, monkeypatch
):
    site = make(SEALED)

    def inflate(*_: object, **__: object) -> bytes:
        raise AssertionError("inflated")

    monkeypatch.setattr(zlib, "decompress", inflate)
    monkeypatch.setattr(zlib, "decompressobj", inflate)
    assert site.denies("/pub", deflated(way)) == MALFORMED


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None])
def test_CVE_2025_61152_CVE_2026_28802_a_token_without_signature_is_refused(site, alg):
    for head in (
        {"alg": alg, "typ": "JWT"},
        {"alg": alg, "kid": RSA},
        {"alg": alg, "kid": "kid-mac"},
    ):
        for signature in ("", segment(b""), segment(bytes(32)), "x"):
            text = f"{segment(head)}.{segment(hour())}.{signature}"
            for path in ("/hs", "/pub", "/atn", "/engine", "/wallet"):
                assert site.denies(path, text) in (UNSUPPORTED, MALFORMED)


def test_CVE_2022_3102_a_sealed_token_is_none_where_signed_ones_are_expected_and_the_reverse(
    make, site
):
    inner = signed()
    assert site.denies("/pub", seal(inner)) == MALFORMED
    document = json.loads(SEALED)
    document["projects"]["pub"]["encryption"]["required"] = True
    strict = make(json.dumps(document))
    assert strict.denies("/pub", inner) == MALFORMED
    by_public_key = seal(json.dumps(hour()), "RSA-OAEP-256", "RSA", kid="rsa")
    assert strict.denies("/pub", by_public_key) == MALFORMED  # anybody can make one
    assert strict.told("/pub", seal(inner, kid="dir")) == ""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("count", [2**31 - 1, 10**9, 300_001])
def test_CVE_2023_6681_CVE_2026_27932_no_password_is_stretched(make, count, monkeypatch):
    import hashlib

    def stretch(*_: object, **__: object) -> bytes:
        raise AssertionError("stretched")

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", stretch)
    header = {"alg": "PBES2-HS256+A128KW", "p2s": "c2FsdA", "p2c": count}
    assert make(SEALED).denies("/pub", seal(signed(), header=header)) == UNSUPPORTED


def test_CVE_2025_61920_an_endless_part_is_refused_by_its_length(site):
    head, payload, signature = token(hour()).split(".")
    for text in (f"{'A' * 5_000_000}.{payload}.{signature}", f"{head}.{payload}.{'A' * 5_000_000}"):
        assert site.denies("/hs", text) == MALFORMED


def test_CVE_2026_27962_a_key_in_the_header_verifies_nothing(site):
    theirs = private_key("RS256", 1)
    jwk = json.loads(RSAAlgorithm.to_jwk(theirs.public_key()))
    for kid in ({}, {"kid": "unknown"}, {"kid": RSA}):
        head = {"alg": "RS256", "typ": "JWT", "jwk": jwk, **kid}
        assert site.denies("/pub", token(hour(), theirs, "RS256", header=head)) == INVALID


def test_CVE_2026_28490_python_jose_408_there_is_no_rsa1_5_and_no_oracle(make):
    site = make(SEALED)
    assert (
        site.denies(
            "/pub", seal(signed(), "RSA-OAEP-256", "RSA", kid="rsa", header={"alg": "RSA1_5"})
        )
        == UNSUPPORTED
    )
    told = set()
    for wrapped in (b"\0" * 256, b"\1" * 256, b"\xff" * 256):
        error = site.error(
            "/pub", seal(signed(), "RSA-OAEP-256", "RSA", kid="rsa", parts={1: wrapped})
        )
        told.add((error.reason, error.status, error.message))
    assert len(told) == 1


@pytest.mark.parametrize("alg", ["HS999", "XYZ", "RS0", "ES256K", "A256GCM", "RSA-OAEP", "hs256"])
def test_CVE_2026_28498_an_unknown_algorithm_is_a_refusal(site, alg):
    for path in ("/hs", "/pub", "/atn"):
        assert (
            site.denies(path, token(hour(), header={"alg": alg, "kid": "kid-mac"})) == UNSUPPORTED
        )


def test_CVE_2025_65015_no_error_and_no_log_repeats_what_is_too_long(site, caplog):
    caplog.set_level(logging.DEBUG)
    long = "Z" * 3_000_000
    for headers in (
        [("Authorization", f"Bearer {long}")],
        [("X-Pubkey", long)],
        [("X-Nonce", long)],
    ):
        for path in ("/hs", "/wallet", "/pub"):
            error_ = site.error(path, headers)
            assert len(repr(vars(error_))) < 2_000
    assert len(caplog.text) < 100_000
    assert "ZZZZ" not in caplog.text


@pytest.mark.parametrize("secret", ["", " ", "\n", "\t" * 40, "\0" * 0])
def test_CVE_2026_49852_CVE_2026_44699_an_empty_secret_does_not_load(tmp_path, secret):
    for document in (
        project(secrets=[{"id": "a", "secret": secret, "allow_weak": True}]),
        project("pub", keys=[{"kid": "a", "alg": "HS256", "secret": secret, "allow_weak": True}]),
    ):
        assert "secret" in problems(tmp_path, document)
    reference = project(secrets=[{"id": "a", "secret": "${env:UNSET}", "allow_weak": True}])
    assert "UNSET" in problems(tmp_path, reference)
    assert "UNSET" in problems(tmp_path, reference, UNSET=secret)


def test_the_credentials_that_these_attacks_change_are_good(make):
    site = make(SEALED)
    for text in (
        signed(),
        seal(signed(), kid="dir"),
        seal(signed(), "RSA-OAEP-256", "RSA", kid="rsa"),
    ):
        assert site.told("/pub", text) == ""
    assert site.denies("/pub", token(hour(), OTHER_SECRET, kid="kid-mac")) == INVALID
