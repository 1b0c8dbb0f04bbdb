"""Which flags look finished, and why; and that nothing is said that is not known."""

from typing import Any

import pytest

from understudy.transfer import Use, stale_flags

NOW = 1_800_000_000.0
DAYS = 30
TWO: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
CLOCK = {"var": "$flagd.timestamp"}
SPLIT = {"fractional": [["on", 50], ["off", 50]]}


def _kinds(flag: Any, *, past: Any = "same", **more: Any) -> list[str]:
    """The reasons for *flag*, which was as it is *past* days ago unless that says otherwise."""
    document: dict[str, Any] = {"flags": {"f": flag}, "routes": [], "killed": [], **more.pop("document", {})}
    before = document if past == "same" else past
    usage = more.pop("usage", None)
    found = stale_flags(document, past=before, now=NOW, days=DAYS, usage=usage)
    return [reason.kind for one in found for reason in one.reasons if one.flag == "f"]


def test_a_flag_in_use_is_not_stale() -> None:
    """A split, and somebody who asks."""
    assert _kinds({**TWO, "targeting": SPLIT}, usage={"f": Use(last_at=NOW - 5)}) == []


@pytest.mark.parametrize(
    "flag",
    [
        TWO,
        {**TWO, "state": "DISABLED", "targeting": SPLIT},
        {**TWO, "targeting": {"fractional": [["on", 100], ["off", 0]]}},
        {**TWO, "targeting": {"if": [{"in": ["a", {"var": "b"}]}, "on", "on"]}},
        {**TWO, "targeting": {"if": [{"in": ["a", {"var": "b"}]}, "off"]}},
    ],
)
def test_one_variant_for_everybody_is_settled(flag: Any) -> None:
    """By whichever way, once it has been so for long."""
    assert _kinds(flag) == ["settled"]
    assert _kinds(flag, past=None) == []
    assert _kinds(flag, past={"flags": {}}) == []
    assert _kinds(flag, past={"flags": {"f": {**TWO, "targeting": {"if": [SPLIT, "on"]}}}}) == []


@pytest.mark.parametrize(
    "flag",
    [
        {**TWO, "targeting": {"if": [{"in": ["a", {"var": "b"}]}, "on"]}},
        {**TWO, "targeting": {"var": "wanted"}},
        {**TWO, "variants": {"off": False}},
    ],
)
def test_what_is_open_or_has_no_choice_is_not_settled(flag: Any) -> None:
    """A rule that computes its answer, a named variant beside the default, a single variant."""
    assert _kinds(flag) == []


def test_a_shared_rule_that_changed_keeps_a_flag_fresh() -> None:
    """The flag says the same, but means another thing."""
    flag = {**TWO, "targeting": {"if": [{"$ref": "s"}, "off", "off"]}}
    document = {"$evaluators": {"s": {"var": "a"}}}
    before = {"flags": {"f": flag}, "$evaluators": {"s": {"var": "b"}}}
    assert _kinds(flag, document=document, past=before) == []
    assert _kinds(flag, document=document) == ["settled"]


def test_a_long_kill_is_told() -> None:
    """One of today is not; and a killed flag is not called settled."""
    killed = {"killed": ["f"]}
    assert _kinds({**TWO, "targeting": SPLIT}, document=killed) == ["killed"]
    assert _kinds(TWO, document=killed, past={"flags": {"f": TWO}, "killed": []}) == []


def test_the_archive_is_told_alone() -> None:
    """What is archived needs no other reason."""
    flag = {**TWO, "state": "DISABLED", "metadata": {"archived": True, "owner": "ann"}}
    assert _kinds(flag) == ["archived"]
    (found,) = stale_flags({"flags": {"f": flag}}, past={"flags": {"f": flag}}, now=NOW, days=DAYS)
    assert found.owner == "ann"
    assert _kinds(flag, past=None) == []


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        ({"<": [CLOCK, NOW - 1]}, ["ended"]),
        ({"<=": [0, CLOCK, NOW - 1]}, ["ended"]),
        ({">": [NOW - 1, CLOCK]}, ["ended"]),
        ({"<": [CLOCK, NOW + 1]}, []),
        ({">=": [CLOCK, NOW - 1]}, []),
        ({"<": [NOW - 1, CLOCK]}, []),
    ],
)
def test_a_schedule_that_has_ended_is_told(condition: Any, kinds: list[str]) -> None:
    """However the comparison is written; one that has begun or will end is none."""
    assert _kinds({**TWO, "targeting": {"if": [condition, "on", SPLIT]}}) == kinds


def test_a_routing_flag_without_route_is_told() -> None:
    """Its variants name services, and nobody asks it."""
    flag = {**TWO, "variants": {"a": {"serve": "a"}, "b": {"serve": "b"}}, "targeting": {"var": "x"}}
    assert _kinds(flag) == ["unrouted"]
    assert _kinds(flag, document={"routes": [{"path": "/", "flag": "f"}]}) == []


def test_a_prerequisite_on_the_archive_is_told() -> None:
    """It can only ever say one thing."""
    old = {**TWO, "state": "DISABLED", "metadata": {"archived": True}}
    flag = {**TWO, "targeting": {"if": [{"===": [{"flag": ["old"]}, "on"]}, "on", "off"]}}
    assert _kinds(flag, document={"flags": {"f": flag, "old": old}}) == ["prerequisite"]


@pytest.mark.parametrize(
    ("usage", "kinds"),
    [
        (None, []),
        ({}, ["unused"]),
        ({"f": Use(last_at=None)}, ["unused"]),
        ({"f": Use(last_at=NOW - 31 * 86_400)}, ["unused"]),
        ({"f": Use(last_at=NOW - 29 * 86_400)}, []),
    ],
)
def test_what_nobody_evaluates_is_told_when_that_is_known(usage: Any, kinds: list[str]) -> None:
    """Unknown usage is not no usage; a flag of yesterday has had no time to be used."""
    flag = {**TWO, "targeting": SPLIT}
    assert _kinds(flag, usage=usage) == kinds
    assert _kinds(flag, usage=usage, past={"flags": {}}) == []
