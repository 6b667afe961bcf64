"""
Where every vector file comes from, and how many cases of which label it holds.

The loader refuses a file that is not listed here, or that holds another number of cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """
    Origin of a file.

    Attributes:
        origin: Repository and path.
        version: Commit, or "" where the project wrote the file itself.
        licence: File in `LICENSES/`, or "" for the project's own licence.
        cases: Number of cases by label.
    """

    origin: str
    version: str
    licence: str
    cases: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of cases."""
        return sum(self.cases.values())


def _wycheproof(**cases: int) -> Source:
    return Source(
        "C2SP/wycheproof, testvectors_v1",
        "dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166",
        "wycheproof_Apache-2.0.txt",
        cases,
    )


def _cookbook(files: int) -> Source:
    return Source(
        "ietf-jose/cookbook",
        "13692b68bfc18b99557a5b1ed311fd5077bfff04",
        "jose_cookbook_Unlicense.txt",
        {"files": files},
    )


def _authored(**cases: int) -> Source:
    return Source("written for rpcguard; keys made for tests", "", "", cases)


FILES: Mapping[str, Source] = {
    "wycheproof/json_web_signature_test.json": _wycheproof(invalid=179, valid=23),
    "wycheproof/json_web_encryption_test.json": _wycheproof(invalid=37, valid=33),
    "wycheproof/json_web_key_test.json": _wycheproof(invalid=11, valid=3),
    "wycheproof/json_web_crypto_test.json": _wycheproof(invalid=39, valid=3),
    "wycheproof/ed25519_test.json": _wycheproof(invalid=32, valid=44),
    "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json": _wycheproof(invalid=45, valid=87),
    "wycheproof/ecdsa_secp256r1_sha256_test.json": _wycheproof(invalid=155, valid=87),
    "wycheproof/rsa_signature_2048_sha256_test.json": _wycheproof(
        acceptable=1, invalid=125, valid=5
    ),
    "wycheproof/rsa_signature_3072_sha256_test.json": _wycheproof(
        acceptable=1, invalid=125, valid=4
    ),
    "wycheproof/rsa_signature_4096_sha256_test.json": _wycheproof(
        acceptable=1, invalid=125, valid=4
    ),
    "wycheproof/hmac_sha256_test.json": _wycheproof(invalid=54, valid=33),
    "wycheproof/OVERRIDES.json": Source(
        "corrections of labels of json_web_signature_test.json", "", "", {"overrides": 2}
    ),
    "cctv_ed25519/ed25519vectors.json": Source(
        "C2SP/CCTV, ed25519/ed25519vectors.json",
        "1e3d2860d46e94e777e1b17c7a6f2436387e3ecc",
        "cctv_ed25519_BSD-3-Clause.txt",
        {"cases": 488},
    ),
    "ed25519_speccheck/cases.json": Source(
        "novifinancial/ed25519-speccheck, cases.json",
        "65519336fda78a3d016e947df6d82848aca0c9da",
        "ed25519-speccheck_Apache-2.0.txt",
        {"cases": 6},
    ),
    "base58/bitcoin_base58_encode_decode.json": Source(
        "bitcoin/bitcoin, src/test/data/base58_encode_decode.json",
        "284c42a3ceb98587895935139984c52e9958005d",
        "bitcoin_MIT.txt",
        {"valid": 11},
    ),
    "base58/base-x_fixtures_base58.json": Source(
        "cryptocoinjs/base-x, test/fixtures.json",
        "b7b0cec52bf60d993957902e8e7c96906ac39c7c",
        "base-x_MIT.txt",
        {"invalid": 4, "valid": 49},
    ),
    "json_parsing/jsontestsuite.json": Source(
        "nst/JSONTestSuite, test_parsing",
        "1ef36fa01286573e846ac449e8683f8833c5b26a",
        "JSONTestSuite_MIT.txt",
        {"accept": 48, "implementation-defined": 18, "reject": 94},
    ),
    "jose_cookbook/curve25519": _cookbook(1),
    "jose_cookbook/jwe": _cookbook(7),
    "jose_cookbook/jwk": _cookbook(6),
    "jose_cookbook/jws": _cookbook(4),
    "jose_cookbook/rfc7797": _cookbook(1),
    "authored/jwt_attack_tokens.json": _authored(accept=7, either=8, reject=94),
    "authored/wallet_requests.json": _authored(accept=6, either=3, reject=57),
    "authored/jsonrpc_bodies.json": _authored(cases=15),
}
