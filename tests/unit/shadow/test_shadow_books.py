"""The books of mirroring: every copy is accounted for, whatever happens to it, and nothing stays held."""

import gc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadow_examples import OK_JSON, Rehearsal, a_copy, assert_conserved, primary_says

from understudy.metrics import WorkerMetrics
from understudy.shadow import Limits, MirroredExchange
from understudy.shadow.call import ShadowCall

LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000
OTHER = OK_JSON.replace(b"1}", b"2}")

ENDS: dict[str, Callable[[Rehearsal, ShadowCall], None]] = {
    "equal": lambda stage, call: stage.connection_of(call).data_received(OK_JSON),
    "unequal": lambda stage, call: stage.connection_of(call).data_received(OTHER),
    "large": lambda stage, call: stage.connection_of(call).data_received(LARGE),
    "garbage": lambda stage, call: stage.connection_of(call).data_received(b"SSH-2.0-OpenSSH\r\n"),
    "half": lambda stage, call: stage.connection_of(call).data_received(OK_JSON[:-3]),
    "reset": lambda stage, call: stage.connection_of(call).connection_lost(ConnectionResetError()),
    "closed": lambda stage, call: stage.connection_of(call).connection_lost(None),
    "silent": lambda stage, call: None,
}

requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "HEAD", "POST"]),
        "override": st.sampled_from(["", "", "DELETE", "GET"]),
        "is_shadow": st.sampled_from([False, False, False, True]),
        "body": st.sampled_from([0, 0, 10, 3000]),
        "control": st.booleans(),
        "pool": st.sampled_from(["", "", "", "full", "refuses"]),
        "ends": st.lists(st.sampled_from(sorted(ENDS)), min_size=3, max_size=3),
        "primary": st.sampled_from(["first", "last", "lost", "large", "lost_before_send"]),
        "later": st.sampled_from([0.0, 0.0, 3.0, 6.0, 11.0]),
        "recorder_full": st.booleans(),
    }
)


def play(stage: Rehearsal, script: dict[str, object]) -> None:
    """One request by *script*, as far as it goes without the clock."""
    stage.chance = 0.0 if script["control"] else 1.0
    stage.recorded.is_full = bool(script["recorder_full"])
    for pool in stage.pools.values():
        pool.is_full = script["pool"] == "full"
        pool.refusal = "pool_full" if script["pool"] == "refuses" else ""
    exchange = stage.begin(
        method=str(script["method"]),
        override=str(script["override"]),
        allowed=("GET", "HEAD", "POST"),
        is_shadow=bool(script["is_shadow"]),
    )
    if exchange is None:
        return
    body = b"b" * int(str(script["body"]))
    if body and not exchange.hold(len(body)):
        stage.mirror.skip(exchange, "budget")
        return
    if script["primary"] == "lost_before_send":
        stage.mirror.skip(exchange, "primary_failed")
        return
    if not stage.mirror.send(exchange, a_copy(str(script["method"]), body=body), stage.control):
        return
    calls = [*exchange.calls, *([exchange.control] if exchange.control else [])]
    if script["primary"] == "first":
        primary_says(exchange)
    ends = script["ends"]
    assert isinstance(ends, list)
    for call, end in zip(calls, ends, strict=False):
        if any(made.caller is call for made in stage.pools[call.target.service].made):
            ENDS[end](stage, call)
    finish(exchange, str(script["primary"]))


def finish(exchange: MirroredExchange, how: str) -> None:
    if how == "last":
        primary_says(exchange)
    elif how == "large":
        primary_says(exchange, LARGE)
    elif how == "lost":
        exchange.primary_lost()


@given(st.lists(requests, min_size=1, max_size=12), st.sampled_from([10_000, 4_000, 1 << 20]))
def test_every_copy_is_accounted_for_whatever_happens(scripts: list[dict[str, object]], budget: int) -> None:
    """eligible = sent + skipped + dropped and sent = answered + failed, for mirrors and controls alike."""
    stage = Rehearsal(limits=Limits(budget_bytes=budget, cap_bytes=2000), services=("v2", "v3"))
    for script in scripts:
        play(stage, script)
        stage.assert_lawful(is_idle=False)
        stage.seconds += float(str(script["later"]))
        stage.mirror.sweep(stage.seconds)
        stage.assert_lawful(is_idle=False)
    stage.mirror.sweep(stage.seconds + 5.1)
    stage.assert_lawful()
    assert stage.metrics.mirror_errors == 0
    assert all(not pool.waiting for pool in stage.pools.values())


@given(st.lists(requests, min_size=1, max_size=12))
def test_every_answer_is_compared_or_counted_as_not(scripts: list[dict[str, object]]) -> None:
    """answered = exchanges + not compared + unpaired: what was asked for is never silently forgotten."""
    stage = Rehearsal(limits=Limits(cap_bytes=2000), services=("v2", "v3"))
    for script in scripts:
        play(stage, script)
    stage.mirror.sweep(stage.seconds + 5.1)
    counts = stage.mirror.drain()
    answered = sum(n for key, n in counts.items() if key[0] == "mirror" and key[2] == "answered")
    settled = sum(
        n
        for key, n in counts.items()
        if key[0] == "exchange" and key[3] in ("exchanges", "not_compared", "unpaired")
    )
    assert answered == settled + len(stage.recorded.pairs)


@given(st.lists(requests, min_size=1, max_size=10))
def test_draining_often_counts_the_same_as_draining_once(scripts: list[dict[str, object]]) -> None:
    """What `drain` tells adds up to the totals, and so does what the metrics say."""
    often, once = Rehearsal(), Rehearsal()
    total: dict[tuple[str, ...], int] = {}
    for script in scripts:
        play(often, script)
        play(once, script)
        for key, n in often.mirror.drain().items():
            assert n > 0
            total[key] = total.get(key, 0) + n
    assert total == once.mirror.drain()
    assert often.mirror.drain() == {}
    assert flows(often.metrics) == flows(once.metrics)
    told = {key[2] for key in total if key[0] == "mirror"}
    assert told == {outcome.split("_")[0] for _, outcome in flows(often.metrics)[0]}


def flows(metrics: WorkerMetrics) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """What the metrics say of copies and of control calls."""
    return dict(metrics.mirror), dict(metrics.control)


def test_a_skipped_body_is_given_back() -> None:
    """A request body that grew too large holds nothing once its copy is skipped."""
    stage = Rehearsal()
    exchange = stage.begun("POST")
    exchange.hold(5000)
    stage.mirror.skip(exchange, "body_too_large")
    assert stage.mirror.held == 0


def test_a_dropped_body_is_given_back() -> None:
    """When every copy is dropped the captured body is given back too."""
    stage = Rehearsal(limits=Limits(budget_bytes=6000))
    exchange = stage.begun("POST")
    exchange.hold(5000)
    assert not stage.mirror.send(exchange, a_copy("POST", body=b"b" * 5000), stage.control)
    assert stage.mirror.held == 0
    assert stage.targets[0].outcomes["dropped", "budget"] == 1


def test_the_budget_bounds_all_copies_together() -> None:
    """Copies beyond the budget are dropped; as soon as some are settled there is room again."""
    stage = Rehearsal(limits=Limits(budget_bytes=1000))
    sent = [stage.sent() for _ in range(8)]
    while stage.mirror.held + 120 <= 1000:
        sent.append(stage.sent())
    assert not stage.mirror.send(stage.begun(), a_copy(body=b"b" * 900), None)
    for exchange, (call,) in sent:
        primary_says(exchange)
        stage.connection_of(call).data_received(OK_JSON)
    assert stage.mirror.held == 0
    stage.sent()


def test_a_shadow_answer_beyond_the_budget_fails_without_blame() -> None:
    """Memory that is missing here says nothing about the service: counted as failed, breaker untouched."""
    stage = Rehearsal(limits=Limits(budget_bytes=1000, cap_bytes=1 << 20))
    for _ in range(6):
        exchange, (call,) = stage.sent()
        connection = stage.connection_of(call)
        connection.data_received(LARGE)
        assert call.failure == "budget"
        primary_says(exchange)
    assert stage.targets[0].outcomes["failed", "budget"] == 6
    assert stage.targets[0].refuses(stage.seconds) == ""
    stage.assert_lawful()


def test_a_primary_answer_beyond_the_budget_is_not_compared() -> None:
    """What was not kept for lack of memory cannot be called different."""
    stage = Rehearsal(limits=Limits(budget_bytes=1000, cap_bytes=1 << 20))
    exchange, (call,) = stage.sent()
    stage.connection_of(call).data_received(OK_JSON)
    primary_says(exchange, LARGE)
    assert stage.recorded.pairs == []
    assert stage.evidence() == {("exchange", "v2", "GET /orders/{id}", "not_compared"): 1}
    stage.assert_lawful()


def test_no_more_than_the_limit_is_in_flight() -> None:
    """The sixty-fifth copy of one service is dropped, and another service is not touched by that."""
    stage = Rehearsal(services=("v2",))
    for _ in range(64):
        stage.sent()
    assert not stage.mirror.send(stage.begun(), a_copy(), stage.control)
    assert stage.targets[0].outcomes["dropped", "in_flight"] == 1
    assert stage.control.refuses(stage.seconds) == ""
    stage.mirror.sweep(stage.seconds + 5.1)
    assert stage.targets[0].in_flight == 0


@pytest.mark.parametrize("size", [0, 64 * 1024])
def test_ten_thousand_slow_copies_wait_within_the_budget(size: int) -> None:
    """However many may wait, their bytes are bounded; all end at their deadline and give everything back."""
    budget = 64 * 1024 * 1024
    stage = Rehearsal(limits=Limits(budget_bytes=budget))
    slow = stage.targets[0]
    slow.in_flight_limit = 20_000
    stage.pools["v2"].is_full = True
    for _ in range(10_000):
        exchange = stage.begun("POST")
        exchange.hold(size)
        stage.mirror.send(exchange, a_copy("POST", body=b"b" * size), None)
        primary_says(exchange)
        assert stage.mirror.held <= budget
    assert slow.sent + slow.outcomes["dropped", "budget"] == 10_000
    assert slow.in_flight == len(stage.pools["v2"].waiting) == (10_000 if not size else slow.sent)
    assert slow.sent > 500
    stage.mirror.sweep(stage.seconds + 5.1)
    assert slow.outcomes["failed", "timeout"] == slow.sent
    assert not stage.pools["v2"].waiting
    stage.assert_lawful()


def test_a_deadline_is_total_and_ends_the_oldest_only() -> None:
    """A shadow that sends a byte a second is cut after the whole time, not after silence."""
    stage = Rehearsal()
    (_, (slow,)), start = stage.sent(), stage.seconds
    connection = stage.connection_of(slow)
    for second in range(1, 5):
        stage.seconds = start + second
        connection.data_received(OK_JSON[second : second + 1] if second > 1 else OK_JSON[:2])
        stage.mirror.sweep(stage.seconds)
        assert not slow.is_done
    _, (young,) = stage.sent()
    stage.mirror.sweep(start + 5.01)
    assert (slow.failure, young.is_done) == ("timeout", False)


def test_shutdown_ends_every_call() -> None:
    """`cancel_all` leaves nothing in flight and nothing held."""
    stage = Rehearsal(services=("v2", "v3"))
    stage.chance = 0.0
    for _ in range(5):
        exchange, _ = stage.sent()
        primary_says(exchange)
    stage.mirror.cancel_all()
    stage.assert_lawful()
    assert stage.targets[1].outcomes["failed", "shutdown"] == 5


def test_when_nobody_is_left_to_compare_with_nothing_of_the_primary_is_kept() -> None:
    """An event stream that outlives its failed copies does not eat the budget."""
    stage = Rehearsal(services=("v2", "v3"))
    exchange, calls = stage.sent()
    exchange.primary_answer(200, [])
    exchange.primary_data(b"x" * 1000)
    for call in calls:
        call.cancel("timeout")
    exchange.primary_data(b"x" * 100_000)
    assert stage.mirror.held == 0
    exchange.primary_complete(3600.0, b"")
    stage.assert_lawful()
    assert stage.evidence() == {}


@pytest.mark.parametrize(
    ("method", "override", "is_asked"),
    [
        ("GET", "", True),
        ("HEAD", "", True),
        ("POST", "", False),
        ("GET", "DELETE", False),
        ("GET", "GET", True),
        ("POST", "GET", False),
    ],
)
def test_the_control_is_asked_for_safe_methods_only(method: str, override: str, is_asked: bool) -> None:
    """A route may mirror writes; the primary's own version is never asked to write twice, by no spelling."""
    stage = Rehearsal()
    stage.chance = 0.0
    exchange = stage.begun(method, override=override, allowed=("GET", "DELETE", "POST"))
    assert stage.mirror.send(exchange, a_copy(method), stage.control)
    assert (exchange.control is not None) is is_asked
    assert stage.control.eligible == int(is_asked)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_control_is_asked_with_its_share(share: float) -> None:
    """Sampling is decided by chance alone: below the share, asked; at it, not."""
    stage = Rehearsal(limits=Limits(control_share=share))
    for hundredth in range(100):
        stage.chance = hundredth / 100
        stage.mirror.send(stage.begun(), a_copy(), stage.control)
        stage.mirror.cancel_all()
        stage.targets[0].failures = stage.control.failures = 0
    assert stage.control.eligible == round(share * 100)


def test_ten_thousand_mirrored_requests_leave_nothing_behind() -> None:
    """No cycle for the collector, no object that stays: equal, unequal, failed, skipped and controlled."""
    stage = Rehearsal(services=("v2", "v3"))

    def once(number: int) -> None:
        stage.chance = 0.0 if number % 3 == 0 else 1.0
        if number % 7 == 0:
            stage.mirror.skip(stage.begun(), "client_aborted")
            return
        exchange, calls = stage.sent()
        primary_says(exchange)
        for call in calls:
            stage.connection_of(call).data_received(OTHER if number % 5 == 0 else OK_JSON)
        stage.recorded.pairs.clear()

    for number in range(100):
        once(number)
    stage.mirror.drain()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for number in range(10_000):
            once(number)
        stage.mirror.drain()
        assert len(gc.get_objects()) - before < 100
        assert gc.collect() == 0
    finally:
        gc.enable()
    stage.assert_lawful()


def test_conservation_is_checked_per_target() -> None:
    """The check itself fails when a copy is lost."""
    stage = Rehearsal()
    stage.begin()
    with pytest.raises(AssertionError):
        assert_conserved(stage.targets[0])


def test_a_copy_without_an_answer_in_time_is_held_against_its_origin() -> None:
    """One that was only waiting for a connection, or was answered in part, says nothing of it."""
    stage = Rehearsal()
    _, (call,) = stage.sent()
    connection = stage.connection_of(call)
    stage.seconds += 5.1
    stage.mirror.sweep(stage.seconds)
    assert connection.health.failures == 1
    _, (call,) = stage.sent()
    stage.connection_of(call).data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    stage.seconds += 5.1
    stage.mirror.sweep(stage.seconds)
    assert connection.health.failures == 0
    stage.pools["v2"].is_full = True
    stage.sent()
    stage.seconds += 5.1
    stage.mirror.sweep(stage.seconds)
    assert connection.health.failures == 0


def test_a_control_of_a_service_that_changed_is_not_asked() -> None:
    """The primary's answer is of the old version, and the new one would be asked for the second."""
    stage = Rehearsal()
    stage.chance = 0.0
    stage.mirror.retire("control", "v1")
    exchange = stage.begun()
    assert stage.mirror.send(exchange, a_copy(), stage.control)
    assert exchange.control is None
    assert stage.control.eligible == 0
    assert stage.mirror.drain()["mirror", "v2", "sent", ""] == 1
