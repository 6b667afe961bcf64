"""C: claims, and the JSON that they are written in."""

from __future__ import annotations

import json

import pytest
from minting import NOW, SECRET, bearer, hour, order_token, sha256, token

from attacks.site import problems, project
from attacks.tokens import mac, signed

MALFORMED, CLAIMS, AUDIENCE = "malformed_credentials", "invalid_claims", "invalid_audience"
ORDER = b'{"currency":"BTC","amount":"0.001","orderId":"12345"}'


@pytest.mark.parametrize("leeway", [0, 30])
def test_C1_a_token_ends_at_the_instant_and_leeway_widens_by_exactly_its_value(make, leeway):
    site = make(json.dumps(project(leeway=f"{leeway}s")))
    text = token(hour(iat=None, exp=NOW))
    for offset, reason in ((-1, ""), (-0.001, ""), (0, "expired"), (1, "expired")):
        site.now = NOW + leeway + offset
        assert site.told("/hs", text) == reason


def test_C1_leeway_is_bounded(tmp_path):
    assert "leeway" in problems(tmp_path, project(leeway="121s"))


@pytest.mark.parametrize("path", ["hs", "pub", "atn"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "nan", "+1"])
def test_C2_what_is_no_finite_number_is_refused(site, path, number):
    claims = f'{{"exp":{number}}}'
    assert site.denies(f"/{path}", text_for(path, claims)) == MALFORMED


def text_for(path, claims):
    """Return a token over *claims*, any JSON text, that the key of *path* has signed."""
    if path == "hs":
        return token(claims)
    return signed("RS256", claims)


@pytest.mark.parametrize(
    "value",
    ["1760003600", "1_760_003_600", "١٧٦٠٠٠٣٦٠٠", "", " 1760003600", "1.76e9", "0x68e7f000"],
)
@pytest.mark.parametrize("path", ["hs", "pub", "atn"])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_C3_a_date_is_no_string(site, value, path, name):
    claims = json.dumps({"exp": NOW + 60, name: value})
    assert site.denies(f"/{path}", text_for(path, claims)) == CLAIMS


@pytest.mark.parametrize("value", [True, False, None, [], [NOW + 60], {}, {"exp": NOW}])
@pytest.mark.parametrize("path", ["hs", "pub", "atn"])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_C4_nor_a_boolean_nor_anything_else(site, value, path, name):
    claims = json.dumps({"exp": NOW + 60, name: value})
    assert site.denies(f"/{path}", text_for(path, claims)) == CLAIMS


@pytest.mark.parametrize("digits", [20, 400, 4000, 5000])
def test_C5_a_number_of_many_digits_is_refused(site, digits):
    claims = f'{{"exp":{"9" * digits}}}'
    assert site.denies("/hs", token(claims)) in (MALFORMED, CLAIMS)
    own = f'{{"exp":{NOW + 60},"x":{"9" * digits}}}'  # a claim of the application's own
    assert site.told("/hs", token(own)) == (MALFORMED if digits > 4300 else "")


@pytest.mark.parametrize("path", ["hs", "pub", "atn", "engine"])
def test_C6_milliseconds_are_no_seconds(site, path):
    claims = {"iat": NOW, "exp": (NOW + 60) * 1000}
    text = {
        "engine": lambda: token(claims, bytes(range(32)).decode()),
        "hs": lambda: token(claims),
    }.get(path, lambda: signed("RS256", claims))()
    assert site.denies(f"/{path}", text) == CLAIMS


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": NOW, "exp": NOW + 60},
        {"exp": NOW + 60},
        {"exp": NOW * 1000 + 61_000},
        {"exp": NOW * 1000},
        {"exp": NOW * 1000 - 1},
        {"iat": NOW * 1000 + 60_000, "exp": NOW * 1000 + 60_000},
        {"exp": None},
        {"iat": None},
    ],
)
def test_C7_an_order_lives_for_less_than_61_seconds_in_milliseconds(site, claims):
    headers = [*bearer(order_token("/pay/withdraw", **claims)), ("x-auth-key", "merchant-1")]
    assert site.denies("/pay/withdraw", headers, ORDER) in (CLAIMS, "expired", "not_yet_valid")
    good = order_token("/pay/withdraw", exp=NOW * 1000 + 60_999)
    headers = [*bearer(good), ("x-auth-key", "merchant-1")]
    assert site.told("/pay/withdraw", headers, ORDER) in ("", "replayed")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nbf": NOW + 1}, "not_yet_valid"),
        ({"nbf": NOW}, ""),
        ({"nbf": -1}, CLAIMS),
        ({"nbf": 10**18}, CLAIMS),
        ({"nbf": NOW * 1000}, CLAIMS),
        ({"iat": NOW + 6}, "not_yet_valid"),
        ({"iat": NOW + 5}, ""),
        ({"iat": str(NOW)}, CLAIMS),
        ({"iat": NOW * 1000}, CLAIMS),
        ({"iat": -5}, CLAIMS),
        ({"exp": -1}, CLAIMS),
        ({"exp": 0}, "expired"),
    ],
)
def test_C8_future_negative_and_huge_dates(site, claims, reason):
    assert site.told("/hs", token({**hour(), **claims})) == reason


def test_C9_a_token_without_end_passes_only_where_that_is_said(site):
    endless = {"sub": "x"}
    assert site.denies("/hs", token(endless)) == CLAIMS
    assert site.denies("/pub", signed("RS256", endless)) == CLAIMS
    assert site.told("/atn", signed("RS256", endless)) == ""  # the provider's document


@pytest.mark.parametrize(
    "audience",
    ["evilallthatnode.com", "evil-allthatnode.com", "allthatnode.com", "allthatnode.com.evil.org"],
)
def test_C10_a_suffix_begins_at_a_boundary(site, make, audience):
    assert site.denies("/atn", signed("RS256", hour(aud=audience))) == AUDIENCE
    bare = make(json.dumps(project("atn", audience_suffix="allthatnode.com")))
    expected = "" if audience == "allthatnode.com" else AUDIENCE
    assert bare.told("/atn", signed("RS256", hour(aud=audience))) == expected


@pytest.mark.parametrize(
    "good", ["evm.allthatnode.com", "EVM.AllThatNode.com", "a.b.allthatnode.com"]
)
def test_C10_an_honest_audience_passes(site, good):
    assert site.told("/atn", signed("RS256", hour(aud=good))) == ""


@pytest.mark.parametrize(
    "audience",
    [".allthatnode.com.x", "x.allthatnode.com.", "x.allthatnode.com ", "x.allthatnode.com\n",
     "x.allthatnode.com\0", "x.allthatnodе.com", "x．allthatnode.com", "x.ALLTHATNODE.COM\u212a",
     "x.allthatnode.ⅽom", "x.a\u017flthatnode.com"],
)  # fmt: skip
def test_C11_a_suffix_is_compared_in_ascii_at_the_very_end(site, audience):
    assert site.denies("/atn", signed("RS256", hour(aud=audience))) == AUDIENCE


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        ("", AUDIENCE),
        ([], AUDIENCE),
        (3, CLAIMS),
        (None, CLAIMS),
        ({}, CLAIMS),
        ([3], CLAIMS),
        (["x.allthatnode.com", 3], CLAIMS),
        ([["x.allthatnode.com"]], CLAIMS),
        (["other", "x.allthatnode.com"], ""),
        (["other", "another"], AUDIENCE),
    ],
)
def test_C12_an_audience_is_a_string_or_a_list_of_strings(site, audience, reason):
    claims = {**hour(), "aud": audience}
    assert site.told("/atn", signed("RS256", claims)) == reason


@pytest.mark.parametrize("suffix", ["", ".", "..", ". .", " "])
def test_C13_a_suffix_that_fits_everything_does_not_load(tmp_path, suffix):
    assert "audience_suffix" in problems(tmp_path, project("atn", audience_suffix=suffix))


@pytest.mark.parametrize(
    "claims",
    [
        f'{{"exp":{NOW - 1},"exp":{NOW + 60}}}',
        f'{{"exp":{NOW + 60},"exp":{NOW + 60}}}',
        f'{{"exp":{NOW + 60},"\\u0065xp":{NOW + 9999}}}',
        f'{{"exp":{NOW + 60},"sub":"alice","sub":"root"}}',
        f'{{"exp":{NOW + 60},"sub":"alice","s\\u0075b":"root"}}',
        f'{{"exp":{NOW + 60},"x":{{"a":1,"a":2}}}}',
    ],
)
def test_C14_a_claim_that_occurs_twice_is_refused(site, claims):
    for path in ("hs", "pub", "atn"):
        assert site.denies(f"/{path}", text_for(path, claims)) == MALFORMED


GOOD = json.dumps(hour())


@pytest.mark.parametrize(
    "payload",
    ["[]", "1", '"x"', "null", "true", "", " ", b"\xff\xfe", b"\xef\xbb\xbf" + GOOD.encode(),
     GOOD.encode("utf-16"), GOOD.encode("utf-32"), GOOD.encode("utf-16-le"), GOOD + "x",
     GOOD + GOOD, GOOD + "\0", GOOD[:-1], GOOD[:-1] + ",}", "{'exp': 1}",
     GOOD[:-1] + ',"sub":"\\ud800"}', GOOD[:-1] + ',"sub":"\xff"}'.encode("latin-1").decode("latin-1"),
     b'{"exp":1760003600,"sub":"\xed\xa0\x80"}', "// c\n" + GOOD],
)  # fmt: skip
def test_C15_a_payload_is_one_json_object_in_utf_8(site, payload):
    text = token(payload)
    reason = site.told("/hs", text)
    if payload == GOOD[:-1] + ',"sub":"\xff"}':
        assert reason == ""  # a letter like another
    else:
        assert reason == MALFORMED


@pytest.mark.parametrize("depth", [65, 2_000, 4_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_C16_deep_nesting_is_refused_without_recursion(make, depth, opening, closing):
    big = make(json.dumps({**project(), "bounds": {"max_credential": "1MiB"}}))
    nested = opening * depth + ("1" if closing == "}" else "") + closing * depth
    assert big.denies("/hs", token(f'{{"exp":{NOW + 60},"x":{nested}}}')) == MALFORMED
    assert big.denies("/hs", token(opening * 100_000)) == MALFORMED


def test_C17_many_claims_and_long_strings_end_at_the_size_of_a_credential(site):
    many = {f"c{number}": number for number in range(100_000)}
    assert site.denies("/hs", token({**hour(), **many})) == MALFORMED
    assert site.denies("/hs", token(hour(x="y" * 100_000))) == MALFORMED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"url": "/pay/other"}, "invalid_binding"),
        ({"url": "/pay/withdraw?x=1"}, "invalid_binding"),
        ({"url": "https://h/pay/withdraw"}, "invalid_binding"),
        ({"url": None}, CLAIMS),
        ({"key": "merchant-2"}, "invalid_binding"),
        ({"signature": sha256("BTC#0.001#12345")}, "invalid_binding"),  # without the quotes
        ({"signature": sha256('"BTC#0.002#12345"')}, "invalid_binding"),
        ({"signature": sha256('"BTC#0.001#12345"').upper()}, "invalid_binding"),
        ({"signature": ""}, "invalid_binding"),
        ({"signature": 1}, CLAIMS),
    ],
)
def test_C18_what_an_order_token_is_bound_to_must_be_so(site, change, reason):
    given = {"url": "/pay/withdraw", **change}
    text = order_token(**given)
    headers = [*bearer(text), ("x-auth-key", "merchant-1")]
    assert site.denies("/pay/withdraw", headers, ORDER) == reason


def test_C18_the_digest_covers_the_json_text_of_the_fields_quotes_included(make):
    site = make()
    fields = '"BTC#0.001#12345"'
    text = order_token("/pay/withdraw", signature=sha256(fields))
    assert site.told("/pay/withdraw", [*bearer(text), ("x-auth-key", "merchant-1")], ORDER) == ""


def test_C19_an_order_token_is_accepted_once(make):
    site = make()
    text = order_token("/pay/withdraw")
    headers = [*bearer(text), ("x-auth-key", "merchant-1")]
    assert [site.told("/pay/withdraw", headers, ORDER) for _ in range(3)] == [
        "",
        "replayed",
        "replayed",
    ]


def test_C20_a_token_of_another_issuer_or_purpose_under_the_same_secret_is_refused(make):
    shared = project("wallet", session={"secret": SECRET})
    shared["projects"]["hs"] = project("hs")["projects"]["hs"]
    shared["projects"]["other"] = {
        **project("wallet", session={"secret": SECRET})["projects"]["wallet"],
        "match": {"path": "/other"},
    }
    site = make(json.dumps(shared))
    session = site.verifier.issue("wallet", "11111111111111111111111111111112")["token"]
    assert site.told("/wallet", session) == ""
    assert site.denies("/hs", session) == MALFORMED  # typ
    assert site.denies("/other", session) == AUDIENCE
    claims = {"iss": "rpcguard", "aud": "wallet", "sub": "x", "jti": "j", **hour()}
    assert site.denies("/wallet", mac(SECRET, claims, kid="session")) == MALFORMED  # typ JWT
    head = {"typ": "rpcguard-session+jwt", "kid": "session"}
    assert site.told("/wallet", mac(SECRET, claims, **head)) == ""
    for other in ({"iss": "idp"}, {"iss": None}, {"jti": None}, {"sub": None}, {"aud": None}):
        changed = {name: value for name, value in {**claims, **other}.items() if value is not None}
        assert site.denies("/wallet", mac(SECRET, changed, **head)) in (CLAIMS, AUDIENCE)
