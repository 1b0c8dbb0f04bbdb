"""`understudy.comparators.templates`: which requests a template means, and which is best."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Endpoints
from understudy.comparators.templates import Templates, given_parameters, is_meant, read_template

QUERIES = ["GET /rpc?method=getUser", "GET /rpc?method={m}&v=2", "GET /search?type={type}", "GET /search"]


@pytest.mark.parametrize(
    ("path", "query", "endpoint"),
    [
        ("/rpc", "method=getUser", "GET /rpc?method=getUser"),
        ("/rpc", "v=1&method=getUser&x=%20", "GET /rpc?method=getUser"),
        ("/rpc", "method=get%55ser", "GET /rpc?method=getUser"),
        ("/rpc", "v=2&method=getUser", "GET /rpc?method={m}&v=2"),
        ("/rpc", "method=other", "GET /rpc"),
        ("/rpc", "", "GET /rpc"),
        ("/search", "type=book", "GET /search?type={type}"),
        ("/search", "type=", "GET /search?type={type}"),
        ("/search", "q=type", "GET /search"),
        ("/search", "&".join(f"a{i}=1" for i in range(300)), "GET /search"),
    ],
)
def test_the_query_tells_endpoints_apart(path: str, query: str, endpoint: str) -> None:
    """In any order, beside any others; asked twice, since the second answer is remembered."""
    endpoints = Endpoints(QUERIES)
    assert [endpoints.of("GET", path, query) for _ in range(2)] == [endpoint, endpoint]


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("GET /files/{name}.json", "/files/a.json", True),
        ("GET /files/{name}.json", "/files/.json", False),
        ("GET /files/{name}.json", "/files/a.xml", False),
        ("GET /{a}-{b}/x", "/1-2/x", True),
        ("GET /café", "/caf%C3%A9", True),
        ("GET /café", "/caf%c3%a9", True),
        ("GET /a b".replace(" b", "%20b"), "/a%20b", True),
        ("GET /a/", "/a", False),
        ("GET /a/{x}", "/a/", False),
        ("* /a", "/a", True),
        ("GET /a/*", "/a/b", False),
        ("GET /a#b", "/a", False),
    ],
)
def test_a_template_fits_paths(template: str, path: str, fits: bool) -> None:
    """Placeholders in a part of a segment, escaped names, and patterns that name no one path."""
    assert bool(Templates([template]).fitting("GET", path)) == fits


def test_the_fewest_placeholders_win_wherever_they_stand() -> None:
    """Then the first of two that differ in names alone; HEAD is named as GET is."""
    templates = Templates(["GET /b/{c}/{d}", "GET /{a}/x/y", "GET /b/{other}/{names}"])
    assert [t.text for t in templates.fitting("GET", "/b/x/y")] == ["/{a}/x/y", "/b/{c}/{d}"]
    assert templates.name("HEAD", "/b/1/2") == "HEAD /b/{c}/{d}"
    assert templates.name("POST", "/b/1/2") == ""
    assert len(templates) == 2


@pytest.mark.parametrize(
    ("pattern", "endpoint", "expected"),
    [
        ("GET /rpc", "GET /rpc?method=find", True),
        ("GET /rpc?method=find", "GET /rpc?v=1&method=find", True),
        ("GET /rpc?method={any}", "GET /rpc?method=find", True),
        ("GET /rpc?method=find", "GET /rpc?method={any}", False),
        ("GET /rpc?method=find", "GET /rpc", False),
        ("GET /rpc?method=find", "GET /rpc?method=other", False),
        ("GET /*?p=/a/b", "GET /rpc?p=/a/b", True),
    ],
)
def test_a_rule_for_a_query(pattern: str, endpoint: str, expected: bool) -> None:
    """Without a query all are meant; with one only endpoints that name it."""
    assert is_meant(pattern, endpoint) == expected


@pytest.mark.parametrize("text", ["GET /a b", "GET /a#b", "GET /a?", "GET /a?=x", "GET /a?x=1&&y=2"])
def test_a_mistake_in_a_template_is_told(text: str) -> None:
    """What no request can be is refused."""
    with pytest.raises(ValueError, match=r"\w"):
        read_template(text)


@given(st.text(max_size=60), st.text(max_size=40), st.text(max_size=60))
@settings(max_examples=50)
def test_nothing_throws(template: str, path: str, query: str) -> None:
    """Whatever is configured, whatever is asked: a name comes out, the same one twice."""
    endpoints = Endpoints([template, f"GET /{template}", f"* {path}?{query}"])
    name = endpoints.of("GET", path, query)
    assert endpoints.of("GET", path, query) == name
    assert is_meant(template, name) in (True, False)
    assert all(isinstance(name, str) for name, _ in given_parameters(query))


@pytest.mark.parametrize(
    ("path", "fits"),
    [("/2024-05-06.json", True), ("/1-2-3-4.json", True), ("/--.json", False), ("/" + "-" * 8000, False)],
)
def test_a_clients_path_cannot_hold_a_worker(path: str, fits: bool) -> None:
    """Several placeholders in one segment take linear time; the last of these took a quarter of an hour."""
    found = Templates(["GET /{year}-{month}-{day}.json"]).fitting("GET", path)
    assert bool(found) is fits
