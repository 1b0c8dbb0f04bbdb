"""Faults of ours in the log: each kind once in a while, however many requests meet them."""

import logging

import pytest

from understudy.proxy.faults import MOST_KINDS, TOLD_SECONDS, Faults, kind_of


class Desk:
    """Faults at a time of the test's choosing."""

    def __init__(self) -> None:
        self.now = 0.0
        self.faults = Faults("it broke", logging.getLogger("understudy.test"), clock=lambda: self.now)


def raised(error: Exception) -> Exception:
    """*error*, raised here."""
    try:
        raise error
    except Exception as caught:  # noqa: BLE001  it is what was asked for
        return caught


def kinds(number: int) -> list[Exception]:
    """Errors of so many types."""
    return [type(f"Error{place}", (Exception,), {})() for place in range(number)]


def test_a_kind_is_told_once_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """With its trace; then with how many there were since. The message makes no kind of its own."""
    desk = Desk()
    for number in range(100):
        desk.faults.tell(raised(ValueError(f"client {number}")))
    desk.faults.tell(raised(KeyError("x")))
    assert [record.message for record in caplog.records] == ["it broke", "it broke"]
    assert "in raised" in caplog.text

    desk.now = TOLD_SECONDS
    desk.faults.tell(raised(ValueError("client 100")))
    assert caplog.records[-1].message == "it broke (99 more like it since that was last told)"


def test_a_place_makes_a_kind() -> None:
    """The line that raised, not those that called it."""
    found = [raised(ValueError()), raised(ValueError())]
    assert kind_of(found[0]) == kind_of(found[1])
    with pytest.raises(ValueError, match="elsewhere") as caught:
        raise ValueError("elsewhere")
    assert kind_of(caught.value) != kind_of(found[0])


def test_many_kinds_are_told_as_others(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor what is remembered grows; later there is room again."""
    desk = Desk()
    for error in kinds(10 * MOST_KINDS):
        desk.faults.tell(error)
    assert len(caplog.records) == MOST_KINDS + 1
    assert len(desk.faults._told) == MOST_KINDS + 1

    desk.now = TOLD_SECONDS
    desk.faults.tell(kinds(1)[0])
    desk.faults.tell(raised(KeyError("new")))
    assert len(caplog.records) == MOST_KINDS + 3
    assert len(desk.faults._told) == 2
