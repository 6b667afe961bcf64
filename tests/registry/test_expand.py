"""Secrets come in through `${env:…}` and `${file:…}`, as they are, or the load says why not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpcguard.registry import expand, files
from rpcguard.registry.expand import MAX_FILE

SECRET = "secrets: [{id: a, secret: '%s'}]"


def secret(project: Any) -> str:
    return project.secrets[0].secret.get_secret_value()


def test_a_variable_comes_in_whole(project: Any) -> None:
    assert secret(project(SECRET % "${env:S}", "meganode", S=" a: b ")) == " a: b "


def test_references_stand_inside_text_and_beside_each_other(project: Any, write: Any) -> None:
    write("name", "file\n")
    found = project("id: 'x-${env:A}${file:name}-$y{}'", A="1")
    assert found.id == "x-1file-$y{}"


def test_what_comes_in_is_not_expanded_again(project: Any, write: Any) -> None:
    write("inner", "never")
    write("outer", "${file:inner}${env:A}")
    assert (
        project("id: '${env:A}${file:outer}'", A="${env:A}").id == "${env:A}${file:inner}${env:A}"
    )


def test_a_reference_can_stand_for_a_number_or_a_choice(project: Any) -> None:
    found = project(
        "leeway: ${env:L}\nmax_keys: ${env:N}\nrequire_https: ${env:H}\ntime_unit: ${env:U}",
        L="30s",
        N="7",
        H="true",
        U="ms",
    )
    assert (found.leeway, found.max_keys, found.require_https, found.time_unit) == (
        30,
        7,
        True,
        "ms",
    )


def test_an_aliased_reference_is_brought_in_once_and_used_twice(project: Any, write: Any) -> None:
    write("s", "x" * 32)
    found = project(
        "secrets:\n  - {id: a, secret: &s '${file:s}'}\n  - {id: b, secret: *s}", "meganode"
    )
    assert [entry.secret.get_secret_value() for entry in found.secrets] == ["x" * 32] * 2


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"abc", "abc"),
        (b"abc\n", "abc"),
        (b"abc\r\n", "abc"),
        (b"abc\n\n", "abc\n"),
        (b"abc\r", "abc\r"),
        (b"\nabc", "\nabc"),
        (b" abc \n", " abc "),
        ("é\n".encode(), "é"),
        (b"a\x00b\n", "a\x00b"),
        (b"x" * MAX_FILE, "x" * MAX_FILE),
    ],
)
def test_one_final_line_break_of_a_file_is_not_part_of_the_secret(
    project: Any, write: Any, content: bytes, value: str
) -> None:
    write("keys/s", content)
    assert secret(project(SECRET % "${file:keys/s}", "meganode")) == value


def test_files_are_relative_to_the_file_that_names_them(
    look_at: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("keys/id", "right")
    write("presets/mine.yaml", "schemes: [jwt]\nissuer: '${file:issuer}'")
    write("presets/issuer", "https://issuer")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = look_at(
        "version: 1\nprojects: {p: {preset: presets/mine.yaml, id: '${file:keys/id}'},"
        f" q: {{preset: bearer, match: {{path: /q}}, id: '${{file:{tmp_path}/keys/id}}'}}}}"
    )
    assert found.problems == ()
    projects = found.registry.projects
    assert (projects["p"].id, projects["q"].id) == ("right", "right")
    assert projects["p"].issuer == ["https://issuer"]


@pytest.mark.parametrize(
    "text",
    [
        "${SECRET}",
        "${}",
        "${",
        "a${",
        "${env}",
        "${ENV:A}",
        "${file}",
        "${env:A",
        "${vault:A}",
        "x${{A}}",
        "${http://example.com/}",
        "${env:${env:A}}",
        "$${A}",
        "${file:a{b}",
    ],
)
def test_every_other_reference_is_refused_and_never_taken_for_text(
    complaints: Any, text: str
) -> None:
    (found,) = complaints(SECRET % text, "meganode", A="a" * 32, SECRET="hunter2")
    assert found == "secrets[0].secret: not a reference; there are ${env:NAME} and ${file:PATH}"


@pytest.mark.parametrize("name", ["", " ", "A B", "1A", "A-B", "A=B", "é", "A\u200b"])
def test_the_name_of_a_variable_has_a_grammar(complaints: Any, name: str) -> None:
    (found,) = complaints(SECRET % f"${{env:{name}}}", "meganode")
    assert found == "secrets[0].secret: ${env:NAME} needs the name of a variable"


@pytest.mark.parametrize(("environ", "reason"), [
    ({}, "is not set"), ({"S": ""}, "is empty"), ({"S": " \n\t"}, "is empty"),
    ({"S": "a\udcff"}, "is not UTF-8 text"),
])  # fmt: skip
def test_a_variable_without_a_value_is_named(
    complaints: Any, environ: dict[str, str], reason: str
) -> None:
    (found,) = complaints(SECRET % "x${env:S}", "meganode", **environ)
    assert found == f"secrets[0].secret: environment variable S {reason}"


def directory(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path)


def content(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(0o600)

    return make


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("make", "reason"), [
    (lambda path: None, "no such file"), (directory, "a directory"), (fifo, "not a regular file"),
    (device, "not a regular file"), (loop, "a loop of symbolic links"), (content(b""), "empty"),
    (content(b"\n"), "empty"), (content(b" \t\n"), "empty"), (content(b"a\xff"), "not UTF-8 text"),
    (content("\ufeffa".encode()), "begins with a byte order mark"),
    (content(b"x" * (MAX_FILE + 1)), "larger than 64 KiB"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(
    complaints: Any, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "s")
    (found,) = complaints(SECRET % "${file:s}", "meganode")
    assert found == f"secrets[0].secret: file s: {reason}"


@pytest.mark.parametrize("name", ["", "  "])
def test_a_file_needs_a_path(complaints: Any, name: str) -> None:
    (found,) = complaints(SECRET % f"${{file:{name}}}", "meganode")
    assert found == "secrets[0].secret: ${file:PATH} needs a path"


def test_a_file_below_a_file_is_missing(complaints: Any, write: Any) -> None:
    write("s", "x")
    (found,) = complaints(SECRET % "${file:s/t}", "meganode")
    assert found == "secrets[0].secret: file s/t: no such file"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660, 0o777])
def test_a_secret_that_others_may_write_is_refused(complaints: Any, write: Any, mode: int) -> None:
    write("s", "x" * 32, mode)
    (found,) = complaints(SECRET % "${file:s}", "meganode")
    assert found == "secrets[0].secret: file s: its group or others may write it; chmod 600"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_may_read_gives_a_warning(look_at: Any, write: Any, mode: int) -> None:
    write("s", "x" * 32, mode)
    found = look_at(
        "version: 1\nprojects:\n  p: {preset: meganode, secrets: [{id: a, secret: '${file:s}'}]}"
    )
    assert found.problems == ()
    assert [str(warning).split("registry.yaml")[1] for warning in found.warnings] == [
        ":3:51: projects.p.secrets[0].secret: file s: its group or others may read it; chmod 600"
    ]
    assert found.warnings[0].warning


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_secret_gives_no_warning(look_at: Any, write: Any, mode: int) -> None:
    write("s", "x" * 32, mode)
    found = look_at(
        "version: 1\nprojects:\n  p: {preset: meganode, secrets: [{id: a, secret: '${file:s}'}]}"
    )
    assert (found.problems, found.warnings) == ((), ())


@pytest.mark.parametrize(("mode", "warnings"), [(0o644, 0), (0o664, 0), (0o666, 1)])
def test_a_public_file_may_be_read_by_all_but_not_written(
    look_at: Any, write: Any, mode: int, warnings: int
) -> None:
    write("id", "x", mode)
    found = look_at("version: 1\nprojects:\n  p: {preset: bearer, id: '${file:id}'}")
    assert found.problems == ()
    assert len(found.warnings) == warnings


@pytest.mark.parametrize(("preset", "lines", "key"), [
    ("meganode", "secrets: [{id: a, secret: hunter2hunter2}]", "secrets[0].secret"),
    ("bearer", "keys: [{kid: a, alg: HS256, secret: hunter2}]", "keys[0].secret"),
    ("oppiwallet", "keys: [{auth_key: a, enc_key: hunter2}]", "keys[0].enc_key"),
    ("nodius", "session: {secret: hunter2}", "session.secret"),
    ("nodius", "session: {secrets: [{id: a, secret: hunter2}]}", "session.secrets[0].secret"),
])  # fmt: skip
def test_a_literal_secret_gives_a_warning(look_at: Any, preset: str, lines: str, key: str) -> None:
    found = look_at(f"version: 1\nprojects:\n  p:\n    preset: {preset}\n    {lines}")
    assert found.problems == ()
    assert [(w.key, w.message) for w in found.warnings] == [
        (f"projects.p.{key}", "a literal secret; write ${env:NAME} or ${file:PATH}")
    ]


def test_a_password_in_the_backend_is_a_literal_secret(look_at: Any) -> None:
    text = "version: 1\nbackend: %s\nprojects: {p: {preset: bearer}}"
    assert [w.key for w in look_at(text % "rediss://user:hunter2@host/0").warnings] == ["backend"]
    assert look_at(text % "rediss://host:6379/0").warnings == ()
    assert look_at(text % "'rediss://user:${env:P}@host/0'", P="hunter2").warnings == ()


def test_all_files_are_remembered_also_those_that_were_not_there(
    look_at: Any, write: Any, tmp_path: Path
) -> None:
    write("s", "x" * 32)
    write("own.yaml", "schemes: [jwt]")
    found = look_at(
        "version: 1\nprojects:\n  p: {preset: own.yaml, id: '${file:missing}', secrets: "
        "[{id: a, secret: '${file:s}'}, {id: b, secret: '${file:sub/../s}'}]}\n"
        "  q: {preset: none.yaml}"
    )
    names = ["registry.yaml", "own.yaml", "none.yaml", "missing", "s", "sub/../s"]
    assert found.files == tuple(f"{tmp_path}/{name}" for name in names)
    assert [found.files.stamps[path] is None for path in found.files] == [
        False, False, True, True, False, True,
    ]  # fmt: skip


def test_modes_are_not_judged_where_they_mean_nothing(
    project: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "_POSIX", False)
    write("s", "x" * 32, 0o666)
    assert secret(project(SECRET % "${file:s}", "meganode")) == "x" * 32


@pytest.mark.timeout(30)
def test_a_file_that_becomes_a_fifo_just_before_it_is_opened_is_refused(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = files.look(str(write("regular", "x")))
    monkeypatch.setattr(files, "look", lambda path: stamp)
    os.mkfifo(tmp_path / "s")
    with pytest.raises(files.UnreadableError, match="not a regular file"):
        files.Reading().read(str(tmp_path / "s"), 10)


def test_a_name_in_a_message_cannot_move_the_cursor(complaints: Any) -> None:
    (found,) = complaints('secrets: [{id: a, secret: "${file:a\\e[31m\\nb}"}]', "meganode")
    assert found == "secrets[0].secret: file a\\u001b[31m\\u000ab: no such file"
