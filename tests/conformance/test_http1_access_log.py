"""The line that a request leaves in the access log, and what never stands in it."""

import asyncio
import json
import re
from typing import Any, Final

import pytest
from http1_harness import FLAGGED, PLAIN, get, ok, post, scripted, settle, stage
from http1_traced import mirrored, numbered, request_id

from understudy.proxy import AccessLog
from understudy.shadow import Redaction

TRACE_ID: Final = b"0af7651916cd43dd8448eb211c80319c"
PARENT: Final = b"00-%b-b7ad6b7169203331-01" % TRACE_ID


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
    assert 0 < told.pop("upstream_seconds") <= told.pop("duration_seconds") < 60
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
