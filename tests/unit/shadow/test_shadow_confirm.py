"""Confirmation: a race is gone the second time, a fault is not; asked within the same bounds, never felt."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shadow_examples import OK_JSON, Rehearsal, assert_conserved, primary_says
from shadow_stage import Origin, Visit, converse, document, get, on_uvloop, post, staged, until
from test_shadow_books import ENDS, play, requests

from understudy.comparators import Comparison, parse_compare_rules
from understudy.messages import Again, Answer, Pair
from understudy.shadow import Assessor, Draws, Limits, Redaction, Target
from understudy.shadow.call import ShadowCall
from understudy.shadow.confirm import JSON_BYTES, OTHER_BYTES

OTHER = OK_JSON.replace(b"1}", b"2}")
THIRD = OK_JSON.replace(b"1}", b"3}")


def staged_rehearsal(*, control: bool = False, **limits: int) -> Rehearsal:
    """A rehearsal that confirms; the control is asked too, or not."""
    stage = Rehearsal(limits=Limits(confirm=True, **limits))
    stage.chance = 0.0 if control else 1.0
    return stage


def answered(stage: Rehearsal, calls: Sequence[ShadowCall], *answers: bytes) -> None:
    """Each call gets its answer; empty leaves it waiting."""
    for call, answer in zip(calls, answers, strict=True):
        if answer:
            stage.connection_of(call).data_received(answer)


def again(stage: Rehearsal) -> list[ShadowCall]:
    """The second calls under way: of the primary's version, the shadow, the control."""
    made = [connection.caller for pool in stage.pools.values() for connection in pool.made]
    calls = [call for call in made if isinstance(call, ShadowCall) and call.target.role == "confirm"]
    return sorted(calls, key=lambda call: (call.target.service == "v2", 0))


def book(stage: Rehearsal, service: str) -> Target:
    """The books of the second answers of *service*."""
    (found,) = [target for target in stage.mirror.confirming.targets if target.service == service]
    return found


def lawful(stage: Rehearsal) -> None:
    """The conservation law in every role; nothing is held or lent when all is over."""
    stage.assert_lawful()
    for target in stage.mirror.confirming.targets:
        assert_conserved(target)
    assert all(target.lent == 0 for target in stage.mirror.targets.values())


def test_unequal_answers_wait_for_second_ones() -> None:
    """Nothing is handed on until all sides were asked once more; then the pair has both times."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    assert stage.recorded.pairs == []
    primary, shadow = again(stage)
    assert stage.connection_of(primary).transport is not None
    answered(stage, [primary, shadow], OK_JSON, THIRD)
    (pair,) = stage.recorded.pairs
    assert (pair.primary.body, pair.shadow.body) == (b'{"a":1}', b'{"a":2}')
    assert pair.again is not None
    assert (pair.again.primary.body, pair.again.shadow.body, pair.again.control) == (
        b'{"a":1}',
        b'{"a":3}',
        None,
    )
    assert pair.unconfirmed == ""
    lawful(stage)


def test_the_control_is_asked_once_more_too() -> None:
    """When it was asked the first time, and also when it alone differs: else noise would be learned askew."""
    stage = staged_rehearsal(control=True)
    exchange, calls = stage.sent()
    answered(stage, calls, OK_JSON, OTHER)
    primary_says(exchange)
    second = again(stage)
    assert sorted(call.target.service for call in second) == ["v1", "v1", "v2"]
    for call in second:
        stage.connection_of(call).data_received(OK_JSON)
    (pair,) = stage.recorded.pairs
    assert pair.again is not None
    assert pair.again.control is not None
    lawful(stage)


def test_second_requests_are_the_first_ones() -> None:
    """The primary's version gets what a control gets, the shadow what a copy gets: no credentials."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    first = bytes(calls[0].wire)
    answered(stage, calls, OTHER)
    primary_says(exchange)
    primary, shadow = again(stage)
    assert shadow.wire == first
    assert b"X-Understudy-Shadow: control" in primary.wire
    assert b"Cookie: uid=7" in primary.wire
    assert b"Cookie" not in shadow.wire


def test_equal_answers_cost_nothing_more() -> None:
    """Nobody is asked again, nor when only what rules forgive differs."""
    stage = staged_rehearsal()
    rules, problems = parse_compare_rules([{"endpoint": "*", "ignore": ["/a"]}])
    assert problems == []
    exchange, calls = stage.sent()
    answered(stage, calls, OK_JSON)
    primary_says(exchange)
    stage.mirror.confirming.comparison = Comparison(rules)
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    assert stage.mirror.confirming.targets == []
    (pair,) = stage.recorded.pairs
    assert (pair.again, pair.unconfirmed) == (None, "")


def test_unsafe_methods_are_not_asked_again() -> None:
    """A second POST would order a second time."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent(method="POST")
    answered(stage, calls, OTHER)
    primary_says(exchange)
    assert stage.mirror.confirming.targets == []
    assert len(stage.recorded.pairs) == 1


def test_a_shadow_that_does_not_answer_costs_nothing_more() -> None:
    """Only answers are confirmed."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    primary_says(exchange)
    calls[0].cancel("timeout")
    assert stage.mirror.confirming.targets == []


@pytest.mark.parametrize(
    ("kind", "size", "is_asked"),
    [
        ("application/json", JSON_BYTES, False),
        ("application/json", JSON_BYTES + 1, True),
        ("text/html", OTHER_BYTES, False),
        ("text/html", OTHER_BYTES + 1, True),
        ("application/json\r\nContent-Encoding: gzip", 10, True),
    ],
)
def test_large_answers_are_not_looked_at_in_the_worker(kind: str, size: int, is_asked: bool) -> None:
    """They are asked for again whatever the rules say: comparing them would hold up clients."""
    stage = staged_rehearsal()
    rules, problems = parse_compare_rules([{"endpoint": "*", "ignore": [""]}])
    assert problems == []
    stage.mirror.confirming.comparison = Comparison(rules)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode()
    large = [head + letter * size for letter in (b"x", b"y")]
    exchange, calls = stage.sent()
    answered(stage, calls, large[0])
    primary_says(exchange, large[1])
    assert len(again(stage)) == (2 if is_asked else 0)


Bar = Callable[[Rehearsal], None]


def fill(stage: Rehearsal) -> None:
    stage.control.in_flight_limit = 0


def break_open(stage: Rehearsal) -> None:
    stage.control.failures, stage.control.open_until = 5, stage.seconds + 5


def run_short(stage: Rehearsal) -> None:
    stage.mirror.barred = "memory"


def spend(stage: Rehearsal) -> None:
    stage.mirror.budget = stage.mirror.held + 100


def retire(stage: Rehearsal) -> None:
    stage.mirror.retire("control", "v1")


def refuse(stage: Rehearsal) -> None:
    stage.pools["v1"].refusal = "pool_full"


@pytest.mark.parametrize(
    ("bar", "reason"),
    [
        (fill, "in_flight"),
        (break_open, "breaker"),
        (run_short, "memory"),
        (spend, "budget"),
        (retire, "retired"),
        (refuse, "pool_full"),
    ],
)
def test_what_cannot_be_asked_again_counts_as_it_is(bar: Bar, reason: str) -> None:
    """The first answers are compared, it is told why nobody asked again, and the books are whole."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    bar(stage)
    primary_says(exchange)
    stage.mirror.sweep(stage.seconds + 6)
    (pair,) = stage.recorded.pairs
    assert (pair.again, pair.unconfirmed) == (None, reason)
    lawful(stage)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("end", ["garbage", "half", "reset", "closed", "silent"])
def test_second_answers_that_do_not_come(side: int, end: str) -> None:
    """One missing is enough: then both sides count by their first answers, so neither is favoured."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    second = again(stage)
    ENDS[end](stage, second[side])
    ENDS["equal"](stage, second[1 - side])
    stage.mirror.sweep(stage.seconds + 5.1)
    (pair,) = stage.recorded.pairs
    assert pair.again is None
    assert pair.unconfirmed
    assert (book(stage, "v1").sent, book(stage, "v2").sent) == (1, 1)
    lawful(stage)


def test_second_answers_share_the_bounds_of_the_first() -> None:
    """A copy on its way to be confirmed takes a place in flight."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    target = stage.targets[0]
    assert (target.in_flight, target.lent) == (0, 1)
    target.in_flight_limit = 1
    assert target.refuses(stage.seconds) == "in_flight"
    stage.mirror.sweep(stage.seconds + 5.1)
    assert target.refuses(stage.seconds) == ""


def test_a_full_recorder_is_counted() -> None:
    """Confirmed or not: a pair that finds no room is not compared."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    stage.recorded.is_full = True
    answered(stage, again(stage), OK_JSON, OTHER)
    assert stage.evidence() == {("exchange", "v2", "GET /orders/{id}", "not_compared"): 1}


def test_a_worker_that_leaves_hands_on_what_waits() -> None:
    """Nothing that was answered is lost with it."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    stage.mirror.cancel_all()
    (pair,) = stage.recorded.pairs
    assert pair.unconfirmed == "shutdown"
    lawful(stage)


def test_second_requests_are_evidence_of_their_own() -> None:
    """Role confirm, the same outcomes; mirror and control are counted as ever."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    answered(stage, again(stage), OK_JSON, OTHER)
    counts = stage.mirror.drain()
    for service in ("v1", "v2"):
        for outcome in ("eligible", "sent", "answered"):
            assert counts["confirm", service, outcome, ""] == 1
    assert counts["mirror", "v2", "sent", ""] == 1
    assert not any(key[0] == "control" for key in counts)
    assert stage.metrics.confirm["v2", "sent"] == 1


def test_retired_books_are_let_go_of() -> None:
    """A service that changed has new books; the old ones go once all is told."""
    stage = staged_rehearsal()
    exchange, calls = stage.sent()
    answered(stage, calls, OTHER)
    primary_says(exchange)
    for role, service in (("mirror", "v2"), ("control", "v1")):
        stage.mirror.retire(role, service)
    stage.mirror.drain()
    assert len(stage.mirror.confirming.targets) == 2
    stage.mirror.sweep(stage.seconds + 5.1)
    stage.mirror.drain()
    assert stage.mirror.confirming.targets == []


@settings(max_examples=50)
@given(
    st.lists(requests, min_size=1, max_size=10),
    st.lists(st.sampled_from(sorted(ENDS)), min_size=3, max_size=3),
    st.sampled_from([6_000, 1 << 20]),
)
def test_the_books_are_whole_whatever_happens(
    scripts: list[dict[str, object]], ends: list[str], budget: int
) -> None:
    """Every copy, every control, every second request; each answered copy is compared or counted as not."""
    stage = Rehearsal(limits=Limits(budget_bytes=budget, cap_bytes=2000, confirm=True), services=("v2", "v3"))
    counts: dict[tuple[str, ...], int] = {}
    for script in scripts:
        play(stage, script)
        for call, end in zip(again(stage), ends, strict=False):
            ENDS[end](stage, call)
        stage.seconds += float(str(script["later"]))
        stage.mirror.sweep(stage.seconds)
    stage.mirror.sweep(stage.seconds + 5.1)
    stage.mirror.sweep(stage.seconds + 10.2)
    lawful(stage)
    counts = stage.mirror.drain()
    assert stage.metrics.mirror_errors == 0
    answered_copies = sum(n for key, n in counts.items() if key[0] == "mirror" and key[2] == "answered")
    settled = sum(
        n
        for key, n in counts.items()
        if key[0] == "exchange" and key[3] in ("exchanges", "not_compared", "unpaired")
    )
    assert answered_copies == settled + len(stage.recorded.pairs)


# -- what second answers mean


def assessor() -> Assessor:
    return Assessor(Comparison(), Redaction(key=b"k" * 32), Draws(chance=lambda: 0.5, places=5))


def answer(body: bytes) -> Answer:
    return Answer(
        status=200, headers=[(b"Content-Type", b"application/json")], body=body, length_bytes=len(body)
    )


def pair_of(first: Sequence[bytes], second: Sequence[bytes] = (), *, unconfirmed: str = "") -> Pair:
    """A pair of bodies: primary, shadow and perhaps control; the first time and the second."""
    bodies = [answer(body) for body in first]
    more = [answer(body) for body in second]
    return Pair(
        service="v2",
        endpoint="GET /",
        flag="",
        method="GET",
        path="/",
        query="",
        at=0.0,
        primary=bodies[0],
        shadow=bodies[1],
        control=bodies[2] if len(bodies) > 2 else None,
        again=Again(more[0], more[1], more[2] if len(more) > 2 else None) if more else None,
        unconfirmed=unconfirmed,
    )


AT = ("difference", "v2", "GET /", "/body/a", "value")


def test_what_differs_once_is_no_difference() -> None:
    """The exchange matched, and it is counted that it was asked again."""
    done = assessor().assess(pair_of([b'{"a":1}', b'{"a":2}'], [b'{"a":2}', b'{"a":2}']))
    assert (done.result, done.found) == ("match", [])
    assert done.counts["exchange", "v2", "GET /", "matched"] == 1
    assert done.counts["exchange", "v2", "GET /", "asked_again"] == 1


def test_what_differs_twice_is_one() -> None:
    """At the same path with the same kind; what joined it the second time only does not count."""
    done = assessor().assess(
        pair_of([b'{"a":1,"b":1}', b'{"a":2,"b":2}'], [b'{"a":1,"b":1,"c":1}', b'{"a":9,"b":1,"c":3}'])
    )
    assert done.kinds == ["value"]
    assert [found.path for found in done.found] == ["/body/a"]


def test_another_kind_is_another_difference() -> None:
    """A value that differs first and is gone the second time is not confirmed."""
    done = assessor().assess(pair_of([b'{"a":1}', b'{"a":2}'], [b'{"a":1}', b"{}"]))
    assert done.result == "match"


def test_the_control_is_confirmed_alike() -> None:
    """Noise that differs every time stays noise; a control that raced counts no more than a shadow would."""
    noisy = assessor().assess(
        pair_of([b'{"a":1}', b'{"a":2}', b'{"a":3}'], [b'{"a":4}', b'{"a":5}', b'{"a":6}'])
    )
    assert (noisy.counts.get((*AT, "control_differing")), noisy.counts.get((*AT, "b"))) == (1, None)
    raced = assessor().assess(
        pair_of([b'{"a":1}', b'{"a":1}', b'{"a":3}'], [b'{"a":4}', b'{"a":4}', b'{"a":4}'])
    )
    assert (raced.counts.get((*AT, "control_differing")), raced.counts.get((*AT, "c"))) == (None, None)


def test_what_could_not_be_confirmed_counts_and_is_told() -> None:
    """By the first answers, on both sides."""
    done = assessor().assess(pair_of([b'{"a":1}', b'{"a":2}', b'{"a":3}'], unconfirmed="timeout"))
    assert (done.counts[(*AT, "differing")], done.counts[(*AT, "control_differing")]) == (1, 1)
    assert done.counts["exchange", "v2", "GET /", "unconfirmed"] == 1


@settings(max_examples=50)
@given(st.lists(st.sampled_from([b'{"a":1}', b'{"a":2}', b"{}"]), min_size=6, max_size=6))
def test_neither_side_is_favoured(bodies: list[bytes]) -> None:
    """Shadow and control change places, and so do their counts: nothing else tells them apart."""
    first, second = bodies[:3], bodies[3:]
    ours = assessor().assess(pair_of(first, second)).counts
    theirs = assessor().assess(pair_of([first[i] for i in (0, 2, 1)], [second[i] for i in (0, 2, 1)])).counts
    swapped = {"b": "c", "c": "b", "differing": "control_differing", "control_differing": "differing"}
    for key, n in ours.items():
        if key[0] == "difference" and key[5] in swapped:
            assert theirs[(*key[:5], swapped[key[5]])] == n


# -- over real sockets


def shop(prices: Sequence[bytes]) -> Callable[[Visit, bytes], None]:
    """Answers the next of *prices* each time, and the last one for ever."""
    left = list(prices)

    def on_request(visit: Visit, _request: bytes) -> None:
        price = left.pop(0) if len(left) > 1 else left[0]
        body = b'{"price":%b}' % price
        visit.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )

    return on_request


async def found_by(
    shadow_prices: Sequence[bytes], *, confirm: bool, request: bytes = b""
) -> tuple[list[str], int]:
    """What is found when the primary says 1, then 2 for ever; and how often the shadow was asked."""
    async with (
        Origin(on_request=shop([b"1", b"2"])).listening() as primary,
        Origin(on_request=shop(shadow_prices)).listening() as shadow,
    ):
        configuration = document(primary, shadow.port, shadow={"control": 0, "confirm": confirm})
        async with staged(configuration) as stage:
            await converse(stage.port, request or get())
            await until(lambda: len(stage.outbox), "the pair")
            batch = stage.outbox.next_batch()
            assert batch is not None
            found = [found for pair in batch.pairs for found in assessor().assess(pair).found]
            return [f"{each.path} {each.kind}" for each in found], len(shadow.requests)


@pytest.mark.parametrize(
    ("shadow_prices", "confirm", "expected", "asked"),
    [
        ([b"2"], False, ["/body/price value"], 1),
        ([b"2"], True, [], 2),
        ([b"3"], True, ["/body/price value"], 2),
    ],
    ids=["a race without", "a race", "a fault"],
)
def test_a_race_is_told_from_a_fault(
    shadow_prices: Sequence[bytes], confirm: bool, expected: list[str], asked: int
) -> None:
    """A price that changes between two reads is flagged without confirmation alone; a wrong one always."""

    @on_uvloop
    async def play_it() -> None:
        assert await found_by(shadow_prices, confirm=confirm) == (expected, asked)

    play_it()


def test_a_post_is_sent_once() -> None:
    """Whatever it is answered."""

    @on_uvloop
    async def play_it() -> None:
        assert await found_by([b"3"], confirm=True, request=post(b"{}")) == (["/body/price value"], 1)

    play_it()
