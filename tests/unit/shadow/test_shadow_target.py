"""One shadow service as the mirror sees it: its breaker, its counts, the bytes it is sent."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.forwarding import CONTROL_MARK, CREDENTIALS, SHADOW_MARK, kind_of
from understudy.shadow import Copy, Target
from understudy.shadow.target import BLAMELESS, OPEN_SECONDS, TRIPS_AFTER
from understudy.upstream import Pool

START = b"GET /a HTTP/1.1"


def target(**settings: object) -> Target:
    """A target without a pool: nothing here connects."""
    made = Target(service="v2", role="mirror", pool=cast(Pool, None))
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def failing(times: int, *, now: float = 0.0, reason: str = "timeout") -> Target:
    """A target after that many failures in a row."""
    made = target()
    for _ in range(times):
        made.failed(reason, now)
    return made


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    """One less than the limit keeps it closed, the limit opens it for its period."""
    assert failing(TRIPS_AFTER - 1).refuses(0.0) == ""
    opened = failing(TRIPS_AFTER)
    assert opened.refuses(0.0) == "breaker"
    assert opened.refuses(OPEN_SECONDS - 0.01) == "breaker"


def test_an_answer_in_between_starts_the_count_again() -> None:
    """Only failures in a row count."""
    made = failing(TRIPS_AFTER - 1)
    made.answered()
    made.failed("timeout", 0.0)
    assert made.refuses(0.0) == ""


def test_half_open_lets_one_copy_try() -> None:
    """After the period one copy goes; while it is on its way no other does, however long it hangs."""
    made = failing(TRIPS_AFTER)
    assert made.refuses(OPEN_SECONDS + 0.01) == ""
    made.in_flight = 1
    assert made.refuses(OPEN_SECONDS + 0.02) == "breaker"
    assert made.refuses(OPEN_SECONDS + 4.0) == "breaker"


def test_a_failed_trial_opens_it_for_another_period() -> None:
    """A dead shadow costs one copy a period."""
    made = failing(TRIPS_AFTER)
    made.failed("timeout", OPEN_SECONDS + 5.0)
    assert made.refuses(2 * OPEN_SECONDS + 4.9) == "breaker"
    assert made.refuses(2 * OPEN_SECONDS + 5.1) == ""


def test_an_answered_trial_closes_it() -> None:
    """The service is back: all copies go again."""
    made = failing(TRIPS_AFTER)
    made.answered()
    made.in_flight = 5
    assert made.refuses(0.0) == ""


@pytest.mark.parametrize("reason", sorted(BLAMELESS))
def test_what_is_not_its_fault_never_trips_it(reason: str) -> None:
    """Our own shutdown, memory or exception says nothing about the service."""
    made = failing(3 * TRIPS_AFTER, reason=reason)
    assert made.refuses(0.0) == ""
    assert made.outcomes["failed", reason] == 3 * TRIPS_AFTER


def test_the_limit_of_copies_in_flight_has_its_own_reason() -> None:
    """in_flight, not breaker: the report tells a slow service from a dead one."""
    assert target(in_flight=64).refuses(0.0) == "in_flight"
    assert target(in_flight=63).refuses(0.0) == ""


def test_drain_tells_each_outcome_once() -> None:
    """What was told is not told again; what did not move is not told."""
    made = target(eligible=3, sent=2)
    made.count("skipped", "method")
    made.answered()
    assert made.drain() == {
        ("eligible", ""): 3,
        ("sent", ""): 2,
        ("skipped", "method"): 1,
        ("answered", ""): 1,
    }
    assert made.drain() == {}
    made.failed("reset", 0.0)
    assert made.drain() == {("failed", "reset"): 1}


def copy_of(*lines: bytes, body: bytes | None = None, added: bytes = b"Via: 1.1 us\r\n") -> Copy:
    """A copy with *lines*, its credentials marked as the proxy marks them."""
    at = [i for i, line in enumerate(lines) if kind_of(line.partition(b":")[0]) == kind_of(b"cookie")]
    copy = Copy(START, list(lines), at or None, added, b"X-Understudy-Flag: shop\r\n")
    if body is not None:
        copy.body, copy.is_sized = body, True
    return copy


def test_a_copy_says_what_it_is_and_keeps_the_rest() -> None:
    """Request line, fields in order, ours after them, the mark, the length of the captured body."""
    wire = target().wire(copy_of(b"Host: shop", b"A: 1", b"a: 2", body=b"hi"), SHADOW_MARK)
    assert wire == (
        b"GET /a HTTP/1.1\r\nHost: shop\r\nA: 1\r\na: 2\r\nVia: 1.1 us\r\nX-Understudy-Flag: shop\r\n"
        b"X-Understudy-Shadow: 1\r\nContent-Length: 2\r\n\r\nhi"
    )


def test_a_copy_without_a_body_has_no_length() -> None:
    """A GET gets no Content-Length that the client did not send; an empty sized body keeps its 0."""
    assert b"Content-Length" not in target().wire(copy_of(b"Host: shop"), SHADOW_MARK)
    sized = target().wire(copy_of(b"Host: shop", body=b""), SHADOW_MARK)
    assert sized.endswith(b"Content-Length: 0\r\n\r\n")


SPELLINGS = [
    b"Authorization",
    b"authorization",
    b"AUTHORIZATION",
    b"Cookie",
    b"COOKIE",
    b"X-Api-Key",
    b"X-API-KEY",
    b"x_api_key",
    b"X_Api_Key",
]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("stripped", [CREDENTIALS, frozenset(CREDENTIALS | {b"x-own"})])
def test_credentials_are_stripped_in_every_spelling(name: bytes, stripped: frozenset[bytes]) -> None:
    """Case and underscores carry no credential past; neighbours stay; the copy itself is not changed."""
    lines = [b"Host: shop", name + b": s3cret", b"Accept: */*", name + b": s3cret-again"]
    copy = copy_of(*lines)
    wire = target(stripped=stripped).wire(copy, SHADOW_MARK)
    assert b"s3cret" not in wire
    assert b"Host: shop\r\nAccept: */*\r\n" in wire
    assert copy.lines == lines


@given(st.lists(st.sampled_from([*SPELLINGS, b"Accept", b"X-A", b"X-Api-Keys", b"Cookie2"]), max_size=12))
def test_only_credentials_are_stripped(names: list[bytes]) -> None:
    """The fast way (positions) and the slow one (names) remove the same lines."""
    lines = [name + b": %d" % number for number, name in enumerate(names)]
    fast = target().wire(copy_of(*lines), SHADOW_MARK)
    slow = target(stripped=frozenset(CREDENTIALS)).wire(copy_of(*lines), SHADOW_MARK)
    slower = target(stripped=frozenset(CREDENTIALS | {b"x-never"})).wire(copy_of(*lines), SHADOW_MARK)
    assert fast == slow == slower


def test_own_fields_replace_the_clients() -> None:
    """A service that brings its own Authorization sees that one alone."""
    made = target(
        stripped=frozenset({b"authorization", b"cookie", b"x-api-key"}),
        own_lines=b"Authorization: Bearer its-own\r\n",
    )
    wire = made.wire(copy_of(b"Host: shop", b"Authorization: Bearer users"), SHADOW_MARK)
    assert b"users" not in wire
    assert wire.count(b"Authorization:") == 1


def test_own_fields_replace_ours() -> None:
    """A service that brings its own request id does not see the one that the proxy made."""
    made = target(stripped=CREDENTIALS | {b"x-request-id"}, own_lines=b"X-Request-Id: its-own\r\n")
    copy = copy_of(b"Host: shop")
    copy.added = b"X_Request_Id: ours\r\nVia: 1.1 here\r\n"
    wire = made.wire(copy, SHADOW_MARK)
    assert b"ours" not in wire
    assert b"\r\nVia: 1.1 here\r\nX-Understudy-" in wire
    assert wire.count(b"X-Request-Id:") == 1


def test_a_control_copy_keeps_credentials_and_is_marked_as_control() -> None:
    """The control service is the one the credentials were meant for."""
    wire = target(stripped=frozenset()).wire(copy_of(b"Host: shop", b"Cookie: uid=7"), CONTROL_MARK)
    assert b"Cookie: uid=7\r\n" in wire
    assert b"X-Understudy-Shadow: control\r\n" in wire
