"""What is owed, and the principal that stays hidden until the backend has answered."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import owed as names
from rpcguard.errors import AuthError
from rpcguard.owed import NAME_BYTES, Answer, Nonce, Owed, Verdict, bucket, digest, named_bucket
from rpcguard.pending import Pending
from rpcguard.principal import Principal

PRINCIPAL = Principal("alice", "main", "jwt", claims={"roles": ["read"]})
SOMETHING = Owed("main", "alice", revocable=(b"name",))
NOTHING = Owed("main", "alice")


def _dressed(error: AuthError) -> AuthError:
    error.project = "main"
    return error


def _pending(owed: Owed) -> Pending:
    return Pending(lambda _: PRINCIPAL, owed, _dressed)


def test_a_request_owes_something_when_it_has_a_nonce_or_can_be_revoked() -> None:
    assert not NOTHING
    assert SOMETHING
    assert Owed(nonce=Nonce(b"name", 1.0))


def test_an_ok_gives_the_principal() -> None:
    assert _pending(SOMETHING).conclude(Answer.OK) is PRINCIPAL
    assert _pending(NOTHING).conclude(Answer.OK) is PRINCIPAL


def test_no_answer_is_enough_only_when_nothing_is_owed() -> None:
    assert _pending(NOTHING).conclude(None) is PRINCIPAL
    with pytest.raises(AuthError) as caught:
        _pending(SOMETHING).conclude(None)
    assert caught.value.reason == "backend_unavailable"


REFUSALS = {
    Answer.REVOKED: "revoked",
    Answer.REPLAYED: "replayed",
    Answer.FORGOTTEN: "expired",
    Answer.UNKNOWN: "invalid_credentials",
    Answer.SUBJECT_FULL: "rate_limited",
    Answer.PROJECT_FULL: "backend_unavailable",
}


@pytest.mark.parametrize("owed", [NOTHING, SOMETHING], ids=["nothing owed", "something owed"])
@pytest.mark.parametrize(
    "answer", [Answer(verdict) for verdict in Verdict if verdict is not Verdict.OK]
)
def test_every_other_answer_refuses_in_the_projects_form(answer: Answer, owed: Owed) -> None:
    with pytest.raises(AuthError) as caught:
        _pending(owed).conclude(answer)

    assert caught.value.reason == REFUSALS[answer]
    assert caught.value.project == "main"


def test_what_the_record_refuses_is_refused_in_the_projects_form() -> None:
    def refuse(_: str | None) -> Principal:
        raise AuthError("not_listed")

    with pytest.raises(AuthError) as caught:
        Pending(refuse, SOMETHING, _dressed).conclude(Answer.OK)

    assert (caught.value.reason, caught.value.project) == ("not_listed", "main")


def test_a_silent_backend_is_a_503_in_the_projects_form() -> None:
    error = _pending(SOMETHING).unavailable("timed out")

    assert (error.reason, error.status, error.project) == ("backend_unavailable", 503, "main")
    assert "timed out" not in str(error)


def test_a_pending_has_no_public_way_to_its_principal_but_conclude() -> None:
    public = {name for name in dir(Pending) if not name.startswith("_")}

    assert public == {"charges", "conclude", "dress", "owed", "take_charges", "unavailable"}


LISTS: list[tuple[str | bytes, ...]] = [
    (),
    ("",),
    ("", ""),
    ("a", "bc"),
    ("ab", "c"),
    ("abc",),
    ("abc", ""),
    ("", "abc"),
    ("a", "b", "c"),
    (b"\0\0\0\1a",),
    ("a" * 300,),
]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(LISTS, 2)))
def test_no_two_lists_of_parts_have_one_name(
    one: tuple[str | bytes, ...], other: tuple[str | bytes, ...]
) -> None:
    assert digest(*one) != digest(*other)


@given(st.lists(st.text(st.characters()) | st.binary()))
def test_any_parts_have_a_name_of_fixed_size_even_with_lone_surrogates(
    parts: list[str | bytes],
) -> None:
    assert len(digest(*parts)) == NAME_BYTES
    assert digest(*parts) == digest(*parts)


@given(
    st.lists(st.binary(max_size=4), max_size=4),
    st.lists(st.binary(max_size=4), max_size=4),
)
def test_equal_names_have_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) is (one == other)


def _as_stored(*parts: bytes) -> bytes:
    framed = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return hashlib.blake2b(framed, digest_size=16).digest()


@pytest.mark.parametrize("last", ["", "\u00e9", "\ud800", b"\xff", "a" * 300], ids=repr)
def test_names_are_the_same_in_every_release_because_backends_hold_them(last: str | bytes) -> None:
    raw = last if isinstance(last, bytes) else last.encode("utf-8", "surrogatepass")

    assert digest("main", b"\0", last) == _as_stored(b"main", b"\0", raw)
    assert names.namer("main", b"\0")(last) == _as_stored(b"main", b"\0", raw)
    assert hashlib.blake2b(names.framed("main", last), digest_size=16).digest() == (
        _as_stored(b"main", raw)
    )


def test_a_namer_gives_a_name_as_often_as_it_is_asked() -> None:
    name = names.namer("main")

    assert [name("a"), name("b"), name("a")] == [digest("main", each) for each in "aba"]


KINDS = {
    b"key": names.key_name,
    b"subject": names.subject_name,
    b"api_key": names.api_key_name,
    b"api_key_of": names.api_key_slot,
    b"refresh": names.refresh_name,
    b"session": names.session_name,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_thing_has_names_of_its_own(kind: bytes) -> None:
    assert KINDS[kind]("main", "x") == _as_stored(kind, b"main", b"x")


def test_a_bucket_is_the_first_byte_of_a_name() -> None:
    found = [bucket("main", str(number)) for number in range(64)]

    assert found == [_as_stored(b"bucket", b"main", b"%d" % n)[0] for n in range(64)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nod_00x", 0),
        ("nod_ffx", 255),
        ("nod_1a", 26),
        ("nod_FFx", None),
        ("nod_0", None),
        ("nod_", None),
        ("", None),
        ("nod_0gx", None),
        ("nod_+1x", None),
        ("nod_ 1x", None),
        ("nod_1\n", None),
    ],
)
def test_a_credential_names_its_bucket_in_two_lower_case_hex_digits(
    text: str, named: int | None
) -> None:
    assert named_bucket(text, "nod_") == named


CHANGES: dict[str, Callable[[Principal], object]] = {
    "set a field": lambda who: setattr(who, "subject", "mallory"),
    "set the claims": lambda who: setattr(who, "claims", {}),
    "set a new name": lambda who: setattr(who, "admin", True),
    "delete a field": lambda who: delattr(who, "subject"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_principal_cannot_be_changed(change: Callable[[Principal], object]) -> None:
    who = Principal("alice", "main", "jwt")

    with pytest.raises(AttributeError):
        change(who)


def test_editing_the_claims_edits_a_copy() -> None:
    claims = PRINCIPAL.claims
    claims["roles"].append("write")
    claims["admin"] = True

    assert PRINCIPAL.claims == {"roles": ["read"]}


def test_the_repr_of_a_principal_holds_no_claims() -> None:
    who = Principal("alice", "main", "jwt", claims={"email": "alice@example.com"})

    assert "example.com" not in repr(who)
    assert "alice" in repr(who)


def test_principals_are_equal_by_value_claims_included() -> None:
    same = Principal("alice", "main", "jwt", claims={"roles": ["read"]})
    other = Principal("alice", "main", "jwt", claims={"roles": ["write"]})

    assert same == PRINCIPAL
    assert hash(same) == hash(PRINCIPAL)
    assert other != PRINCIPAL
    assert PRINCIPAL != "alice"
