"""Which route a request takes."""

from typing import Any

import pytest

from understudy.decide.routes import Route, check_route, matcher
from understudy.messages import RequestHead


def matches(route: Route, **head: Any) -> bool:
    return matcher((route,), (True,))(RequestHead(**head)) is True


@pytest.mark.parametrize(
    ("route", "path", "expected"),
    [
        ({"path": "/"}, "/anything", True),
        ({"path": "/"}, "*", True),
        ({"path": "/api"}, "/api", True),
        ({"path": "/api"}, "/api/x", True),
        ({"path": "/api"}, "/api/", True),
        ({"path": "/api"}, "/apix", False),
        ({"path": "/api"}, "/API", False),
        ({"path": "/api"}, "/%61pi", False),
        ({"path": "/api/"}, "/api/x", True),
        ({"path": "/api/"}, "/api", False),
        ({"exact": "/api"}, "/api", True),
        ({"exact": "/api"}, "/api/", False),
        ({"template": "/orders/{id}"}, "/orders/7", True),
        ({"template": "/orders/{id}"}, "/orders/a%2Fb", True),
        ({"template": "/orders/{id}"}, "/orders/", False),
        ({"template": "/orders/{id}"}, "/orders/7/x", False),
        ({"template": "/orders/{id}"}, "/orders/7\n", True),
        ({"template": "/a.b/{x}/c/{y}"}, "/a.b/1/c/2", True),
        ({"template": "/a.b/{x}/c/{y}"}, "/aXb/1/c/2", False),
        ({"template": "/plain"}, "/plain", True),
    ],
)
def test_paths(route: dict[str, Any], path: str, expected: bool) -> None:
    """Prefixes end on segment borders, templates take whole segments, bytes count as they came."""
    assert matches(Route(serve="v1", **route), path=path) is expected


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("example.com", "example.com", True),
        ("example.com", "example.com:8080", True),
        ("example.com", "example.com.", True),
        ("example.com", "www.example.com", False),
        ("example.com:8080", "example.com:8080", True),
        ("example.com:8080", "example.com", False),
        ("example.com:8080", "example.com:80", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com:99", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "badexample.com", False),
        ("[::1]", "[::1]:8080", True),
        ("[::1]:8080", "[::1]:8080", True),
        ("example.com", "", False),
    ],
)
def test_hosts(pattern: str, host: str, expected: bool) -> None:
    """A host matches any port unless it names one; a star matches every subdomain, not the domain."""
    assert matches(Route(serve="v1", host=pattern), host=host) is expected


def test_methods() -> None:
    """No methods means all."""
    route = Route(serve="v1", path="/api", methods=("GET", "HEAD"))
    assert matches(route, method="GET", path="/api")
    assert not matches(route, method="POST", path="/api")
    assert matches(Route(serve="v1"), method="BREW")


def test_the_first_match_wins_in_document_order() -> None:
    """Host, method and path are tried route by route; none matching is None."""
    routes = (
        Route(serve="a", host="one.example", path="/api"),
        Route(serve="b", path="/api", methods=("POST",)),
        Route(serve="c", host="*.example"),
        Route(serve="d", exact="/api"),
    )
    find = matcher(routes, "abcd")
    cases = [
        ("one.example", "GET", "/api/x", "a"),
        ("one.example:80", "POST", "/api", "a"),
        ("two.example", "POST", "/api", "b"),
        ("two.example", "GET", "/api", "c"),
        ("other", "GET", "/api", "d"),
        ("other", "GET", "/x", None),
    ]
    heads = [RequestHead(host=host, method=method, path=path) for host, method, path, _ in cases]
    expected = [case[3] for case in cases]
    assert [find(head) for head in heads] == expected
    assert [find(head) for head in heads] == expected  # from memory now


def test_any_number_of_hosts_may_be_asked_for() -> None:
    """Hosts are chosen by clients: thousands of them change no answer."""
    find = matcher((Route(serve="a", host="*.example"),), "a")
    assert {find(RequestHead(host=f"h{number}.example")) for number in range(3000)} == {"a"}
    assert find(RequestHead(host="other")) is None


def test_no_routes_match_nothing() -> None:
    """An empty document sends no request anywhere."""
    assert matcher((), ())(RequestHead()) is None


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ({"path": "api", "serve": "a"}, "routes[0].path"),
        ({"exact": "/a", "template": "/{b}", "serve": "a"}, "routes[0].exact"),
        ({"path": "/a", "template": "/{b}", "serve": "a"}, "routes[0].template"),
        ({"template": "/a{b}", "serve": "a"}, "routes[0].template"),
        ({"template": "/{}", "serve": "a"}, "routes[0].template"),
        ({"path": "/{id}", "serve": "a"}, "routes[0].path"),
        ({"path": "/a?b", "serve": "a"}, "routes[0].path"),
        ({"host": "Example.com", "serve": "a"}, "routes[0].host"),
        ({"host": "http://example.com", "serve": "a"}, "routes[0].host"),
        ({"host": "a.*.com", "serve": "a"}, "routes[0].host"),
        ({"methods": ("get",), "serve": "a"}, "routes[0].methods[0]"),
        ({"mirror_methods": ("GET", "P T"), "serve": "a"}, "routes[0].mirror_methods[1]"),
        ({}, "routes[0].flag"),
        ({"flag": "f", "serve": "a"}, "routes[0].flag"),
        ({"flag": "f", "unit": "jwt:sub"}, "routes[0].unit"),
    ],
)
def test_a_mistaken_route_names_the_place(route: dict[str, Any], path: str) -> None:
    """Each mistake is found, alone, with its path."""
    assert [problem.path for problem in check_route(Route(**route), "routes[0]")] == [path]


def test_a_good_route_has_no_problem() -> None:
    """Everything a route may say, at once."""
    route = Route(
        template="/orders/{id}",
        host="*.example.com:8080",
        methods=("GET", "M-SEARCH"),
        flag="f",
        unit="cookie:uid",
    )
    assert check_route(route) == []
    assert route.label == "/orders/{id}"
    assert Route(serve="a", name="shop").label == "shop"
