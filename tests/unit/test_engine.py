"""The rules in force: swapped whole, looked up once per decision, never raising on a request."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from understudy.config import Ejection, Kills, Service, parse_rules, parse_settings
from understudy.engine import Engine, Plan, compiled_rules
from understudy.errors import UnderstudyError
from understudy.forwarding import CREDENTIALS
from understudy.messages import RequestHead
from understudy.metrics import WorkerMetrics
from understudy.shadow import Limits, Mirror
from understudy.upstream import Health, Origin, Pool, Room, Upstream

SERVICES = ("v1", "v2", "v3")
GET = RequestHead(path="/a", host="shop")


class Desk:
    """An engine with what it was given."""

    def __init__(self, **services: dict[str, Any]) -> None:
        document = {
            "services": {name: {"url": "http://127.0.0.1:9", **services.get(name, {})} for name in SERVICES},
            **rules(),
            "shadow": {"in_flight": 7},
            "store": "memory://",
        }
        self.document = document
        settings = parse_settings(document, base=Path(), environ={})
        self.metrics = WorkerMetrics()
        self.made: list[tuple[str, str, int]] = []
        self.pools: list[Pool] = []
        self.mirror = Mirror(
            recorder=Never(),
            metrics=self.metrics,
            now=lambda: 0.0,
            wall=lambda: 0.0,
            chance=lambda: 1.0,
            limits=Limits(),
        )
        self.engine = Engine(settings, mirror=self.mirror, metrics=self.metrics, make_pool=self.make_pool)

    def make_pool(
        self, name: str, service: Service, role: str, limit: int, on_change: Callable[[str], None]
    ) -> Pool:
        self.made.append((role, service.url, limit))
        pool = Pool(
            Origin("http://127.0.0.1:9"),
            room=Room(limit=limit, queue=1),
            health=Health(
                name, eject=Ejection(failures=2, seconds=30.0), clock=lambda: 0.0, on_change=on_change
            ),
            loop=cast(asyncio.AbstractEventLoop, None),
            spawn=lambda work: work.close(),
            clock=lambda: 0.0,
            write=lambda _connection, _data: None,
        )
        self.pools.append(pool)
        return pool

    def reload(
        self,
        *,
        without: str = "",
        shadow: dict[str, Any] | None = None,
        endpoints: dict[str, Any] | None = None,
        **services: Any,
    ) -> None:
        """The configuration again, with changes."""
        known = {**self.document["services"], **services}
        known.pop(without, None)
        document = {
            "services": known,
            "store": "memory://",
            "shadow": {"in_flight": 7, **(shadow or {})},
            "endpoints": endpoints or {},
        }
        self.engine.reload(parse_settings(document, base=Path(), environ={}))

    def swap(self, version: int = 1, **changed: Any) -> None:
        self.engine.swap(parse_rules({**rules(), **changed}, services=SERVICES), version)

    def plan(self, head: RequestHead = GET) -> Plan:
        plan = self.engine.decide(head)
        assert plan is not None
        return plan


class Never:
    """Nothing is compared here."""

    def offer(self, pair: object) -> bool:
        raise AssertionError("no pair was to come")


def rules(**shop: Any) -> dict[str, Any]:
    """A rules document with one flag that mirrors by default."""
    return {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {
                    "stable": {"serve": "v1"},
                    "dark": {"serve": "v1", "mirror": ["v2", "v3"], "control": "v3"},
                },
                "defaultVariant": "dark",
                **shop,
            }
        },
        "routes": [{"path": "/a", "flag": "shop"}, {"path": "/static", "serve": "v2"}],
    }


def test_before_the_first_rules_nothing_is_decided() -> None:
    """No route matches what is not known."""
    assert Desk().engine.decide(GET) is None


def test_a_plan_is_made_once_per_decision() -> None:
    """The same object for every request that is decided alike; another after a swap."""
    desk = Desk()
    desk.swap()
    first = desk.plan()
    assert desk.plan() is first
    assert desk.engine.decide(RequestHead(path="/none")) is None
    desk.swap(2)
    assert desk.plan() is not first
    assert desk.plan().pool is first.pool


def test_a_plan_knows_pools_shadows_and_counts() -> None:
    """Each role has a pool of its own; a shadow's holds no more than may be in flight."""
    desk = Desk()
    desk.swap()
    plan = desk.plan()
    assert [target.service for target in plan.targets] == ["v2", "v3"]
    assert plan.control is not None
    assert (plan.control.service, plan.control.role) == ("v3", "control")
    assert {(role, limit) for role, _, limit in desk.made} == {
        ("primary", 1024),
        ("mirror", 7),
        ("control", 7),
    }
    assert len(desk.made) == 4
    assert plan.cohort == b"X-Understudy-Flag: shop\r\nX-Understudy-Variant: dark\r\n"
    assert desk.metrics.requests[("/a", "shop", "dark", "v1")] is plan.stats


def test_a_plan_without_mirror_asks_nobody_twice() -> None:
    """Control answers are for mirrored requests only; a route without a flag tells no cohort."""
    desk = Desk()
    desk.swap(killed=["shop"], flags=rules(metadata={"safeVariant": "stable"})["flags"])
    assert (desk.plan().targets, desk.plan().control) == ((), None)
    static = desk.plan(RequestHead(path="/static/x"))
    assert (static.cohort, static.targets) == (b"", ())


def test_targets_and_their_counts_outlive_the_rules() -> None:
    """A change of rules loses no count and resets no breaker."""
    desk = Desk()
    desk.swap()
    target = desk.plan().targets[0]
    target.eligible = 5
    desk.swap(2)
    assert desk.plan().targets[0] is target


@pytest.mark.parametrize(
    ("service", "stripped", "own"),
    [
        ({}, CREDENTIALS, b""),
        ({"forward_credentials": ["cookie"]}, CREDENTIALS - {b"cookie"}, b""),
        ({"set_headers": {"X_Env": "dark"}}, CREDENTIALS | {b"x-env"}, b"X_Env: dark\r\n"),
        (
            {"forward_credentials": ["authorization"], "set_headers": {"Authorization": "Bearer x"}},
            CREDENTIALS,
            b"Authorization: Bearer x\r\n",
        ),
    ],
)
def test_what_a_shadow_may_see(service: dict[str, Any], stripped: frozenset[bytes], own: bytes) -> None:
    """Credentials unless listed, replaced fields never; what is its own is given on every copy."""
    desk = Desk(v2=service, v3=service)
    desk.swap()
    shadow, control = desk.plan().targets[0], desk.plan().control
    assert (shadow.stripped, shadow.own_lines) == (stripped, own)
    assert control is not None
    assert (control.stripped, control.own_lines) == (frozenset(), b"")


def test_rules_that_do_not_compile_change_nothing() -> None:
    """The swap is whole or not at all."""
    desk = Desk()
    desk.swap(3)
    before = desk.plan()
    broken = parse_rules(rules(), services=SERVICES)
    object.__setattr__(broken, "killed", ("shop",))
    object.__setattr__(
        broken, "flags", {"shop": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"no": []}}}
    )
    with pytest.raises(UnderstudyError):
        desk.engine.swap(broken, 4)
    assert desk.engine.version == desk.metrics.rules_version == 3
    assert desk.plan() is before


def test_schedules_hold_for_requests() -> None:
    """A rule that asks for the time knows it: past 2020, not yet 2500."""
    desk = Desk()
    now = {"var": "$flagd.timestamp"}
    during = {"and": [{">": [now, 1_577_836_800]}, {"<": [now, 16_725_225_600]}]}
    desk.swap(1, flags=rules(targeting={"if": [during, "dark"]})["flags"])
    assert desk.plan().decision.variant == "dark"


def test_errors_of_rules_are_counted_over_a_swap() -> None:
    """A rule that fails gives the default variant; its count is kept when the rules change."""
    desk = Desk()
    failing = rules(targeting={"var": "headers.x-variant"})["flags"]
    desk.swap(1, flags=failing)
    head = RequestHead(path="/a", headers=[(b"X-Variant", b"nonsense")])
    assert desk.plan(head).decision.variant == "dark"
    desk.swap(2, flags=failing)
    desk.plan(head)
    desk.engine.collect_errors()
    desk.engine.collect_errors()
    assert desk.metrics.decide_errors["shop"] == 2


def test_errors_of_a_thread_that_decides_by_the_rules_before_are_counted() -> None:
    """It began before the swap, and fails behind it; once is enough."""
    desk = Desk()
    document = rules(targeting={"var": "headers.x-variant"})
    failing = parse_rules(document, services=SERVICES)
    before = compiled_rules(failing)
    desk.engine.swap(failing, 1, before)
    desk.engine.swap(failing, 2)
    before.decide(RequestHead(path="/a", headers=[(b"X-Variant", b"nonsense")]))
    desk.engine.collect_errors()
    desk.engine.collect_errors()
    assert desk.metrics.decide_errors["shop"] == 1


def test_endpoints_follow_the_compare_rules() -> None:
    """Templates of the rules in force name the endpoints of the evidence."""
    desk = Desk()
    desk.swap(compare=[{"endpoint": "GET /a/{thing}"}])
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/{thing}"
    desk.swap(2)
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/word"


def test_templates_of_the_settings_name_endpoints_first() -> None:
    """Also after a reload; a rule with another placeholder renames nothing, and what was learned stays."""
    desk = Desk()
    desk.reload(endpoints={"templates": ["GET /a/{thing}"]})
    desk.swap(compare=[{"endpoint": "GET /a/{other}", "ignore": ["/t"]}])
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/{thing}"
    for number in range(40):
        desk.mirror.endpoints.of("GET", f"/b/{'xyz'[number % 3]}{chr(97 + number % 26)}{'mn'[number % 2]}")
    desk.reload(endpoints={"templates": ["GET /a/{new}"]})
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/{new}"
    assert desk.mirror.endpoints.of("GET", "/b/never") == "GET /b/{name}"


CHANGED = {"url": "http://127.0.0.1:10"}


def test_a_reload_keeps_what_did_not_change() -> None:
    """Same pools, same targets, same counts; the plan is made anew."""
    desk = Desk()
    desk.swap()
    before = desk.plan()
    desk.reload()
    after = desk.plan()
    assert after is not before
    assert (after.pool, after.targets, after.control) == (before.pool, before.targets, before.control)
    assert after.stats is before.stats
    assert len(desk.made) == 4


def test_a_reload_replaces_the_pools_of_a_changed_service() -> None:
    """In every role it has, and no other service's; the old pool is swept until it is empty."""
    desk = Desk()
    desk.swap()
    before = desk.plan()
    desk.reload(v2=CHANGED)
    after = desk.plan()
    assert after.pool is before.pool
    assert after.control is before.control
    assert [old is new for old, new in zip(before.targets, after.targets, strict=True)] == [False, True]
    assert before.targets[0].is_retired
    assert desk.made[4:] == [("mirror", "http://127.0.0.1:10", 7)]
    assert before.targets[0].pool in desk.engine.pools
    desk.reload(v2=CHANGED)
    assert before.targets[0].pool not in desk.engine.pools


def test_a_service_that_is_gone_refuses_the_reload_while_rules_name_it() -> None:
    """Nothing changes then, not even the bounds; without rules that name it, it may go."""
    desk = Desk()
    desk.swap()
    before = desk.plan()
    with pytest.raises(UnderstudyError, match=r"flags\.shop\.variants\.dark\.mirror"):
        desk.reload(without="v2", shadow={"timeout": 1})
    assert desk.plan() is before
    assert desk.mirror.limits.timeout_seconds == 5.0
    assert set(desk.engine.services) == set(SERVICES)
    only_v1 = {"flags": {}, "routes": [{"path": "/a", "serve": "v1"}]}
    desk.swap(2, **only_v1)
    desk.reload(without="v2")
    assert set(desk.engine.services) == {"v1", "v3"}


def test_a_reload_moves_the_bounds_of_mirroring() -> None:
    """Time, memory and share at once; a new limit in flight makes new targets."""
    desk = Desk()
    desk.swap()
    before = desk.plan()
    bounds = {"timeout": "1s", "budget": "2MiB", "body_cap": "64KiB", "control": 0.5, "confirm": True}
    desk.reload(shadow=bounds)
    assert desk.mirror.limits == Limits(
        control_share=0.5,
        timeout_seconds=1.0,
        budget_bytes=2 * 1024 * 1024,
        cap_bytes=64 * 1024,
        confirm=True,
    )
    assert (desk.mirror.budget, desk.mirror.cap) == (2 * 1024 * 1024, 64 * 1024)
    assert desk.plan().targets == before.targets
    desk.reload(shadow={"in_flight": 8})
    assert [target.in_flight_limit for target in desk.plan().targets] == [8, 8]
    assert desk.plan().pool is before.pool


def test_copies_of_a_retired_target_are_counted_to_their_end() -> None:
    """The conservation law holds over a reload."""
    desk = Desk()
    desk.swap()
    old = desk.plan().targets[0]
    old.eligible, old.sent, old.in_flight = 2, 1, 1
    desk.reload(v2=CHANGED)
    desk.plan()
    assert desk.mirror.drain()["mirror", "v2", "sent", ""] == 1
    old.in_flight = 0
    old.answered()
    assert desk.mirror.drain() == {("mirror", "v2", "answered", ""): 1}
    old.count("skipped", "client_aborted")
    assert desk.mirror.drain() == {("mirror", "v2", "skipped", "client_aborted"): 1}
    old.count("dropped", "nobody listens any more")
    assert desk.mirror.drain() == {}


def eject(pool: Upstream) -> None:
    """Every origin of *pool* fails until it is out (two failures here)."""
    for each in pool.pools:
        each.health.failed("planted")
        each.health.failed("planted")


def canary(**shop: Any) -> dict[str, Any]:
    """The rules with everybody on a variant of its own service."""
    variants = {"stable": {"serve": "v1"}, "canary": {"serve": "v2", "mirror": ["v3"]}}
    flag = {"variants": variants, "defaultVariant": "stable", "targeting": {"if": [True, "canary"]}, **shop}
    return {"flags": rules(**flag)["flags"]}


def test_a_variant_whose_service_is_out_is_stood_in_for() -> None:
    """By the default variant, told as what it is, counted for who was assigned, mirroring nothing."""
    desk = Desk()
    desk.swap(1, **canary())
    own = desk.plan()
    assert (own.decision.variant, own.assigned, own.targets[0].service) == ("canary", "", "v3")
    eject(own.pool)
    plan = desk.plan()
    assert (plan.decision.variant, plan.assigned) == ("stable", "canary")
    assert plan.cohort == b"X-Understudy-Flag: shop\r\nX-Understudy-Variant: stable\r\n"
    assert (plan.targets, plan.control, plan.fallback) == ((), None, None)
    assert plan.stats is desk.metrics.fallbacks["/a", "shop", "canary", "stable", "v1"]
    assert desk.metrics.ejections == {"v2": 1}
    assert desk.metrics.origins == {"v1": 1, "v2": 0, "v3": 1}
    for each in own.pool.pools:
        each.health.sweep(30.0)
    assert desk.plan().decision.variant == "canary"
    assert desk.metrics.origins["v2"] == 1


def test_a_plan_knows_its_stand_in_before_it_is_needed() -> None:
    """For the request that meets the failure itself."""
    desk = Desk()
    desk.swap(1, **canary())
    own = desk.plan()
    assert own.fallback is not None
    assert (own.fallback.decision.serve, own.fallback.assigned) == ("v1", "canary")
    wire = b"GET /a HTTP/1.1\r\nX: %bVia: v\r\n%bContent-Length: 1\r\n\r\n" % (own.cohort[:23], own.cohort)
    assert own.fallen(wire) == wire.replace(b"Variant: canary", b"Variant: stable")


@pytest.mark.parametrize(
    "changed",
    [
        {"killed": ["shop"], **canary(metadata={"safeVariant": "canary"})},
        canary(defaultVariant="canary"),
        canary(variants={"stable": {"serve": "v2"}, "canary": {"serve": "v2", "mirror": ["v3"]}}),
        {"routes": [{"path": "/a", "serve": "v2"}], "flags": {}},
    ],
    ids=["a killed flag", "the default variant", "the same service", "a route without flag"],
)
def test_who_has_no_stand_in_is_asked_though_it_is_out(changed: dict[str, Any]) -> None:
    """The safe variant of a killed flag above all."""
    desk = Desk()
    desk.swap(1, **changed)
    own = desk.plan()
    eject(own.pool)
    plan = desk.plan()
    assert (plan.fallback, plan.assigned, plan.pool) == (None, "", own.pool)
    assert plan.decision.serve == "v2"


def test_checks_begin_before_the_first_request() -> None:
    """A service with active checks has its connections made ready; others when they are asked."""
    desk = Desk(v3={"health": {}})
    assert desk.made == [("primary", "http://127.0.0.1:9", 1024)]
    assert desk.metrics.origins == {"v3": 1}
    desk.reload(v2={**CHANGED, "health": {}})
    assert desk.made[1:] == [("primary", "http://127.0.0.1:10", 1024)]


def test_a_service_that_went_is_no_longer_counted() -> None:
    """Its last state would stand in the metrics for ever."""
    desk = Desk(v3={"health": {}})
    desk.reload(without="v3")
    assert desk.metrics.origins == {}


def test_kills_of_the_host_win_over_the_rules() -> None:
    """Before the first rules, over those in force and over the next; taken back, the rules decide again."""
    desk = Desk()
    document = rules(metadata={"safeVariant": "stable"})
    parsed = parse_rules(document, services=SERVICES)

    def decided() -> tuple[str, str]:
        plan = desk.engine.decide(GET)
        assert plan is not None
        return plan.decision.variant, plan.decision.reason

    desk.engine.kill(Kills(is_every=True))
    assert desk.engine.decide(GET) is None
    desk.engine.swap(parsed, 1)
    assert decided() == ("stable", "KILLED")
    desk.engine.kill(Kills())
    assert decided()[0] == "dark"
    desk.engine.kill(Kills(flags=frozenset({"shop", "unknown"})))
    desk.engine.swap(parsed, 2)
    assert (decided(), desk.engine.version) == (("stable", "KILLED"), 2)
