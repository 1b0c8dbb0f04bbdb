"""`understudy.comparators.report`: verdicts from counts, in the shape of DESIGN §8."""

import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from understudy.comparators import Difference, Key, bucket, observe, report

SERVICE, ENDPOINT = "v2", "GET /x"


def differ(*places: tuple[str, str]) -> list[Difference]:
    return [Difference(path=path, kind=kind, primary=1, shadow=2) for path, kind in places]


def seen(
    exchanges: int,
    shadow: list[Difference],
    control: list[Difference] | None = None,
    *,
    endpoint: str = ENDPOINT,
) -> Counter[Key]:
    """*exchanges* times the same."""
    one: Counter[Key] = Counter()
    observe(one, service=SERVICE, endpoint=endpoint, differences=shadow, control_differences=control)
    return Counter({key: n * exchanges for key, n in one.items()})


def findings(whole: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (finding["path"], finding["kind"]): finding["verdict"]
        for endpoint in whole["endpoints"]
        for finding in endpoint["findings"]
    }


VALUE, MISSING = ("/body/at", "value"), ("/body/at", "missing")


def test_nothing_seen_is_undecided() -> None:
    """No exchange is no evidence."""
    whole = report({})
    assert (whole["verdict"], whole["exchanges"], whole["endpoints"]) == ("undecided", 0, [])
    assert whole["needed"] > 0


def test_equal_answers_are_clean_only_when_there_are_enough() -> None:
    """Ten equal answers prove little; five hundred prove fewer than 1 %."""
    few = report(seen(10, [], []), control_share=1.0)
    assert (few["verdict"], few["endpoints"][0]["verdict"]) == ("undecided", "undecided")
    many = report(seen(10 + few["needed"], [], []), control_share=1.0)
    assert (many["verdict"], many["needed"], many["endpoints"][0]["verdict"]) == ("clean", None, "clean")
    assert many["endpoints"][0]["findings"] == []


def test_a_clock_is_noise_and_the_run_clean() -> None:
    """Differs in shadow and control alike."""
    whole = report(seen(500, differ(VALUE), differ(VALUE)), control_share=1.0)
    assert findings(whole) == {VALUE: "noise"}
    assert (whole["verdict"], whole["endpoints"][0]["verdict"]) == ("clean", "clean")


def test_value_noise_never_excuses_a_missing_field() -> None:
    """The same path: noise of one kind, regression of the other."""
    evidence = seen(300, differ(VALUE), differ(VALUE)) + seen(30, differ(MISSING), differ(VALUE))
    whole = report(evidence, control_share=1.0)
    assert findings(whole) == {VALUE: "noise", MISSING: "regression"}
    assert whole["verdict"] == "regression"


def test_a_field_that_comes_and_goes_in_the_control_too_is_noise() -> None:
    """Missing as often between primary and control."""
    chance, evidence = Random(4), Counter[Key]()
    for _ in range(600):
        shadow, control = (differ(MISSING) if chance.random() < 0.3 else [] for _ in range(2))
        evidence += seen(1, shadow, control)
    assert findings(report(evidence, control_share=1.0)) == {MISSING: "noise"}


def test_without_control_nothing_is_clean_that_always_differs() -> None:
    """With control switched off it is a regression by tolerance, and the report says what that means."""
    off = report(seen(1000, differ(VALUE)), control_share=0.0)
    assert findings(off) == {VALUE: "regression"}
    assert "no noise was learned" in off["notes"][0]
    asked = report(seen(1000, differ(VALUE)), control_share=0.1)
    assert (findings(asked), asked["verdict"]) == ({VALUE: "undecided"}, "undecided")
    assert "no noise was learned" in asked["notes"][0]


def test_methods_that_are_never_asked_twice_are_judged_by_tolerance() -> None:
    """POST has no control answers even where the rest has; a note says so."""
    evidence = seen(100, differ(VALUE), endpoint="POST /x") + seen(500, [], [])
    whole = report(evidence, control_share=1.0)
    assert findings(whole) == {VALUE: "regression"}
    assert whole["endpoints"][0]["findings"][0]["basis"] == "tolerance"
    assert "asked twice" in whole["notes"][0]


def test_an_undecided_finding_says_how_many_more() -> None:
    """After as many more of the same, the verdict falls."""
    early = report(seen(4, differ(VALUE), []), control_share=1.0)
    finding = early["endpoints"][0]["findings"][0]
    assert finding["verdict"] == "undecided"
    later = report(seen(4 + finding["needed"], differ(VALUE), []), control_share=1.0)
    assert findings(later) == {VALUE: "regression"}
    before = report(seen(3 + finding["needed"], differ(VALUE), []), control_share=1.0)
    assert findings(before) == {VALUE: "undecided"}


def test_forgiven_differences_stand_there_as_ignored() -> None:
    """Known noise is counted, never hidden, and does not change the verdict."""
    forgiven = [Difference(path="/body/t", kind="value", primary=1, shadow=2, ignored=True)]
    whole = report(seen(500, forgiven, []), control_share=1.0)
    assert findings(whole) == {("/body/t", "value"): "ignored"}
    assert whole["endpoints"][0]["findings"][0]["ignored"] == 500
    assert (whole["verdict"], whole["ignored"], whole["matched"]) == ("clean", 500, 0)


def test_the_shape_of_design() -> None:
    """Every key of DESIGN §8 stands where it says, and all of it is JSON."""
    evidence = seen(40, differ(VALUE), []) + seen(
        60, differ(("/body/p", "extra")), differ(("/body/p", "extra"))
    )
    for key, n in {
        ("mirror", SERVICE, "eligible", ""): 110,
        ("mirror", SERVICE, "skipped", "body_too_large"): 6,
        ("mirror", SERVICE, "dropped", "in_flight"): 4,
        ("mirror", SERVICE, "sent", ""): 100,
        ("mirror", SERVICE, "answered", ""): 100,
        ("control", "v1", "sent", ""): 100,
        ("latency", SERVICE, ENDPOINT, "primary", str(bucket(0.01))): 100,
        ("latency", SERVICE, ENDPOINT, "shadow", str(bucket(0.011))): 100,
    }.items():
        evidence[key] += n
    sample = {"primary": "1", "shadow": "2"}
    whole = report(evidence, samples={(SERVICE, ENDPOINT, *VALUE): [sample]}, control_share=1.0)
    json.dumps(whole, allow_nan=False)
    assert whole["mirror"] == {
        "eligible": 110,
        "sent": 100,
        "skipped": {"body_too_large": 6},
        "dropped": {"in_flight": 4},
        "answered": 100,
        "failed": {},
    }
    (endpoint,) = whole["endpoints"]
    assert endpoint["latency"]["primary"]["p50"] == pytest.approx(0.01, rel=0.02)
    assert endpoint["latency"]["verdict"] == "clean"
    assert endpoint["latency"]["shadow"]["p99"] == pytest.approx(0.011, rel=0.02)
    first = endpoint["findings"][0]
    assert (first["path"], first["kind"], first["verdict"]) == (*VALUE, "regression")
    assert (first["differing"], first["control_differing"], first["rate"], first["needed"]) == (
        40,
        0,
        0.4,
        None,
    )
    assert first["samples"] == [sample]
    assert first["e_value"] > 1000
    assert first["interval"][0] < 0.4 < first["interval"][1]
    assert whole["summary"].startswith("regression: 1 regression at 1 endpoint; 1 noise")


def test_findings_stand_in_the_order_of_their_weight() -> None:
    """Regressions first, the ones that break clients before the ones that add something."""
    places = [("/body/new", "extra"), ("/body/gone", "missing"), ("/body/v", "value")]
    whole = report(seen(100, differ(*places), []), control_share=1.0)
    assert [f["kind"] for f in whole["endpoints"][0]["findings"]] == ["missing", "value", "extra"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("mirror", SERVICE, "failed", "timeout"), "v2 gave no answer to 50 of 550 copies (timeout 50)"),
        (("exchange", SERVICE, ENDPOINT, "not_compared"), "50 pairs of answers could not be compared"),
    ],
)
def test_what_was_not_compared_keeps_a_run_from_being_clean(key: Key, words: str) -> None:
    """A shadow that often fails, or pairs nobody looked at, are no sign of health."""
    evidence = seen(500, [], [])
    evidence.update({("mirror", SERVICE, "sent", ""): 550, key: 50})
    whole = report(evidence, control_share=1.0)
    assert whole["verdict"] == "undecided"
    assert words in whole["notes"][0]


def test_every_answered_copy_is_in_the_report() -> None:
    """Answered = compared + not compared + unpaired, so that nothing is lost silently."""
    evidence = seen(500, [], [])
    evidence.update({("exchange", SERVICE, ENDPOINT, "unpaired"): 7})
    assert report(evidence, control_share=1.0)["unpaired"] == 7


def slow(primary: list[float], shadow: list[float]) -> str:
    evidence = seen(len(primary), [], [])
    for side, times in (("primary", primary), ("shadow", shadow)):
        for seconds in times:
            evidence["latency", SERVICE, ENDPOINT, side, str(bucket(seconds))] += 1
    whole = report(evidence, control_share=1.0)
    assert whole["verdict"] == "clean"
    return str(whole["endpoints"][0]["latency"]["verdict"])


@pytest.mark.parametrize(
    ("factor", "added", "expected"),
    [(1.0, 0.0, "clean"), (1.05, 0.0, "clean"), (1.5, 0.0, "regression"), (1.0, 0.06, "regression")],
)
def test_latency_is_judged_with_tolerance(factor: float, added: float, expected: str) -> None:
    """10 % or 5 ms are forgiven; half as slow again, or 60 ms more, are not."""
    chance = Random(7)
    primary = [chance.lognormvariate(-2.5, 0.6) for _ in range(1200)]
    shadow = [factor * chance.lognormvariate(-2.5, 0.6) + added for _ in range(1200)]
    assert slow(primary, shadow) == expected


def test_a_slow_tail_is_found() -> None:
    """Most answers as before, one in ten 400 ms later."""
    chance = Random(9)
    primary = [chance.uniform(0.01, 0.02) for _ in range(600)]
    shadow = [chance.uniform(0.01, 0.02) + 0.4 * (i % 10 == 0) for i in range(600)]
    assert slow(primary, shadow) == "regression"


def lossy(missed: int) -> dict[str, Any]:
    """990 of 1,000 pairs equal, 10 differing in a path, and *missed* more that nobody looked at."""
    evidence = seen(990, [], []) + seen(10, differ(VALUE), [])
    evidence["exchange", SERVICE, ENDPOINT, "not_compared"] = missed
    return report(evidence, control_share=1.0)


def test_an_interval_holds_what_the_missed_pairs_may_have_shown() -> None:
    """Only unequal pairs are missed: if all 90 differed here too, the rate is 100 of 1,090."""
    (finding,) = lossy(90)["endpoints"][0]["findings"]
    low, high = finding["interval"]
    assert low < 10 / 1090
    assert high > 100 / 1090
    assert lossy(0)["endpoints"][0]["findings"][0]["interval"][1] < 100 / 1090


def test_a_bound_on_the_unseen_counts_missed_pairs_as_seen() -> None:
    """What nobody looked at may have been the difference."""
    assert lossy(90)["endpoints"][0]["at_most"] > 90 / 1090


def test_few_missed_pairs_are_told_too() -> None:
    """Also where they are too few to forbid a clean verdict, and only then is one spoken."""
    evidence = seen(5000, [], [])
    evidence["exchange", SERVICE, ENDPOINT, "not_compared"] = 3
    whole = report(evidence, control_share=1.0)
    assert whole["verdict"] == "clean"
    assert "3 pairs of answers could not be compared" in whole["notes"][0]
    evidence["exchange", SERVICE, ENDPOINT, "exchanges"] = 420  # 3 of 423 may well be more than 1 %
    blind = report(evidence, control_share=1.0)
    assert (blind["verdict"], blind["endpoints"][0]["verdict"]) == ("undecided", "undecided")


def test_lost_control_calls_are_told() -> None:
    """A control that fails looks calm; the reader learns how often, and why."""
    evidence = seen(500, [], [])
    evidence.update({("control", "v1", "sent", ""): 550, ("control", "v1", "failed", "timeout"): 50})
    evidence["control", "v1", "dropped", "in_flight"] = 10
    (note,) = report(evidence, control_share=1.0)["notes"]
    assert "60 of 560 control calls brought no answer (in_flight 10, timeout 50)" in note


def test_control_calls_that_are_under_way_have_not_failed() -> None:
    """Before the first control answer, sent is not lost."""
    evidence = seen(5, [])
    evidence["control", "v1", "sent", ""] = 2
    assert "none came yet" in report(evidence, control_share=1.0)["notes"][0]


def test_a_run_is_clean_only_when_each_of_its_services_is() -> None:
    """Two versions in the dark: 500 exchanges of one say nothing about the other's ten, or none."""
    evidence = seen(990, [], [])
    observe(evidence, service="v3", endpoint=ENDPOINT, differences=[], control_differences=[])
    for key in [key for key in evidence if key[1] == "v3"]:
        evidence[key] = 10
    whole = report(evidence, control_share=1.0)
    assert (whole["verdict"], whole["needed"]) == ("undecided", 39_900)  # 399 more, of which v3 gets 1 in 100
    silent = report(seen(990, [], []) + Counter({("mirror", "v3", "eligible", ""): 5}), control_share=1.0)
    assert silent["verdict"] == "undecided"


def test_a_run_without_any_difference_says_so() -> None:
    """Noise is named only where there was some."""
    assert report(seen(500, [], []), control_share=1.0)["summary"].startswith("clean: no difference (")


def test_a_run_whose_copies_were_held_back_is_not_clean() -> None:
    """A shadow that fails opens the breaker: few copies fail, most are never sent. Half are too many."""
    flow = {
        ("mirror", SERVICE, "sent", ""): 505,
        ("mirror", SERVICE, "failed", "refused"): 5,
        ("mirror", SERVICE, "dropped", "breaker"): 500,
    }
    broken = report(seen(500, [], []) + Counter(flow), control_share=1.0)
    assert broken["verdict"] == "undecided"
    assert "v2 gave no answer to 505 of 1,005 copies (breaker 500, refused 5)" in broken["notes"][0]
    busy = {("mirror", SERVICE, "sent", ""): 500, ("mirror", SERVICE, "dropped", "in_flight"): 600}
    blind = report(seen(500, [], []) + Counter(busy), control_share=1.0)
    assert blind["verdict"] == "undecided"
    assert "600 of 1,100 copies for v2 were dropped (in_flight 600), half and more" in blind["notes"][0]
    busy["mirror", SERVICE, "dropped", "in_flight"] = 100
    told = report(seen(500, [], []) + Counter(busy), control_share=1.0)
    assert told["verdict"] == "clean"
    assert "busy times count for less" in told["notes"][0]


def test_differences_of_one_unit_are_said_to_wait_for_others() -> None:
    """A thousand requests of one visitor: the report names what is missing."""
    evidence: Counter[Key] = Counter()
    for i in range(50):
        observe(
            evidence,
            service=SERVICE,
            endpoint=ENDPOINT,
            differences=differ(VALUE),
            control_differences=[],
            repeated=[VALUE] if i else [],
        )
    whole = report(evidence, control_share=1.0)
    (finding,) = whole["endpoints"][0]["findings"]
    assert (finding["verdict"], finding["rate"]) == ("undecided", 1.0)
    assert finding["units"] == {"differing": 1, "control_differing": 0}
    assert "requests of other units" in whole["notes"][0]
    assert report(seen(5, differ(VALUE), []))["endpoints"][0]["findings"][0]["units"] is None


def test_a_report_lists_the_heaviest_and_judges_all() -> None:
    """Regressions before noise, the heaviest first; verdicts, counts and numbers needed are of all."""
    names = ("/body/a", "/body/b", "/body/c", "/body/d")
    noisy = [Difference(path=path, kind="value", primary=1, shadow=2) for path in names]
    evidence = seen(400, [*noisy, *differ(("/body/gone", "missing"))], noisy)
    whole = report(evidence, control_share=1.0, most_findings=3)
    (endpoint,) = whole["endpoints"]
    assert [finding["path"] for finding in endpoint["findings"]] == ["/body/gone", "/body/a", "/body/b"]
    assert endpoint["omitted"] == 2
    assert "4 noise" in whole["summary"]
    assert whole["notes"][-1] == "2 lighter findings judged but not listed."
