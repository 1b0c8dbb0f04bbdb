"""Several origins of one service: who is asked, who takes over, who is left out and comes back."""

import asyncio
from functools import partial

import pytest
from http1_harness import get, ok, post, scripted, settle, stage
from origins_harness import Server, answered, bodies, reset, servers, spread, until

from understudy.upstream import Balancer


def is_asked(made: list[Server], times: int) -> bool:
    """Whether that many requests have come to any of these."""
    return sum(len(server.asked) for server in made) == times


def ill(status: int) -> bytes:
    return b"HTTP/1.1 %d Ill\r\nContent-Length: 3\r\n\r\nill" % status


@scripted
async def test_round_robin_asks_each_in_turn() -> None:
    """Exactly, while one client asks one request after another; Host stays the client's."""
    async with servers("x", "y", "z") as made, stage(services=spread(made)) as s:
        assert await bodies(s, get(), 9) == [b"x", b"y", b"z"] * 3
        assert all(b"\r\nHost: a.example\r\n" in request for server in made for request in server.asked)
        assert [server.accepted for server in made] == [1, 1, 1]
        assert s.metrics.origins == {"a": 3}


@scripted
async def test_least_connections_goes_round_a_slow_origin() -> None:
    """While one holds a request, the other gets all; when it has answered they share again."""
    async with (
        servers("slow", "fast") as made,
        stage(services=spread(made, balance="least_connections")) as s,
    ):
        slow, _ = made
        slow.holds = True
        waiting = await s.client()
        waiting.send(get())
        await until(lambda: slow.held)
        assert await bodies(s, get(), 6) == [b"fast"] * 6
        slow.holds = False
        slow.release()
        assert (await waiting.message()).body == b"slow"
        assert set(await bodies(s, get(), 4)) == {b"slow", b"fast"}


@scripted
async def test_when_an_origin_dies_no_request_that_may_be_repeated_fails() -> None:
    """Thirty clients ask ten times; one of three origins is killed with requests in its hands."""
    async with servers("x", "y", "z") as made, stage(services=spread(made)) as s:
        dying = made[1]
        seen: list[tuple[int, bytes]] = []

        async def visitor() -> None:
            client = await s.client()
            for _ in range(10):
                answer = await answered(client, get())
                seen.append((answer.status, answer.body))

        async def killer() -> None:
            await until(lambda: len(seen) > 60)
            dying.holds = True
            await until(lambda: len(dying.held) > 3)
            dying.die()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(killer())
            for _ in range(30):
                tasks.create_task(visitor())
        assert len(seen) == 300
        assert {status for status, _ in seen} == {200}
        assert {body for _, body in seen[-20:]} == {b"x", b"z"}
        assert s.errors == {}


@scripted
async def test_who_meets_a_refusal_is_sent_elsewhere_whatever_it_asks() -> None:
    """Nothing was sent, so a POST may go to another origin; its body comes whole, once."""
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        made[0].die()
        client = await s.client()
        for number in range(6):
            answer = await answered(client, post(b"order %d" % number))
            assert (answer.status, answer.body) == (200, b"y")
        assert [request[-7:] for request in made[1].asked] == [b"order %d" % n for n in range(6)]
        assert s.errors == {}


@scripted
async def test_two_of_three_dead_are_both_passed_over() -> None:
    """Each origin is tried once before anybody is refused."""
    async with servers("x", "y", "z") as made, stage(services=spread(made)) as s:
        made[0].die()
        made[1].die()
        assert await bodies(s, get(), 4) == [b"z"] * 4
        made[2].die()
        client = await s.client()
        assert (await answered(client, get())).reason == "connect_refused"


@scripted
async def test_five_failures_in_a_row_eject_an_origin_for_its_time() -> None:
    """Then it is tried again: once more ill, it is out at once; well, it stays."""
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        ailing = made[0]
        ailing.answer = lambda _: ill(503)
        client = await s.client()
        statuses = [(await answered(client, get())).status for _ in range(14)]
        assert statuses == [503, 200] * 5 + [200] * 4
        assert s.metrics.ejections == {"a": 1}
        assert s.metrics.origins == {"a": 1}
        s.advance(29.9)
        assert (await answered(client, get())).status == 200
        s.advance(0.2)
        assert s.metrics.origins == {"a": 2}
        assert sorted([(await answered(client, get())).status for _ in range(4)]) == [200, 200, 200, 503]
        assert s.metrics.ejections == {"a": 2}
        ailing.answer = lambda _: ok(b"x")
        s.advance(30.1)
        assert sorted(await bodies(s, get(), 4)) == [b"x", b"x", b"y", b"y"]
        assert s.metrics.ejections == {"a": 2}


@scripted
async def test_one_good_answer_begins_the_count_anew() -> None:
    """Four failures, an answer, four failures: nobody is ejected. A 500 is an answer."""
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        statuses = iter([502, 503, 504, 502, 500, 503, 503, 503, 503, 200] * 2)
        made[0].answer = lambda _: ill(next(statuses))
        await bodies(s, get(), 40)
        assert s.metrics.ejections == {}
        assert len(made[0].asked) == 20


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Surprise\r\n\r\n"],
)
def test_an_answer_that_is_none_counts(answer: bytes) -> None:
    """What no client may get is held against the origin."""

    @scripted
    async def play() -> None:
        async with servers("x", "y") as made, stage(services=spread(made)) as s:
            made[0].answer = lambda _: answer
            client = await s.client()
            statuses = [(await answered(client, get(method=b"POST"))).status for _ in range(14)]
            assert statuses == [502, 200] * 5 + [200] * 4
            assert s.metrics.ejections == {"a": 1}

    play()


@scripted
async def test_a_reset_before_the_answer_counts_and_a_repeatable_request_goes_elsewhere() -> None:
    """A GET is answered by the other origin; a POST gets its 502, because it may have been carried out."""
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        made[0].ends = reset
        assert await bodies(s, get(), 4) == [b"y"] * 4
        client = await s.client()
        answers = [await answered(client, post(b"1")) for _ in range(8)]
        refused = [answer for answer in answers if answer.status == 502]
        assert {answer.reason for answer in refused} == {"closed"}
        assert len(made[0].asked) == 5
        assert s.metrics.ejections == {"a": 1}


@scripted
async def test_an_answer_that_began_is_not_exchanged_for_another() -> None:
    """Broken in its first read, nothing of it is out; but its framing and its copy are no other answer's."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        made[0].answer = lambda _: broken
        client = await s.client()
        assert (await answered(client, get())).reason == "bad_answer"
        assert (await answered(client, get())).body == b"y"
        assert client.received == b""


@scripted
async def test_silence_until_the_first_byte_is_due_counts() -> None:
    """Each late request gets its 504; the fifth ejects."""
    async with servers("x", "y") as made, stage(services=spread(made, first_byte_timeout="1s")) as s:
        made[0].holds = True
        for _ in range(5):
            client = await s.client()
            client.send(get())
            await until(lambda: made[0].held)
            made[0].held.clear()
            s.advance(1.1)
            assert (await client.message()).reason == "answer_timeout"
            assert await bodies(s, get(), 1) == [b"y"]
        assert s.metrics.ejections == {"a": 1}
        assert await bodies(s, get(), 3) == [b"y"] * 3


@scripted
async def test_origins_that_are_all_out_are_asked_all_the_same() -> None:
    """An answer that is ill is better than none."""
    async with servers("x", "y") as made, stage(services=spread(made, eject={"failures": 2})) as s:
        for server in made:
            server.answer = lambda _: ill(503)
        client = await s.client()
        assert [(await answered(client, get())).status for _ in range(8)] == [503] * 8
        assert s.metrics.ejections == {"a": 2}
        assert s.metrics.origins == {"a": 0}
        made[1].answer = lambda _: ok(b"y")
        assert set(await bodies(s, get(), 4)) == {b"ill", b"y"}


@scripted
async def test_ejecting_can_be_turned_off() -> None:
    """With 0 failures an origin keeps its turn whatever it answers."""
    async with servers("x", "y") as made, stage(services=spread(made, eject={"failures": 0})) as s:
        made[0].answer = lambda _: ill(503)
        client = await s.client()
        assert [(await answered(client, get())).status for _ in range(20)] == [503, 200] * 10
        assert s.metrics.ejections == {}


@scripted
async def test_the_limit_and_the_queue_hold_for_all_origins_together() -> None:
    """Two connections are two, wherever they go; the third request takes the first that is free."""
    async with servers("x", "y") as made, stage(services=spread(made, connections=2, queue=1)) as s:
        for server in made:
            server.holds = True
        clients = [await s.client() for _ in range(4)]
        for client in clients[:3]:
            client.send(get())
        await until(lambda: made[0].held and made[1].held)
        assert (await answered(clients[3], get())).reason == "pool_full"
        (balancer,) = s.proxy.engine.pools
        assert isinstance(balancer, Balancer)
        assert repr(balancer).endswith("open=2 idle=0 opening=0 waiting=1>")
        for server in made:
            server.holds = False
        made[1].release()
        assert (await clients[1].message()).body == b"y"
        assert (await clients[2].message()).body == b"y"
        made[0].release()
        assert (await clients[0].message()).body == b"x"
        assert [server.accepted for server in made] == [1, 1]


@scripted
async def test_at_the_limit_a_kept_connection_of_any_origin_is_used() -> None:
    """Rather than to close one and open another where it is the turn."""
    async with servers("x", "y") as made, stage(services=spread(made, connections=1)) as s:
        assert await bodies(s, get(), 4) == [b"x"] * 4
        assert made[1].accepted == 0


@scripted
async def test_a_client_that_leaves_while_it_waits_takes_its_place_with_it() -> None:
    """Nothing is left of it, and the next is served."""
    async with servers("x", "y") as made, stage(services=spread(made, connections=1)) as s:
        made[0].holds = True
        first, second = await s.client(), await s.client()
        first.send(get())
        await until(lambda: made[0].held)
        second.send(get())
        await settle()
        second.reset()
        await settle()
        made[0].holds = False
        made[0].release()
        assert (await first.message()).body == b"x"
        assert await bodies(s, get(), 1) == [b"x"]


@scripted
async def test_an_origin_that_comes_back_takes_its_share() -> None:
    """Refused five times it is out; after its time it is asked, and answers."""
    async with servers("x", "y") as made, stage(services=spread(made)) as s:
        made[0].die()
        assert await bodies(s, get(), 12) == [b"y"] * 12
        assert s.metrics.ejections == {"a": 1}
        await made[0].revive()
        assert await bodies(s, get(), 4) == [b"y"] * 4
        s.advance(30.1)
        assert sorted(await bodies(s, get(), 4)) == [b"x", b"x", b"y", b"y"]


@scripted
async def test_a_shadow_with_several_origins_is_balanced_too() -> None:
    """Copies go to each in turn, and what a copy meets is not held against the origin as a primary's."""
    flag = {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"dark": {"serve": "b", "mirror": ["a"]}},
                "defaultVariant": "dark",
            }
        },
        "routes": [{"path": "/", "flag": "shop"}],
    }
    async with servers("x", "y", "p") as (x, y, primary):
        services = {**spread([x, y]), "b": {"url": primary.url}}
        async with stage(flag, services=services) as s:
            x.answer = lambda _: ill(503)
            for number in range(10):
                await bodies(s, get(), 1)
                await until(partial(is_asked, [x, y], number + 1))
            assert len(x.asked) == 5
            assert s.metrics.ejections == {"a": 1}
            assert s.metrics.origins == {"a": 1, "b": 1}
            assert all(b"X-Understudy-Shadow: 1" in request for request in (*x.asked, *y.asked))
