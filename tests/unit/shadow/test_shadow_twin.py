"""A shadow's answer that is the primary's, byte for byte, is not parsed: proof that this mixes nothing up."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadow_examples import OK_JSON, Rehearsal, StagedPool, wire_of

from understudy.shadow import MirroredExchange
from understudy.shadow.call import ShadowCall
from understudy.upstream import UpstreamConnection

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
HTTP10 = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
REUSABLE = (OK_JSON, EARLY + OK_JSON, CHUNKED, EMPTY, NOT_MODIFIED)


class Client:
    """The caller of a primary's connection: hands all on to a mirrored exchange, as the proxy does."""

    twin = b""

    def __init__(self, exchange: MirroredExchange, connection: UpstreamConnection) -> None:
        self.exchange = exchange
        self.connection = connection
        self.body = b""
        self.failure = ""
        self.is_done = False

    def on_twin(self) -> None:
        raise AssertionError("a primary has no twin")

    def on_interim(self, connection: UpstreamConnection) -> None:
        pass

    def on_answer(self, connection: UpstreamConnection) -> None:
        self.exchange.primary_answer(connection.status, connection.headers)

    def on_data(self, data: bytes) -> None:
        self.body += data
        self.exchange.primary_data(data)

    def on_complete(self) -> None:
        self.is_done = True
        self.exchange.primary_complete(0.01, self.connection.whole if self.connection.keep else b"")

    def on_flush(self) -> None:
        pass

    def on_lost(self, reason: str, *, reused: bool) -> None:
        self.failure = reason
        self.exchange.primary_lost()

    def on_switch(self, connection: UpstreamConnection, rest: bytes) -> bool:
        return False

    def on_pause(self) -> None:
        pass

    def on_resume(self) -> None:
        pass


class Dialogue:
    """One mirrored request whose answers come over real upstream connections."""

    def __init__(self, stage: Rehearsal, *, method: str = "GET") -> None:
        self.stage = stage
        self.exchange, calls = stage.sent(method=method)
        self.call: ShadowCall = calls[0]
        self.control: ShadowCall | None = calls[1] if len(calls) > 1 else None
        self.primary = StagedPool().connect()
        self.client = Client(self.exchange, self.primary)
        self.primary.begin(self.client, is_head=method == "HEAD")
        self.shadow = stage.connection_of(self.call)

    def settled(self) -> dict[str, int]:
        """What was counted of exchanges."""
        return {key[3]: n for key, n in self.stage.evidence().items()}


def segments(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """*data* cut at *cuts*."""
    at = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


@pytest.mark.parametrize("answer", REUSABLE)
def test_a_twin_matches_and_leaves_its_connection_usable(answer: bytes) -> None:
    """Recognised as equal; the next exchange on the same connection gets its own answer, parsed."""
    stage = Rehearsal()
    first = Dialogue(stage)
    first.primary.data_received(answer)
    first.shadow.data_received(answer)
    assert first.call.is_twin
    second = Dialogue(stage)
    assert second.shadow is first.shadow
    second.shadow.data_received(OK_JSON.replace(b"1}", b"2}"))
    assert (second.call.is_done, second.call.is_twin, b"".join(second.call.body)) == (True, False, b'{"a":2}')
    second.primary.data_received(OK_JSON)
    assert first.settled() == {"exchanges": 1, "matched": 1}
    assert len(stage.recorded.pairs) == 1
    stage.assert_lawful()


@given(
    st.sampled_from(REUSABLE),
    st.sampled_from([*REUSABLE, OK_JSON.replace(b"1}", b"2}")]),
    st.lists(st.integers(1, 200), max_size=4),
    st.lists(st.integers(1, 200), max_size=4),
    st.booleans(),
)
def test_the_shortcut_and_the_parser_agree(
    primary: bytes, shadow: bytes, cuts: list[int], shadow_cuts: list[int], primary_first: bool
) -> None:
    """However the segments fall, the shadow's answer is the same as parsed on a connection of its own."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    sides = [(dialogue.primary, segments(primary, cuts)), (dialogue.shadow, segments(shadow, shadow_cuts))]
    for connection, pieces in sides if primary_first else reversed(sides):
        for data in pieces:
            connection.data_received(data)
    alone = Dialogue(Rehearsal())
    alone.shadow.data_received(shadow)
    call = dialogue.call
    assert call.is_done
    assert (call.status, call.headers, b"".join(call.body)) == (
        alone.call.status,
        alone.call.headers,
        b"".join(alone.call.body),
    )
    assert dialogue.shadow in stage.pools["v2"].idle
    pairs = stage.recorded.pairs
    assert len(pairs) + dialogue.settled().get("matched", 0) == 1
    assert all(pair.shadow.body == b"".join(alone.call.body) for pair in pairs)


@pytest.mark.parametrize("answer", REUSABLE)
def test_a_first_segment_of_the_twin_is_not_the_twin(answer: bytes) -> None:
    """Split at every byte, the answer is parsed and still equal."""
    for cut in range(1, len(answer)):
        stage = Rehearsal()
        dialogue = Dialogue(stage)
        dialogue.primary.data_received(answer)
        dialogue.shadow.data_received(answer[:cut])
        assert not dialogue.call.is_done
        dialogue.shadow.data_received(answer[cut:])
        assert (dialogue.call.is_done, dialogue.call.is_twin) == (True, False)
        assert dialogue.settled() == {"exchanges": 1, "matched": 1}
        assert dialogue.shadow in stage.pools["v2"].idle


def test_a_twin_that_begins_like_a_longer_answer_is_not_taken_for_it() -> None:
    """The shadow's longer body starts with all the primary's bytes: parsed, and different."""
    longer = OK_JSON.replace(b"Content-Length: 7", b"Content-Length: 9") + b"\r\n"
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(longer)
    assert not dialogue.call.is_twin
    assert stage.recorded.pairs[0].shadow.length_bytes == 9


@pytest.mark.parametrize("surplus", [b"x", OK_JSON, b"\r\n"])
def test_surplus_in_the_same_read_closes_the_shadow_connection(surplus: bytes) -> None:
    """The twin and more is not the twin: parsed, and its connection never used again."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON + surplus)
    assert (dialogue.call.is_done, dialogue.call.is_twin) == (True, False)
    is_harmless = surplus == b"\r\n"  # llhttp passes over an empty line between messages
    assert wire_of(dialogue.shadow).is_aborted is not is_harmless
    assert (dialogue.shadow in stage.pools["v2"].idle) is is_harmless


def test_surplus_after_a_twin_closes_the_idle_connection() -> None:
    """Bytes that nobody asked for close the connection before anyone could take them for an answer."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON)
    assert wire_of(dialogue.shadow).is_aborted
    assert not dialogue.shadow.keep


@pytest.mark.parametrize("surplus", [b"x", OK_JSON])
def test_a_primary_answer_with_surplus_has_no_twin(surplus: bytes) -> None:
    """Bytes that hold more than one answer are no pattern: the shadow's are parsed, its surplus noticed."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON + surplus)
    assert dialogue.call.twin == b""
    dialogue.shadow.data_received(OK_JSON + surplus)
    assert wire_of(dialogue.primary).is_aborted
    assert wire_of(dialogue.shadow).is_aborted
    assert dialogue.settled() == {"exchanges": 1, "matched": 1}


@pytest.mark.parametrize("answer", [CLOSING, HTTP10])
def test_an_answer_that_closes_is_no_twin(answer: bytes) -> None:
    """The shadow said to close too: its connection must not be kept."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(answer)
    assert dialogue.call.twin == b""
    dialogue.shadow.data_received(answer)
    assert wire_of(dialogue.shadow).is_aborted
    assert dialogue.shadow not in stage.pools["v2"].idle
    assert dialogue.settled() == {"exchanges": 1, "matched": 1}


def test_an_answer_until_close_is_no_twin() -> None:
    """Its end is the end of the connection, which the bytes alone do not tell."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nabc"
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(answer)
    dialogue.shadow.data_received(answer)
    assert not dialogue.call.is_done
    dialogue.primary.eof_received()
    dialogue.shadow.eof_received()
    assert dialogue.settled() == {"exchanges": 1, "matched": 1}


def test_head_has_twins_and_its_connection_goes_on() -> None:
    """A HEAD answer promises a body that never comes; GET after it on the same connection is read right."""
    stage = Rehearsal()
    first = Dialogue(stage, method="HEAD")
    first.primary.data_received(HEAD)
    first.shadow.data_received(HEAD)
    assert first.call.is_twin
    second = Dialogue(stage)
    assert second.shadow is first.shadow
    second.primary.data_received(OK_JSON)
    second.shadow.data_received(OK_JSON)
    third = Dialogue(stage, method="HEAD")
    third.shadow.data_received(HEAD)
    third.primary.data_received(HEAD)
    fourth = Dialogue(stage)
    fourth.shadow.data_received(OK_JSON[:20])
    fourth.shadow.data_received(OK_JSON[20:])
    fourth.primary.data_received(OK_JSON)
    stage.assert_lawful()
    assert sum(n for key, n in stage.evidence().items() if key[3] == "matched") == 4


def test_a_shadow_that_answered_first_is_compared_when_the_primary_has() -> None:
    """There is no twin yet: parsed, kept, compared."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.shadow.data_received(OK_JSON)
    assert dialogue.call.is_done
    dialogue.primary.data_received(OK_JSON)
    assert dialogue.settled() == {"exchanges": 1, "matched": 1}


def test_half_an_answer_before_the_twin_is_known_is_parsed_to_its_end() -> None:
    """The second segment of the shadow's answer may equal the twin by chance; it is not its beginning."""
    inner = OK_JSON
    outer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(inner)
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.shadow.data_received(outer)
    dialogue.primary.data_received(inner)
    dialogue.shadow.data_received(inner)
    assert (dialogue.call.is_twin, b"".join(dialogue.call.body)) == (False, inner)
    assert len(stage.recorded.pairs) == 1


def test_an_answer_in_two_reads_is_no_twin() -> None:
    """Only what came at once is a pattern: of two reads only the last would be remembered."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON[:30])
    dialogue.primary.data_received(OK_JSON[30:])
    assert dialogue.call.twin == b""


def test_control_and_shadow_may_both_be_twins() -> None:
    """Equal to the primary by the same bytes: matched, with control."""
    stage = Rehearsal()
    stage.chance = 0.0
    dialogue = Dialogue(stage)
    assert dialogue.control is not None
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON)
    stage.connection_of(dialogue.control).data_received(OK_JSON)
    assert dialogue.settled() == {"exchanges": 1, "matched": 1, "with_control": 1}


def test_a_twin_beside_a_control_that_differs_travels_whole() -> None:
    """The pair carries the shadow's status, fields and body, though they were never parsed."""
    stage = Rehearsal()
    stage.chance = 0.0
    dialogue = Dialogue(stage)
    assert dialogue.control is not None
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON)
    stage.connection_of(dialogue.control).data_received(OK_JSON.replace(b"1}", b"2}"))
    (pair,) = stage.recorded.pairs
    assert pair.shadow == pair.primary
    assert pair.control is not None
    assert pair.control.body == b'{"a":2}'


def test_a_late_twin_of_a_cancelled_call_changes_nothing() -> None:
    """The deadline passed and the connection was cut; what still arrives is nobody's."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON)
    dialogue.call.cancel("timeout")
    dialogue.shadow.data_received(OK_JSON)
    assert dialogue.call.failure == "timeout"
    stage.assert_lawful()


def test_a_long_answer_is_parsed_rather_than_kept_twice() -> None:
    """Beyond 64 KiB the bytes are not kept beside the body they hold."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(answer)
    assert dialogue.call.twin == b""
    dialogue.shadow.data_received(answer)
    assert dialogue.settled() == {"exchanges": 1, "matched": 1}


def test_an_idle_connection_keeps_no_answer() -> None:
    """A pool of a thousand idle connections does not hold a thousand answers."""
    stage = Rehearsal()
    dialogue = Dialogue(stage)
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON[:-1])
    dialogue.shadow.data_received(OK_JSON[-1:])
    assert dialogue.primary.whole == dialogue.shadow.whole == b""


def test_a_twin_is_a_good_answer_of_its_origin() -> None:
    """It ends a row of failures as a parsed one does."""
    dialogue = Dialogue(Rehearsal())
    dialogue.shadow.health.failed("closed")
    dialogue.primary.data_received(OK_JSON)
    dialogue.shadow.data_received(OK_JSON)
    assert dialogue.call.is_twin
    assert dialogue.shadow.health.failures == 0
