"""Genuine tokens to be changed, and tokens under secrets that are none."""

from __future__ import annotations

import hashlib
import hmac

from minting import hour, private_key, segment, token

from attacks.site import KIDS


def signed(key="RS256", claims=None, /, **header):
    """Return a genuine token of the *key* for an algorithm, its header changed."""
    head = {"alg": key, "typ": "JWT", "kid": KIDS[key], **header}
    return token(claims or hour(), private_key(key), key, header=head)


def mac(secret, claims=None, **header):
    """Return an HS256 token under any bytes at all, past PyJWT's own refusal of public keys."""
    head = {"alg": "HS256", "typ": "JWT", **header}
    signing_input = f"{segment(head)}.{segment(claims or hour())}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return (
        f"{signing_input}.{segment(hmac.new(key, signing_input.encode(), hashlib.sha256).digest())}"
    )
