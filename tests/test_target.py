"""Which project a request belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard import AuthError
from rpcguard.target import Match, Router, host_name, split

ACCEPTED = [
    ("/", "/", "/"),
    ("/evm", "/evm", "/evm"),
    ("/evm/", "/evm/", "/evm/"),
    ("/evm?x=1", "/evm", "/evm"),
    ("/evm?", "/evm", "/evm"),
    ("/evm?a=%2F%41&b=/../x", "/evm", "/evm"),
    ("/a%20b", "/a%20b", "/a b"),
    ("/%C3%A9", "/%C3%A9", "/é"),
    ("/%c3%a9", "/%c3%a9", "/é"),
    ("/a%3Ab", "/a%3Ab", "/a:b"),
    ("/a%25b", "/a%25b", "/a%b"),
    ("/a%252Fb", "/a%252Fb", "/a%2Fb"),  # decoded once
    ("/a;b=c", "/a;b=c", "/a;b=c"),
    ("/...", "/...", "/..."),
    ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
    ("/a..b/c.", "/a..b/c.", "/a..b/c."),
    ("/~me@x:1,$&'()*+!=", "/~me@x:1,$&'()*+!=", "/~me@x:1,$&'()*+!="),
]


@pytest.mark.parametrize(("target", "raw", "path"), ACCEPTED)
def test_raw_path_and_decoded_path(target, raw, path):
    assert split(target) == (raw, path)


REFUSED = [
    "",
    "*",
    "evm",
    "http://example.com/evm",
    "https://example.com",
    "example.com:443",
    "//",
    "//evm",
    "/evm//",
    "/evm//x",
    "/.",
    "/..",
    "/./evm",
    "/evm/.",
    "/evm/./x",
    "/evm/../x",
    "/healthz/../evm",
    "/evm/..",
    "/evm/..?x",
    "/evm\\x",
    "/evm\\..\\x",
    "/evm\0",
    "/evm%00",
    "/evm%2Fx",
    "/evm%2fx",
    "/evm%5Cx",
    "/evm%5cx",
    "/%65vm",
    "/%2E%2E/evm",
    "/%2e/evm",
    "/a%2Db",
    "/a%5F",
    "/a%7E",
    "/a%7e",
    "/a%30",
    "/%",
    "/%4",
    "/%zz",
    "/%+1",
    "/% 1",
    "/a%C3",
    "/a%ff",
    "/a%ED%A0%80",
    "/a%C0%AF",
    "/é",
    "/\udc80",
    "/a b",
    "/a\tb",
    "/a\n",
    "/a\r\nX: y",
    "/a#b",
    "/a?b#c",
    "/a?b c",
    "/a?\n",
    "/a\x7f",
]


@pytest.mark.parametrize("target", REFUSED)
def test_what_two_parsers_could_read_differently_is_refused(target):
    with pytest.raises(AuthError) as caught:
        split(target)
    error = caught.value
    assert (error.reason, error.status, error.code) == ("invalid_target", 400, -32600)
    assert error.project is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["/a" * 500_000, "/" + "." * 500_000, "/%20" * 200_000 + "\\"])
def test_a_long_target_takes_no_longer_than_its_length(text):
    try:
        split(text)
    except AuthError:
        pass


@given(st.text(st.characters(codec="utf-8")) | st.text("/.%2Fe?#\\ a"))
def test_any_text_is_a_path_or_an_invalid_target(text):
    try:
        raw, path = split("/" + text)
    except AuthError as error:
        assert error.reason == "invalid_target"
    else:
        segments = path.split("/")
        assert raw.count("/") == path.count("/")
        assert not {".", ".."} & set(segments)
        assert "" not in segments[1:-1]
        assert not set("\\\0") & set(path)


# --- Host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ([], ""),
        (["example.com"], "example.com"),
        (["Example.COM"], "example.com"),
        (["example.com:8443"], "example.com"),
        (["127.0.0.1:80"], "127.0.0.1"),
        (["[::1]"], "[::1]"),
        (["[::1]:8080"], "[::1]"),
        ([""], ""),
    ],
)
def test_host_is_compared_without_port_and_case(values, host):
    assert host_name(values) == host


def test_two_hosts_are_refused():
    with pytest.raises(AuthError, match="invalid_target"):
        host_name(["a.example", "a.example"])


# --- Router -----------------------------------------------------------------------------------------


def route(entries: dict[tuple[str, str], str], default: str | None = None) -> Router[str]:
    return Router([(Match(*place), name) for place, name in entries.items()], default)


EVM = route({("", "/evm"): "evm", ("", "/evm/archive"): "archive", ("", "/v1"): "bsc"})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/evm", ("evm", 1)),
        ("/evm/", ("evm", 1)),
        ("/evm/x", ("evm", 1)),
        ("/evm/x/y/z", ("evm", 1)),
        ("/evm/archive", ("archive", 2)),
        ("/evm/archive/", ("archive", 2)),
        ("/evm/archive/x", ("archive", 2)),
        ("/evm/archived", ("evm", 1)),
        ("/v1/evm/archive", ("bsc", 1)),
        ("/evmx", None),
        ("/Evm", None),
        ("/ev", None),
        ("/", None),
        ("/x/evm", None),
        ("/evm archive", None),
    ],
)
def test_a_prefix_matches_whole_segments_and_the_longest_wins(path, found):
    if found is None:
        with pytest.raises(AuthError) as caught:
            EVM.find("", path)
        error = caught.value
        assert (error.reason, error.status, error.code) == ("no_project", 403, -32003)
    else:
        assert EVM.find("", path) == found


def test_what_matches_nothing_goes_to_the_default():
    router = route({("", "/evm"): "evm"}, "rest")
    assert router.find("", "/evmx") == ("rest", 0)
    assert router.find("", "/evm") == ("evm", 1)
    assert route({}, "rest").find("a.example", "/a/b/c") == ("rest", 0)


HOSTS = route(
    {
        ("a.example", ""): "a",
        ("a.example", "/evm"): "a-evm",
        ("b.example", "/evm"): "b-evm",
        ("", "/evm"): "evm",
        ("", "/evm/long"): "long",
    },
    "rest",
)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("a.example", "/evm", "a-evm"),
        ("a.example", "/evm/long", "a-evm"),  # a host match first, then the longest path
        ("a.example", "/else", "a"),
        ("b.example", "/evm/long", "b-evm"),
        ("b.example", "/else", "rest"),
        ("c.example", "/evm/long", "long"),
        ("c.example", "/evm", "evm"),
        ("", "/evm", "evm"),
        ("a.example.", "/evm", "evm"),
    ],
)
def test_a_host_match_comes_first(host, path, found):
    assert HOSTS.find(host, path)[0] == found


def test_root_is_a_prefix_of_everything():
    assert route({("", ""): "all"}).find("", "/x/y") == ("all", 0)


@pytest.mark.parametrize(
    "value",
    [
        "rpc.example.com:80@evil",
        "a.example,b.example",
        "a b",
        "[::1",
        "a:b:c",
        "a/b",
        "\xe9",
        "ex\xe4mple.com",
        "\u212aexample.com",
    ],
)
def test_a_malformed_host_is_refused(value):
    with pytest.raises(AuthError) as caught:
        host_name([value])
    assert caught.value.reason == "invalid_target"


@pytest.mark.parametrize(
    ("value", "host"),
    [("A.Example:80", "a.example"), ("[::1]:80", "[::1]"), ("a", "a"), ("a:", "a"), ("", "")],
)
def test_a_host_is_compared_without_its_port_and_in_lower_case(value, host):
    assert host_name([value]) == host
