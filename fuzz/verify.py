"""
Fuzzes the whole `verify` path: `python fuzz/verify.py`, or `make fuzz`.

An input is turned into a request: target, header fields and body, made of good credentials, damaged
ones and bytes. Whatever it is, the answer is a principal or an `AuthError`. A principal comes only
from a request that still holds a genuine signature: the fuzzer has no keys.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

with atheris.instrument_imports(include=["rpcguard"]):
    from attacks.site import API_KEY, SESSION, registry
    from attacks.tokens import mac, signed
    from minting import CALL, NOW, SECRET, Wallet, bearer, hour, order_token, token

    from rpcguard import AuthError, Principal, Request, Verifier
    from rpcguard.contrib._http import refusal

from _run import run

ALICE = Wallet(1)
ORDER = b'{"currency":"BTC","amount":"0.001","orderId":"12345"}'
OWN = {"iss": "rpcguard", "aud": "wallet", "sub": ALICE.pubkey, "jti": "j", **hour()}
SESSION_TOKEN = mac(SESSION, OWN, typ="rpcguard-session+jwt", kid="session")
BEARERS = [token(hour()), signed("RS256"), signed("ES256"), signed("EdDSA"), SESSION_TOKEN,
           order_token("/pay/withdraw"), token({"iat": NOW}, bytes(range(32)).decode())]  # fmt: skip
SIGNED = [ALICE.v1(), ALICE.v2("POST", "/v2"), ALICE.v2026("POST", "/next"), ALICE.v1(b"")]
# what proves that a signature is genuine: nothing of this can be made without a key
GENUINE = [text.rpartition(".")[2] for text in BEARERS] + [API_KEY]
GENUINE += [dict(headers)["X-Signature"] for headers in SIGNED]

PATHS = ["/hs", "/pub", "/atn", "/pay/withdraw", "/engine", "/wallet", "/v2", "/next", "/key",
         f"/key/{API_KEY}", "/methods", "/lan", "/sited", "/", "/hs/x?y=1"]  # fmt: skip
NAMES = ["Authorization", "X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce", "X-Auth-Version",
         "X-Http-Method", "X-Http-Path", "X-Api-Key", "x-auth-key", "Sec-WebSocket-Protocol", "Host",
         "Origin", "User-Agent", "Content-Encoding", "X-Forwarded-For", "X_Nonce"]  # fmt: skip
FIELDS = [*(bearer(text) for text in BEARERS), *SIGNED, [("x-auth-key", "merchant-1")],
          [("Sec-WebSocket-Protocol", f"auth.{SESSION_TOKEN}, jsonrpc")]]  # fmt: skip
BODIES = [CALL, ORDER, b"", b"[]", json.dumps([json.loads(CALL)] * 3).encode()]


class Clockwork:
    """A verifier whose nonces are forgotten every so often, so that memory stays bounded."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name, "registry.yaml")
        self._path.write_text(registry())
        self._left = 0

    def __call__(self) -> Verifier:
        """Return the verifier."""
        if self._left == 0:
            self._left = 20_000
            self._verifier = Verifier.from_yaml(
                self._path, clock=lambda: float(NOW), environ={}, watch=False
            )
        self._left -= 1
        return self._verifier


VERIFIER = Clockwork()


def damaged(data: atheris.FuzzedDataProvider, text: str) -> str:
    """Return *text*, or a damaged one, or something else."""
    choice = data.ConsumeIntInRange(0, 5)
    if choice == 0:
        return data.ConsumeUnicode(200)
    if choice < 3 or not text:
        return text
    at = data.ConsumeIntInRange(0, len(text))
    until = at + data.ConsumeIntInRange(0, 8)
    return text[:at] + data.ConsumeUnicode(8) + text[until:]


def request_of(data: atheris.FuzzedDataProvider) -> Request:
    """Return the request that an input describes."""
    target = data.PickValueInList(PATHS)
    if data.ConsumeIntInRange(0, 7) == 0:
        target = damaged(data, target)
    headers = []
    for _ in range(data.ConsumeIntInRange(0, 3)):
        for name, value in data.PickValueInList(FIELDS):
            headers.append((name, damaged(data, value)))
    more = range(data.ConsumeIntInRange(0, 2))
    headers += [(data.PickValueInList(NAMES), data.ConsumeUnicode(64)) for _ in more]
    method = "POST" if data.ConsumeBool() else data.ConsumeUnicode(8)
    body = data.PickValueInList(BODIES) if data.ConsumeBool() else data.ConsumeBytes(512)
    client = data.PickValueInList([None, "unix", "10.0.0.1", "203.0.113.1", "::ffff:10.0.0.1", "x"])
    return Request(
        method,
        target,
        headers,
        body,
        client,
        websocket=data.ConsumeBool(),
        joined=data.ConsumeBool(),
    )


def one_input(raw: bytes) -> None:
    """Judge one request in every way that there is."""
    data = atheris.FuzzedDataProvider(raw)
    request, frames, in_a_loop = request_of(data), data.ConsumeBool(), data.ConsumeIntInRange(0, 63)
    verifier = VERIFIER()
    try:
        if in_a_loop == 0:  # slower, and the same but for one word
            principal = asyncio.run(verifier.averify(request, frames=frames))
        else:
            principal = verifier.verify(request, frames=frames)
    except AuthError as error:
        refusal(error, request.body)
        return
    assert isinstance(principal, Principal)
    shown = request.target + " ".join(value for _, value in request.headers)
    assert any(text in shown for text in GENUINE), "let in without a genuine signature"
    try:
        verifier.check_message(principal, data.ConsumeUnicode(128) if frames else CALL)
    except AuthError as error:
        refusal(error)


if __name__ == "__main__":
    assert SECRET
    run(one_input, [bytes([n]) * 64 for n in range(0, 256, 8)], 4096)
