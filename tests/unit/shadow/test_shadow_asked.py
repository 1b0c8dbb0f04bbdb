"""What a pair tells of its request: the unit, the lines that went on, a small body; no credential's value."""

from typing import Any

import pytest
from shadow_examples import OK_JSON
from shadow_stage import Origin, converse, document, get, on_uvloop, post, say, staged, until

from understudy.messages import Asked
from understudy.shadow.exchange import KEPT_BYTES

OTHER = OK_JSON.replace(b"1}", b"2}")


def asked_by(request: bytes, unit: str = "", **route: Any) -> Asked:
    """What the pair of *request* says, sent through a proxy whose route finds its unit at *unit*."""
    found: list[Asked] = []

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=say(OK_JSON)).listening() as primary,
            Origin(on_request=say(OTHER)).listening() as shadow,
        ):
            configuration = document(primary, shadow.port, shadow={"control": 0})
            configuration["routes"][0] |= {"unit": unit, **route} if unit else route
            async with staged(configuration) as stage:
                await converse(stage.port, request)
                await until(lambda: len(stage.outbox), "the pair")
                batch = stage.outbox.next_batch()
                assert batch is not None
                found.append(batch.pairs[0].asked)

    play()
    return found[0]


@pytest.mark.parametrize(
    ("unit", "request_bytes", "expected"),
    [
        ("header:X-User", get("/", "x-user: alice"), "alice"),
        ("cookie:uid", get("/", "Cookie: a=1; uid=alice"), "alice"),
        ("query:uid", get("/?uid=al%20ice&x=1"), "al ice"),
        ("ip", get(), "127.0.0.1"),
        ("header:X-User", get(), ""),
        ("", get("/", "X-User: alice"), ""),
    ],
)
def test_the_unit_is_where_the_route_finds_it(unit: str, request_bytes: bytes, expected: str) -> None:
    """As the decision reads it, and with the place, so that it can be hidden there."""
    asked = asked_by(request_bytes, unit)
    assert (asked.unit, asked.unit_at, asked.primary) == (expected, unit.lower(), "v1")


def test_lines_go_along_without_credentials() -> None:
    """In their order, as spelled; a credential keeps its name alone."""
    asked = asked_by(
        get("/", "X-One: 1", "Authorization: Bearer abc", "X_Api_Key: k", "cookie: a=b", "Accept: */*")
    )
    assert asked.lines.split(b"\r\n") == [
        b"Host: shop",
        b"X-One: 1",
        b"Authorization:",
        b"X_Api_Key:",
        b"cookie:",
        b"Accept: */*",
    ]


def test_the_shadow_still_gets_all_that_it_may_see() -> None:
    """What a pair leaves out was not taken from anybody's lines."""
    asked = asked_by(get("/", "X-One: 1", "Cookie: a=b"))
    again = asked_by(get("/", "X-One: 1", "Cookie: a=b"))
    assert asked.lines == again.lines == b"Host: shop\r\nX-One: 1\r\nCookie:"


@pytest.mark.parametrize("size", [1, KEPT_BYTES, KEPT_BYTES + 1, 100_000])
def test_a_small_body_goes_along(size: int) -> None:
    """Byte for byte; of a longer one, how long it was."""
    body = bytes(range(256)) * (size // 256 + 1)
    asked = asked_by(post(body[:size]))
    assert asked.body_bytes == size
    assert asked.body == (body[:size] if size <= KEPT_BYTES else b"")
