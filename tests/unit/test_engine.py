"""The rules in force: swapped whole, looked up once per decision, never raising on a request."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import Service, parse_rules, parse_settings
from understudy.engine import Engine, Plan
from understudy.errors import UnderstudyError
from understudy.forwarding import CREDENTIALS
from understudy.messages import RequestHead
from understudy.metrics import WorkerMetrics
from understudy.shadow import Limits, Mirror
from understudy.upstream import Pool

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
        settings = parse_settings(document, base=Path(), environ={})
        self.metrics = WorkerMetrics()
        self.made: list[tuple[str, str, int]] = []
        self.mirror = Mirror(
            recorder=Never(),
            metrics=self.metrics,
            now=lambda: 0.0,
            wall=lambda: 0.0,
            chance=lambda: 1.0,
            limits=Limits(),
        )
        self.engine = Engine(settings, mirror=self.mirror, metrics=self.metrics, make_pool=self.make_pool)

    def make_pool(self, service: Service, role: str, limit: int) -> Pool:
        self.made.append((role, service.url, limit))
        return Pool.__new__(Pool)

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


def test_endpoints_follow_the_compare_rules() -> None:
    """Templates of the rules in force name the endpoints of the evidence."""
    desk = Desk()
    desk.swap(compare=[{"endpoint": "GET /a/{thing}"}])
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/{thing}"
    desk.swap(2)
    assert desk.mirror.endpoints.of("GET", "/a/word") == "GET /a/word"
