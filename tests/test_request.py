"""The request: raw, frozen, and silent about the credentials in it."""

from __future__ import annotations

import dataclasses

import pytest

from rpcguard.request import KNOWN_NAMES, NAME_LENGTH, Request, _spelled

WANTED = frozenset({"authorization", "x-nonce"})


def _fields(*headers: tuple[str, str]) -> dict[str, list[str]]:
    return Request("POST", "/", list(headers)).fields(WANTED)


def test_the_defaults_are_those_of_an_https_request_with_an_empty_body() -> None:
    request = Request("POST", "/", [])

    assert (request.body, request.client, request.scheme) == (b"", None, "https")
    assert (request.websocket, request.joined) == (False, False)


def test_a_request_cannot_be_changed() -> None:
    request = Request("POST", "/", [])

    with pytest.raises(dataclasses.FrozenInstanceError):
        request.target = "/other"  # type: ignore[misc]


def test_reading_the_body_gives_a_new_request() -> None:
    unread = Request("POST", "/a?b", [("X-Nonce", "1")], body=None, client="127.0.0.1", joined=True)

    read = unread.with_body(b"{}")

    assert (unread.body, read.body) == (None, b"{}")
    assert dataclasses.replace(read, body=None) == unread


@pytest.mark.parametrize("name", ["X-Nonce", "x-nonce", "X-NONCE", "X_Nonce", "x_nonce"])
def test_a_field_is_found_under_every_spelling_that_a_gateway_makes_equal(name: str) -> None:
    assert _fields((name, "1")) == {"x-nonce": ["1"]}


@pytest.mark.parametrize("twin", ["X-Nonce", "x-nonce", "X_Nonce"])
def test_every_occurrence_of_a_field_is_kept_in_order(twin: str) -> None:
    assert _fields(("X-Nonce", "1"), ("Other", "2"), (twin, "3")) == {"x-nonce": ["1", "3"]}


@pytest.mark.parametrize("name", ["X-Nonces", "X--Nonce", "Nonce", " X-Nonce", "X-Nonce "])
def test_a_field_that_was_not_asked_for_is_not_given(name: str) -> None:
    assert _fields((name, "1")) == {}


def test_values_are_given_as_received() -> None:
    assert _fields(("X-Nonce", " a,b\t")) == {"x-nonce": [" a,b\t"]}


def test_the_repr_holds_neither_target_nor_headers_nor_body() -> None:
    request = Request(
        "POST", "/v1/secret-key?token=secret", [("Authorization", "Bearer secret")], b"secret"
    )

    assert "secret" not in repr(request)
    assert "secret" not in str(request)


def test_callers_cannot_make_the_known_names_grow() -> None:
    for number in range(KNOWN_NAMES + 10):
        _fields((f"X-{number}", "1"))
    assert 0 < len(_spelled) <= KNOWN_NAMES
    long = "X" * (NAME_LENGTH + 1)
    assert _fields((long, "1"), ("x_nonce", "2"), ("X-Nonce", "3")) == {"x-nonce": ["2", "3"]}
    assert {long, "x_nonce"}.isdisjoint(_spelled)


def test_a_twin_of_an_exact_field_is_ignored_however_often_it_comes() -> None:
    request = Request("POST", "/", [("X_Nonce", "1"), ("X-Nonce", "2"), ("x_nonce", "3")])
    for _ in range(2):
        assert request.fields(WANTED, frozenset({"x-nonce"})) == {"x-nonce": ["2"]}
        assert request.fields(WANTED) == {"x-nonce": ["1", "2", "3"]}
