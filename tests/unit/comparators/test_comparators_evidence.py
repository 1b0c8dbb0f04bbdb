"""`understudy.comparators.evidence`: counts that merge by addition."""

from collections.abc import Collection
from random import Random

import pytest
from comparators_examples import compare_json
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import Difference, Key, bucket, merge, observe, quantile


def different(path: str, kind: str = "value", *, ignored: bool = False) -> Difference:
    return Difference(path=path, kind=kind, primary=1, shadow=2, ignored=ignored)


def observed(
    shadow: list[Difference],
    control: list[Difference] | None,
    repeated: Collection[tuple[str, str]] = (),
) -> dict[Key, int]:
    evidence: dict[Key, int] = {}
    observe(
        evidence,
        service="s",
        endpoint="GET /x",
        differences=shadow,
        control_differences=control,
        repeated=repeated,
    )
    return evidence


def of_path(evidence: dict[Key, int], path: str) -> dict[str, int]:
    return {key[5]: n for key, n in evidence.items() if key[0] == "difference" and key[3] == path}


def of_exchange(evidence: dict[Key, int]) -> dict[str, int]:
    return {key[3]: n for key, n in evidence.items() if key[0] == "exchange"}


def test_without_control_only_differing_is_counted() -> None:
    """No control answer, no paired counts."""
    evidence = observed([different("/a")], None)
    assert of_exchange(evidence) == {"exchanges": 1}
    assert of_path(evidence, "/a") == {"differing": 1}


def test_the_four_pairings_are_told_apart() -> None:
    """Shadow alone, both, control alone."""
    evidence = observed([different("/a"), different("/b")], [different("/b"), different("/c")])
    assert of_exchange(evidence) == {"exchanges": 1, "with_control": 1}
    assert of_path(evidence, "/a") == {"differing": 1, "differing_with_control": 1, "b": 1}
    assert of_path(evidence, "/b") == {"differing": 1, "differing_with_control": 1, "control_differing": 1}
    assert of_path(evidence, "/c") == {"control_differing": 1, "c": 1}


def test_kinds_at_one_path_are_paired_apart() -> None:
    """A type change of the shadow is not excused by a value of the control."""
    evidence = observed([different("/a", "type")], [different("/a", "value")])
    assert evidence["difference", "s", "GET /x", "/a", "type", "b"] == 1
    assert evidence["difference", "s", "GET /x", "/a", "value", "c"] == 1


def test_a_unit_that_differed_before_adds_to_the_rates_alone() -> None:
    """Not to b and c, and what the two-stream test must leave out is counted; other places are as ever."""
    again = [("/a", "value"), ("/c", "value")]
    evidence = observed([different("/a"), different("/b")], [different("/c")], again)
    assert of_path(evidence, "/a") == {"differing": 1, "differing_with_control": 1, "differing_again": 1}
    assert of_path(evidence, "/b") == {"differing": 1, "differing_with_control": 1, "b": 1}
    assert of_path(evidence, "/c") == {"control_differing": 1, "control_again": 1}


def test_where_no_unit_repeats_nothing_is_added() -> None:
    """Places that did not differ this time need no key."""
    differences = [different("/a")]
    assert observed(differences, None, [("/z", "value")]) == observed(differences, None)


def test_equal_and_forgiven_exchanges_are_counted_apart() -> None:
    """Matched, or ignored when only rules made it so; forgiven differences are counted, not hidden."""
    assert of_exchange(observed([], [])) == {"exchanges": 1, "with_control": 1, "matched": 1}
    evidence = observed([different("/a", ignored=True)], None)
    assert of_exchange(evidence) == {"exchanges": 1, "ignored": 1}
    assert of_path(evidence, "/a") == {"ignored": 1}


counts = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.integers(0, 9))


@given(st.lists(counts, max_size=4), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_order_or_grouping(parts: list[dict[Key, int]], chance: Random) -> None:
    """Workers may report in any order, in any batches."""
    shuffled = list(parts)
    chance.shuffle(shuffled)
    assert merge(shuffled) == merge(parts)
    assert merge([merge(parts[:1]), merge(parts[1:])]) == merge(parts)


def test_observing_in_two_places_is_observing_in_one() -> None:
    """Evidence of two workers adds up to the evidence of one that saw everything."""
    exchanges = [([different("/a")], None), ([different("/a")], [different("/a")]), ([], [different("/b")])]
    whole: dict[Key, int] = {}
    for shadow, control in exchanges:
        observe(whole, service="s", endpoint="GET /x", differences=shadow, control_differences=control)
    assert merge(observed(*exchange) for exchange in exchanges) == whole


@given(st.floats(1e-6, 1e4))
def test_a_bucket_is_one_percent_wide_around_its_middle(seconds: float) -> None:
    """A quantile of one time gives that time back within 1 %."""
    assert quantile({bucket(seconds): 1}, 0.5) == pytest.approx(seconds, rel=0.0101)


def test_quantiles_are_ranks() -> None:
    """The smallest time that a share q does not exceed."""
    times = {bucket(0.010): 98, bucket(0.5): 1, bucket(2.0): 1}
    assert quantile(times, 0.5) == pytest.approx(0.010, rel=0.011)
    assert quantile(times, 0.99) == pytest.approx(0.5, rel=0.011)
    assert quantile(times, 1.0) == pytest.approx(2.0, rel=0.011)
    assert quantile({}, 0.5) == 0.0
    assert bucket(0.0) == bucket(-1.0) == 0


def test_a_comparison_feeds_evidence() -> None:
    """What `Comparison.compare` gives is what `observe` takes."""
    evidence = observed(compare_json({"a": 1}, {"a": "1"}), compare_json({"a": 1}, {"a": 1}))
    assert evidence["difference", "s", "GET /x", "/body/a", "type", "b"] == 1
