"""Equal or not: what the worker settles by itself, and what it hands to the comparators."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shadow_examples import OK_JSON, Rehearsal, a_copy, primary_says

from understudy.comparators import Comparison
from understudy.messages import Answer
from understudy.shadow import Limits, MirroredExchange
from understudy.shadow.call import BEGINNING_BYTES, within

JSON = b"Content-Type: application/json\r\n"


def answer(
    body: bytes = b"abc", *, fields: bytes = JSON, status: int = 200, size: int | None = None
) -> bytes:
    """An answer on the wire; *size* declares another length (for HEAD)."""
    length = len(body) if size is None else size
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, length, body)


def chunked(body: bytes, *, fields: bytes = JSON) -> bytes:
    """The same, of undeclared length, in one chunk."""
    return b"HTTP/1.1 200 X\r\n%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        fields,
        len(body),
        body,
    )


def rehearse(
    primary: bytes, shadow: bytes, *, control: bytes = b"", method: str = "GET", cap: int = 1 << 20
) -> Rehearsal:
    """One exchange with these answers, settled. The primary's is told as parsed."""
    stage = Rehearsal(limits=Limits(cap_bytes=cap))
    stage.chance = 0.0 if control else 1.0
    exchange, calls = stage.sent(method=method)
    primary_says_parsed(exchange, primary)
    for call, raw in zip(calls, [shadow, control], strict=False):
        connection = stage.connection_of(call)
        for at in range(0, len(raw), 1000):
            if connection.caller is not None:
                connection.data_received(raw[at : at + 1000])
    stage.assert_lawful()
    return stage


def primary_says_parsed(exchange: MirroredExchange, raw: bytes) -> None:
    """Let a connection parse *raw*, and tell what it said without its bytes, so that nothing is a twin."""
    reader = Rehearsal()
    _, (call,) = reader.sent(method=exchange.method)
    reader.connection_of(call).data_received(raw)
    assert call.is_done
    exchange.primary_answer(call.status, call.headers)
    for data in call.body:
        exchange.primary_data(data)
    exchange.primary_complete(0.01, b"")


@pytest.mark.parametrize(
    ("primary", "shadow"),
    [
        (answer(), answer()),
        (answer(fields=b"Date: a\r\n"), answer(fields=b"Date: b\r\n")),
        (answer(fields=b"date: a\r\n"), answer(fields=b"Date: a\r\n")),
        (
            answer(fields=b"X-Request-Id: 1\r\nServer: a\r\n"),
            answer(fields=b"X-Request-Id: 2\r\nServer: b\r\n"),
        ),
        (answer(fields=b"A: 1\r\nB: 2\r\n"), answer(fields=b"b: 2\r\nA: 1\r\n")),
        (chunked(b"abc"), chunked(b"abc")),
        (answer(b""), answer(b"")),
    ],
)
def test_equal_answers_are_settled_in_the_worker(primary: bytes, shadow: bytes) -> None:
    """Same status, compared fields and body: one counter, nothing travels."""
    stage = rehearse(primary, shadow)
    assert stage.recorded.pairs == []
    assert stage.evidence() == {
        ("exchange", "v2", "GET /orders/{id}", "exchanges"): 1,
        ("exchange", "v2", "GET /orders/{id}", "matched"): 1,
    }


@pytest.mark.parametrize(
    ("primary", "shadow"),
    [
        (answer(), answer(status=201)),
        (answer(b"abc"), answer(b"abd")),
        (answer(b"abc"), answer(b"ab")),
        (answer(fields=b"A: 1\r\n"), answer(fields=b"A: 2\r\n")),
        (answer(fields=b"A: 1\r\n"), answer(fields=b"")),
        (answer(fields=b""), answer(fields=b"A: 1\r\n")),
        (answer(fields=b"Date: x\r\n"), answer(fields=b"")),
        (answer(fields=b"A: 1\r\nB: 2\r\nA: 3\r\n"), answer(fields=b"A: 3\r\nB: 2\r\nA: 1\r\n")),
        (answer(fields=b"Set-Cookie: a=1\r\n"), answer(fields=b"Set-Cookie: a=2\r\n")),
        (answer(b"abc"), chunked(b"abc")),
    ],
)
def test_anything_else_travels(primary: bytes, shadow: bytes) -> None:
    """The comparators decide; the worker counts nothing but the time."""
    stage = rehearse(primary, shadow)
    assert len(stage.recorded.pairs) == 1
    assert stage.evidence() == {}


def test_head_answers_with_different_lengths_are_not_equal() -> None:
    """There is no body to tell, so the promised length is compared."""
    stage = rehearse(answer(b"", size=10), answer(b"", size=11), method="HEAD")
    (pair,) = stage.recorded.pairs
    (difference,) = Comparison().compare(pair.endpoint, pair.primary, pair.shadow, method="HEAD")
    assert difference.path == "/headers/content-length"
    assert rehearse(answer(b"", size=10), answer(b"", size=10), method="HEAD").recorded.pairs == []


CAP = 2 * BEGINNING_BYTES


@pytest.mark.parametrize("size", [3, BEGINNING_BYTES - 1, BEGINNING_BYTES, BEGINNING_BYTES + 7, CAP - 1])
def test_of_a_flood_no_more_is_kept_than_tells_it_apart(size: int) -> None:
    """Beside a whole answer: it differs as it would with everything that was read."""
    (pair,) = rehearse(answer(b"x" * size), chunked(b"x" * (CAP + 9)), cap=CAP).recorded.pairs
    assert pair.shadow.is_truncated
    assert size < len(pair.shadow.body) <= max(BEGINNING_BYTES, size + 1)
    kept = pair.shadow
    read = Answer(status=200, headers=kept.headers, body=b"x" * CAP, length_bytes=kept.length_bytes)
    differences = Comparison().compare(pair.endpoint, pair.primary, pair.shadow)
    assert differences == Comparison().compare(pair.endpoint, pair.primary, read)
    assert [(d.path, d.kind) for d in differences] == [("/body", "length")]


def test_of_a_coded_flood_all_that_was_read_is_kept() -> None:
    """Its bytes say nothing of how long it is."""
    fields = b"Content-Encoding: gzip\r\n"
    (pair,) = rehearse(
        answer(fields=fields), chunked(b"x" * (CAP + 9), fields=fields), cap=CAP
    ).recorded.pairs
    assert len(pair.shadow.body) == CAP


@settings(max_examples=50)
@given(pieces=st.lists(st.binary(max_size=9), max_size=9), size=st.integers(0, 90))
def test_the_beginning_of_pieces_is_that_of_the_whole(pieces: list[bytes], size: int) -> None:
    """Wherever it is cut."""
    assert b"".join(within(pieces, size)) == b"".join(pieces)[:size]


def test_a_control_that_differs_takes_the_pair_along() -> None:
    """A noisy endpoint is learned also from exchanges whose shadow happened to be equal."""
    stage = rehearse(answer(b"a"), answer(b"a"), control=answer(b"b"))
    (pair,) = stage.recorded.pairs
    assert pair.control is not None
    assert (pair.shadow.body, pair.control.body) == (b"a", b"b")


def test_a_control_that_is_equal_counts() -> None:
    """matched and with_control, without a journey."""
    stage = rehearse(answer(b"a"), answer(b"a"), control=answer(b"a"))
    assert stage.evidence()["exchange", "v2", "GET /orders/{id}", "with_control"] == 1


def test_a_failed_control_is_no_control() -> None:
    """The exchange counts, without control."""
    stage = Rehearsal()
    stage.chance = 0.0
    exchange, (call, control) = stage.sent()
    control.cancel("timeout")
    primary_says(exchange)
    stage.connection_of(call).data_received(OK_JSON)
    assert stage.evidence() == {
        ("exchange", "v2", "GET /orders/{id}", "exchanges"): 1,
        ("exchange", "v2", "GET /orders/{id}", "matched"): 1,
    }


field_lists = st.lists(
    st.sampled_from(
        [
            b"A: 1",
            b"A: 2",
            b"a: 1",
            b"B: 1",
            b"Date: x",
            b"Date: y",
            b"Server: q",
            b"Set-Cookie: s=1",
            b"Vary: a",
        ]
    ),
    max_size=4,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
bodies = st.sampled_from([b"", b"{}", b'{"a": 1}', b'{"a":1}', b"text"])
statuses = st.sampled_from([200, 404])


@given(field_lists, field_lists, bodies, bodies, statuses, statuses)
def test_what_the_worker_calls_equal_the_comparators_call_equal(
    fields: bytes, other_fields: bytes, body: bytes, other_body: bytes, status: int, other_status: int
) -> None:
    """The shortcut never hides a difference: an equal pair, if it had travelled, would show none."""
    primary = answer(body, fields=fields, status=status)
    shadow = answer(other_body, fields=other_fields, status=other_status)
    stage = rehearse(primary, shadow)
    if stage.recorded.pairs:
        return
    differences = Comparison().compare("GET /", plain(primary), plain(shadow))
    assert differences == []


def plain(raw: bytes) -> Answer:
    """*raw* read by hand."""
    head, _, body = raw.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    headers = [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in lines]
    return Answer(status=int(start.split()[1]), headers=headers, body=body, length_bytes=len(body))


BIG = b"x" * 5000


@pytest.mark.parametrize("shadow", [answer(BIG), chunked(BIG), answer(BIG[:1500] + b"y" * 3500)])
@pytest.mark.parametrize("primary", [answer(BIG), chunked(BIG)])
def test_answers_over_the_cap_with_equal_beginnings_show_no_difference(primary: bytes, shadow: bytes) -> None:
    """A length nobody declared or saw is not held against the shadow; nor is what was not read."""
    stage = rehearse(primary, shadow, cap=1024)
    (pair,) = stage.recorded.pairs
    assert len(pair.primary.body) == len(pair.shadow.body) == 1024
    assert pair.primary.length_bytes == 5000
    differences = Comparison().compare(pair.endpoint, pair.primary, pair.shadow)
    assert [d for d in differences if d.path.startswith("/body")] == []


@pytest.mark.parametrize(
    ("primary", "shadow", "kind"),
    [
        (answer(BIG), answer(BIG + b"x"), "length"),
        (chunked(BIG), answer(BIG + b"x"), "length"),
        (answer(BIG), answer(b"y" + BIG[1:]), "body"),
        (answer(BIG), answer(BIG[:1000]), "length"),
        (answer(BIG[:1000]), answer(BIG), "length"),
        (answer(BIG[:1000]), chunked(BIG), "length"),
    ],
)
def test_answers_over_the_cap_differ_by_length_and_beginning(
    primary: bytes, shadow: bytes, kind: str
) -> None:
    """What is known of them is compared."""
    stage = rehearse(primary, shadow, cap=1024)
    (pair,) = stage.recorded.pairs
    differences = Comparison().compare(pair.endpoint, pair.primary, pair.shadow)
    assert [d.kind for d in differences if d.path == "/body"] == [kind]


def test_an_answer_of_exactly_the_cap_is_whole() -> None:
    """The cap is what may be kept, not what may not be reached."""
    stage = rehearse(answer(BIG[:1024]), answer(BIG[:1024]), cap=1024)
    assert stage.recorded.pairs == []
    assert stage.evidence()["exchange", "v2", "GET /orders/{id}", "matched"] == 1


def test_what_was_cut_off_has_no_time() -> None:
    """The time to the cap is not the time of the answer: it would make the shadow look fast."""
    stage = rehearse(answer(BIG), answer(BIG), cap=1024)
    assert [key for key in stage.mirror.drain() if key[0] == "latency"] == []


def test_times_are_counted_for_both_sides() -> None:
    """One latency of each side for each exchange, in the bucket of its seconds, and their difference."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent()
    stage.seconds += 0.25
    primary_says(exchange, seconds=0.1)
    stage.connection_of(call).data_received(OK_JSON)
    sides = [key[3] for key in stage.mirror.drain() if key[0] == "latency"]
    assert sorted(sides) == ["primary", "shadow", "slower"]
    assert abs(stage.targets[0].deltas.total - 0.15) < 1e-9
    assert abs(stage.metrics.shadow["v2"].total - 0.25) < 1e-9
    assert sum(stage.metrics.shadow["v2"].counts) == 1


def test_a_lost_primary_is_counted_as_unpaired() -> None:
    """The shadow answered and there was nothing to lay beside it."""
    stage = Rehearsal()
    stage.mirror.endpoints.of("GET", "/orders/1")
    exchange, (call,) = stage.sent()
    exchange.primary_lost()
    stage.connection_of(call).data_received(OK_JSON)
    assert stage.evidence() == {("exchange", "v2", "GET /orders/{id}", "unpaired"): 1}
    assert stage.metrics.comparisons["shop", "v2", "skipped"] == 1


@pytest.mark.parametrize("body", [b"other", b"hello"])
@pytest.mark.parametrize(
    ("fullness", "chance", "is_passed_over"),
    [(0.4, 1.0, False), (0.75, 0.49, False), (0.75, 0.51, True), (1.0, 0.0, True)],
)
def test_what_comparing_cannot_keep_up_with_is_passed_over_by_chance(
    body: bytes, fullness: float, chance: float, is_passed_over: bool
) -> None:
    """Chosen before any answer, equal or not; nothing is asked twice then; what counts is a fair sample."""
    stage = Rehearsal(limits=Limits(control_share=0.9))
    stage.fullness, stage.chance = fullness, chance
    exchange, calls = stage.sent()
    stage.fullness = 0.0
    assert exchange.control is None or not is_passed_over
    primary_says(exchange)
    for call in calls:
        stage.connection_of(call).data_received(answer(body))
    whats = {key[3] for key in stage.evidence()}
    assert ("passed_over" in whats) == is_passed_over
    assert not (is_passed_over and (stage.recorded.pairs or "exchanges" in whats))


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.sampled_from([b"hello", b"other"])),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_who_is_passed_over_depends_on_room_and_chance_alone(
    moments: list[tuple[float, float, bytes]], control_share: float
) -> None:
    """The same ones whatever the answers are, more the less room there is; each copy is in one book."""
    stage, passed = Rehearsal(limits=Limits(control_share=control_share)), 0
    for fullness, chance, body in moments:
        stage.fullness, stage.chance = fullness, chance
        exchange, calls = stage.sent()
        passed += not exchange.is_counted
        assert exchange.is_counted == (fullness < 0.5 or chance < 2 * (1 - fullness))
        assert (exchange.control is not None) == (exchange.is_counted and chance < control_share)
        primary_says(exchange)
        for call in calls:
            stage.connection_of(call).data_received(answer(body))
    counts = {key[3]: n for key, n in stage.evidence().items()}
    assert counts.get("passed_over", 0) == passed
    equal = counts.get("matched", 0)
    assert counts.get("exchanges", 0) == equal
    assert passed + equal + len(stage.recorded.pairs) == len(moments)
    stage.assert_lawful()


def test_a_full_queue_is_counted_as_not_compared() -> None:
    """Dropping is allowed, silence is not."""
    stage = Rehearsal()
    stage.recorded.is_full = True
    exchange, (call,) = stage.sent()
    primary_says(exchange)
    stage.connection_of(call).data_received(answer(b"other"))
    assert stage.evidence() == {("exchange", "v2", "GET /orders/{id}", "not_compared"): 1}
    assert stage.metrics.comparisons["shop", "v2", "skipped"] == 1


def test_an_interim_answer_is_no_answer() -> None:
    """103 and 100 come before the answer and go nowhere."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent()
    primary_says(exchange)
    connection = stage.connection_of(call)
    connection.data_received(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    assert not call.is_done
    connection.data_received(OK_JSON)
    assert (call.status, call.headers[0][0]) == (200, b"Content-Type")


def test_a_reused_connection_that_closes_is_tried_once_more() -> None:
    """A service that closes an idle connection as we use it says nothing of the new version; twice does."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent()
    stage.connection_of(call).data_received(OK_JSON)
    primary_says(exchange)
    exchange, (call,) = stage.sent()
    stage.connection_of(call).connection_lost(None)
    assert not call.is_done
    stage.connection_of(call).connection_lost(None)
    assert call.failure == "closed"
    primary_says(exchange)
    stage.assert_lawful()


def test_a_write_is_never_sent_twice() -> None:
    """POST on a reused connection that closes fails; it may have been done."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent(method="POST")
    stage.connection_of(call).data_received(OK_JSON)
    primary_says(exchange)
    exchange, (call,) = stage.sent(method="POST")
    stage.connection_of(call).connection_lost(None)
    assert call.failure == "closed"


@pytest.mark.parametrize(
    ("primary", "endpoint"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "GET (other)"),
        (OK_JSON, "GET /orders/{id}"),
    ],
)
def test_a_request_that_fails_teaches_no_endpoint(primary: bytes, endpoint: str) -> None:
    """Somebody who tries paths by chance is counted under one name."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent()
    primary_says(exchange, primary)
    stage.connection_of(call).data_received(primary)
    assert {key[2] for key in stage.evidence()} == {endpoint}


def test_the_method_that_a_request_asks_for_names_its_endpoint() -> None:
    """X-HTTP-Method-Override: the service takes it for that method."""
    stage = Rehearsal()
    exchange = stage.begun("POST", override="PATCH", allowed=("POST", "PATCH"))
    assert stage.mirror.send(exchange, a_copy("POST"), stage.control)
    (call,) = exchange.calls
    primary_says(exchange)
    stage.connection_of(call).data_received(OK_JSON)
    assert {key[2] for key in stage.evidence()} == {"PATCH /orders/{id}"}
