"""How one project reads signed requests: encodings, versions of the payload, forms and bounds."""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rpcguard import base58, owed
from rpcguard.schemes.wallets import Wallets

KEY_BYTES = 32
SIGNATURE_BYTES = 64
PAYLOAD_WORDS = ("method", "path", "target", "timestamp", "nonce", "sha256_hex_of_body")


def _base64_exact(text: str, size: int) -> bytes:
    if len(text) > size * 2:
        raise ValueError("too long")
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if len(data) != size or base64.b64encode(data).decode("ascii") != text:
        raise ValueError("not canonical base64 of the right length")
    return data


def _hex_exact(text: str, size: int) -> bytes:
    data = binascii.unhexlify(text)
    if (
        len(data) != size or data.hex() != text
    ):  # upper case would be a second name for one key, and replay its nonces
        raise ValueError("not lower-case hex of the right length")
    return data


DECODERS: Mapping[str, Callable[[str, int], bytes]] = {
    "base58": base58.decode,
    "base64": _base64_exact,
    "hex": _hex_exact,
}


@dataclass(frozen=True, slots=True)
class Version:
    """
    One version of the signed payload.

    Attributes:
        payload: Template over `PAYLOAD_WORDS`.
        echo: Lower-case header fields that must equal "method", "path" or "target" of the request.
        fill: Gives the payload from the values of `PAYLOAD_WORDS`, in their order.
    """

    payload: str
    echo: tuple[tuple[str, str], ...] = ()
    fill: Callable[..., str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the words: `format` takes three times as long for names."""
        numbered = ""
        for literal, word, _, _ in string.Formatter().parse(self.payload):
            numbered += literal.replace("{", "{{").replace("}", "}}")
            numbered += "" if word is None else f"{{{PAYLOAD_WORDS.index(word)}}}"
        object.__setattr__(self, "fill", numbered.format)


@dataclass(frozen=True, slots=True)
class SignatureRules:
    """
    How one project reads signed requests. Durations in seconds; header names lower case.

    Attributes:
        project: Name of the project.
        pubkey: Header of the public key; likewise `signature`, `timestamp`, `nonce`.
        version_header: Header of the version, or "" where there is one version only.
        versions: The payload of each version.
        default_version: Version of a request without the version header.
        min_version: Lowest version accepted.
        decode: Reads key and signature from text.
        timestamp_form: What the whole timestamp must match.
        nonce_form: What the whole nonce must match.
        nonce_refused: What no nonce may match at its start, or None.
        window: How far the timestamp may be from now, either way.
        skew: Seconds that a nonce is remembered beyond the proof's end.
        wallets: Who may call.
        revocable: Ask the backend whether the wallet is revoked.
        project_limit: Live nonces that the project may hold.
        subject_limit: Live nonces that one wallet may hold.
    """

    project: str
    pubkey: str
    signature: str
    timestamp: str
    nonce: str
    version_header: str
    versions: Mapping[str, Version]
    default_version: str
    min_version: int
    decode: Callable[[str, int], bytes]
    timestamp_form: re.Pattern[str]
    nonce_form: re.Pattern[str]
    nonce_refused: re.Pattern[str] | None
    window: float
    skew: float
    wallets: Wallets
    revocable: bool = True
    project_limit: int = owed.PROJECT_NONCES
    subject_limit: int = owed.SUBJECT_NONCES
