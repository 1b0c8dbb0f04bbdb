"""What joins the logs of a request and its copies: ids, trace context, and the line in the access log."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from http1_harness import FLAGGED, PLAIN, Peer, Stage, get, ok, post, scripted, settle, stage

from understudy.proxy import AccessLog
from understudy.shadow import Redaction
from understudy.tracing import RequestIds

TRACE_ID: Final = b"0af7651916cd43dd8448eb211c80319c"
PARENT: Final = b"00-%b-b7ad6b7169203331-01" % TRACE_ID
CHILD: Final = re.compile(rb"00-%b-(?!b7ad6b7169203331)[0-9a-f]{16}-01" % TRACE_ID)


def numbered() -> dict[str, Any]:
    """Ids 1, 2, 3, … in X-Request-Id."""
    made = iter(range(1, 1000))
    return {"request_ids": RequestIds(b"x-request-id", lambda bits: next(made))}


def request_id(number: int) -> bytes:
    return b"%032x" % number


class Lines:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def offer(self, line: bytes) -> None:
        self.lines.append(line)

    def only(self) -> dict[str, Any]:
        """The only line."""
        (line,) = self.lines
        assert line.endswith(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told


def logged(lines: Lines, **more: Any) -> dict[str, Any]:
    """Options of a proxy that logs to *lines*, at a wall clock that stands still."""
    log = AccessLog(
        lines,
        call_soon=asyncio.get_running_loop().call_soon,
        redaction=Redaction(key=b"k" * 16),
        worker="0",
        wall=lambda: 1_700_000_000.5,
        chance=lambda: 0.5,
        **more,
    )
    return {"access_log": log, **numbered()}


async def mirrored(s: Stage, request: bytes) -> tuple[Peer, Any, Any]:
    """The client, what the primary and what the shadow got, both answered."""
    client, upstream, primary = await s.asked(request)
    shadow = await s.shadow.accepted()
    copy = await shadow.message()
    upstream.send(ok())
    shadow.send(ok())
    await client.message()
    await s.turn()
    return client, primary, copy


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


# -- the access log


@scripted
async def test_the_line_of_a_mirrored_request() -> None:
    """What was asked by whom, what became of it, where it went; no credentials, no query."""
    lines = Lines()
    request = post(
        b"12345",
        b"X-Beta: yes",
        b"User-Agent: curl/8",
        b"Cookie: canary-1",
        b"Authorization: Bearer canary-2",
        b"X-Api-Key: canary-3",
        b"traceparent: " + PARENT,
        target=b"/orders?token=canary-4",
    )
    document = {**FLAGGED, "routes": [{**FLAGGED["routes"][0], "mirror_methods": ["POST"]}]}
    async with stage(document, options=logged(lines)) as s:
        await mirrored(s, request)
    assert b"canary-" not in lines.lines[0]
    told = lines.only()
    assert 0 < told.pop("upstream_seconds") <= told.pop("duration_seconds") < 5
    assert told == {
        "time": told["time"],
        "client": "127.0.0.1",
        "method": "POST",
        "host": "a.example",
        "path": "/orders",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 2,
        "service": "a",
        "flag": "shop",
        "variant": "dark",
        "mirror": ["b"],
        "reason": None,
        "request_id": request_id(1).decode(),
        "trace_id": TRACE_ID.decode(),
        "user_agent": "curl/8",
        "worker": "0",
    }
    assert re.fullmatch(r"2023-11-14T22:13:(19|20)\.\d{3}Z", told["time"])


@pytest.mark.parametrize(
    ("request_", "status", "reason", "path", "method"),
    [
        (b"NONSENSE\r\n\r\n", 400, "bad_request", None, None),
        (get(b"/" + b"x" * 9000), 414, "target_too_long", "/xxx", None),
        (b"GET /a?secret#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target", "/a", "GET"),
        (get(b"/x?q=1", b"Connection: close", method=b"TRACE"), 405, "bad_method", "/x", "TRACE"),
        (b"GET http://me:pw@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_host", None, "GET"),
    ],
)
@scripted
async def test_what_never_became_a_request_is_told(
    request_: bytes, status: int, reason: str, path: str | None, method: str | None
) -> None:
    """With why, and with what is known of it: no method before the head was read, nothing of credentials."""
    lines = Lines()
    async with stage(options=logged(lines)) as s:
        answer = await s.refused(request_)
    told = lines.only()
    assert (told["status"], told["reason"], told["method"]) == (status, reason, method)
    assert (told["path"] or "").startswith(path or "")
    assert (told["path"] is None) == (path is None)
    assert told["bytes_out"] == len(answer.body)
    assert (told["service"], told["flag"], told["variant"], told["mirror"]) == (None, None, None, [])
    assert (told["duration_seconds"] is None) == (method is None)
    assert b"pw" not in lines.lines[0]
    assert b"secret" not in lines.lines[0]


@scripted
async def test_no_route_and_no_service_are_told() -> None:
    """A refusal of ours by its reason; the service when one was chosen."""
    lines = Lines()
    document = {**PLAIN, "routes": [{"path": "/a", "serve": "a"}]}
    async with stage(document, options=logged(lines)) as s:
        s.upstream.close()
        client = await s.client()
        client.send(get(b"/b") + get(b"/a"))
        statuses = [(await client.message()).status, (await client.message()).status]
        await s.turn()
    told = [json.loads(line) for line in lines.lines]
    assert [line["status"] for line in told] == statuses == [404, 502]
    assert [(line["reason"], line["service"]) for line in told] == [
        ("no_route", None),
        ("connect_refused", "a"),
    ]


@scripted
async def test_a_client_that_leaves_and_an_answer_that_breaks() -> None:
    """499 as NGINX has it; a cut answer keeps its status and tells what cut it."""
    lines = Lines()
    async with stage(options=logged(lines)) as s:
        client, _, _ = await s.asked(get())
        client.reset()
        await s.idle()
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await client.take_until(b"abc")
        upstream.close()
        await client.rest()
        await settle()
    told = [json.loads(line) for line in lines.lines]
    assert [(line["status"], line["reason"], line["bytes_out"]) for line in told] == [
        (499, "client_gone", 0),
        (200, "cut_closed", 3),
    ]


HOSTILE: Final = [
    (b"/a%0d%0ab", b"curl"),
    (b'/"},{"status":200', b'a"\\b'),
    (b"/x", b"\xe2\x80\xa8\x9b31m\xff"),
    (b"/x", b"tab\there"),
    (b"/" + b"y" * 3000, b"z" * 3000),
]


@pytest.mark.parametrize(("target", "agent"), HOSTILE)
@scripted
async def test_nobody_can_write_lines_of_their_own(target: bytes, agent: bytes) -> None:
    """One line of printable ASCII, under what a pipe takes in one piece, that reads as JSON."""
    lines = Lines()
    async with stage(options=logged(lines)) as s:
        client, upstream, _ = await s.asked(get(target, b"User-Agent: " + agent))
        upstream.send(ok())
        await client.message()
        await s.turn()
    (line,) = lines.lines
    assert len(line) <= 4096
    assert re.fullmatch(rb"[ -~]+\n", line)
    told = lines.only()
    assert told["path"].startswith(target[:1000].decode("latin-1"))
    assert told["user_agent"].startswith(agent[:200].decode("latin-1"))


@pytest.mark.parametrize(
    ("target", "query", "path", "shown"),
    [
        (b"/u/jo@example.org?a=1", False, "/u/[email", None),
        (b"/k/sk_live_abcdefghijklmnop1234", False, "/k/[token", None),
        (b"/o?page=2&token=canary", True, "/o", "page=2&token=[redacted "),
        (b"/o?" + b"q" * 2000, True, "/o", "q" * 1022 + "…"),
    ],
)
@scripted
async def test_what_is_private_in_a_target_is_hidden(
    target: bytes, query: bool, path: str, shown: str | None
) -> None:
    """By the detectors in paths; by names and detectors in a query, if that is told at all."""
    lines = Lines()
    async with stage(options=logged(lines, query=query)) as s:
        client, upstream, _ = await s.asked(get(target))
        upstream.send(ok())
        await client.message()
        await s.turn()
    told = lines.only()
    assert told["path"].startswith(path)
    assert ("query" in told) == query
    assert (told.get("query") or "").startswith(shown or "")
    assert b"canary" not in lines.lines[0]


@scripted
async def test_other_rules_of_hiding_apply_from_the_next_line_on() -> None:
    """After a reload; user agents that are remembered are looked at again."""
    lines = Lines()
    options = logged(lines)
    request = get(b"/u/jo@example.org", b"User-Agent: jo@example.org")
    async with stage(options=options) as s:
        client, upstream, _ = await s.asked(request)
        upstream.send(ok())
        await client.message()
        await s.turn()
        options["access_log"].hide(Redaction(key=b"k" * 16, detectors=()))
        client.send(request)
        await upstream.message()
        upstream.send(ok())
        await client.message()
        await s.turn()
    first, second = (json.loads(line) for line in lines.lines)
    assert first["path"].startswith("/u/[email ")
    assert first["user_agent"].startswith("[email ")
    assert (second["path"], second["user_agent"]) == ("/u/jo@example.org", "jo@example.org")


@pytest.mark.parametrize(("sample", "lines_told"), [(1.0, 1), (0.6, 1), (0.5, 0), (0.0, 0)])
@scripted
async def test_a_sample_is_drawn_by_chance(sample: float, lines_told: int) -> None:
    """Uniform in [0, 1): half of the requests have a draw under one half."""
    lines = Lines()
    async with stage(options=logged(lines, sample=sample)) as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        await client.message()
        await s.turn()
    assert len(lines.lines) == lines_told


@scripted
async def test_a_line_that_cannot_be_made_costs_no_request() -> None:
    """It is counted; the client has its answer."""

    class Broken(Lines):
        def offer(self, line: bytes) -> None:
            raise ValueError(line)

    options = logged(Broken())
    async with stage(options=options) as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        assert (await client.message()).status == 200
        await s.turn()
    assert options["access_log"].faults == 1


# -- overload


def hold(s: Stage) -> Callable[[int], None]:
    """Tell the proxy what it holds."""
    return lambda resident_bytes: s.proxy.guard(resident_bytes=resident_bytes, next_file=0)


@scripted
async def test_copies_stop_before_requests_do() -> None:
    """From nine tenths on a request is served and not copied; under that it is copied again."""
    async with stage(FLAGGED, options={"memory_bytes": 1000}) as s:
        holds = hold(s)
        holds(900)
        client, upstream, _ = await s.asked(get(b"/", b"X-Beta: yes"))
        upstream.send(ok())
        assert (await client.message()).status == 200
        target = s.proxy.mirror.targets["mirror", "b"]
        assert target.reasons == {("skipped", "memory"): 1}
        assert not s.shadow.connections
        assert s.metrics.overload_stage == 1
        holds(849)
        client.send(get(b"/", b"X-Beta: yes"))
        await (await s.shadow.accepted()).message()
        assert target.sent == 1


@scripted
async def test_over_the_limit_requests_are_refused() -> None:
    """503 with when to try again, counted; the connection stays usable, and serves when there is room."""
    async with stage(options={"memory_bytes": 1000}) as s:
        hold(s)(1000)
        client = await s.client()
        client.send(get() + get())
        for _ in range(2):
            answer = await client.message()
            assert (answer.status, answer.reason) == (503, "overload")
            assert answer.field(b"retry-after") == b"1"
            assert answer.fields_named(b"connection") == []
        assert s.errors == {"overload": 2}
        assert not s.upstream.connections
        hold(s)(949)
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok())
        assert (await client.message()).status == 200


@scripted
async def test_over_the_limit_a_body_is_not_read() -> None:
    """The answer comes at once and is the last; the rest of the body is not taken in."""
    async with stage(options={"memory_bytes": 1000}) as s:
        hold(s)(1000)
        answer = await s.refused(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 1000
        )
        assert (answer.status, answer.reason) == (503, "overload")
        assert answer.field(b"connection") == b"close"


@scripted
async def test_over_the_limit_copies_under_way_are_given_up() -> None:
    """What they hold is needed, before any request is refused; the service is not blamed."""
    async with stage(FLAGGED, options={"memory_bytes": 1000}) as s:
        client, upstream, _ = await s.asked(get(b"/", b"X-Beta: yes"))
        await (await s.shadow.accepted()).message()
        assert not s.proxy.gave_up_copies(999)
        assert s.proxy.gave_up_copies(2000)
        assert not s.proxy.gave_up_copies(2000), "there are none left"
        hold(s)(900)
        assert not s.proxy.refuses
        target = s.proxy.mirror.targets["mirror", "b"]
        assert target.reasons == {("failed", "memory"): 1}
        assert target.failures == 0
        upstream.send(ok())
        assert (await client.message()).status == 200
