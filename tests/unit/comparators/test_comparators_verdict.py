"""`understudy.comparators.verdict`: what lost control answers may not do, and how many more are needed."""

from collections import Counter
from collections.abc import Callable
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import Difference, Key, Ledger, noise_at, observe
from understudy.comparators.noise import EPSILON, Counts, is_noise, log_e_value, reaching, slopes, threshold
from understudy.comparators.verdict import Judgement, judge

FDR = 0.05
SERVICE, ENDPOINT, PATH, KIND = PLACE = ("v2", "GET /x", "/body/x", "value")


def judged(evidence: Counter[Key], share: float) -> Judgement:
    return judge(evidence, control_share=share, fdr=FDR, epsilon=EPSILON)[PLACE]


def run(
    chance: Random,
    share: float,
    requests: int,
    *,
    differs: Callable[[int], float],
    loses: Callable[[bool], str],
) -> Counter[Key]:
    """*differs*: how often either side differs in a request; *loses*: what became of a control call, by
    whether its answer would differ: a word as in evidence, or empty when it was answered."""
    evidence: Counter[Key] = Counter()
    difference = [Difference(path=PATH, kind=KIND, primary=1, shadow=2)]
    for i in range(requests):
        rate = differs(i)
        shadow = difference if chance.random() < rate else []
        control = difference if chance.random() < rate else []
        outcome = loses(bool(control)) if chance.random() < share else "not asked"
        if outcome in ("dropped", "failed"):
            evidence["control", "v1", outcome, "any"] += 1
        observe(
            evidence,
            service=SERVICE,
            endpoint=ENDPOINT,
            differences=shadow,
            control_differences=None if outcome else control,
        )
    return evidence


@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("run_number", range(4))
def test_control_calls_that_were_dropped_in_busy_hours_make_no_regression(
    share: float, run_number: int
) -> None:
    """Noise comes under load, when control calls are dropped; the control only looks calm."""
    chance, busy = Random(run_number), [False]

    def differs(i: int) -> float:
        busy[0] = i // 250 % 2 == 1
        return 0.3 if busy[0] else 0.01

    evidence = run(
        chance,
        share,
        8000,
        differs=differs,
        loses=lambda _: "dropped" if busy[0] and chance.random() < 0.8 else "",
    )
    assert judged(evidence, share).verdict != "regression"


def test_lost_control_calls_hide_no_real_regression() -> None:
    """A tenth of the control calls fails, and a field that always differs is found all the same."""
    evidence: Counter[Key] = Counter()
    difference = [Difference(path=PATH, kind=KIND, primary=1, shadow=2)]
    for i in range(300):
        observe(
            evidence,
            service=SERVICE,
            endpoint=ENDPOINT,
            differences=difference,
            control_differences=[] if i % 10 == 0 else None,
        )
    evidence["control", "v1", "failed", "timeout"] = 3
    assert judged(evidence, 0.1).verdict == "regression"


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 100))
def test_a_lost_control_call_never_raises_the_evidence(shadow: int, control: int, lost: int) -> None:
    """It may have differed; and it never helps to call anything noise."""
    whole = Counts(
        exchanges=200, with_control=100, differing=shadow, control_differing=control, b=shadow, c=control
    )
    less = Counts(
        exchanges=200,
        with_control=100,
        differing=shadow,
        control_differing=control,
        b=shadow,
        c=control,
        lost=lost,
    )
    assert log_e_value(less, 0.5) <= log_e_value(whole, 0.5)
    assert is_noise(less, 0.5) == is_noise(whole, 0.5)


def test_diffys_hidden_case_is_not_called_noise_on_its_way() -> None:
    """Always broken under noise in 9 of 10, seldom controlled: one agreeing control answer leans enough."""
    counts = Counts(exchanges=200, with_control=20, differing=200, control_differing=19, b=1, c=0)
    assert not is_noise(counts, 0.1)


@given(
    st.integers(1, 400),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 20),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_the_number_needed_is_the_least_that_suffices(n: int, d: int, s: int, b: int, share: float) -> None:
    """At the named multiple of the counts the e-value reaches its level; a little earlier it does not."""
    counts = Counts(
        exchanges=n, with_control=n * share, differing=d, control_differing=s, b=min(b, d), c=min(s, 3)
    )
    level = threshold(1, FDR)
    times = reaching(slopes(counts, share), level)
    if times < 1e9:
        assert log_e_value(counts.scaled(times * (1 + 1e-6)), share) >= level
        assert log_e_value(counts.scaled(times * (1 - 1e-6)), share) < level
    else:
        assert log_e_value(counts.scaled(1e6), share) < level + log(1e6)


def test_while_all_control_calls_fail_no_number_is_named() -> None:
    """However many more requests come: without any control answer nothing is decided."""
    evidence: Counter[Key] = Counter()
    difference = [Difference(path=PATH, kind=KIND, primary=1, shadow=2)]
    for _ in range(50):
        observe(
            evidence,
            service=SERVICE,
            endpoint=ENDPOINT,
            differences=difference,
            control_differences=None,
        )
    assert judged(evidence, 0.1).needed is not None
    evidence["control", "v1", "failed", "refused"] = 5
    assert (judged(evidence, 0.1).verdict, judged(evidence, 0.1).needed) == ("undecided", None)


# -- units that repeat


def visits(
    chance: Random,
    share: float,
    units: int,
    mean: int,
    *,
    shadow: float,
    control: float,
    is_once: bool = True,
) -> Counter[Key]:
    """*units* come up to twice *mean* times; one that is broken on a side differs there every time.

    *shadow*, *control*: how many of the units are broken on that side.
    """
    evidence: Counter[Key] = Counter()
    difference = [Difference(path=PATH, kind=KIND, primary=1, shadow=2)]
    for _ in range(units):
        here = difference if chance.random() < shadow else []
        there = difference if chance.random() < control else []
        repeated: list[tuple[str, str]] = []
        for _ in range(chance.randint(1, 2 * mean)):
            again = there if chance.random() < share else None
            observe(
                evidence,
                service=SERVICE,
                endpoint=ENDPOINT,
                differences=here,
                control_differences=again,
                repeated=repeated,
            )
            if is_once and (here or again):
                repeated = [(PATH, KIND)]
    return evidence


def flags(share: float, *, is_once: bool) -> int:
    """In how many of 20 runs a difference that stays with its unit, on either side alike, is a regression."""
    return sum(
        judged(visits(Random(run), share, 600, 10, shadow=0.1, control=0.1, is_once=is_once), share).verdict
        == "regression"
        for run in range(20)
    )


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_what_stays_with_a_unit_counts_once(share: float) -> None:
    """Each of 600 units may be broken on one side by chance, and meets that ten times."""
    assert flags(share, is_once=True) <= 1


def test_without_the_rule_it_would_be_called_a_regression() -> None:
    """The silence above is the rule's, not the simulation's."""
    assert flags(1.0, is_once=False) >= 3


@pytest.mark.parametrize("run", range(5))
def test_twice_as_many_broken_units_are_not_called_noise(run: int) -> None:
    """Seldom asked control, units that come often: the control has more chances to count once."""
    evidence = visits(Random(run), 0.1, 1500, 10, shadow=0.3, control=0.15)
    assert judged(evidence, 0.1).verdict != "noise"


def test_a_clock_is_noise_also_for_units_that_repeat() -> None:
    """Every answer differs, everywhere."""
    evidence = visits(Random(1), 0.1, 500, 3, shadow=1.0, control=1.0)
    assert judged(evidence, 0.1).verdict == "noise"


def test_a_field_that_is_always_broken_is_found_by_units() -> None:
    """At most 120 units at a tenth of control calls; a single unit proves nothing, however often it comes."""
    assert judged(visits(Random(2), 0.1, 120, 3, shadow=1.0, control=0.0), 0.1).verdict == "regression"
    assert judged(visits(Random(2), 1.0, 1, 200, shadow=1.0, control=0.0), 1.0).verdict == "undecided"


@given(st.integers(1, 300), st.data())
def test_one_more_difference_of_the_shadow_never_excuses_it(n: int, data: st.DataObject) -> None:
    """The e-value rises with what the shadow does, falls with what the control does, whatever the counts."""
    d, s = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    b, c = data.draw(st.integers(0, d)), data.draw(st.integers(0, s))

    def e(more: int, control: int) -> float:
        counts = Counts(
            exchanges=2 * n,
            with_control=n,
            differing=d + more,
            control_differing=s + control,
            b=b + more,
            c=c + control,
        )
        return log_e_value(counts, 0.5)

    assert e(0, 1) <= e(0, 0) <= e(1, 0)


@given(
    st.dictionaries(st.sampled_from(["/a", "/b", "/c"]), st.tuples(st.integers(0, 300), st.integers(0, 30)))
)
def test_what_is_noise_alone_is_noise_among_all(places: dict[str, tuple[int, int]]) -> None:
    """`noise_at`, which asks one endpoint, says what `judge` says of everything."""
    evidence = Counter[Key](
        {
            ("exchange", SERVICE, ENDPOINT, "exchanges"): 400,
            ("exchange", SERVICE, ENDPOINT, "with_control"): 40,
        }
    )
    for path, (differing, control) in places.items():
        evidence["difference", SERVICE, ENDPOINT, path, KIND, "differing"] = differing
        evidence["difference", SERVICE, ENDPOINT, path, KIND, "control_differing"] = control
    whole = judge(evidence, control_share=0.1, fdr=FDR, epsilon=EPSILON)
    known = noise_at(Ledger(evidence), (SERVICE, ENDPOINT), 0.1)
    assert known == {place: judgement.verdict == "noise" for place, judgement in whole.items()}


def test_a_share_that_was_raised_makes_no_regression_of_noise() -> None:
    """A noisy time with few control calls, then a calm one with many: judged by the least share in force."""
    place = ("difference", "v2", "GET /x", "/body/at", "value")
    evidence = {
        ("exchange", "v2", "GET /x", "exchanges"): 2000,
        ("exchange", "v2", "GET /x", "with_control"): 1100,
        (*place, "differing"): 300,
        (*place, "control_differing"): 30,
        (*place, "differing_with_control"): 30,
        (*place, "b"): 21,
        (*place, "c"): 21,
    }

    def verdict(more: dict[tuple[str, ...], int]) -> str:
        (judgement,) = judge({**evidence, **more}, control_share=1.0, fdr=0.05, epsilon=0.01).values()
        return judgement.verdict

    assert verdict({}) == "regression"
    assert verdict({("share", "", "", "0.1"): 1000, ("share", "", "", "1"): 1000}) != "regression"
    assert verdict({("share", "", "", "0"): 1000, ("share", "", "", "1"): 1000}) != "regression"
