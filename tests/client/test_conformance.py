"""
One table of behaviours, and every library runs it against every framework's real server.

Sessions have a table of their own, in `test_conformance_sessions`, and redirects, in
`test_conformance_redirects`.
"""

from __future__ import annotations

import io
import time
from urllib.parse import quote

import aiohttp
import pytest

from client.recorder import Told
from client.registry import CASES, ORDER, SECRET, SESSION, WALLET, WITHDRAWAL, key
from client.shims import EVERY, LIBRARIES, WHOAMI, Aiohttp, Requests, Shim, opened
from client.site import Site
from rpcguard import client

SIGNATURE = client.nodius(WALLET)
WALLET_CALLER = (WALLET.pubkey, "solana", "signature")

every_library = pytest.mark.parametrize("shim", LIBRARIES, ids=lambda shim: shim.name)
every_shim = pytest.mark.parametrize("shim", EVERY, ids=lambda shim: shim.name)


def seen_at(site: Site, target: str) -> int:
    """Return how many requests came to *target*, on HTTP or as a handshake."""
    path = target.partition("?")[0]
    return site.seen[path] + site.seen[f"/ws{path}"]


@every_shim
@pytest.mark.parametrize(("credentials", "target"), [*CASES, SESSION])
def test_a_call_is_accepted_and_asked_for_once(site: Site, shim: type[Shim], credentials, target):
    with opened(shim, site.url, credentials) as library:
        got = library.call(target)
    assert got.status == 200
    assert got.caller[1] == target.partition("?")[0].strip("/")
    assert seen_at(site, target) == 1


@every_library
def test_an_order_is_bound_to_its_body(site: Site, shim: type[Shim]):
    with opened(shim, site.url, WITHDRAWAL[0]) as library:
        assert library.call(WITHDRAWAL[1], ORDER).status == 200
        assert library.call(WITHDRAWAL[1], ORDER.replace(b'"1"', b'"2"')).status == 200
        with pytest.raises(ValueError, match="missing"):
            library.call(WITHDRAWAL[1], b"{}")
    assert seen_at(site, WITHDRAWAL[1]) == 2


@every_shim
@pytest.mark.parametrize("version", ["signature", "signature-v2"])
def test_every_call_is_signed_anew(site: Site, shim: type[Shim], version):
    with opened(shim, site.url, client.nodius(WALLET, version)) as library:
        for _ in range(3):
            assert library.call("/solana").caller == WALLET_CALLER
        assert {got.status for got in library.many(12, "/solana")} == {200}
    assert seen_at(site, "/solana") == 15


@every_shim
def test_a_single_use_token_is_made_for_every_call(site: Site, shim: type[Shim]):
    credentials = next(each for each, target in CASES if target == "/once")
    with opened(shim, site.url, credentials) as library:
        assert {got.status for got in library.many(6, "/once")} == {200}


@every_shim
@pytest.mark.parametrize(
    ("credentials", "target", "ahead"),
    [
        (SIGNATURE, "/solana", 600),
        (SIGNATURE, "/solana", -600),
        (client.nodius_2026(WALLET), "/solana-2026", -90),
        (client.engine_api("5a" * 32), "/engine", 600),
        (client.engine_api("5a" * 32), "/engine", -600),
        (client.meganode(SECRET, lifetime=60), "/bsc", -600),
        (client.meganode(SECRET), "/bsc", 600),
        (client.meganode_rs256(key("RS256"), lifetime=86_000), "/rs", 3000),
        (client.allthatnode(key("ES256"), lifetime=60), "/evm", -600),
        (client.allthatnode(key("ES256"), lifetime=60), "/evm", 600),
    ],
)
def test_a_wrong_clock_is_put_right_by_the_server_once(
    site: Site, shim: type[Shim], credentials, target, ahead
):
    with opened(shim, site.url, credentials, clock=lambda: time.time() + ahead) as library:
        assert library.call(target).status == 200
        assert seen_at(site, target) == 2
        assert library.call(target).status == 200
        assert seen_at(site, target) == 3


@every_shim
def test_calls_that_were_refused_together_are_all_sent_again(site: Site, shim: type[Shim]):
    with opened(shim, site.url, SIGNATURE, clock=lambda: time.time() - 300) as library:
        assert {got.status for got in library.many(12, "/solana")} == {200}
    assert 13 <= seen_at(site, "/solana") <= 24


@every_shim
@pytest.mark.parametrize("options", [{"max_skew": 500}, {"max_skew": 0}])
def test_a_clock_that_is_too_far_off_is_not_moved(site: Site, shim: type[Shim], options):
    clock = {"clock": lambda: time.time() - 600}
    with opened(shim, site.url, SIGNATURE, **clock, **options) as library:
        assert library.call("/solana").status == 401
        assert library.call("/solana").status == 401
    assert seen_at(site, "/solana") == 2


@every_shim
@pytest.mark.parametrize(
    ("credentials", "target", "status"),
    [
        (client.meganode("another-shared-secret-of-more-than-32-bytes"), "/bsc", 401),
        (client.allthatnode(key("ES256", "k2")), "/evm", 403),
        (client.api_key("wrong", "X-Api-Key"), "/solana-2026", 401),
        (client.meganode(SECRET), "/nowhere", 403),
    ],
)
def test_another_refusal_is_handed_on_and_nothing_is_tried_again(
    site: Site, shim: type[Shim], credentials, target, status
):
    with opened(shim, site.url, credentials) as library:
        assert library.call(target).status == status
    assert seen_at(site, target) == 1


@every_library
def test_a_streamed_body_needs_no_reading_where_nothing_signs_it(site: Site, shim: type[Shim]):
    with opened(shim, site.url, client.meganode(SECRET)) as library:
        assert library.call("/bsc", [WHOAMI[:10], WHOAMI[10:]]).status == 200


@every_library
def test_a_streamed_body_is_not_sent_twice(site: Site, shim: type[Shim]):
    credentials = client.meganode(SECRET, lifetime=60)
    with opened(shim, site.url, credentials, clock=lambda: time.time() - 600) as library:
        assert library.call("/bsc", [WHOAMI]).status == 401
        assert seen_at(site, "/bsc") == 1
        assert (
            library.call("/bsc", [WHOAMI]).status == 401
        )  # learns from calls that can be repeated
        assert library.call("/bsc").status == 200
        assert library.call("/bsc", [WHOAMI]).status == 200


@every_library
def test_a_streamed_body_is_signed_where_the_library_keeps_it_and_else_refused(
    site: Site, shim: type[Shim]
):
    with opened(shim, site.url, SIGNATURE) as library:
        if "httpx" in shim.name:
            assert library.call("/solana", [WHOAMI[:10], WHOAMI[10:]]).caller == WALLET_CALLER
        else:
            with pytest.raises(ValueError, match="can be read only once"):
                library.call("/solana", [WHOAMI])
            assert seen_at(site, "/solana") == 0


@every_library
def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent(site: Site, shim: type[Shim]):
    body = b'{"jsonrpc":"2.0","id":1,"method":"rpcguard_whoami","note":"\xc3\xa9\\u2028 \x7f"}'
    with opened(shim, site.url, SIGNATURE) as library:
        for each in (body, body + b"\n" * 100_000, b""):
            assert library.call("/solana", each).status == 200


@every_library
def test_another_origin_gets_no_credentials(site: Site, shim: type[Shim], elsewhere):
    with opened(shim, site.url, SIGNATURE) as library:
        assert library.post(f"{elsewhere.url}/solana").status == 200
    (asked,) = elsewhere.asked
    assert not [name for name in asked.headers if name.startswith("x-") or name == "authorization"]


@every_library
def test_the_host_of_the_endpoint_may_be_spelt_in_any_case(site: Site, shim: type[Shim]):
    with opened(shim, site.url, SIGNATURE) as library:
        library.endpoint = f"HTTP://LocalHost:{site.port}"
        assert library.call("/solana").status == 401
    with opened(shim, f"http://LOCALHOST:{site.port}/any/path?at=all", SIGNATURE) as library:
        library.endpoint = f"http://localhost:{site.port}"
        assert library.call("/solana").caller == WALLET_CALLER


TARGETS = [
    *("/", "/a%c3%a9?b=%2f%20c", "/a%7Eb", "/%e2%82%ac", "/é?ü=ö", "/a/./b/../c", "/a//b"),
    *("/a?b=[c]|{d}^", "/a?b=c?d&e=%", "/a;b=c,d/(e)!'*$@:", "/a b?c d", "/?", "/%zz", '/a"<>'),
]


@every_shim
@pytest.mark.parametrize("target", TARGETS)
def test_the_target_that_is_signed_is_the_target_that_is_sent(recorder, shim, target):
    if shim.name == "websockets":  # which writes spaces as they are
        target = target.replace(" ", "%20")
    with opened(shim, recorder.url, SIGNATURE) as library:
        library.call(target)
    (asked,) = recorder.asked
    assert asked.headers["x-http-path"] == asked.path
    assert asked.headers["x-http-method"] == asked.method


@every_library
@pytest.mark.parametrize("target", TARGETS)
def test_it_is_so_after_a_redirect_too(recorder, shim, target):
    def tell(asked):
        if asked.path == "/moved":
            return Told(307, headers={"Location": quote(target, safe="/?%&=[]|{}^;,()!'*$@:#\"<>")})
        return Told(200 if "x-signature" in asked.headers else 401)

    recorder.tell = tell
    with opened(shim, recorder.url, SIGNATURE) as library:
        assert library.call("/moved").status == 200
    assert recorder.asked[-1].path != "/moved"
    assert recorder.asked[-1].headers["x-http-path"] == recorder.asked[-1].path


@pytest.mark.parametrize("shim", [s for s in LIBRARIES if "httpx" in s.name], ids=lambda s: s.name)
def test_httpx_signs_forms_and_files(site: Site, shim):
    with opened(shim, site.url, SIGNATURE) as library:
        for options in (
            {"data": {"a": "é"}},
            {"files": {"f": ("name", b"content" * 1000)}, "data": {"a": "b"}},
            {"json": {"jsonrpc": "2.0"}},
        ):
            assert library.send("/solana", **options).status == 200


def test_requests_signs_text_forms_and_files(site: Site, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(WHOAMI)
    with opened(Requests, site.url, SIGNATURE) as library, path.open("rb") as file:
        file.seek(1)
        for options in (
            {"data": "text: é"},
            {"data": bytearray(WHOAMI)},
            {"data": {"a": "é"}},
            {"files": {"f": b"content" * 1000}},
            {"data": file},
            {"json": {"jsonrpc": "2.0"}},
        ):
            assert library.send("/solana", **options).status == 200
    with opened(Requests, site.url, SIGNATURE) as library, path.open("rb") as file:
        assert library.send("/moved/307/solana", data=file).caller == WALLET_CALLER
    with opened(Requests, site.url, SIGNATURE) as library:
        assert library.send("/solana", data=io.StringIO(WHOAMI.decode())).caller == WALLET_CALLER


def test_aiohttp_signs_text_forms_and_files(site: Site, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(WHOAMI)
    form = aiohttp.FormData({"a": "é"})
    form.add_field("file", b"content" * 1000, filename="name")
    with opened(Aiohttp, site.url, SIGNATURE) as library:
        for options in (
            {"data": "text: é"},
            {"data": {"a": "é"}},
            {"data": form},
            {"data": io.BytesIO(WHOAMI)},
            {"json": {"jsonrpc": "2.0"}},
        ):
            assert library.send("/solana", **options).status == 200
        with path.open("rb") as file:
            assert library.send("/solana", data=file).caller == WALLET_CALLER
        with path.open(encoding="utf-8") as file:
            assert library.send("/moved/307/solana", data=file).caller == WALLET_CALLER


@every_library
def test_a_header_of_the_users_own_gives_way_to_ours(site: Site, shim: type[Shim]):
    with opened(shim, site.url, client.meganode(SECRET)) as library:
        options = {"headers": {"authorization": "Bearer old"}, "json": {"jsonrpc": "2.0"}}
        assert library.send("/bsc", **options).status == 200
