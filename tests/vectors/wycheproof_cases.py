"""The Wycheproof files (https://github.com/C2SP/wycheproof), one `Case` per `tcId`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vectors.loader import Case, Expect, VectorError, counted, expectation, members, read, unique

_LABELS = {"valid": Expect.ACCEPT, "invalid": Expect.REFUSE}
# "acceptable" is decided by flag: a DigestInfo without NULL is not what RFC 8017 has a signer make.
_ACCEPTABLE = {"MissingNull": Expect.REFUSE}
# upstream uses this flag and has no note on it
_UNNOTED = {"Pkcs5Padding"}
_PUBLIC = {"publicKeyDer", "publicKeyPem", "publicKey"}


@dataclass(frozen=True, slots=True)
class _Shape:
    """The schema, group type and members that a file must have."""

    schema: str
    group_type: str
    test: frozenset[str]
    group: frozenset[str] = frozenset()
    group_optional: frozenset[str] = frozenset()
    test_optional: frozenset[str] = frozenset()
    algorithm: str = ""


def _jose(
    schema: str, group_type: str, *tokens: str, optional: frozenset[str] = frozenset()
) -> _Shape:
    return _Shape(
        schema,
        group_type,
        test=frozenset(tokens),
        group=frozenset({"comment", "private"}),
        group_optional=frozenset({"public"}),
        test_optional=optional,
    )


_SIGNATURE = frozenset({"msg", "sig"})
_RSA = _Shape(
    "rsassa_pkcs1_verify_schema_v1.json",
    "RsassaPkcs1Verify",
    test=_SIGNATURE,
    group=frozenset({*_PUBLIC, "keySize", "publicKeyAsn", "sha", "keyJwk"}),
    algorithm="RSASSA-PKCS1-v1_5",
)
SHAPES: Mapping[str, _Shape] = {
    "json_web_signature": _jose("json_web_signature_schema_v1.json", "JsonWebSignature", "jws"),
    "json_web_encryption": _jose(
        "json_web_encryption_schema_v1.json",
        "JsonWebEncryption",
        "jwe",
        "enc",
        optional=frozenset({"pt"}),
    ),
    "json_web_key": _jose("json_web_key_schema_v1.json", "JsonWebKey", "jws"),
    "json_web_crypto": _jose(
        "json_web_crypto_schema_v1.json",
        "JsonWebCrypto",
        optional=frozenset({"jws", "jwe"}),
    ),
    "ed25519": _Shape(
        "eddsa_verify_schema_v1.json",
        "EddsaVerify",
        test=_SIGNATURE,
        group=frozenset({*_PUBLIC, "publicKeyJwk"}),
        algorithm="EDDSA",
    ),
    "ecdsa_secp256r1_sha256_p1363": _Shape(
        "ecdsa_p1363_verify_schema_v1.json",
        "EcdsaP1363Verify",
        test=_SIGNATURE,
        group=frozenset({*_PUBLIC, "sha"}),
        group_optional=frozenset({"publicKeyJwk"}),
        algorithm="ECDSA",
    ),
    "ecdsa_secp256r1_sha256": _Shape(
        "ecdsa_verify_schema_v1.json",
        "EcdsaVerify",
        test=_SIGNATURE,
        group=frozenset({*_PUBLIC, "sha"}),
        algorithm="ECDSA",
    ),
    "rsa_signature_2048_sha256": _RSA,
    "rsa_signature_3072_sha256": _RSA,
    "rsa_signature_4096_sha256": _RSA,
    "hmac_sha256": _Shape(
        "mac_test_schema_v1.json",
        "MacTest",
        test=frozenset({"key", "msg", "tag"}),
        group=frozenset({"keySize", "tagSize"}),
        algorithm="HMACSHA256",
    ),
}


def wycheproof(name: str, document: Any = None) -> list[Case]:
    """
    Return the cases of `wycheproof/<name>_test.json`, with the corrections of OVERRIDES.json.

    Args:
        name: A name of `SHAPES`.
        document: The file's content, if it is not to be read.
    """
    path = f"wycheproof/{name}_test.json"
    document = read(path) if document is None else document
    shape = SHAPES[name]
    top = {"schema", "numberOfTests", "header", "notes", "testGroups"}
    members(path, document, top | ({"algorithm"} if shape.algorithm else set()))
    if document["schema"] != shape.schema or document.get("algorithm", "") != shape.algorithm:
        raise VectorError(f"{path}: another schema or algorithm")
    found = list(_tests(path, shape, document))
    if len(found) != document["numberOfTests"]:
        raise VectorError(f"{path}: {len(found)} tests, numberOfTests is another")
    counted(path, (test["result"] for _, test in found))
    unique(path, (test["tcId"] for _, test in found))
    corrected = _overrides(f"{name}_test.json", {test["tcId"] for _, test in found})
    return [
        Case(f"{name}:{test['tcId']}", _verdict(path, test, corrected), test, group)
        for group, test in found
    ]


def _tests(
    path: str, shape: _Shape, document: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for group in document["testGroups"]:
        members(
            f"{path}: group", group, shape.group | {"type", "source", "tests"}, shape.group_optional
        )
        if group["type"] != shape.group_type:
            raise VectorError(f"{path}: group of type {group['type']!r}")
        if group.get("sha", "SHA-256") != "SHA-256":
            raise VectorError(f"{path}: group with hash {group['sha']!r}")
        for test in group["tests"]:
            where = f"{path}: tcId {test.get('tcId')}"
            needed = shape.test | {"tcId", "comment", "flags", "result"}
            members(where, test, needed, shape.test_optional)
            if shape.test_optional >= {"jws", "jwe"} and ("jws" in test) == ("jwe" in test):
                raise VectorError(f"{where}: not exactly one token")
            if unknown := set(test["flags"]) - set(document["notes"]) - _UNNOTED:
                raise VectorError(f"{where}: flags without a note: {sorted(unknown)}")
            yield group, test


def _verdict(path: str, test: Mapping[str, Any], corrected: Mapping[int, str]) -> Expect:
    where = f"{path}: tcId {test['tcId']}"
    label = corrected.get(test["tcId"], test["result"])
    if label == "acceptable":
        flags = test["flags"]
        return expectation(where, flags[0] if len(flags) == 1 else flags, _ACCEPTABLE)
    return expectation(where, label, _LABELS)


def _overrides(file: str, known: set[int]) -> dict[int, str]:
    path = "wycheproof/OVERRIDES.json"
    document = read(path)
    members(path, document, {"file", "overrides"})
    for override in document["overrides"]:
        members(path, override, {"tcId", "use_result", "reason"})
    counted(path, ["overrides" for _ in document["overrides"]])
    if document["file"] != file:
        return {}
    corrected = {entry["tcId"]: entry["use_result"] for entry in document["overrides"]}
    if stray := set(corrected) - known:
        raise VectorError(f"{path}: no such tcId: {sorted(stray)}")
    return corrected
