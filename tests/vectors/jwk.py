"""
JSON Web Keys as rpcguard's keys.

rpcguard takes PEM and secrets alone, so the tests convert. The DER is written by hand: a library
would refuse the bad keys (exponent 1, a point off the curve) before rpcguard sees them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from rpcguard import base64url
from rpcguard.keys import Key, public_key, secret_key

_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
_EC = bytes.fromhex("06072a8648ce3d0201")
_CURVES = {
    "P-256": (bytes.fromhex("06082a8648ce3d030107"), 32),
    "P-384": (bytes.fromhex("06052b81040022"), 48),
    "P-521": (bytes.fromhex("06052b81040023"), 66),
}
_ED25519 = bytes.fromhex("300506032b6570")


def key_of(jwk: Mapping[str, Any], *, allow_weak: bool = False) -> Key:
    """
    Return rpcguard's key of *jwk*, under its `kid` and for its `alg`.

    Raises:
        ValueError: If rpcguard refuses it, or if it is not a key for signatures.
    """
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise ValueError("not a key for signatures")
    kid, alg = jwk.get("kid", "only"), jwk.get("alg")
    if jwk["kty"] == "oct":
        if alg is None:
            raise ValueError("a secret without an algorithm")
        return secret_key(kid, alg, base64url.decode(jwk["k"]), allow_weak=allow_weak)
    return public_key(kid, alg, pem(jwk))


def pem(jwk: Mapping[str, Any]) -> bytes:
    """
    Return the public half of *jwk* as SubjectPublicKeyInfo, unchecked.

    Raises:
        ValueError: If a member is missing or the type is unknown.
    """
    try:
        der = _DER[jwk["kty"]](jwk)
    except KeyError as missing:
        raise ValueError(f"no such member or type: {missing}") from None
    body = base64.encodebytes(der).decode("ascii")
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n".encode("ascii")


def _rsa(jwk: Mapping[str, Any]) -> bytes:
    numbers = b"".join(_integer(base64url.decode(jwk[name])) for name in ("n", "e"))
    return _tagged(0x30, _RSA + _bits(_tagged(0x30, numbers)))


def _ec(jwk: Mapping[str, Any]) -> bytes:
    curve, size = _CURVES[jwk["crv"]]
    point = b"".join(base64url.decode(jwk[name]).rjust(size, b"\0") for name in ("x", "y"))
    return _tagged(0x30, _tagged(0x30, _EC + curve) + _bits(b"\x04" + point))


def _okp(jwk: Mapping[str, Any]) -> bytes:
    return _tagged(0x30, _ED25519 + _bits(base64url.decode(jwk["x"])))


_DER = {"RSA": _rsa, "EC": _ec, "OKP": _okp}


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def _integer(big_endian: bytes) -> bytes:
    number = big_endian.lstrip(b"\0") or b"\0"
    return _tagged(0x02, b"\0" + number if number[0] & 0x80 else number)


def _bits(content: bytes) -> bytes:
    return _tagged(0x03, b"\0" + content)
