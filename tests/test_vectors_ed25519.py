"""Ed25519, as wallets sign: strict, so that one signature never fits two readings."""

from __future__ import annotations

from vectors.loader import Case, Expect, each
from vectors.other_cases import cctv, speccheck
from vectors.wycheproof_cases import wycheproof

from rpcguard.keys import public_key, verify_ed25519

WYCHEPROOF = wycheproof("ed25519")


def _accepts(public: str, message: bytes, signature: str) -> bool:
    return verify_ed25519(bytes.fromhex(public), message, bytes.fromhex(signature))


@each(WYCHEPROOF)
def test_wycheproof(case: Case) -> None:
    public, message = case.group["publicKey"]["pk"], bytes.fromhex(case.data["msg"])

    assert _accepts(public, message, case.data["sig"]) is (case.expect is Expect.ACCEPT)


@each(WYCHEPROOF)
def test_wycheproof_through_a_registered_key(case: Case) -> None:
    key = public_key("kid", "EdDSA", case.group["publicKeyPem"].encode("ascii"))
    message, signature = bytes.fromhex(case.data["msg"]), bytes.fromhex(case.data["sig"])

    assert key.verify(message, signature) is (case.expect is Expect.ACCEPT)


@each(cctv())
def test_D1_D2_D3_D4_cctv(case: Case) -> None:
    message = case.data["msg"].encode("ascii")

    assert _accepts(case.data["key"], message, case.data["sig"]) is (case.expect is Expect.ACCEPT)


@each(speccheck())
def test_D2_D3_D4_speccheck(case: Case) -> None:
    message = bytes.fromhex(case.data["message"])
    verdict = _accepts(case.data["pub_key"], message, case.data["signature"])

    assert verdict is (case.expect is Expect.ACCEPT)
