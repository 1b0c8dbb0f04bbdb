"""Geometry of the pictures."""

from hypothesis import given
from hypothesis import strategies as st
from report_examples import endpoint, full

from understudy.report.chart import Scale, flow_bars, stacked, time_bar, time_scale
from understudy.report.view import Flow, read_report

TIMES = st.floats(min_value=1e-7, max_value=1e5)


def test_the_axis_has_round_ends() -> None:
    """From 4 ms to 310 ms the axis runs from 2 or 4 rounded down to 310 rounded up."""
    scale = time_scale(read_report(full()).endpoints)

    assert scale is not None
    assert (round(scale.low, 6), round(scale.high, 6)) == (0.002, 0.5)


def test_without_times_there_is_no_axis() -> None:
    """An endpoint that was never answered has no picture."""
    report = full() | {"endpoints": [endpoint("GET /", latency={})]}

    assert time_scale(read_report(report).endpoints) is None


@given(st.tuples(TIMES, TIMES, TIMES, TIMES))
def test_bars_stay_within_the_picture(times: tuple[float, float, float, float]) -> None:
    """Every bar lies between 0 and 100 percent and can be seen, and so does every label."""
    latency = {"primary": {"p50": times[0], "p99": times[1]}, "shadow": {"p50": times[2], "p99": times[3]}}
    scale = time_scale(read_report(full() | {"endpoints": [endpoint("GET /", latency=latency)]}).endpoints)

    assert scale is not None
    bar = time_bar(scale, "primary", times[0], times[1])
    assert bar is not None
    assert 0 <= bar.start <= bar.start + bar.width <= 100.01
    assert bar.width >= 1
    assert scale.ticks
    assert all(0 <= tick.at <= 100 for tick in scale.ticks)
    assert all(
        after.at - before.at >= 19.9 for before, after in zip(scale.ticks, scale.ticks[1:], strict=False)
    )


def test_equal_factors_are_equal_lengths() -> None:
    """Twice as slow looks the same for fast and slow endpoints."""
    scale = Scale(low=0.001, high=1.0)

    fast, slow = scale.at(0.004) - scale.at(0.002), scale.at(0.4) - scale.at(0.2)

    assert abs(fast - slow) < 0.02


def test_every_copy_has_its_share_of_the_line() -> None:
    """The parts of the mirrored copies add up to the whole."""
    flow = Flow(eligible=10, sent=8, answered=5, skipped=(("a", 1),), dropped=(("b", 1),), failed=(("c", 1),))

    bars = flow_bars(flow)

    assert [(bar.name, bar.number) for bar in bars] == [
        ("answered", 5),
        ("in flight", 2),
        ("failed", 1),
        ("skipped", 1),
        ("dropped", 1),
    ]
    assert abs(sum(bar.width for bar in bars) - 100) < 0.01


def test_nothing_is_drawn_of_nothing() -> None:
    """No requests, no bars."""
    assert stacked([("stable", 0)]) == ()
