"""Shadow work may be late, lost or wrong; it may never be felt: the client's bytes and its next request."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from shadow_examples import OK_JSON, assert_conserved
from shadow_stage import Origin, Visit, converse, document, get, on_uvloop, post, say, staged, until

from understudy.link import Outbox
from understudy.shadow import Copy, Mirror, MirroredExchange, Target
from understudy.shadow.call import BEGINNING_BYTES, ShadowCall
from understudy.upstream import Pool, UpstreamConnection

SOON_SECONDS = 25.0
"""What three requests over loopback may take at most on a busy machine; the shadows here take 60 s."""

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
REQUESTS = (get(), get("/orders/2?x=1", "Accept: */*"), post(b"b" * 10_000), get("/orders/3"))


def answer_by_target(visit: Visit, request: bytes) -> None:
    visit.send(CHUNKED if request.startswith(b"GET /orders/2") else OK_JSON)


async def plain_answers(primary: Origin) -> list[bytes]:
    """What a client gets from a proxy that does not mirror."""
    async with staged(document(primary, primary.port, variant="plain")) as stage:
        return await converse(stage.port, *REQUESTS)


def reset_at_once(visit: Visit) -> None:
    visit.transport.abort()


def close_unanswered(visit: Visit, _request: bytes) -> None:
    visit.transport.close()


def drip(visit: Visit, _request: bytes) -> None:
    """One byte, and the next one much later."""
    loop = asyncio.get_running_loop()
    for at in range(3):
        loop.call_later(at * 30.0, visit.send, OK_JSON[at : at + 1])


def flood(visit: Visit, piece: bytes) -> None:
    """Send *piece* for ever, as fast as it is read."""
    if not visit.is_lost:
        visit.send(piece)
        asyncio.get_running_loop().call_soon(flood, visit, piece)


def endless(head: bytes, piece: bytes) -> Callable[[Visit, bytes], None]:
    def on_request(visit: Visit, _request: bytes) -> None:
        visit.send(head)
        flood(visit, piece)

    return on_request


SHADOWS: dict[str, dict[str, Any]] = {
    "equal": {"on_request": answer_by_target},
    "unequal": {"on_request": say(OK_JSON.replace(b"1}", b"2}"))},
    "hangs": {"on_request": lambda visit, request: None},
    "resets": {"on_request": say(b""), "on_visit": reset_at_once},
    "closes": {"on_request": close_unanswered},
    "half": {"on_request": say(OK_JSON[:-2])},
    "drips": {"on_request": drip},
    "garbage": {"on_request": say(b"\x16\x03\x01 not HTTP\r\n\r\n")},
    "smuggles": {
        "on_request": say(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
    },
    "early": {"on_request": say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK_JSON)},
    "upgrades": {
        "on_request": say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    },
    "endless_body": {
        "on_request": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", b"x" * 65536)
    },
    "endless_chunks": {
        "on_request": endless(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (b"64\r\n" + b"x" * 100 + b"\r\n") * 100
        )
    },
    "endless_crumbs": {
        "on_request": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n" * 1000)
    },
    "endless_extensions": {
        "on_request": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 9000)
    },
    "endless_trailers": {
        "on_request": endless(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Pad: " + b"p" * 1000 + b"\r\n"
        )
    },
    "endless_head": {"on_request": endless(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"p" * 1000 + b"\r\n")},
    "endless_interims": {"on_request": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)},
    "twice": {"on_request": say(OK_JSON + OK_JSON)},
    "eager": {"on_request": say(b""), "on_visit": lambda visit: visit.send(OK_JSON)},
    "sets_cookies": {"on_request": say(OK_JSON.replace(b"\r\n\r\n", b"\r\nSet-Cookie: shadow=1\r\n\r\n", 1))},
}


@pytest.mark.parametrize("name", sorted(SHADOWS))
def test_a_client_never_feels_its_shadow(name: str) -> None:
    """Same bytes as without mirroring, the second request on the same connection no later, books whole."""

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(**SHADOWS[name]).listening() as shadow,
        ):
            plain = await plain_answers(primary)
            settings = document(primary, shadow.port, shadow={"timeout": "60s", "control": 1})
            async with staged(settings) as stage:
                started = time.monotonic()
                answers = await converse(stage.port, *REQUESTS)
                assert time.monotonic() - started < SOON_SECONDS
                assert answers == plain
                await until(lambda: stage.target("mirror", "v2").eligible == len(REQUESTS), "all copies")
                await until(lambda: not stage.target("control", "v1").in_flight, "the controls' answers")
                stage.sweep_late(61.0)
                for target in stage.mirror.targets.values():
                    assert_conserved(target)
                assert (stage.mirror.held, stage.metrics.mirror_errors) == (0, 0)

    play()


@pytest.mark.parametrize("kind", ["refuses", "drops"])
def test_a_client_never_feels_that_nobody_listens(kind: str) -> None:
    """A port that refuses, and one whose backlog is full and takes no more."""

    @on_uvloop
    async def play() -> None:
        import socket

        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            if kind == "drops":
                bound.listen(0)
            port = bound.getsockname()[1]
            fillers = [socket.socket() for _ in range(3 if kind == "drops" else 0)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with Origin(on_request=answer_by_target).listening() as primary:
                plain = await plain_answers(primary)
                service = {"connect_timeout": "300ms"}
                async with staged(document(primary, port, shadow_service=service)) as stage:
                    started = time.monotonic()
                    assert await converse(stage.port, *REQUESTS) == plain
                    assert time.monotonic() - started < SOON_SECONDS
                    await stage.quiet()
                    assert_conserved(stage.target("mirror", "v2"))
            for filler in fillers:
                filler.close()

    play()


@pytest.mark.parametrize("name", ["endless_body", "endless_chunks"])
def test_an_endless_answer_is_read_to_the_cap_and_then_cut(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the cap and one read more; then the connection is closed and the answer counts as cut off."""
    taken = 0
    receive = UpstreamConnection.data_received

    def counted(self: UpstreamConnection, data: bytes) -> None:
        nonlocal taken
        if isinstance(self.caller, ShadowCall):
            taken += len(data)
        receive(self, data)

    monkeypatch.setattr(UpstreamConnection, "data_received", counted)
    cap = 128 * 1024

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(**SHADOWS[name]).listening() as shadow,
        ):
            settings = document(
                primary, shadow.port, shadow={"timeout": "60s", "control": 0, "body_cap": cap}
            )
            async with staged(settings) as stage:
                await converse(stage.port, get())
                await stage.quiet()
                await until(lambda: shadow.visits[0].is_lost, "the cut")
                assert cap < taken <= 2 * cap + 256 * 1024
                assert stage.target("mirror", "v2").answers == 1
                assert stage.mirror.held == 0
                batch = stage.outbox.next_batch()
                assert batch is not None
                assert len(batch.pairs[0].shadow.body) == BEGINNING_BYTES  # of what was read
                assert batch.pairs[0].shadow.is_truncated

    play()


PLACES: dict[str, tuple[type, str]] = {
    "begin": (Mirror, "begin"),
    "exchange": (MirroredExchange, "__init__"),
    "copy": (Copy, "__init__"),
    "send": (Mirror, "send"),
    "refuses": (Target, "refuses"),
    "wire": (Target, "wire"),
    "call": (ShadowCall, "__init__"),
    "start": (ShadowCall, "start"),
    "hold": (MirroredExchange, "hold"),
    "primary_answer": (MirroredExchange, "primary_answer"),
    "primary_data": (MirroredExchange, "primary_data"),
    "primary_complete": (MirroredExchange, "primary_complete"),
    "on_connection": (UpstreamConnection, "begin"),
    "acquire": (Pool, "acquire"),
    "on_answer": (ShadowCall, "on_answer"),
    "on_data": (ShadowCall, "on_data"),
    "on_complete": (ShadowCall, "_answer"),
    "answered": (Target, "answered"),
    "call_over": (Mirror, "ended"),
    "settle": (Mirror, "settle"),
    "equals": (MirroredExchange, "equals"),
    "pair": (Mirror, "_pair"),
    "offer": (Outbox, "offer"),
}


SETTLED_WITHOUT = {"on_answer", "on_data", "equals", "pair", "offer"}
"""Places that an answer equal by its bytes does not come to."""


def breaking(original: Callable[..., Any], place: str) -> Callable[..., Any]:
    """*original*, raising for a shadow's sake; what serves the primary goes on."""

    def broken(self: object, *arguments: Any, **named: Any) -> Any:
        if place in ("acquire", "on_connection") and not isinstance(arguments[0], ShadowCall):
            return original(self, *arguments, **named)
        if place == "call_over":
            original(self, *arguments, **named)
        raise RuntimeError(f"injected into {place}")

    return broken


@pytest.mark.parametrize(
    ("place", "shadow_name"),
    [
        *((place, "unequal") for place in PLACES),
        *((place, "equal") for place in sorted(PLACES.keys() - SETTLED_WITHOUT)),
    ],
)
def test_an_exception_in_mirroring_is_counted_and_never_felt(
    place: str, shadow_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is raised: the client's bytes are the same, the books whole, nothing held, all counted."""
    kind, name = PLACES[place]

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(**SHADOWS[shadow_name]).listening() as shadow,
        ):
            plain = await plain_answers(primary)
            async with staged(
                document(primary, shadow.port, shadow={"timeout": "60s", "control": 1})
            ) as stage:
                monkeypatch.setattr(kind, name, breaking(getattr(kind, name), place))
                assert await converse(stage.port, *REQUESTS) == plain
                await stage.quiet()
                monkeypatch.undo()
                for target in stage.mirror.targets.values():
                    assert_conserved(target)
                assert stage.mirror.held == 0
                assert stage.metrics.mirror_errors > 0
                if place != "call_over":  # raised when all was done
                    assert sum(n for key, n in stage.mirror.drain().items() if key[3] == "matched") == 0
                await converse(stage.port, get())
                await stage.quiet()
                assert stage.target("mirror", "v2").answers > 0

    play()


def test_books_are_whole_after_many_clients_and_random_faults() -> None:
    """Four hundred requests of twenty clients to a shadow that does anything: the law holds by counter."""
    import random

    dice = random.Random(7)
    kinds = ["equal", "unequal", "hangs", "closes", "half", "garbage", "twice", "endless_body"]

    def any_of(visit: Visit, request: bytes) -> None:
        SHADOWS[dice.choice(kinds)]["on_request"](visit, request)

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(on_request=any_of).listening() as shadow,
        ):
            plain = await plain_answers(primary)
            settings = document(
                primary,
                shadow.port,
                shadow={"timeout": "200ms", "control": 0.3, "in_flight": 8, "body_cap": "64KiB"},
            )
            async with staged(settings, chance=dice.random) as stage:
                talks = [converse(stage.port, *REQUESTS * 5) for _ in range(20)]
                for answers in await asyncio.gather(*talks):
                    assert answers == plain * 5
                await stage.quiet()
                for target in stage.mirror.targets.values():
                    assert_conserved(target)
                assert (stage.mirror.held, stage.metrics.mirror_errors) == (0, 0)
                mirror = stage.target("mirror", "v2")
                assert mirror.eligible == 400
                counts = stage.mirror.drain()
                settled = sum(
                    n
                    for key, n in counts.items()
                    if key[0] == "exchange" and key[3] in ("exchanges", "not_compared", "unpaired")
                )
                assert mirror.answers == settled + len(stage.outbox)

    play()
