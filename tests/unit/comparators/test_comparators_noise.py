"""The guarantee of `understudy.comparators.noise`, by simulation with seeded chance."""

from math import comb, exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators.noise import (
    FEWEST_KEYS,
    Counts,
    exchanges_for,
    flagged,
    is_noise,
    keys_counted,
    log_e_value,
    log_events,
    log_excess,
    most_unseen,
    rate_interval,
    threshold,
)

FDR = 0.05


class Path:
    """One path under simulation: *d* and *s* are how often shadow and control differ."""

    def __init__(self, d: float, s: float, q: float, chance: Random) -> None:
        self.d, self.s, self.q, self.chance = d, s, q, chance
        self.n = self.m = self.differing = self.control = self.b = self.c = 0

    def see(self) -> None:
        draw = self.chance.random
        shadow, control = draw() < self.d, draw() < self.s
        self.n += 1
        self.differing += shadow
        if draw() < self.q:
            self.m += 1
            self.control += control
            self.b += shadow and not control
            self.c += control and not shadow

    def counts(self) -> Counts:
        return Counts(
            exchanges=self.n,
            with_control=self.m,
            differing=self.differing,
            control_differing=self.control,
            b=self.b,
            c=self.c,
        )


def seen_until_flagged(path: Path, level: float, most: int) -> int:
    for n in range(1, most + 1):
        path.see()
        if log_e_value(path.counts(), path.q) >= level:
            return n
    return most + 1


@pytest.mark.parametrize(("q", "most"), [(1.0, 14), (0.1, 104)])
def test_a_field_that_always_differs_is_found_quickly(q: float, most: int) -> None:
    """Median over runs: ~14 mirrored requests at q = 1, ~104 (10 control calls) at q = 0.1."""
    runs = sorted(seen_until_flagged(Path(1, 0, q, Random(i)), threshold(1, FDR), 500) for i in range(51))
    assert runs[25] <= most


def bad_runs(d: float, s: float, q: float, requests: int, *, runs: int = 25) -> int:
    """In how many runs any of ten paths is flagged at any time, looked at every 20 requests."""
    bad = 0
    for run in range(runs):
        paths = [Path(d, s, q, Random(f"{run}/{i}/{d}/{q}")) for i in range(10)]
        is_bad = False
        for n in range(1, requests + 1):
            for path in paths:
                path.see()
            if n % 20 == 0:
                logs = [log_e_value(p.counts(), q) for p in paths if p.differing or p.control]
                is_bad = is_bad or any(flagged(logs, FDR))
        bad += is_bad
    return bad


@pytest.mark.parametrize(("q", "rate", "requests"), [(1.0, 0.3, 400), (1.0, 0.02, 800), (0.1, 0.3, 1500)])
def test_symmetric_noise_watched_all_the_time_is_hardly_ever_flagged(
    q: float, rate: float, requests: int
) -> None:
    """Ten noisy paths in 25 runs: not more runs with a flag than the promised 5 % (and chance) give."""
    assert bad_runs(rate, rate, q, requests) <= 2


def test_the_simulation_can_flag() -> None:
    """Twice as often as the control is found in every run: the silence above is not deafness."""
    assert bad_runs(0.5, 0.25, 1.0, 400, runs=5) == 5


def test_a_fault_of_one_percent_on_a_clean_path_is_found_in_time() -> None:
    """Planted in one of a hundred answers: within 1,600 pairs in the median of 21 runs."""
    found = []
    for run in range(21):
        chance, n, b = Random(f"planted/{run}"), 0, 0
        while log_e_value(
            Counts(exchanges=n, with_control=n, differing=b, control_differing=0, b=b, c=0), 1.0
        ) < threshold(1, FDR):
            n += 1 + int(log(1 - chance.random()) / log(0.99))
            b += 1
        found.append(n)
    assert sorted(found)[10] <= 1600


def test_diffys_hidden_case_is_found() -> None:
    """Broken in every answer, under noise in 9 of 10: 1,000 of 1,000 against 900 of 1,000."""
    counts = Counts(exchanges=1000, with_control=1000, differing=1000, control_differing=900, b=100, c=0)
    assert flagged([log_e_value(counts, 1.0)], FDR) == [True]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((60, 60, 60, 60, 0, 0), 1.0, True),  # a clock
        ((200, 20, 200, 20, 0, 0), 0.1, True),
        ((400, 400, 120, 118, 60, 58), 1.0, True),  # a list of chance
        ((40, 40, 12, 12, 6, 6), 1.0, True),
        ((20, 20, 2, 2, 1, 1), 1.0, False),  # too few
        ((400, 400, 120, 0, 120, 0), 1.0, False),
        ((50, 50, 50, 45, 5, 0), 1.0, False),  # Diffy's case on its way
        ((400, 0, 400, 0, 0, 0), 0.1, False),
    ],
)
def test_noise_needs_a_control_that_differs_as_often(
    counts: tuple[int, ...], share: float, expected: bool
) -> None:
    """Neither too little evidence nor a lean to the shadow is called noise."""
    names = ("exchanges", "with_control", "differing", "control_differing", "b", "c")
    assert is_noise(Counts(**dict(zip(names, counts, strict=True))), share) is expected


@given(st.integers(0, 50), st.floats(0.05, 1.0))
def test_the_e_value_has_mean_one_under_the_null(total: int, share: float) -> None:
    """Summed over all outcomes of *total* events: exactly 1, so an e-value and no more."""
    theta = 1 / (1 + share)
    mean = sum(
        comb(total, x) * theta**x * (1 - theta) ** (total - x) * exp(log_events(x, total - x, share))
        for x in range(total + 1)
    )
    assert mean == pytest.approx(1.0)


@given(st.integers(1, 500), st.data())
def test_fewer_control_answers_never_raise_the_evidence(n: int, data: st.DataObject) -> None:
    """Reckoning with a smaller share than was asked is safe."""
    x, y = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    low, high = sorted(data.draw(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1))))
    assert log_events(x, y, low) <= log_events(x, y, high) + 1e-9


def test_without_control_only_an_excess_can_be_tested() -> None:
    """A path that always differs exceeds 1 %; one in a hundred does not."""
    always = Counts(exchanges=20, with_control=0, differing=20, control_differing=0, b=0, c=0)
    seldom = Counts(exchanges=1000, with_control=0, differing=10, control_differing=0, b=0, c=0)
    assert log_e_value(always, 0.1) == 0.0
    assert log_excess(always, 0.01) > threshold(1, FDR)
    assert log_excess(seldom, 0.01) < 0.5


@pytest.mark.parametrize("keys", [1, 50, 51, 1000, 30_000])
def test_keys_that_show_up_late_leave_the_rate_as_it_is(keys: int) -> None:
    """However many come, the error they may cost sums up to what is promised; half is for the first."""
    spent = sum(1 / keys_counted(j) for j in range(1, keys + 1))
    assert spent <= 1
    assert keys_counted(keys) >= keys_counted(max(1, keys - 1))
    assert sum(1 / keys_counted(j) for j in range(1, FEWEST_KEYS + 1)) == pytest.approx(0.5)


def test_noise_that_shows_up_path_by_path_is_not_flagged_in_the_end() -> None:
    """3,000 paths, one after another, each with 60 unequal pairs: in ten runs none is ever a regression."""
    flags = 0
    for run in range(10):
        chance = Random(f"late/{run}")
        for known in range(1, 3001, 10):
            level, b = threshold(known, FDR), 0
            for step in range(1, 61):
                b += chance.random() < 0.5
                if b > 0.75 * step and log_events(b, step - b, 1.0) >= level:
                    flags += 1
                    break
    assert flags == 0


def test_e_bh_flags_more_together_than_alone() -> None:
    """Several keys of moderate evidence support each other; one alone does not pass."""
    alone = threshold(1, FDR) - 0.5
    assert flagged([alone], FDR) == [False]
    assert flagged([alone] * 3 + [0.0], FDR) == [True, True, True, False]
    assert flagged([], FDR) == []


@pytest.mark.parametrize(("n", "bound"), [(300, 0.013), (1000, 0.0045), (3000, 0.0017), (10000, 0.00056)])
def test_what_was_never_seen_is_bounded(n: int, bound: float) -> None:
    """The published figures of the Beta(0.5, 50) mixture."""
    assert most_unseen(n) == pytest.approx(bound, rel=0.05)


def test_a_clean_verdict_needs_the_least_number_that_suffices() -> None:
    """One exchange fewer would not do."""
    n = exchanges_for(0.01)
    assert most_unseen(n) <= 0.01 < most_unseen(n - 1)


@given(st.integers(1, 2000), st.data())
def test_an_interval_holds_its_rate(total: int, data: st.DataObject) -> None:
    """0 ≤ low ≤ rate ≤ high ≤ 1."""
    count = data.draw(st.integers(0, total))
    low, high = rate_interval(count, total)
    assert 0 <= low <= count / total <= high <= 1
