"""
What checks the signatures of JWTs (RFC 7518 section 3): made once for each key, at load.

OpenSSL does the work. PyJWT's own verifiers would make padding and hash anew for each token, and
have OpenSSL look the hash up; `hmac` would read the key for each.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

# Whether a signature (the second) is the key's over a text (the first).
Check = Callable[[bytes, bytes], bool]

_HASHES: Mapping[str, tuple[Callable[[bytes], hashlib._Hash], hashes.HashAlgorithm]] = {
    "256": (hashlib.sha256, hashes.SHA256()),
    "384": (hashlib.sha384, hashes.SHA384()),
    "512": (hashlib.sha512, hashes.SHA512()),
}
# What stands before the hash in a text that PKCS #1 v1.5 signs, in DER: which hash it is, and its
# length (RFC 8017 section 9.2, note 1).
_DIGEST_INFO: Mapping[str, bytes] = {
    "256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def hmac_check(alg: str, secret: bytes) -> Check:
    """Return what checks HS256, HS384 or HS512 with *secret* (RFC 2104)."""
    keyed = hmac.new(secret, digestmod=f"sha{alg[2:]}")

    def check(signing_input: bytes, signature: bytes) -> bool:
        mac = keyed.copy()  # the key is read once, at load
        mac.update(signing_input)
        return hmac.compare_digest(mac.digest(), signature)

    return check


def rsa_check(alg: str, material: rsa.RSAPublicKey) -> Check:
    """Return what checks RS256, RS384, RS512 or PS256 (RFC 7518 sections 3.3, 3.5)."""
    return _pss_check(alg, material) if alg.startswith("PS") else _pkcs1_check(alg, material)


def _pkcs1_check(alg: str, material: rsa.RSAPublicKey) -> Check:
    digest, before = _HASHES[alg[2:]][0], _DIGEST_INFO[alg[2:]]
    size = (material.key_size + 7) // 8
    recover, pad = material.recover_data_from_signature, PKCS1v15()

    def check(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != size:  # one length only (RFC 8017 section 8.2.2)
            return False
        # What OpenSSL's own verification does: it takes the padding off, which must be 00 01, as
        # many FF as there is room for, and 00, and compares all that is left. Here it is compared
        # by us, so that neither types nor names of a hash are looked at for each signature.
        try:
            signed = recover(signature, pad, None)
        except InvalidSignature:
            return False
        return signed == before + digest(signing_input).digest()

    return check


def _pss_check(alg: str, material: rsa.RSAPublicKey) -> Check:
    digest, kind = _HASHES[alg[2:]]
    hashed, pad = Prehashed(kind), PSS(MGF1(kind), kind.digest_size)
    size = (material.key_size + 7) // 8

    def check(signing_input: bytes, signature: bytes) -> bool:
        # One length only (RFC 8017 section 8.1.2). OpenSSL takes a signature without its leading
        # zero bytes too: a second spelling of one token.
        if len(signature) != size:
            return False
        try:
            material.verify(signature, digest(signing_input).digest(), pad, hashed)
        except InvalidSignature:
            return False
        return True

    return check


def ec_check(alg: str, material: ec.EllipticCurvePublicKey) -> Check:
    """Return what checks ES256 or ES384 (RFC 7518 section 3.4)."""
    digest, kind = _HASHES[alg[2:]]
    hashed = ec.ECDSA(Prehashed(kind))
    size = (material.curve.key_size + 7) // 8

    def check(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        try:
            material.verify(_der(signature, size), digest(signing_input).digest(), hashed)
        except InvalidSignature:
            return False
        return True

    return check


def _der(signature: bytes, size: int) -> bytes:
    """
    Return *signature*, two big-endian numbers of *size* bytes each, as OpenSSL has it: a sequence
    of two integers in DER (RFC 3279 section 2.2.3), shorter than 128 bytes. By way of two `int` it
    would take twice as long.
    """
    r, s = signature[:size].lstrip(b"\0"), signature[size:].lstrip(b"\0")
    if not r or r[0] & 0x80:  # else it would be negative, or no number
        r = b"\0" + r
    if not s or s[0] & 0x80:
        s = b"\0" + s
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)
