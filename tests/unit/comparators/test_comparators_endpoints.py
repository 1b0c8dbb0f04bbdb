"""`understudy.comparators.endpoints`: what a request is counted under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import Endpoints
from understudy.comparators.identifiers import identify


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/", "GET /"),
        ("", "GET /"),
        ("/orders", "GET /orders"),
        ("/orders/", "GET /orders/"),
        ("/orders/17", "GET /orders/{id}"),
        ("/orders/17/lines/3", "GET /orders/{id}/lines/{id}"),
        ("/u/0d3f6f5e-0f57-4b5b-a6f6-0e1c9f3f2a11", "GET /u/{uuid}"),
        ("/c/9fceb02d0ae598e95dc970b74767f19372d61af8", "GET /c/{hash}"),
        ("/c/9fceb02d", "GET /c/{hash}"),
        ("/d/2026-01-31", "GET /d/{date}"),
        ("/d/2026-01", "GET /d/{date}"),
        ("/d/2026-01-31T12:00:00Z", "GET /d/{date}"),
        ("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET /u/{id}"),
        ("/u/ada@example.com", "GET /u/{email}"),
        ("/u/ada%40example.com", "GET /u/{email}"),
        ("/t/dGhpcyBpcyBhIHRva2Vu0aZ9", "GET /t/{token}"),
        ("/o/ord_9s6XKzkNRiz8i3", "GET /o/{id}"),
        ("/o/order-1742", "GET /o/{id}"),
        ("/v1/api", "GET /v1/api"),
        ("/defaced/facade", "GET /defaced/facade"),
        ("/how-to-build-a-house-in-2024", "GET /how-to-build-a-house-in-2024"),
        ("/averageResponseTime95thPercentile", "GET /averageResponseTime95thPercentile"),
        ("/a%20b", "GET /a%20b"),
    ],
)
def test_templates_are_learned(path: str, endpoint: str) -> None:
    """What looks like data becomes a placeholder; words stay."""
    assert Endpoints().of("GET", path) == endpoint


def test_templates_of_the_rules_come_first() -> None:
    """A named template wins over what would be learned; the more literal one wins over the other."""
    names = ["GET /orders/{order}", "* /users/{name}", "GET /orders/latest", "*", "GET /x/*", "/any/{thing}"]
    endpoints = Endpoints(names)
    assert endpoints.of("GET", "/orders/17") == "GET /orders/{order}"
    assert endpoints.of("GET", "/orders/latest") == "GET /orders/latest"
    assert endpoints.of("POST", "/orders/17") == "POST /orders/{id}"
    assert endpoints.of("PUT", "/users/ada") == "PUT /users/{name}"
    assert endpoints.of("GET", "/users/") == "GET /users/"
    assert endpoints.of("GET", "/any/x") == "GET /any/{thing}"
    assert endpoints.of("GET", "/x/y") == "GET /x/y"


def test_the_number_is_bounded_and_what_is_known_stays() -> None:
    """After the bound, new paths share one name a method; the old ones keep theirs."""
    endpoints = Endpoints(["GET /named/{x}"], most=2)
    assert [endpoints.of("GET", f"/{name}") for name in "abc"] == ["GET /a", "GET /b", "GET (other)"]
    assert endpoints.of("POST", "/new") == "POST (other)"
    assert endpoints.of("GET", "/a") == "GET /a"
    assert endpoints.of("GET", "/named/z") == "GET /named/{x}"


def test_made_up_methods_and_endless_paths_share_a_name() -> None:
    """Nobody can fill the memory by asking."""
    endpoints = Endpoints()
    assert endpoints.of("BREW", "/pot") == endpoints.of("STEEP", "/pot") == "OTHER /pot"
    assert endpoints.of("GET", "/" + "a/" * 4000) == "GET (other)"


@given(st.lists(st.text(max_size=30), max_size=20))
def test_an_endpoint_is_stable(paths: list[str]) -> None:
    """Asking again gives the same name, whatever was asked in between; never more names than the bound."""
    endpoints = Endpoints(most=5)
    first = [endpoints.of("GET", path) for path in paths]
    assert [endpoints.of("GET", path) for path in paths] == first
    assert len(set(first)) <= 6


@pytest.mark.parametrize("name", ["price", "line_2", "address1", "created_at", "x-total-count", "", "v2"])
def test_names_of_fields_are_names(name: str) -> None:
    """Ordinary keys with a digit are not data."""
    assert identify(name) == ""


@pytest.mark.parametrize(
    "segment",
    [
        "sk_live_AbCdEfGhIjKlMnOpQrSt",
        "glpat-AbCdEfGhIjKlMnOpQrSt",
        "AKIAABCDEFGHIJKLMNOP",
        "4111-1111-1111-1111",
        "4111%201111%201111%201111",
        "bob%40example.com",
    ],
)
def test_what_belongs_to_a_user_is_no_part_of_an_endpoint(segment: str) -> None:
    """Keys, card numbers and mail addresses, encoded or not, are data."""
    assert segment not in Endpoints().of("GET", f"/x/{segment}/y")
