"""A canary whose origin is away: its users meet the default variant, and every count says so."""

from typing import Any

from http1_harness import get, ok, post, scripted, settle, stage
from origins_harness import Server, answered, bodies, reset, servers, until
from prometheus_client import CollectorRegistry, generate_latest

from understudy.metrics import WorkerMetrics, WorkersCollector

STABLE = b"X-Understudy-Flag: shop\r\nX-Understudy-Variant: stable\r\n"
CANARY = b"X-Understudy-Flag: shop\r\nX-Understudy-Variant: canary\r\n"


def canary(**changes: Any) -> dict[str, Any]:
    """Everybody is assigned the canary, which service b serves; a is what the default variant has."""
    return {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {
                    "canary": {"serve": "b"},
                    "stable": {"serve": "a"},
                    **changes.pop("variants", {}),
                },
                "defaultVariant": "stable",
                "targeting": {"fractional": [["canary", 1]]},
                **changes.pop("flag", {}),
            }
        },
        "routes": [{"path": "/", "flag": "shop", "unit": "ip"}],
        **changes,
    }


def both(old: Server, new: Server, **more: Any) -> dict[str, Any]:
    return {"a": {"url": old.url}, "b": {"url": new.url, **more}}


def counts(metrics: WorkerMetrics, family: str) -> dict[str, float]:
    """The samples of *family* above zero, by their labels as they are scraped."""
    registry = CollectorRegistry()
    registry.register(WorkersCollector({"1": metrics.snapshot()}))
    lines = generate_latest(registry).decode().splitlines()
    samples = [line.removeprefix(family).rpartition(" ") for line in lines if line.startswith(family + "{")]
    return {labels: float(value) for labels, _, value in samples if float(value)}


@scripted
async def test_the_request_that_meets_the_refusal_is_answered_by_the_default() -> None:
    """Nothing was sent, so it is asked there, as the variant that is really asked."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        new.die()
        client = await s.client()
        answer = await answered(client, post(b"order"))
        assert (answer.status, answer.body) == (200, b"old")
        (request,) = old.asked
        assert STABLE in request
        assert b"canary" not in request
        assert request.endswith(b"\r\n\r\norder")
        assert s.errors == {}


@scripted
async def test_a_canary_that_is_well_is_asked() -> None:
    """The other way is only for need."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        assert await bodies(s, get(), 3) == [b"new"] * 3
        assert CANARY in new.asked[0]
        assert old.asked == []
        assert counts(s.metrics, "understudy_fallbacks_total") == {}


@scripted
async def test_an_ejected_canary_is_left_alone_and_then_tried_again() -> None:
    """For thirty seconds nobody even connects; it is back with the first good answer."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        new.answer = lambda _: b"HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill"
        assert await bodies(s, get(), 5) == [b"ill"] * 5
        assert await bodies(s, get(), 5) == [b"old"] * 5
        assert len(new.asked) == 5
        assert all(STABLE in request for request in old.asked)
        assert s.metrics.origins == {"a": 1, "b": 0}
        new.answer = lambda _: ok(b"new")
        s.advance(29.9)
        assert await bodies(s, get(), 1) == [b"old"]
        s.advance(0.2)
        assert await bodies(s, get(), 3) == [b"new"] * 3
        assert s.metrics.origins == {"a": 1, "b": 1}


@scripted
async def test_every_count_tells_who_was_assigned_and_who_was_met() -> None:
    """Rows have the assigned variant and the service that answered; exposures the variant that was met."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        assert await bodies(s, get(), 2) == [b"new"] * 2
        new.die()
        await settle()
        assert await bodies(s, get(), 3) == [b"old"] * 3
        assert counts(s.metrics, "understudy_fallbacks_total") == {'{flag="shop",variant="canary"}': 3}
        assert counts(s.metrics, "understudy_exposures_total") == {
            '{flag="shop",variant="canary"}': 2,
            '{flag="shop",variant="stable"}': 3,
        }
        row = '{{code="2xx",flag="shop",route="/",service="{}",variant="canary"}}'
        assert counts(s.metrics, "understudy_requests_total") == {row.format("b"): 2, row.format("a"): 3}


@scripted
async def test_a_request_that_was_sent_does_not_fall_back() -> None:
    """It may have been carried out: the client is told that its answer is lost."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        new.ends = reset
        client = await s.client()
        assert (await answered(client, post(b"order"))).reason == "closed"
        assert (await answered(client, get())).reason == "closed"
        assert old.asked == []


@scripted
async def test_a_repeated_request_that_then_meets_a_refusal_does_not_fall_back() -> None:
    """Its first copy was sent, on a kept connection that broke."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        client = await s.client()
        assert (await answered(client, get())).body == b"new"
        new.holds = True
        client.send(get())
        await until(lambda: new.held)
        new.die()
        assert (await client.message()).reason == "connect_refused"
        assert old.asked == []


@scripted
async def test_the_default_variant_falls_back_to_nobody() -> None:
    """Neither when it is assigned, nor when it stands in and is away itself."""
    async with servers("old", "new") as (old, new), stage(canary(), services=both(old, new)) as s:
        old.die()
        new.die()
        client = await s.client()
        assert (await answered(client, get())).reason == "connect_refused"
        assert s.errors == {"connect_refused": 1}
        assert s.metrics.fallbacks["/", "shop", "canary", "stable", "a"].codes[5] == 1
    flag = canary(flag={"defaultVariant": "canary"})
    async with servers("old", "new") as (old, new), stage(flag, services=both(old, new)) as s:
        new.die()
        client = await s.client()
        assert [(await answered(client, get())).status for _ in range(7)] == [502] * 7
        assert old.asked == []


@scripted
async def test_a_killed_flag_stays_on_its_safe_variant() -> None:
    """The kill switch stands before any other rule, this one too."""
    flag = canary(
        flag={"metadata": {"safeVariant": "canary"}},
        killed=["shop"],
    )
    async with servers("old", "new") as (old, new), stage(flag, services=both(old, new)) as s:
        new.die()
        client = await s.client()
        assert [(await answered(client, get())).status for _ in range(7)] == [502] * 7
        assert old.asked == []


@scripted
async def test_a_variant_of_the_same_service_has_nowhere_to_fall() -> None:
    """What only mirrors differently is asked as ever."""
    dark = canary(variants={"canary": {"serve": "a", "mirror": ["b"]}})
    async with servers("old", "new") as (old, new), stage(dark, services=both(old, new)) as s:
        old.answer = lambda _: b"HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill"
        assert await bodies(s, get(), 7) == [b"ill"] * 7
        assert all(CANARY in request for request in old.asked)


@scripted
async def test_who_falls_back_mirrors_nothing() -> None:
    """An answer of the default variant says nothing on what the canary's copies would be compared with."""
    third = canary(variants={"canary": {"serve": "b", "mirror": ["c"]}})
    async with servers("old", "new", "third") as (old, new, copied):
        services = {**both(old, new), "c": {"url": copied.url}}
        async with stage(third, services=services) as s:
            new.die()
            assert await bodies(s, post(b"1"), 1) == [b"old"]
            assert await bodies(s, get(), 4) == [b"old"] * 4
            await settle()
            target = s.proxy.mirror.targets["mirror", "c"]
            # Each of the first three requests tried twice to connect; then the canary was ejected.
            assert (target.eligible, target.is_settled) == (3, True)
            asked = len(copied.asked)
            assert await bodies(s, get(), 3) == [b"old"] * 3
            await settle()
            assert (target.eligible, len(copied.asked)) == (3, asked)
            assert s.recorder.pairs == []


@scripted
async def test_a_canary_with_two_origins_falls_back_when_both_are_out() -> None:
    """One that is well is enough."""
    async with servers("old", "one", "two") as (old, one, two):
        services = {"a": {"url": old.url}, "b": {"origins": [one.url, two.url], "eject": {"failures": 2}}}
        async with stage(canary(), services=services) as s:
            one.die()
            assert await bodies(s, get(), 6) == [b"two"] * 6
            two.die()
            await settle()
            assert await bodies(s, get(), 6) == [b"old"] * 6
            await two.revive()
            s.advance(30.1)
            assert await bodies(s, get(), 3) == [b"two"] * 3
