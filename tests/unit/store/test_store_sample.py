"""Which samples are kept."""

import random

from hypothesis import given
from hypothesis import strategies as st

from understudy.store.sample import Bounds, Candidate, keep

candidates = st.lists(
    st.builds(
        Candidate,
        key=st.sampled_from(["a", "b", "c"]),
        priority=st.floats(0, 1, exclude_max=True),
        at=st.floats(0, 100),
        size_bytes=st.integers(0, 50),
        id=st.just(0),
    ),
    max_size=40,
).map(lambda drawn: [candidate._replace(id=number) for number, candidate in enumerate(drawn)])

bounds = st.builds(
    Bounds,
    samples_per_key=st.integers(0, 4),
    samples=st.integers(0, 10),
    sample_bytes=st.integers(0, 200),
    sample_age_seconds=st.floats(0, 100),
)

WIDE = Bounds(samples_per_key=3, samples=10_000, sample_bytes=10**9, sample_age_seconds=1000)


@given(candidates, bounds)
def test_every_bound_holds(drawn: list[Candidate], bound: Bounds) -> None:
    """Count, bytes, age and the count of one key, whatever comes."""
    kept = keep(drawn, bound, now=100)

    assert len(kept) <= bound.samples
    assert sum(candidate.size_bytes for candidate in kept) <= bound.sample_bytes
    assert all(candidate.at >= 100 - bound.sample_age_seconds for candidate in kept)
    assert all(sum(other.key == key for other in kept) <= bound.samples_per_key for key in "abc")


@given(candidates, bounds)
def test_of_one_key_the_lowest_stay(drawn: list[Candidate], bound: Bounds) -> None:
    """Whoever stays has a priority no higher than anybody of its key, old enough to count, who went."""
    kept = keep(drawn, bound, now=100)

    young = [candidate for candidate in drawn if candidate.at >= 100 - bound.sample_age_seconds]
    gone = [candidate for candidate in young if candidate not in kept]
    assert all(stays.priority <= goes.priority for stays in kept for goes in gone if goes.key == stays.key)


@given(candidates, st.integers(0, 40))
def test_batches_do_not_matter(drawn: list[Candidate], cut: int) -> None:
    """Choosing from part one, then from what stayed and part two, is choosing from all at once."""
    first = keep(drawn[:cut], WIDE, now=100)

    assert keep([*first, *drawn[cut:]], WIDE, now=100) == keep(drawn, WIDE, now=100)


@given(candidates, bounds)
def test_choosing_again_changes_nothing(drawn: list[Candidate], bound: Bounds) -> None:
    """What was kept is kept."""
    kept = keep(drawn, bound, now=100)

    assert keep(kept, bound, now=100) == kept


def test_every_place_is_kept_alike() -> None:
    """Of 20 that come one by one, 5 stay: each place is kept 500 times in 2,000 runs.

    Chi-square over 20 cells with a fixed seed; 43.8 is the 99.9 % quantile at 19 degrees of freedom.
    """
    chance = random.Random(5)
    bound = Bounds(samples_per_key=5)
    kept_at = [0] * 20
    for _ in range(2_000):
        kept: list[Candidate] = []
        for place in range(20):
            kept = keep([*kept, Candidate("a", chance.random(), 0.0, 1, place)], bound, now=0.0)
        for candidate in kept:
            kept_at[candidate.id] += 1

    assert sum(kept_at) == 10_000
    assert sum((count - 500) ** 2 / 500 for count in kept_at) < 43.8
