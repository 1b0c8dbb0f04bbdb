"""Trace contexts are read as W3C Trace Context says, ids are made of random bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tracing import RequestIds, read_traceparent

TRACE_ID = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "child"),
    [
        (b"00-%b-%b-01" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-01" % TRACE_ID),
        (b"00-%b-%b-00" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-00" % TRACE_ID),
        (b"00-%b-%b-03" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-03" % TRACE_ID),
        (b"00-%b-%b-ff" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-03" % TRACE_ID),
        (b"cc-%b-%b-01-what-ever" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-01" % TRACE_ID),
        (b"cc-%b-%b-01" % (TRACE_ID, SPAN), b"traceparent: 00-%b-00000000000000ff-01" % TRACE_ID),
    ],
)
def test_a_child_belongs_to_the_same_trace(value: bytes, child: bytes) -> None:
    """Same trace id, the flags we know, another span; a later version goes on as the one we speak."""
    trace = read_traceparent(value)
    assert trace is not None
    assert trace.trace_id == TRACE_ID
    assert trace.child(lambda bits: 255) == child


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"00-%b-%b-01-more" % (TRACE_ID, SPAN),
        b"00-%b-%b-01-" % (TRACE_ID, SPAN),
        b"00-%b-%b-1" % (TRACE_ID, SPAN),
        b"00-%b-%b-01 " % (TRACE_ID, SPAN),
        b"00-%b-%b-0x" % (TRACE_ID, SPAN),
        b"ff-%b-%b-01" % (TRACE_ID, SPAN),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE_ID, b"0" * 16),
        b"00-%b-%b-01" % (TRACE_ID.upper(), SPAN),
        b"00-%b-%b-01" % (TRACE_ID[:-1], SPAN),
        b"cc-%b-%b-01more" % (TRACE_ID, SPAN),
        b"00_%b_%b_01" % (TRACE_ID, SPAN),
        b"00-%b-%b-01, 00-%b-%b-01" % (TRACE_ID, SPAN, TRACE_ID, SPAN),
    ],
)
def test_what_names_no_trace(value: bytes) -> None:
    """W3C Trace Context 3.2.2: lower case, no zeros alone, no version ff, nothing behind version 00."""
    assert read_traceparent(value) is None


def test_a_span_id_is_never_zero() -> None:
    """Zeros alone are forbidden, however the bits fall."""
    trace = read_traceparent(b"00-%b-%b-01" % (TRACE_ID, SPAN))
    assert trace is not None
    assert trace.child(lambda bits: 0) == b"traceparent: 00-%b-0000000000000001-01" % TRACE_ID


@given(st.binary(max_size=80))
def test_anything_can_be_read(value: bytes) -> None:
    """It is a trace or none, never an exception."""
    read_traceparent(value)


def test_ids_are_128_random_bits() -> None:
    """As 32 hexadecimal digits, in the field that was asked for; the id can be had from its line."""
    asked: list[int] = []

    def ten(bits: int) -> int:
        asked.append(bits)
        return 10

    ids = RequestIds(b"x-request-id", ten)
    line = ids.line()
    assert asked == [128]
    assert line == b"X-Request-Id: 0000000000000000000000000000000a\r\n"
    assert ids.of(line) == b"0000000000000000000000000000000a"
