"""The vector files that are not Wycheproof's: Ed25519 corners, base58, JSON, JOSE, our own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from vectors.loader import (
    Case,
    Expect,
    VectorError,
    counted,
    expectation,
    folder,
    members,
    read,
    unique,
)

# Strict verification: what these flags mark is refused, whether or not an equation holds.
_CCTV_REFUSED = {
    "low_order_A",
    "low_order_R",
    "non_canonical_A",
    "non_canonical_R",
    "low_order_residue",
}
_CCTV_HARMLESS = {"low_order_component_A", "low_order_component_R", "reencoded_k"}
_SPECCHECK_ACCEPTED = {3}  # mixed order, and the cofactorless equation holds
_SPECCHECK_ROWS = range(12)
_JSON_LABELS = {
    "accept": Expect.ACCEPT,
    "reject": Expect.REFUSE,
    "implementation-defined": Expect.EITHER,
}
_JSON_PREFIXES = {Expect.ACCEPT: "y_", Expect.REFUSE: "n_", Expect.EITHER: "i_"}
_AUTHORED_LABELS = {"accept": Expect.ACCEPT, "reject": Expect.REFUSE, "either": Expect.EITHER}


def cctv() -> list[Case]:
    """Return the Ed25519 cases of C2SP/CCTV: small order and non-canonical points of every kind."""
    name = "cctv_ed25519/ed25519vectors.json"
    entries = read(name)
    for entry in entries:
        members(name, entry, {"number", "key", "sig", "msg", "flags"})
        if unknown := set(entry["flags"] or ()) - _CCTV_REFUSED - _CCTV_HARMLESS:
            raise VectorError(f"{name}: {entry['number']}: unknown flags {sorted(unknown)}")
    counted(name, ["cases" for _ in entries])
    unique(name, (entry["number"] for entry in entries))
    return [
        Case(
            f"cctv:{entry['number']}",
            Expect.REFUSE if _CCTV_REFUSED & set(entry["flags"] or ()) else Expect.ACCEPT,
            entry,
            {},
        )
        for entry in entries
    ]


def speccheck() -> list[Case]:
    """Return the cases of "Taming the many EdDSAs" (ed25519-speccheck)."""
    name = "ed25519_speccheck/cases.json"
    entries = read(name)
    for entry in entries:
        members(name, entry, {"message", "pub_key", "signature", "original_index"})
        if entry["original_index"] not in _SPECCHECK_ROWS:
            raise VectorError(f"{name}: unknown row {entry['original_index']}")
    counted(name, ["cases" for _ in entries])
    unique(name, (entry["original_index"] for entry in entries))
    return [
        Case(
            f"speccheck:{row}",
            Expect.ACCEPT if row in _SPECCHECK_ACCEPTED else Expect.REFUSE,
            entry,
            {},
        )
        for entry in entries
        for row in [entry["original_index"]]
    ]


def base58_pairs() -> list[Case]:
    """Return the cases `{"hex", "string"}` that are base58, of Bitcoin and of base-x."""
    name = "base58/bitcoin_base58_encode_decode.json"
    pairs = read(name)
    counted(name, ["valid" for _ in pairs])
    if not all(len(pair) == 2 for pair in pairs):
        raise VectorError(f"{name}: not pairs")
    bitcoin = [
        Case(f"bitcoin:{index}", Expect.ACCEPT, {"hex": raw.lower(), "string": text}, {})
        for index, (raw, text) in enumerate(pairs)
    ]
    document = _base_x()
    return bitcoin + [
        Case(f"base-x:{index}", Expect.ACCEPT, entry, {})
        for index, entry in enumerate(document["valid"])
    ]


def base58_refused() -> list[Case]:
    """Return the cases `{"string"}` of base-x that are not base58."""
    return [
        Case(f"base-x-invalid:{index}", Expect.REFUSE, entry, {})
        for index, entry in enumerate(_base_x()["invalid"])
    ]


def _base_x() -> Mapping[str, Any]:
    name = "base58/base-x_fixtures_base58.json"
    document: Mapping[str, Any] = read(name)
    members(name, document, {"alphabets", "valid", "invalid"})
    members(name, document["alphabets"], {"base58"})
    for entry in document["valid"]:
        members(name, entry, {"alphabet", "hex", "string"})
    for entry in document["invalid"]:
        members(name, entry, {"alphabet", "string", "description", "exception"})
    if any(e["alphabet"] != "base58" for e in [*document["valid"], *document["invalid"]]):
        raise VectorError(f"{name}: another alphabet")
    counted(name, [label for label in ("valid", "invalid") for _ in document[label]])
    return document


def json_parsing() -> list[Case]:
    """Return the cases of JSONTestSuite as `{"name", "data"}`, `data` being bytes."""
    name = "json_parsing/jsontestsuite.json"
    entries = read(name)
    unique(name, (entry["name"] for entry in entries))
    counted(name, (entry["expect"] for entry in entries))
    cases = []
    for entry in entries:
        where = f"{name}: {entry['name']}"
        members(where, entry, {"name", "expect", "base64", "sha256"})
        data = base64.b64decode(entry["base64"], validate=True)
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise VectorError(f"{where}: the bytes are not those of its sha256")
        expect = expectation(where, entry["expect"], _JSON_LABELS)
        if entry["name"][:2] != _JSON_PREFIXES[expect]:
            raise VectorError(f"{where}: name and label disagree")
        cases.append(
            Case(f"json:{entry['name']}", expect, {"name": entry["name"], "data": data}, {})
        )
    return cases


def cookbook(room: str) -> dict[str, Mapping[str, Any]]:
    """Return the examples of the JOSE cookbook's folder *room*, by file name without ending."""
    examples = dict(folder(f"jose_cookbook/{room}"))
    for title, example in examples.items():
        where = f"jose_cookbook/{room}/{title}"
        if room == "jwk":
            members(
                where,
                example,
                {"kty", "kid", "use"},
                set("nedpqxyk") | {"dp", "dq", "qi", "crv", "alg"},
            )
            continue
        signed = (
            {"signing"}
            if room in ("jws", "rfc7797")
            else {"generated", "encrypting_key", "encrypting_content"}
        )
        members(where, example, {"title", "input", "output"} | signed, {"reproducible"})
        members(where, example["output"], {"json"}, {"compact", "json_flat"})
    return examples


def authored(name: str) -> tuple[Mapping[str, Any], list[Case]]:
    """Return the settings at the top of `authored/<name>.json`, and its cases."""
    path = f"authored/{name}.json"
    document = read(path)
    settings, needed, optional = _AUTHORED[name]
    members(path, document, settings | {"cases"})
    entries = document.pop("cases")
    unique(path, (entry["id"] for entry in entries))
    for entry in entries:
        members(f"{path}: {entry['id']}", entry, needed | {"id"}, optional)
    if name == "jsonrpc_bodies":  # the class is the verdict, and the test's table must know it
        counted(path, ["cases" for _ in entries])
        return document, [Case(f"rpc:{entry['id']}", Expect.EITHER, entry, {}) for entry in entries]
    counted(path, (entry["expect"] for entry in entries))
    return document, [
        Case(
            f"{name}:{entry['id']}",
            expectation(f"{path}: {entry['id']}", entry["expect"], _AUTHORED_LABELS),
            entry,
            {},
        )
        for entry in entries
    ]


# settings at the top, members of every case, members of some
_AUTHORED: Mapping[str, tuple[set[str], set[str], set[str]]] = {
    "jwt_attack_tokens": (
        {"now", "leeway", "max_lifetime_s", "max_token_bytes", "verifiers"},
        {"category", "expect", "token", "verifier", "why"},
        {"audience_suffix", "require"},
    ),
    "wallet_requests": (
        {"now", "window_s", "note"},
        {"category", "expect", "headers", "method", "raw_path", "body_base64", "why"},
        {"min_version"},
    ),
    "jsonrpc_bodies": (set(), {"body", "class"}, set()),
}
