"""Roles, tokens and how often one may fail."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import (
    Allowance,
    Backoff,
    Role,
    Token,
    digest,
    is_usable,
    read_token,
    secret_matches,
    token_text,
)
from understudy.access.backoff import FREE_FAILURES, MOST_KEYS, MOST_SECONDS, network

TEXT = token_text(b"\x01" * 6, b"\xff" * 32)
KEY = ("10.0.0.1", "010101010101")


def token(*, expires_at: float = 0.0, revoked_at: float = 0.0) -> Token:
    """The token whose text is ``TEXT``."""
    secret = TEXT[-43:]
    return Token(
        selector="01" * 6,
        name="ci",
        role=Role.VIEWER,
        digest=digest(secret),
        created_at=1.0,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


@pytest.mark.parametrize("held", Role)
@pytest.mark.parametrize("needed", Role)
def test_a_role_may_what_those_before_it_may(held: Role, needed: Role) -> None:
    """evaluator, viewer, operator, editor, admin: in this order."""
    order = ["evaluator", "viewer", "operator", "editor", "admin"]

    assert held.may(needed) is (order.index(held) >= order.index(needed))


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_a_token_reads_back(selector: bytes, secret: bytes) -> None:
    """Whatever the random bytes are."""
    found = read_token(token_text(selector, secret))

    assert found is not None
    assert found[0] == selector.hex()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ust_",
        TEXT[:-1],
        TEXT + "A",
        TEXT.upper(),
        " " + TEXT,
        "é",
        TEXT + "\n",
        TEXT.replace("ust", "und"),
    ],
)
def test_what_is_no_token_is_none(text: str) -> None:
    """Nothing is guessed about it."""
    assert read_token(text) is None


def test_only_the_right_secret_matches() -> None:
    """Another one does not, nor any when there is no such token."""
    secret = TEXT[-43:]

    assert secret_matches(token(), secret)
    assert not secret_matches(token(), "A" + secret[1:])
    assert not secret_matches(None, secret)
    assert secret not in repr(token())


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "expected"),
    [(0.0, 0.0, True), (101.0, 0.0, True), (100.0, 0.0, False), (0.0, 50.0, False), (101.0, 50.0, False)],
)
def test_a_token_ends_when_it_expires_or_is_revoked(
    expires_at: float, revoked_at: float, expected: bool
) -> None:
    """At second 100; 0 means never."""
    assert is_usable(token(expires_at=expires_at, revoked_at=revoked_at), 100.0) is expected


def test_a_few_failures_are_free_then_each_doubles_the_wait() -> None:
    """1 s, 2 s, 4 s … 60 s, however many follow."""
    backoff, waits = Backoff(), []
    for _ in range(FREE_FAILURES + 1200):
        backoff.failed(KEY, 100.0)
        waits.append(backoff.wait_seconds(KEY, 100.0))

    assert waits[:FREE_FAILURES] == [0.0] * FREE_FAILURES
    assert waits[FREE_FAILURES : FREE_FAILURES + 8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert waits[-1] == MOST_SECONDS


def test_a_wait_ends() -> None:
    """And another key never had to wait."""
    backoff = Backoff()
    for _ in range(FREE_FAILURES + 3):
        backoff.failed(KEY, 100.0)

    assert backoff.wait_seconds(KEY, 103.0) == 1.0
    assert backoff.wait_seconds(KEY, 104.0) == 0.0
    assert backoff.wait_seconds(("10.0.0.2", KEY[1]), 100.0) == 0.0


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::2", "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_who_has_a_network_is_counted_as_one(peer: str, counted: str) -> None:
    """The last 64 bits of an address of IPv6 are the host's to choose, anew for each guess."""
    assert network(peer) == counted


def test_memory_is_bounded_whoever_comes() -> None:
    """A peer with a million addresses makes us forget others, not grow."""
    backoff, allowance = Backoff(), Allowance(rate=1.0, burst=2.0)
    for number in range(MOST_KEYS + 50):
        backoff.failed((str(number), ""), 100.0)
        allowance.wait_seconds(str(number), 100.0)

    assert (len(backoff), len(allowance)) == (MOST_KEYS, MOST_KEYS)


def test_an_allowance_is_a_burst_then_a_rate() -> None:
    """Two at once, then one every half second; refused ones cost nothing; a clock set back gives nothing."""
    allowance = Allowance(rate=2.0, burst=2.0)

    assert [allowance.wait_seconds("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert allowance.wait_seconds("a", 10.5) == 0.0
    assert allowance.wait_seconds("a", 5.0) == 0.5
    assert allowance.wait_seconds("b", 10.5) == 0.0
    assert math.isclose(allowance.wait_seconds("a", 5.25), 0.25)
