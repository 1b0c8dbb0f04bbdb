"""A scope as a head: what servers, test clients and outer middleware put there, in whichever form."""

from typing import Any, NamedTuple

import pytest

from understudy.middleware import Understudy
from understudy.middleware.request import AsgiRequest

RULES: dict[str, Any] = {
    "store": "memory://",
    "flags": {
        "shop": {
            "state": "ENABLED",
            "variants": {"new": {}, "old": {}},
            "defaultVariant": "old",
            "targeting": {"if": [{"==": [{"var": "targetingKey"}, "u-1"]}, "new", "old"]},
        }
    },
    "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}],
}
COOKIE = (b"cookie", b"uid=u-1")


class Field(NamedTuple):
    """As HTTP/2 libraries have them."""

    name: bytes
    value: bytes


def request_with(**given: Any) -> AsgiRequest:
    """One that differs from a usual one by what is *given*."""
    usual = {"method": "GET", "path": "/a", "query_string": b"", "headers": [COOKIE], "client": None}
    return AsgiRequest({**usual, **given})


@pytest.mark.parametrize(
    "given", ["q=日", "q=日".encode(), bytearray("q=日".encode()), memoryview("q=日".encode())], ids=type
)
def test_a_query_is_read_in_any_form(given: Any) -> None:
    """Django's test client has it as text, in which Django reads UTF-8."""
    assert request_with(query_string=given).target == b"/a?q=\xe6\x97\xa5"


@pytest.mark.parametrize("given", [None, 5, ""], ids=repr)
def test_what_is_no_query_is_none(given: Any) -> None:
    """Nor does it keep the request from being decided."""
    assert request_with(query_string=given).target == b"/a"


@pytest.mark.parametrize(
    ("given", "peer"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (["10.0.0.1", 5], "10.0.0.1"),
        ((None, 5), ""),
        ((b"\0socket", 5), ""),
        ((), ""),
        ("socket", ""),
        (5, ""),
        (None, ""),
    ],
    ids=repr,
)
def test_an_address_is_text(given: Any, peer: str) -> None:
    """What names none is none."""
    assert request_with(client=given).client_ip == peer


FIELDS: dict[str, Any] = {
    "a list": [b"x-a", b"1"],
    "of a library": Field(b"x-a", b"1"),
    "text": ("x-a", "1"),
    "buffers": (bytearray(b"x-a"), memoryview(b"1")),
}


@pytest.mark.parametrize("form", FIELDS)
@pytest.mark.parametrize("is_first", [False, True])
def test_fields_are_read_in_any_form(form: str, *, is_first: bool) -> None:
    """What one outer middleware adds in its own way takes nothing from the others."""
    fields: list[Any] = [(b"host", b"shop.example"), COOKIE]
    fields.insert(0 if is_first else 1, FIELDS[form])
    request = request_with(headers=fields)
    assert sorted(request.headers) == [COOKIE, (b"host", b"shop.example"), (b"x-a", b"1")]
    assert Understudy(RULES).decide(request).variant == "new"


@pytest.mark.parametrize(
    "odd", [(b"x-a",), (b"x-a", b"1", b"2"), (b"x-a", None), (b"x-a", 1), None, b"x-a"], ids=repr
)
def test_what_is_no_field_is_passed_over(odd: Any) -> None:
    """The rest decide."""
    request = request_with(headers=[odd, COOKIE])
    assert request.headers == [COOKIE]
    decision = Understudy(RULES).decide(request)
    assert (decision.variant, decision.unit) == ("new", "u-1")


@pytest.mark.parametrize("kind", [tuple, iter, dict])
def test_fields_are_any_iterable(kind: Any) -> None:
    """ASGI asks for no list."""
    given = kind([COOKIE])
    request = request_with(headers=given.items() if kind is dict else given)
    assert list(request.headers) == [COOKIE]
    assert list(request.headers) == [COOKIE]
