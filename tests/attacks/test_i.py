"""I: configuration."""

from __future__ import annotations

import json
import os

import pytest
from minting import SECRET, hour, token
from trap import TRAP

from attacks.site import Site, problems, project, registry
from rpcguard import ConfigError, Verifier

HEAD = "version: 1\nbackend: memory://\nprojects:\n  bsc:\n    preset: meganode\n"
PLAIN = "s3cr3t-that-must-not-show-0123456789abcdef"
LITERAL = f'    secrets: [{{id: a, secret: "{SECRET}"}}]\n'


def load(folder, text, **environ):
    path = folder / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    return Verifier.from_yaml(path, environ=environ, watch=False)


@pytest.mark.timeout(20)
def test_I1_an_alias_bomb_is_refused_before_it_goes_off(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    for text in ("\n".join(levels), HEAD + LITERAL + "\n".join(levels)):
        assert problems(tmp_path, text)
    assert problems(tmp_path, HEAD + "    secrets: &s [*s]\n")


@pytest.mark.parametrize(
    "text",
    [
        HEAD + LITERAL + LITERAL,
        HEAD + LITERAL + "    algorithms: [HS256]\n    algorithms: [HS256]\n",
        HEAD + LITERAL + '    "algorithms": [HS256]\n    algorithms: [HS256]\n',
        HEAD + f"    secrets: [{{id: a, id: b, secret: {SECRET!r}}}]\n",
        HEAD + LITERAL + "  bsc: {preset: meganode}\n",
        "version: 1\n" + HEAD + LITERAL,
    ],
)
def test_I2_a_key_that_occurs_twice_is_an_error(tmp_path, text):
    shown = problems(tmp_path, text)
    assert "twice" in shown or "duplicate" in shown or "before" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/object/new:x []",
     "!!python/module:os", "!x y", "!!binary aGVsbG8=", "!!set {a}", "!!timestamp 2026-01-01"],
)  # fmt: skip
def test_I3_a_tag_makes_nothing(tmp_path, value):
    events = []

    def attempt():
        events.append(problems(tmp_path, HEAD + LITERAL + f"    id: {value}\n"))

    assert "subprocess.Popen" not in TRAP.while_running(attempt)
    assert "id" in events[0]


def test_I4_every_scalar_is_the_text_that_was_written(tmp_path):
    text = HEAD.replace("bsc", '"0123"') + "    secrets:\n"
    names = ["no", "0123", "1_000", "12:30:00", "1e5", "2026-01-01", "0x1F", "~x", "yes"]
    text += "".join(
        f'      - {{id: {name}, secret: "{SECRET}{n}"}}\n' for n, name in enumerate(names[:8])
    )
    with load(tmp_path, text) as verifier:
        (found,) = verifier.registry.projects.values()
        assert found.name == "0123"
        keys = found.schemes[0]._keys.active(0)
        assert [key.kid for key in keys] == names[:8]
    for line in (
        "require_https: yes",
        "max_nonces: 0123",
        "max_nonces: 1_000",
        "single_use: 1",
        "leeway: 12:30:00",
    ):
        assert line.partition(":")[0] in problems(tmp_path, HEAD + LITERAL + f"    {line}\n")


@pytest.mark.parametrize(
    "key", ["algoritms", "Algorithms", "secret", "allow_all", "none", "verify"]
)
def test_I5_an_unknown_key_is_an_error_with_its_place(tmp_path, key):
    shown = problems(tmp_path, HEAD + LITERAL + f"    {key}: [HS256]\n")
    assert f":7:5: projects.bsc.{key}: unknown key" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "entry",
    [
        'secret:"VALUE"',  # a flow mapping takes all of it for a key
        "secret:VALUE",
        "secret=VALUE",
        "secret VALUE",
        "VALUE",
        '"VALUE": x',
        "secret: x, VALUE: y",
        "secret.VALUE: x",
    ],
)
def test_I5_a_value_that_a_misspelling_makes_a_key_is_not_printed(tmp_path, entry):
    text = HEAD + f"    secrets: [{{id: a, {entry.replace('VALUE', PLAIN)}}}]\n"
    told = problems(tmp_path, text)
    assert "projects.bsc.secrets[0]" in told
    assert PLAIN not in told
    assert PLAIN[:12] not in told


@pytest.mark.parametrize(
    ("reference", "environ"),
    [
        ("${env:MISSING}", {}),
        ("${env:EMPTY}", {"EMPTY": ""}),
        ("${env:BLANK}", {"BLANK": " " * 40}),
        ("${MISSING}", {}),
        ("${env:MISSING:-changeme-changeme-changeme-changeme}", {}),
        ("${env:OUTER}", {"OUTER": "${env:INNER}", "INNER": SECRET}),
        ("${env:OUTER}", {"OUTER": "${env:A_NAME_OF_MORE_THAN_THIRTY_TWO_BYTES}"}),
        ("${env:OUTER}", {"OUTER": "${A_NAME_OF_MORE_THAN_THIRTY_TWO_BYTES_TOO}"}),
        ("${env:${env:NAME}}", {"NAME": "X", "X": SECRET}),
        ("${file:missing.secret}", {}),
        ("${exec:cat /etc/passwd}", {}),
        ("${env:MISSING", {}),
    ],
)
def test_I6_a_reference_brings_its_value_or_nothing_loads(tmp_path, reference, environ):
    text = HEAD + f'    secrets: [{{id: a, secret: "{reference}"}}]\n'
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Verifier.from_yaml(path, environ=environ, watch=False)
    assert "projects.bsc.secrets[0].secret" in str(caught.value)
    assert SECRET not in str(caught.value)


FILED = HEAD + '    secrets: [{id: a, secret: "${file:the.secret}"}]\n'


def test_I7_a_secret_file_is_a_bounded_private_regular_file(tmp_path, caplog):
    path = tmp_path / "the.secret"

    def told():
        return problems(tmp_path, FILED)

    path.write_text(SECRET)
    for mode in (0o666, 0o602, 0o620):
        path.chmod(mode)
        assert "secret" in told()
    path.chmod(0o644)
    load(tmp_path, FILED).close()
    assert "read" in caplog.text  # others may read it: a warning
    path.chmod(0o600)
    path.unlink()
    path.mkdir()
    assert "a directory" in told()
    path.rmdir()
    os.mkfifo(path)
    assert "not a regular file" in told()
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 30)
    path.chmod(0o600)
    assert "larger than" in told()
    path.unlink()
    path.symlink_to(path)
    assert "the.secret" in told() or "symbolic" in told()


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_I7_one_final_line_break_is_none_of_the_secret(tmp_path, ending):
    path = tmp_path / "the.secret"
    path.write_bytes((SECRET + ending).encode())
    path.chmod(0o600)
    site = Site(tmp_path, FILED)
    try:
        assert site.told("/", token(hour())) == ""
        path.write_bytes((SECRET + ending + "\n\n").encode())
        site.verifier.reload()
        assert site.denies("/", token(hour())) == "invalid_credentials"
    finally:
        site.verifier.close()


@pytest.mark.parametrize(
    "broken",
    ["", "version: 1", "version: 2\nprojects: {}", "{", "\0", HEAD, HEAD + "    nonsense: 1\n"],
)
def test_I8_a_broken_edit_leaves_the_last_good_registry_in_use(make, broken):
    site = make(registry("hs"))
    text = token(hour())
    with pytest.raises(ConfigError):
        site.reload(broken)
    assert site.told("/hs", text) == ""
    assert site.denies("/hs", token(hour(), "x" * 40)) == "invalid_credentials"
    site.verifier._live._reload_quietly()  # what the watcher does
    assert site.told("/hs", text) == ""


@pytest.mark.parametrize(
    ("name", "changes", "where"),
    [
        ("hs", {"algorithms": []}, "algorithms"),
        ("hs", {"schemes": []}, "schemes"),
        ("hs", {"leeway": "1000000000s"}, "leeway"),
        ("hs", {"leeway": "-1s"}, "leeway"),
        ("hs", {"iat_leeway": "121s"}, "iat_leeway"),
        ("hs", {"max_lifetime": "0s"}, "max_lifetime"),
        ("hs", {"max_lifetime": "-1h"}, "max_lifetime"),
        ("engine", {"iat_window": "0s"}, "iat_window"),
        ("wallet", {"session": {"secret": SECRET, "ttl": "0s"}}, "ttl"),
        ("wallet", {"session": {"secret": SECRET, "ttl": "-1s"}}, "ttl"),
        ("wallet", {"session": {"secrets": []}}, "secrets"),
        ("wallet", {"signature": {"window": "0s"}}, "window"),
        ("wallet", {"max_nonces": 0}, "max_nonces"),
        ("hs", {"typ": []}, "typ"),
    ],
)
def test_I9_what_would_mean_nothing_or_everything_does_not_load(tmp_path, name, changes, where):
    assert where in problems(tmp_path, project(name, **changes))


def test_I9_an_empty_key_set_admits_nobody(make):
    for name, member in (("hs", "secrets"), ("atn", "keys"), ("wallet", "wallets")):
        site = make(json.dumps(project(name, **{member: [], "session": None})))
        assert site.told(f"/{name}", token(hour())) != ""
        assert site.told(f"/{name}") != ""
    opened = project("atn", keys=[], when_no_keys="allow")
    assert make(json.dumps(opened)).denies("/atn") == "missing_credentials"


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example/x.yaml",
        "http://127.0.0.1:9/x.yaml",
        "file:///etc/passwd",
        "//h/x.yaml",
    ],
)
def test_I10_nothing_is_fetched(tmp_path, reference):
    def attempt():
        problems(tmp_path, HEAD.replace("meganode", f'"{reference}"') + LITERAL)
        problems(tmp_path, HEAD + f'    secrets: [{{id: a, secret: "${{file:{reference}}}"}}]\n')
        problems(tmp_path, f"include: {reference}\n" + HEAD + LITERAL)
        key = {"kid": "x", "public_key": reference}
        problems(tmp_path, project("atn", keys=[key]))

    assert not {"socket.connect", "socket.getaddrinfo", "urllib.Request"} & set(
        TRAP.while_running(attempt)
    )
