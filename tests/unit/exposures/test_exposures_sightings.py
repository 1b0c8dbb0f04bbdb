"""Exposures beside the request path: counted all, kept by unit, bounded."""

import threading
from collections import Counter
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.decide import CompiledRules, Decision, Route, compile_rules
from understudy.exposures import Sightings, Told, is_sampled, read_told
from understudy.exposures.sightings import MOST_FRESH, MOST_UNIT_CHARACTERS
from understudy.messages import Head, RequestHead

SHOP = {
    "state": "ENABLED",
    "variants": {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}},
    "defaultVariant": "stable",
    "targeting": {"if": [{"starts_with": [{"var": "targetingKey"}, "c"]}, "canary", "stable"]},
}


@pytest.fixture
def rules() -> CompiledRules:
    """A flag whose canary is met by units that begin with c."""
    return compile_rules(
        flags={"shop": SHOP}, routes=[Route(path="/", flag="shop", unit="cookie:uid")], clock=lambda: 0.0
    )


def asked(rules: CompiledRules, unit: str) -> tuple[Decision, RequestHead]:
    """What a request of *unit* meets."""
    headers = ((b"cookie", f"uid={unit}".encode()),) if unit else ()
    head = RequestHead(path="/a", host="shop", headers=headers)
    decision = rules.decide(head)
    assert decision is not None
    return decision, head


def seen(rules: CompiledRules, sightings: Sightings, *units: str) -> None:
    """Requests of *units*, one each."""
    for unit in units:
        decision, head = asked(rules, unit)
        sightings.meetings(decision.flag, decision.variant).see(decision, head)


def test_every_request_counts_and_a_unit_is_told_once(rules: CompiledRules) -> None:
    """A request without a unit counts too; a unit that comes again is known."""
    sightings = Sightings(1.0)
    seen(rules, sightings, "ann", "carl", "ann", "")
    assert sightings.take(7.0) == Told(
        at=7.0,
        counts={("shop", "stable"): 3, ("shop", "canary"): 1},
        units=[("shop", "stable", "ann"), ("shop", "canary", "carl")],
    )
    seen(rules, sightings, "ann")
    assert sightings.take(8.0) == Told(at=8.0, counts={("shop", "stable"): 1}, units=[])
    assert sightings.take(9.0) is None


def test_full_means_dropped_and_counted(rules: CompiledRules) -> None:
    """Units do so, while they wait to be gathered and while they wait to be told; counts stay whole."""
    sightings = Sightings(1.0, most=2)
    seen(rules, sightings, "ann", "bob", "dan")
    assert sightings.dropped == 1

    many = Sightings(1.0)
    for start in (0, MOST_FRESH - 1):
        seen(rules, many, *(f"u{number}" for number in range(start, start + MOST_FRESH - 1)))
        many.gather()
    told = many.take(1.0)
    assert told is not None
    assert len(told.units) == MOST_FRESH
    assert many.dropped == MOST_FRESH - 2
    assert told.counts["shop", "stable"] == 2 * (MOST_FRESH - 1)
    assert sightings.take(1.0) == Told(
        at=1.0, counts={("shop", "stable"): 3}, units=[("shop", "stable", "ann"), ("shop", "stable", "bob")]
    )


def test_a_unit_that_is_too_long_is_counted_only(rules: CompiledRules) -> None:
    """What clients send cannot fill the memory."""
    sightings = Sightings(1.0)
    seen(rules, sightings, "a" * (MOST_UNIT_CHARACTERS + 1))
    told = sightings.take(1.0)
    assert told is not None
    assert (dict(told.counts), list(told.units)) == ({("shop", "stable"): 1}, [])


def test_without_a_share_no_unit_is_looked_for(rules: CompiledRules) -> None:
    """Evaluations are counted all the same."""
    sightings = Sightings(0.0)
    decision, _ = asked(rules, "ann")
    sightings.meetings("shop", "stable").see(decision, cast("Head", None))
    assert sightings.take(1.0) == Told(at=1.0, counts={("shop", "stable"): 1}, units=[])


def test_a_sample_is_of_units_and_counts_stay_whole(rules: CompiledRules) -> None:
    """A tenth of 4,000 units within five standard deviations, each with all that it met."""
    sightings = Sightings(0.1)
    units = [f"u{number}" for number in range(4000)]
    seen(rules, sightings, *units)
    told = sightings.take(1.0)
    assert told is not None
    assert told.counts["shop", "stable"] == 4000
    assert {unit for _, _, unit in told.units} == {unit for unit in units if is_sampled(unit, 0.1)}
    assert 305 < len(told.units) < 495


@given(unit=st.text(min_size=1), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@settings(max_examples=50)
def test_a_greater_share_keeps_who_was_in(unit: str, shares: tuple[float, float]) -> None:
    """So that raising the share loses nobody; 0 keeps nobody and 1 everybody."""
    assert is_sampled(unit, min(shares)) <= is_sampled(unit, max(shares))
    assert not is_sampled(unit, 0.0)
    assert is_sampled(unit, 1.0)


def test_nothing_is_lost_between_threads(rules: CompiledRules) -> None:
    """Four threads tell while another takes, a new variant among what they tell: all is counted once."""
    sightings = Sightings(1.0)
    decision, _ = asked(rules, "ann")
    heads = [asked(rules, f"u{number}")[1] for number in range(2000)]
    started = threading.Barrier(5)

    def tell(number: int) -> None:
        started.wait()
        for head in heads[number::4]:
            sightings.meetings("shop", "stable").see(decision, head)
            sightings.meetings("shop", f"only {number}").see(None, head)

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    counts: Counter[tuple[str, str]] = Counter()
    units: list[str] = []
    is_last = False
    while not is_last:
        is_last = not any(thread.is_alive() for thread in threads)
        told = sightings.take(1.0)
        counts.update(told.counts if told is not None else {})
        units += [unit for _, _, unit in told.units] if told is not None else []

    assert counts == {("shop", "stable"): 2000} | {("shop", f"only {number}"): 500 for number in range(4)}
    assert sorted(units) == sorted(f"u{number}" for number in range(2000))


def test_a_head_that_cannot_be_read_is_counted_without_its_unit(rules: CompiledRules) -> None:
    """Whatever an application was handed: telling of it raises nothing."""
    sightings = Sightings(1.0)
    decision, _ = asked(rules, "ann")
    sightings.meetings("shop", "stable").see(decision, cast("Head", None))
    sightings.meetings("shop", "stable").see_unnamed(4)

    assert sightings.take(1.0) == Told(at=1.0, counts={("shop", "stable"): 5}, units=[])
    assert sightings.dropped == 1


names = st.text(max_size=5)


@given(
    counts=st.dictionaries(st.tuples(names, names), st.integers(1, 10**12), max_size=4),
    units=st.lists(st.tuples(names, names, names), max_size=4),
)
@settings(max_examples=50)
def test_what_is_told_is_read_as_it_was(
    counts: dict[tuple[str, str], int], units: list[tuple[str, str, str]]
) -> None:
    """Whatever the names are."""
    told = Told(at=1.5, counts=Counter(counts), units=units)
    assert read_told(told.plain()) == told
