"""What `rpcguard token`, `sign` and `call` do."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rpcguard.cli.calling.caller import API_KEY, WAYS, Caller, credentials_of, secret_of
from rpcguard.cli.opened import STDIN, RefusalError, completed
from rpcguard.cli.output import complain, say
from rpcguard.client import presets
from rpcguard.client.session import SignIn
from rpcguard.client.signers import Signer

LARGEST = 64 << 20  # bytes of a body
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """
    The request to prove.

    Attributes:
        url: Its URL, or path and query alone.
        method: Its method.
        body_file: File with its body, "-" for standard input, or None for none.
    """

    url: str = field(repr=False)
    method: str = "POST"
    body_file: str | None = None

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def body(self) -> bytes:
        """
        Return the body.

        Raises:
            OSError: If it cannot be read.
            RefusalError: If it is too large.
        """
        if self.body_file is None:
            return b""
        if self.body_file == STDIN:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(self.body_file).open("rb") as file:
                data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise RefusalError(f"the body has more than {LARGEST >> 20} MiB")
        return data


def token(caller: Caller, sent: Sent, *, as_json: bool) -> int:
    """Print a fresh token and return the exit code."""

    def work() -> dict[str, Any]:
        if "jwt" not in WAYS[caller.preset] or caller.way == API_KEY:
            raise RefusalError(f"{caller.preset} has no tokens to mint here: see `rpcguard sign`")
        now = time.time()
        headers = _headers(caller, sent, sent.body(), now)
        return {"token": headers["Authorization"].removeprefix("Bearer "), "now": now}

    return completed(work, lambda done: say(done["token"]), as_json=as_json)


def sign(caller: Caller, sent: Sent, *, as_curl: bool, as_json: bool) -> int:
    """Print the headers of a request, or a whole curl command; return the exit code."""

    def work() -> dict[str, Any]:
        body = sent.body()
        if caller.key_in_url:
            if not as_curl:
                raise RefusalError("this API key goes into the URL: say --curl")
            url, headers = presets.meganode_url(sent.url, secret_of(caller)), {}
        else:
            url, headers = sent.url, _headers(caller, sent, body, time.time())
        document: dict[str, Any] = {"method": sent.method, "headers": headers}
        return document | ({"curl": _curl(url, sent, headers, body)} if as_curl else {})

    def show(done: dict[str, Any]) -> None:
        if as_curl:
            sys.stdout.write(done["curl"] + "\n")
        else:
            say(*(f"{name}: {value}" for name, value in done["headers"].items()))

    return completed(work, show, as_json=as_json)


def _headers(caller: Caller, sent: Sent, body: bytes, now: float) -> dict[str, str]:
    credentials = credentials_of(caller, urlsplit(sent.target).path)
    if isinstance(credentials, SignIn):
        raise RefusalError("a session is asked of the server: see `rpcguard call`")
    signer: Signer = credentials
    try:
        return signer.headers(sent.method, sent.target, body, now)
    except ValueError as error:
        raise RefusalError(str(error)) from None


def _curl(url: str, sent: Sent, headers: dict[str, str], body: bytes) -> str:
    # curl would expand brackets and take dots out of the path: other than what is signed
    words = ["curl", "-sS", "--globoff", "--path-as-is", "-X", sent.method, url]
    for name, value in {"Content-Type": "application/json", **headers}.items():
        words += ["-H", f"{name}: {value}"]
    if sent.body_file not in (None, STDIN):
        words += ["--data-binary", f"@{sent.body_file}"]
    elif body:
        try:
            words += ["--data-raw", body.decode()]
        except UnicodeDecodeError:
            raise RefusalError(
                "this body cannot be written into a command: put it in a file"
            ) from None
    # As it is: escaped, it would be another body. But nothing in it may drive a terminal.
    if any(not (letter.isprintable() or letter in "\t\n") for word in words for letter in word):
        raise RefusalError("control characters cannot be written into a command: use a file")
    return shlex.join(words)


def call(
    caller: Caller, url: str, method: str, params: Any, *, timeout: float | None, as_json: bool
) -> int:
    """
    Send a JSON-RPC request, print the answer, return 0 if it has a result.

    Args:
        caller: Who calls.
        url: The endpoint.
        method: Its method.
        params: A list or an object.
        timeout: Seconds, or None for the usual.
        as_json: Print status and answer as one object.
    """
    codes = []

    def work() -> dict[str, Any]:
        document = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, answer = _post(caller, url, json.dumps(document).encode(), timeout or _SECONDS)
        good = 200 <= status < 300 and isinstance(answer, dict) and "result" in answer
        codes.append(0 if good else 1)
        return {"status": status, "answer": answer}

    def show(done: dict[str, Any]) -> None:
        answer = done["answer"]
        if not codes[0]:
            sys.stdout.write(json.dumps(answer["result"], indent=2) + "\n")
            return
        complain(f"refused: HTTP {done['status']}")
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")

    return completed(work, show, as_json=as_json) or codes[0]


def _post(caller: Caller, url: str, body: bytes, timeout: float) -> tuple[int, Any]:
    # a quarter of a second that the other commands do without
    import httpx  # noqa: PLC0415

    from rpcguard.client.httpx import Auth  # noqa: PLC0415
    from rpcguard.client.keeper import SignInError  # noqa: PLC0415

    try:
        if caller.key_in_url:
            url, auth = presets.meganode_url(url, secret_of(caller)), None
        else:
            auth = Auth(url, credentials_of(caller, urlsplit(url).path or "/"))
        headers = {"Content-Type": "application/json"}
        with httpx.Client(auth=auth, timeout=timeout) as client:
            response = client.post(url, content=body, headers=headers)
            if isinstance(auth, Auth):
                with contextlib.suppress(SignInError, httpx.HTTPError):  # the answer counts
                    auth.logout(client)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RefusalError(f"no answer from the server: {type(error).__name__}") from None
    except (SignInError, ValueError) as error:
        raise RefusalError(str(error)) from None
    try:
        return response.status_code, response.json()
    except ValueError:
        return response.status_code, None
