"""`understudy check` retells a configuration, and warns of what is allowed but hardly meant."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import Settings, load, parse_settings, summary
from understudy.config.splits import needs_unit, outcomes
from understudy.config.summary import RouteSummary, Summary, VariantSummary

EXAMPLES = Path(__file__).parents[3] / "examples"
SERVICES = {"v1": {"url": "http://127.0.0.1:9001"}, "v2": {"url": "http://127.0.0.1:9002"}}
VARIANTS = {"canary": {"serve": "v2"}, "dark": {"serve": "v1", "mirror": ["v2"]}, "stable": {"serve": "v1"}}
SPLIT = {"fractional": [["canary", 5], ["dark", 20], ["stable", 75]]}


def settings(*, targeting: Any = None, route: Any = None, **more: Any) -> Settings:
    """Two services, one flag and one route, with changes."""
    flag: dict[str, Any] = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "stable"}
    document = {
        "services": SERVICES,
        "flags": {"shop": {**flag, "targeting": targeting or {}, **more.pop("flag", {})}},
        "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid", **(route or {})}],
        **more,
    }
    return parse_settings(document, base=Path("/etc"), environ={})


def test_the_example_is_retold() -> None:
    """Listeners, services, each route with who gets which variant, the shadow's bounds."""
    told = summary(load(EXAMPLES / "understudy.yaml", {}))
    stable = VariantSummary(
        name="stable", share=0.75, is_named=False, is_default=True, serve="shop-v1", mirror=(), control=""
    )
    canary = VariantSummary(
        name="canary", share=0.05, is_named=True, is_default=False, serve="shop-v2", mirror=(), control=""
    )
    dark = VariantSummary(
        name="dark",
        share=0.2,
        is_named=False,
        is_default=False,
        serve="shop-v1",
        mirror=("shop-v2",),
        control="",
    )
    route = RouteSummary(
        matches="/…",
        flag="shop",
        unit="cookie:uid",
        serve="",
        is_killed=False,
        variants=(stable, canary, dark),
    )
    assert told == Summary(
        listen=("127.0.0.1:8080",),
        workers=1,
        admin="127.0.0.1:9090",
        store=f"sqlite:///{EXAMPLES.absolute()}/understudy.db",
        services={"shop-v1": "http://127.0.0.1:9001", "shop-v2": "http://127.0.0.1:9002"},
        routes=(route,),
        shadow={
            "control": "10 %",
            "timeout": "5s",
            "in_flight": "64",
            "budget": "64MiB",
            "body_cap": "1MiB",
            "confirm": "off",
        },
        compare_rules=1,
        warnings=(),
    )


@pytest.mark.parametrize(
    ("targeting", "shares"),
    [
        (None, {"canary": 0.0, "dark": 0.0, "stable": 1.0}),
        (SPLIT, {"canary": 0.05, "dark": 0.2, "stable": 0.75}),
        ({"fractional": [["canary"], ["stable"]]}, {"canary": 0.5, "dark": 0.0, "stable": 0.5}),
        ({"if": [{"var": "x"}, SPLIT, SPLIT]}, {"canary": None, "dark": None, "stable": None}),
        (
            {"fractional": [["canary", {"+": [1, 2]}], ["stable", 1]]},
            {"canary": None, "dark": None, "stable": None},
        ),
        ({"var": "headers.x-variant"}, {"canary": None, "dark": None, "stable": None}),
    ],
)
def test_shares_are_told_when_they_can_be(targeting: Any, shares: dict[str, float | None]) -> None:
    """One split of plain weights has shares; what only running it tells is not guessed."""
    told = summary(settings(targeting=targeting)).routes[0].variants
    assert {variant.name: variant.share for variant in told} == shares


def test_a_route_is_told_in_one_line() -> None:
    """Methods, host and path; a route without a flag names its service."""
    routes = [
        {"template": "/orders/{id}", "methods": ["GET", "HEAD"], "host": "*.example.com", "serve": "v1"},
        {"path": "/api", "serve": "v2"},
        {"exact": "/x", "flag": "shop"},
    ]
    told = summary(parse_settings(_with_routes(routes), base=Path("/"), environ={})).routes
    assert [route.matches for route in told] == ["GET,HEAD *.example.com /orders/{id}", "/api[/…]", "/x"]
    assert [route.serve for route in told] == ["v1", "v2", ""]


def _with_routes(routes: list[Any]) -> dict[str, Any]:
    flag = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "stable"}
    return {"services": SERVICES, "flags": {"shop": flag}, "routes": routes}


DEFAULT_FIRST = {"fractional": [["stable", 95], ["canary", 5]]}


@pytest.mark.parametrize(
    ("told", "warnings"),
    [
        (settings(targeting=SPLIT), []),
        (
            settings(targeting=SPLIT, shadow={"control": 0}),
            ["shadow.control is 0: nothing is asked twice, so no noise is learned and the report says so"],
        ),
        (
            settings(targeting=DEFAULT_FIRST),
            [
                (
                    "flags.shop: stable, the default, does not stand last in its split, "
                    "so growing another weight moves users who had a variant already"
                )
            ],
        ),
        (
            settings(targeting={"fractional": [["canary", 5], ["canary", 5], ["stable", 90]]}),
            ["flags.shop: canary stands 2 times in one split"],
        ),
        (settings(killed=["shop"]), ["flags.shop is killed: every request gets its safe variant"]),
        (settings(flag={"state": "DISABLED"}), ["flags.shop is disabled: every request gets stable"]),
        (
            settings(route={"path": "/api"}),
            ["no route matches every request; what matches none is answered with 404"],
        ),
        (
            parse_settings(
                _with_routes([{"flag": "shop", "unit": "ip"}, {"path": "/a", "serve": "v1"}]),
                base=Path("/"),
                environ={},
            ),
            ["routes[1] is never reached, because routes[0] matches every request"],
        ),
        (
            parse_settings(
                {**_with_routes([{"flag": "shop"}]), "services": {**SERVICES, "v3": {"url": "http://c"}}},
                base=Path("/"),
                environ={},
            ),
            ["services.v3 is used by no variant and no route"],
        ),
        (
            parse_settings(_with_routes([{"serve": "v1"}]), base=Path("/"), environ={}),
            [
                "flags.shop is consulted by no route",
                "no variant mirrors anything, so there will be nothing to report",
                "services.v2 is used by no variant and no route",
            ],
        ),
        (
            parse_settings({"services": SERVICES}, base=Path("/"), environ={}),
            [
                "there is no route, so every request is answered with 404",
                "services.v1 is used by no variant and no route",
                "services.v2 is used by no variant and no route",
            ],
        ),
        (
            settings(targeting=SPLIT, limits={"memory": "48MiB"}),
            ["limits.memory is below 64MiB: a worker at rest holds some 50MiB, so it may refuse all"],
        ),
        (settings(targeting=SPLIT, limits={"memory": "64MiB"}), []),
        (
            settings(flag={"variants": {"stable": {"serve": "v1", "mirror": ["v1", "v2"]}}}),
            ["flags.shop.variants.stable mirrors to v1, which answers already"],
        ),
    ],
)
def test_what_is_hardly_meant_is_warned_of(told: Settings, warnings: list[str]) -> None:
    """Valid, but worth a look: one warning each."""
    assert list(summary(told).warnings) == warnings


def test_a_split_without_a_unit_is_warned_of() -> None:
    """Without a unit nobody can be told apart."""
    document = _with_routes([{"flag": "shop"}])
    document["flags"]["shop"]["targeting"] = SPLIT
    told = summary(parse_settings(document, base=Path("/"), environ={}))
    assert told.warnings == ("routes[0] has no unit, so shop cannot tell its requests apart",)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (SPLIT, True),
        ({"fractional": [{"cat": ["salt", {"var": "headers.x-user"}]}, ["a", 1]]}, False),
        ({"fractional": [{"cat": ["salt", {"var": ["targetingKey"]}]}, ["a", 1]]}, True),
        ({"if": [{"in": ["x", {"var": "targetingKey"}]}, "a"]}, True),
        ({"$ref": "split"}, True),
        ({"$ref": "loop"}, False),
        ({"$ref": "nobody"}, False),
        (None, False),
        ({"==": [{"flag": "split"}, "a"]}, True),
        ({"flag": ["split"]}, True),
        ({"flag": "plain"}, False),
        ({"flag": "loop"}, False),
    ],
)
def test_a_rule_needs_the_unit_when_it_looks_at_it(rule: Any, expected: bool) -> None:
    """By name, or in a split that has no key of its own; through shared rules too."""
    loop = {"targeting": {"flag": "loop"}}
    flags = {"split": {"targeting": SPLIT}, "plain": {"variants": {"a": 1}}, "loop": loop}
    assert needs_unit(rule, {"split": SPLIT, "loop": {"$ref": "loop"}}, flags) is expected


def test_outcomes_follow_every_branch() -> None:
    """if, its missing else, booleans, shared rules and nested splits."""
    rule = {"if": [{"var": "a"}, "on", {"var": "b"}, {"$ref": "r"}, {"var": "c"}, True, {"var": "d"}, None]}
    found = outcomes(rule, {"r": {"fractional": [["x", 1], [{"if": [{"var": "e"}, "y", "z"]}, 3]]}})
    assert found.named == ["on", "y", "z", "true"]
    assert [split.weights for split in found.splits] == [(("x", 1), ("", 3))]
    assert found.may_default
    assert not found.is_open
