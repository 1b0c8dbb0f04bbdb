"""A worker that is short of memory sheds copies first, then requests."""

from collections.abc import Callable

from http1_harness import FLAGGED, Stage, get, ok, scripted, stage

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
