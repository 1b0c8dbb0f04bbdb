"""What rules see of a request."""

# ruff: noqa: E501  # a table reads best with one case a line

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.decide.context import RequestResolver, check_unit, cookie, decoded, unit_field
from understudy.decide.fields import DataResolver
from understudy.messages import RequestHead

HEAD = RequestHead(
    method="POST",
    path="/a%20b",
    query="q=a+b%26c&q=second&empty=&flag&%75tf=%C3%A9&latin=%E9&raw=\u00e9",
    host="shop.example.com:8080",
    client_ip="10.0.0.1",
    headers=(
        (b"Host", b"shop.example.com:8080"),
        (b"X-User-EMAIL", b"jo@example.com"),
        (b"x-user-email", b"second@example.com"),
        (b"X-Name", "José".encode()),
        (b"X-Latin", b"Jos\xe9"),
        (b"X-Understudy-Variant", b"canary"),
        (b"X_Understudy_Flag", b"forged"),
        (b"COOKIE", b'theme=dark;xuid=no; uid="u 1" ;uid=second;flagonly;=anonymous'),
        (b"Cookie", b"late=7; uid=third; a=b=c; empty="),
    ),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("method", "POST"),
        ("path", "/a%20b"),
        ("host", "shop.example.com:8080"),
        ("ip", "10.0.0.1"),
        ("headers.x-user-email", "jo@example.com"),
        ("headers.X-User-Email", "jo@example.com"),
        ("headers.x-name", "José"),
        ("headers.x-latin", "José"),
        ("headers.absent", None),
        ("headers.x-understudy-variant", None),
        ("headers.X-Understudy-Variant", None),
        ("headers.x_understudy_flag", None),
        ("cookies.uid", "u 1"),
        ("cookies.theme", "dark"),
        ("cookies.late", "7"),
        ("cookies.a", "b=c"),
        ("cookies.empty", ""),
        ("cookies.UID", None),
        ("cookies.id", None),
        ("cookies.flagonly", None),
        ("cookies.", None),
        ("query.q", "a b&c"),
        ("query.empty", ""),
        ("query.flag", ""),
        ("query.utf", "é"),
        ("query.latin", "é"),
        ("query.raw", "é"),
        ("query.absent", None),
        ("targetingKey", "u 1"),
        ("$flagd.flagKey", "shop"),
        ("$flagd.timestamp", 1700000000),
        ("$flagd.other", None),
        ("claims.sub", None),
        ("nonsense", None),
        ("query.q.x", None),
    ],
)
def test_each_name_has_its_value(name: str, expected: Any) -> None:
    """A name gives what the request holds; the first of duplicates; null where there is nothing."""
    resolver = RequestResolver("shop", "cookie:uid", lambda: 1700000000.9)
    assert resolver.field(name).run(HEAD) == expected
    assert resolver.find(HEAD, name) == expected
    assert resolver.field(name, "default").run(HEAD) == ("default" if expected is None else expected)


def test_the_whole_context_is_what_an_sdk_would_send() -> None:
    """`var` of nothing, or of a group, is the same data, nested."""
    resolver = RequestResolver("shop", "header:x-name", lambda: 5.5)
    whole = resolver.field("").run(HEAD)
    assert whole["targetingKey"] == "José"
    assert whole["$flagd"] == {"flagKey": "shop", "timestamp": 5}
    assert whole["cookies"] == {
        "theme": "dark",
        "xuid": "no",
        "uid": "u 1",
        "late": "7",
        "a": "b=c",
        "empty": "",
    }
    assert resolver.field("query").run(HEAD)["q"] == "a b&c"
    assert not any("understudy" in name for name in whole["headers"])


def test_what_is_unknown_is_left_out() -> None:
    """A request without Host, address and unit has none of them, rather than empty ones."""
    resolver = RequestResolver("shop", "cookie:uid")
    whole = resolver.context(RequestHead())
    assert whole == {
        "method": "GET",
        "path": "/",
        "$flagd": {"flagKey": "shop"},
        "headers": {},
        "cookies": {},
        "query": {},
    }


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("header:X-Name", "José"), ("cookie:uid", "u 1"), ("query:q", "a b&c"), ("ip", "10.0.0.1"),
        ("cookie:empty", None), ("query:flag", None), ("header:absent", None), ("header:x-understudy-variant", None),
    ],
)  # fmt: skip
def test_units(unit: str, expected: str | None) -> None:
    """The unit comes from where the route says; an empty one is none."""
    field = unit_field(unit)
    assert (field(HEAD) if field else None) == expected


@pytest.mark.parametrize(
    ("unit", "part"),
    [
        ("jwt:sub", "not in this version"),
        ("cookies:uid", "did you mean cookie:NAME?"),
        ("cookie:", "names nothing"),
        ("header:X-Understudy-Unit", "own field"),
        ("ip:x", "is not a unit"),
        ("", "is not a unit"),
    ],
)
def test_mistaken_units_are_refused(unit: str, part: str) -> None:
    """Each mistake says what would be right."""
    (problem,) = check_unit(unit)
    assert part in str(problem)
    assert problem.path == "unit"


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"xuid=1", None), (b"xuid=uid=1; uid=2", "2"), (b"a=uid=1", None), (b"uid=1=2", "1=2"),
        (b" ; ;\tuid=3", "3"), (b"uid =4; uid=5", "5"), (b"a; uid=6", "6"), (b"uid", None), (b"uid=; uid=7", ""),
    ],
)  # fmt: skip
def test_a_cookie_stands_at_the_start_of_its_pair(sent: bytes, found: str | None) -> None:
    """A name inside another name or inside a value is no cookie; the first one counts."""
    field = cookie("uid")
    assert field is not None
    assert field(RequestHead(headers=((b"Cookie", sent),))) == found


@pytest.mark.parametrize("name", ["a=b", "=", ";u", "u;", " u", "\tu"])
def test_no_cookie_has_a_name_that_ends_or_begins_a_pair(name: str) -> None:
    """It would be found inside of others."""
    assert cookie(name) is None


def first_cookie(sent: list[bytes], name: bytes) -> bytes | None:
    """What RFC 6265 4.2 says of the fields, read in the plainest way."""
    for field in sent:
        for pair in field.split(b";"):
            key, equals, value = pair.lstrip(b" \t").partition(b"=")
            if equals and key == name:
                bare = value.strip(b" \t")
                return bare[1:-1] if len(bare) > 1 and bare[:1] == bare[-1:] == b'"' else bare
    return None


pieces = st.sampled_from(
    [b"uid", b"uid=", b"; uid=", b";uid=", b";\tuid =", b"x", b"=", b";", b" ", b"\t", b'"', b"\x0b", b"\xa0", b"\xc3\xa9", b"\xff"]
)  # fmt: skip


@settings(max_examples=50)
@given(sent=st.lists(st.lists(pieces, max_size=9).map(b"".join), max_size=3))
def test_a_cookie_is_found_as_by_who_splits_all(sent: list[bytes]) -> None:
    """Whatever stands around it, in whichever field: the quick look agrees with the plain one."""
    field, expected = cookie("uid"), first_cookie(sent, b"uid")
    assert field is not None
    around = [(b"Accept", b"uid=no"), *((b"cOOkie", value) for value in sent), (b"Hookie", b"uid=no")]
    assert field(RequestHead(headers=around)) == (None if expected is None else decoded(expected))


@pytest.mark.parametrize("unit", ["ip", "cookie:uid", "header:X-User", "query:u"])
def test_good_units_have_no_problem(unit: str) -> None:
    """The four kinds are accepted."""
    assert check_unit(unit) == []


names = st.text('abcUX-_ é"=%+;', min_size=1, max_size=4)
raw = st.binary(max_size=12) | st.sampled_from(
    [b"a=1; b=2", b' a="x";a=2', b"c; a=3", b"b=a=1 a=2", b";;a = 4"]
)
fields = st.lists(
    st.tuples(st.sampled_from([b"Cookie", b"cookie", b"X-A", b"a", b"X-Understudy-A"]), raw), max_size=5
)


@given(
    headers=fields,
    query=st.text("ab=&%+41é", max_size=16),
    name=st.sampled_from(["headers.x-a", "headers.a", "headers.cookie", "headers.x-understudy-a"])
    | st.sampled_from(["cookies.", "query."]).flatmap(lambda group: names.map(lambda name: group + name))
    | st.sampled_from(["cookies.a", "cookies.b", "query.a", "query.b", "targetingKey", "ip", "nothing"]),
)
def test_direct_extraction_agrees_with_the_whole_context(headers: Any, query: str, name: str) -> None:
    """Looking for one name in the request finds what reading all of it would find."""
    head = RequestHead(headers=headers, query=query, client_ip="::1")
    resolver = RequestResolver("shop", "cookie:a")
    whole = resolver.context(head)
    group, dot, rest = name.partition(".")
    expected = whole.get(group, {}).get(rest) if dot else DataResolver("shop").find(whole, name)
    assert resolver.field(name).run(head) == expected
