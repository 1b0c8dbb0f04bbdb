"""What joins the logs of a request and its copies: ids and trace context."""

import re
from typing import Final

import pytest
from http1_harness import FLAGGED, get, ok, scripted, stage
from http1_traced import mirrored, numbered, request_id

TRACE_ID: Final = b"0af7651916cd43dd8448eb211c80319c"
PARENT: Final = b"00-%b-b7ad6b7169203331-01" % TRACE_ID
CHILD: Final = re.compile(rb"00-%b-(?!b7ad6b7169203331)[0-9a-f]{16}-01" % TRACE_ID)


# -- request ids


@scripted
async def test_a_request_without_an_id_gets_one() -> None:
    """A new one for each request of a connection, also where the header block is the one before."""
    async with stage(options=numbered()) as s:
        client, upstream, request = await s.asked(get())
        assert request.fields_named(b"x-request-id") == [request_id(1)]
        for number in (2, 3, 4):
            upstream.send(ok())
            await client.message()
            client.send(get(b"/again"))
            request = await upstream.message()
            assert request.fields_named(b"x-request-id") == [request_id(number)]


@pytest.mark.parametrize("field", [b"X-Request-Id: theirs", b"x-request-id: theirs", b"X_Request_Id: theirs"])
@scripted
async def test_an_id_that_came_is_kept(field: bytes) -> None:
    """As it was spelled, again and again; ours is not added."""
    async with stage(options=numbered()) as s:
        client, upstream, request = await s.asked(get(b"/", field))
        assert [f for f in request.fields if f[1] == b"theirs"] == [tuple(field.split(b": "))]
        assert request_id(1) not in [value for _, value in request.fields]
        upstream.send(ok())
        await client.message()
        client.send(get(b"/", field))
        assert (await upstream.message()).fields == request.fields


@pytest.mark.parametrize(
    "fields",
    [(b"X-Request-Id:",), (b"X-Request-Id: \t ",), (b"Connection: x-request-id", b"X-Request-Id: theirs")],
)
@scripted
async def test_an_empty_id_is_none(fields: tuple[bytes, ...]) -> None:
    """Nor is one that the client itself takes away."""
    async with stage(options=numbered()) as s:
        _, _, request = await s.asked(get(b"/", *fields))
        assert request.fields_named(b"x-request-id") == [request_id(1)]


@scripted
async def test_copies_carry_the_id_of_their_request() -> None:
    """Created or given, so that logs can be joined."""
    async with stage(FLAGGED, options=numbered()) as s:
        _, primary, copy = await mirrored(s, get(b"/", b"X-Beta: yes"))
        assert primary.fields_named(b"x-request-id") == copy.fields_named(b"x-request-id") == [request_id(1)]
    async with stage(FLAGGED, options=numbered()) as s:
        _, primary, copy = await mirrored(s, get(b"/", b"X-Beta: yes", b"X-Request-Id: theirs"))
        assert primary.fields_named(b"x-request-id") == copy.fields_named(b"x-request-id") == [b"theirs"]


@scripted
async def test_an_answer_gets_no_id() -> None:
    """It goes to the client as the service gave it."""
    async with stage(options=numbered()) as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        assert [name for name, _ in (await client.message()).fields] == [b"Content-Length", b"Via"]


# -- trace context


@scripted
async def test_a_trace_goes_on_untouched_and_anew_on_the_copy() -> None:
    """The primary gets the client's bytes; the copy the same trace, flags and state, in its own span."""
    fields = (b"X-Beta: yes", b"TraceParent: " + PARENT, b"tracestate: a=1,b=2", b"Cookie: a=1", b"X-Last: 1")
    async with stage(FLAGGED) as s:
        _, primary, copy = await mirrored(s, get(b"/", *fields))
        assert (b"TraceParent", PARENT) in primary.fields
        assert primary.fields_named(b"tracestate") == [b"a=1,b=2"]
        assert [name for name, _ in copy.fields[:5]] == [
            b"Host",
            b"X-Beta",
            b"traceparent",
            b"tracestate",
            b"X-Last",
        ]
        assert CHILD.fullmatch(copy.field(b"traceparent"))
        assert copy.fields_named(b"tracestate") == [b"a=1,b=2"]


@scripted
async def test_each_copy_has_a_span_of_its_own() -> None:
    """Two requests of one trace, two copies, two spans; the block that repeats is no reason to repeat it."""
    async with stage(FLAGGED) as s:
        request = get(b"/", b"X-Beta: yes", b"traceparent: " + PARENT)
        client, upstream, _ = await s.asked(request)
        shadow = await s.shadow.accepted()
        first = (await shadow.message()).field(b"traceparent")
        upstream.send(ok())
        shadow.send(ok())
        await client.message()
        await s.turn()
        client.send(request)
        await upstream.message()
        second = (await shadow.message()).field(b"traceparent")
        assert CHILD.fullmatch(first)
        assert CHILD.fullmatch(second)
        assert first != second


@pytest.mark.parametrize(
    "traces",
    [
        (b"traceparent: nonsense",),
        (b"traceparent: " + PARENT.upper(),),
        (b"traceparent:",),
        (b"traceparent: " + PARENT, b"traceparent: " + PARENT),
    ],
)
@scripted
async def test_what_is_no_trace_stays_off_the_copy(traces: tuple[bytes, ...]) -> None:
    """The primary gets it like any unknown field; the copy neither it nor the state, nor less of the rest."""
    async with stage(FLAGGED) as s:
        _, primary, copy = await mirrored(
            s, get(b"/", b"Cookie: a=1", *traces, b"Tracestate: a=1", b"X-Beta: yes", b"X-Api-Key: k")
        )
        assert len(primary.fields_named(b"traceparent")) == len(traces)
        assert primary.fields_named(b"tracestate") == [b"a=1"]
        names = [name.lower() for name, _ in copy.fields]
        assert names[:2] == [b"host", b"x-beta"]
        assert {b"traceparent", b"tracestate", b"cookie", b"x-api-key"}.isdisjoint(names)


@scripted
async def test_a_trace_named_away_is_none() -> None:
    """Connection names it: it goes nowhere, and other fields keep their places."""
    fields = (
        b"Connection: traceparent",
        b"traceparent: " + PARENT,
        b"X-Beta: yes",
        b"Cookie: a=1",
        b"X-A: 1",
    )
    async with stage(FLAGGED) as s:
        _, primary, copy = await mirrored(s, get(b"/", *fields))
        assert primary.fields_named(b"traceparent") == copy.fields_named(b"traceparent") == []
        assert [name for name, _ in copy.fields[:3]] == [b"Host", b"X-Beta", b"X-A"]


@scripted
async def test_where_fields_are_named_away_the_trace_is_found() -> None:
    """Its line has moved; the right one is replaced."""
    fields = (b"Connection: x-a", b"X-A: 1", b"traceparent: " + PARENT, b"X-Beta: yes")
    async with stage(FLAGGED) as s:
        _, _, copy = await mirrored(s, get(b"/", *fields))
        assert [name for name, _ in copy.fields[:3]] == [b"Host", b"traceparent", b"X-Beta"]
        assert CHILD.fullmatch(copy.field(b"traceparent"))


@scripted
async def test_no_trace_is_invented() -> None:
    """We have no spans to tell of, so we begin none."""
    async with stage(FLAGGED) as s:
        _, primary, copy = await mirrored(s, get(b"/", b"X-Beta: yes"))
        assert primary.fields_named(b"traceparent") == copy.fields_named(b"traceparent") == []


# -- RFC 7239


@scripted
async def test_forwarded_in_the_form_of_rfc_7239() -> None:
    """Instead of X-Forwarded-*, or beside them; a client's own is dropped."""
    ours = b"for=127.0.0.1;host=a.example;proto=http"
    async with stage(forwarded="rfc7239") as s:
        _, _, request = await s.asked(get(b"/", b"Forwarded: for=6.6.6.6", b"X-Forwarded-For: 6.6.6.6"))
        assert request.fields_named(b"forwarded") == [ours]
        assert not [name for name, _ in request.fields if name.startswith(b"X-Forwarded")]
    async with stage(forwarded="both") as s:
        _, _, request = await s.asked(get())
        assert request.fields_named(b"forwarded") == [ours]
        assert request.fields_named(b"x-forwarded-for") == [b"127.0.0.1"]


@scripted
async def test_forwarded_of_a_trusted_peer_names_the_unit() -> None:
    """``ip`` is the client's address from Forwarded where that is all there is; HTTP/1.0 has its own Via."""
    rules = {
        **FLAGGED,
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {"serve": "a"}, "canary": {"serve": "a"}},
                "defaultVariant": "stable",
                "targeting": {"if": [{"==": [{"var": "ip"}, "2001:db8::1"]}, "canary", "stable"]},
            }
        },
    }
    head = b'GET / HTTP/1.0\r\nForwarded: for=9.9.9.9, for="[2001:db8::1]:99";proto=https\r\n\r\n'
    async with stage(rules, trusted_proxies=["127.0.0.1"]) as s:
        _, _, request = await s.asked(head)
        assert request.field(b"x-understudy-variant") == b"canary"
        assert request.field(b"x-forwarded-for") == b"9.9.9.9, 2001:db8::1, 127.0.0.1"
        assert request.field(b"x-forwarded-proto") == b"https"
        assert request.field(b"via").startswith(b"1.0 ")
