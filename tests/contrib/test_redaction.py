"""No log line, no answer and no error shows an API key, wherever it was and whether it is good."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib import logged_apps as apps
from contrib.credentials import PUBKEY
from contrib.logged_apps import BOOM, STATIC, STATIC_BEARER
from contrib.wire import Answer, Headers, request, websocket
from rpcguard import AuthError, Request, Verifier
from rpcguard.contrib.redaction import redacting_filter

BAD = "bad0bad1bad2bad3bad4bad5bad6bad7"
BAD_BEARER = "nod_bad0bad1bad2bad3bad4bad5bad6bad7"
KEYS = [STATIC, STATIC_BEARER, BAD, BAD_BEARER]
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLWEtdG9rZW4"


def _places() -> Iterator[tuple[str, Headers, int]]:
    """Yield targets and headers with keys, good and bad, and the status of the answer."""
    for key, status in ((STATIC, 200), (BAD, 401)):
        yield f"/v1/{key}", [], status
        yield f"/v1/{key}?a=b", [("Referer", f"https://site.example/v1/{key}")], status
        yield f"/v1/{key}/more", [], 401
        yield f"//v1/{key}", [], 400
        yield f"/asked?x=1&key={key}", [], status
        yield f"/asked?key={key}&key={key}", [], 401
        yield "/asked", [("X-Api-Key", key)], status
        yield "/asked", [("X-Api-Key", key), ("X-Api-Key", key)], 401
    for key, status in ((STATIC_BEARER, 200), (BAD_BEARER, 401)):
        yield "/asked", [("Authorization", f"Bearer {key}")], status
        yield "/asked", [("Authorization", f"bearer  {key}")], status
        yield "/nowhere", [("Authorization", f"Bearer {key}")], 403


def _drive(port: int) -> list[str]:
    """Send every request and handshake; return what the answers say."""
    seen = []

    def note(answer: Answer) -> int:
        seen.append(repr((answer.status, answer.headers, answer.body)))
        return answer.status

    for target, headers, status in _places():
        assert note(request(port, "POST", target, headers)) == status, target
        if status == 200:
            mark = "&" if "?" in target else "?"
            assert note(request(port, "POST", f"{target}{mark}{BOOM}", headers)) == 500
        for end in ("", BOOM):
            where = f"/ws{target.removeprefix('/')}" if target.startswith("//") else f"/ws{target}"
            mark = "" if not end else "&" if "?" in where else "?"
            with websocket(port, f"{where}{mark}{end}", headers) as (socket, answer):
                note(answer)
                if answer.status == 101:
                    seen.append(repr(socket.receive()))
                    seen.append(repr(socket.receive()) if not end else "")
    return seen


@pytest.mark.parametrize("name", apps.SERVERS)
def test_nothing_that_a_server_writes_shows_a_key(
    name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("rpcguard", *apps.LOGGERS):
        caplog.set_level(logging.DEBUG, logger)
    filters = {each: list(logging.getLogger(each).filters) for each in apps.LOGGERS}
    try:
        with apps.serve(name, apps.write_registry(tmp_path)) as port:
            seen = _drive(port)
    finally:
        for each, before in filters.items():
            logging.getLogger(each).filters[:] = before
    written = "".join(capfd.readouterr()) + caplog.text + repr([vars(r) for r in caplog.records])
    if (tmp_path / "log").exists():
        written += (tmp_path / "log").read_text()
    assert "/v1/***" in written
    assert "key=***" in written
    assert BOOM in written  # that much of a request line is left
    for key in KEYS:
        assert key not in "".join(seen)
        lines = [line for line in written.splitlines() if key in line]
        assert lines == []


@pytest.fixture
def verifier(tmp_path: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(apps.write_registry(tmp_path), watch=False) as opened:
        yield opened


def test_no_error_shows_a_key(verifier: Verifier, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = 0
    for target, headers, status in _places():
        asked = Request("POST", target, headers, b"")
        try:
            shown = repr(verifier.verify(asked))
        except AuthError as error:
            refused += 1
            shown = f"{error!r} {error} {vars(error)} {error.__cause__!r} {error.__context__!r}"
        else:
            assert status == 200
        assert not any(key in f"{shown} {asked!r} {caplog.text}" for key in KEYS)
    assert refused > 10


def _logged(verifier: Verifier, message: Any, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.getLogger("any").makeRecord(
        "any", logging.INFO, "file.py", 1, message, args, None, extra=extra
    )
    assert redacting_filter(verifier).filter(record)
    return record


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET /v1/KEY HTTP/1.1", "GET /v1/*** HTTP/1.1"),
        ("GET /v1/KEY?a=b HTTP/1.1", "GET /v1/***?a=b HTTP/1.1"),
        ("GET /v1//KEY/x#y", "GET /v1//***#y"),
        ("GET /v1/./KEY x", "GET /v1/*** x"),
        ("GET /V1/KEY x", "GET /V1/*** x"),
        ('"https://a.example:8443/ws/v1/KEY"', '"https://a.example:8443/ws/v1/***"'),
        ("/proxied/v1/KEY", "/proxied/v1/***"),
        ("/asked?key=KEY&a=b", "/asked?key=***&a=b"),
        ("/asked?a=b&key=KEY", "/asked?a=b&key=***"),
        ("key=KEY", "key=***"),
        ("/asked?monkey=nuts", "/asked?monkey=nuts"),
        ("x-api-key: KEY", "x-api-key: ***"),
        ("(b'x-api-key', b'KEY')", "(b'x-api-key', b'***')"),
        ('{"X-Api-Key": "KEY"}', '{"X-Api-Key": "***"}'),
        ("Authorization: Bearer KEY", "Authorization: ***"),
        ("sent Bearer KEY, and", "sent Bearer ***, and"),
        ("sent bearer   KEY", "sent bearer   ***"),
        ("sent Bearer\tKEY", "sent Bearer\t***"),
        ("sent Bearer \t KEY", "sent Bearer \t ***"),
        (r"sent b'Bearer\tKEY'", r"sent b'Bearer\t***'"),
        ("a bearer of news", "a bearer *** news"),
        ("Sec-WebSocket-Protocol: jsonrpc, auth.KEY", "Sec-WebSocket-Protocol: ***"),
        ("selected auth.KEY", "selected auth.***"),
        ("from auth.py", "from auth.py"),
        ("nothing to hide at /v1/", "nothing to hide at /v1/"),
    ],
)
def test_a_key_is_known_by_its_place(verifier: Verifier, text: str, left: str) -> None:
    given = text.replace("KEY", TOKEN)
    assert _logged(verifier, given).getMessage() == left
    assert _logged(verifier, "at %s", given).getMessage() == f"at {left}"
    assert _logged(verifier, "ok", seen=given).seen == left
    assert _logged(verifier, left).getMessage() == left


def test_arguments_keep_their_shape_for_formatters_that_read_them(verifier: Verifier) -> None:
    record = _logged(verifier, '%s - "%s %s" %d', "127.0.0.1", "GET", f"/v1/{STATIC}", 200)
    assert record.args == ("127.0.0.1", "GET", "/v1/***", 200)


def test_a_key_that_shows_only_in_the_whole_is_hidden(verifier: Verifier) -> None:
    assert _logged(verifier, "/v1/%s %d", STATIC, 7).getMessage() == "/v1/*** 7"
    assert _logged(verifier, "%s/%s", "/v1", STATIC).getMessage() == "/v1/***"
    assert _logged(verifier, "X-Api-Key: %s", STATIC).getMessage() == "X-Api-Key: ***"


def test_objects_and_containers_are_searched(verifier: Verifier) -> None:
    class Asked:
        def __repr__(self) -> str:
            return f"<Asked /v1/{STATIC} >"

    record = _logged(verifier, "%s %r", Asked(), [f"/v1/{STATIC}", {"a": Asked()}])
    assert record.getMessage() == "<Asked /v1/*** > ['/v1/***', {'a': <Asked /v1/*** >}]"
    plain = object()
    assert _logged(verifier, "%s", plain).args == (plain,)
    assert _logged(verifier, ValueError(f"at /v1/{STATIC}")).getMessage() == "at /v1/***"


def test_a_mapping_keeps_its_type_and_the_callers_own_is_left_alone(verifier: Verifier) -> None:
    class Atoms(dict[str, Any]):
        def __missing__(self, name: str) -> str:
            return "-"

    atoms = Atoms({"r": f"GET /v1/{STATIC}", "{x-api-key}i": STATIC, "X-Api-Key": STATIC, "s": 200})
    record = _logged(verifier, "%(r)s %(s)s %(none)s %({x-api-key}i)s %(X-Api-Key)s", atoms)
    assert record.getMessage() == "GET /v1/*** 200 - *** ***"
    assert atoms["r"].endswith(STATIC)


def test_a_traceback_is_searched(verifier: Verifier) -> None:
    try:
        raise RuntimeError(f"at /v1/{STATIC}")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.getLogger("any").makeRecord("any", 40, "f.py", 1, "failed", (), info)
    redacting_filter(verifier).filter(record)
    text = logging.Formatter().format(record)
    assert "RuntimeError: at /v1/***" in text
    assert STATIC not in text + repr(vars(record))


def test_an_exception_that_shows_no_key_is_left_alone(verifier: Verifier) -> None:
    info = (ValueError, ValueError("7"), None)
    record = logging.getLogger("any").makeRecord("any", 40, "f.py", 1, "failed", (), info)
    redacting_filter(verifier).filter(record)
    assert (record.exc_info, record.exc_text) == (info, None)


def test_a_message_that_cannot_be_formatted_is_left_to_logging_without_its_keys(
    verifier: Verifier,
) -> None:
    record = _logged(verifier, f"%d /v1/{STATIC}", f"/v1/{STATIC}")
    assert (record.msg, record.args) == ("%d /v1/***", ("/v1/***",))


def test_it_follows_the_registry(verifier: Verifier, tmp_path: Path) -> None:
    hiding = redacting_filter(verifier)
    path = tmp_path / "registry.yaml"
    path.write_text(path.read_text().replace("/ws/v1/", "/elsewhere"))
    for known in (False, True):
        if known:
            verifier.reload()
        record = logging.makeLogRecord({"msg": f"GET /elsewhere/{STATIC}"})
        hiding.filter(record)
        assert (STATIC in record.getMessage()) is not known


def test_an_issued_key_is_known_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text("version: 1\nprojects: {solana: {preset: nodius, wallets: open}}\n")
    with Verifier.from_yaml(path, backend="memory://", watch=False) as verifier:
        key = verifier.new_api_key("solana", PUBKEY)
        for text in (f"got {key}, and", f"GET /lost/{key}", f"token={key}"):
            assert _logged(verifier, text).getMessage() == text.replace(key, "nod_***")


def test_keys_of_a_default_project_stand_behind_the_first_slash(
    tmp_path: Path,
) -> None:
    path = apps.write_registry(tmp_path)
    path.write_text(path.read_text().replace("    match: {path: [/v1/, /ws/v1/]}\n", ""))
    with Verifier.from_yaml(path, watch=False) as verifier:
        for text, left in (
            (f'"GET /{STATIC} HTTP/1.1"', '"GET /*** HTTP/1.1"'),
            (f"https://a.example/{STATIC}?x=y", "https://a.example/***?x=y"),
            ("[26/Nov/2026:07:00:00] and/or", "[26/Nov/2026:07:00:00] and/or"),
        ):
            assert _logged(verifier, text).getMessage() == left
