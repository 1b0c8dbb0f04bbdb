"""A rules document, compiled: what happens to each request, and why."""

# ruff: noqa: E501  # a table reads best with one case a line

import math
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy.decide import (
    CompiledRules,
    Decision,
    Evaluator,
    Explanation,
    Route,
    RuleError,
    compile_rules,
    context,
)
from understudy.decide import rules as rules_module
from understudy.decide.context import Field, RequestResolver
from understudy.decide.definition import Document, read_flag
from understudy.decide.flags import compile_flag
from understudy.decide.operators import OPERATORS
from understudy.decide.rules import CompiledRules as Unchecked
from understudy.messages import RequestHead

VARIANTS: dict[str, Any] = {
    "stable": {"serve": "shop-v1"},
    "canary": {"serve": "shop-v2", "control": "shop-v2b"},
    "dark": {"serve": "shop-v1", "mirror": ["shop-v2"]},
}
SHOP: dict[str, Any] = {
    "state": "ENABLED",
    "variants": VARIANTS,
    "defaultVariant": "stable",
    "targeting": {
        "if": [
            {"in": ["@example.com", {"var": "headers.x-user-email"}]},
            "canary",
            {
                "fractional": [
                    {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]},
                    ["canary", 5],
                    ["dark", 20],
                    ["stable", 75],
                ]
            },
        ]
    },
}


def shop(**change: Any) -> dict[str, Any]:
    return {"shop": {**SHOP, **change}}


def compiled(targeting: Any = None, **more: Any) -> CompiledRules:
    flags = shop() if targeting is None else shop(targeting=targeting)
    return compile_rules(**{"flags": flags, "routes": [Route(flag="shop", unit="cookie:uid")], **more})


def head(uid: str = "", *, email: str = "", **more: Any) -> RequestHead:
    headers = [(b"Host", b"shop")]
    if uid:
        headers.append((b"Cookie", b"a=b; uid=" + uid.encode()))
    if email:
        headers.append((b"X-User-Email", email.encode()))
    return RequestHead(headers=headers, **more)


def decided(rules: CompiledRules, request: RequestHead) -> Decision:
    decision = rules.decide(request)
    assert decision is not None
    assert rules.decisions[decision.index] is decision
    return decision


@pytest.mark.parametrize(
    ("request_", "variant", "reason"),
    [
        (head("u1", email="jo@example.com"), "canary", "TARGETING_MATCH"),
        (head("user-123456"), "stable", "TARGETING_MATCH"),
        (head("u5"), "dark", "TARGETING_MATCH"),
        (head("u4"), "canary", "TARGETING_MATCH"),
        (head(), "stable", "DEFAULT"),
        (head(email="jo@other.org"), "stable", "DEFAULT"),
    ],
)
def test_the_example_of_the_design(request_: RequestHead, variant: str, reason: str) -> None:
    """Staff meet the canary, the rest are drawn by cookie, and who has no cookie stays stable."""
    decision = decided(compiled(), request_)
    assert (decision.variant, decision.reason) == (variant, reason)
    expected = VARIANTS[variant]
    assert decision.serve == expected["serve"]
    assert decision.mirror == tuple(expected.get("mirror", ()))
    assert decision.control == expected.get("control", expected["serve"])
    assert (decision.route, decision.flag) == ("/", "shop")
    assert decision.mirror_methods == {"GET", "HEAD", "OPTIONS"}


def test_decisions_are_interned() -> None:
    """The same outcome is the same object; the fallback is the default variant's decision."""
    rules = compiled()
    first, second = (
        decided(rules, head("u", email="a@example.com")),
        decided(rules, head("v", email="b@example.com")),
    )
    assert first is second
    assert first.fallback is decided(rules, head())
    assert first.fallback is not None
    assert first.fallback.fallback is None
    assert [decision.index for decision in rules.decisions] == list(range(len(rules.decisions)))


def test_a_flag_without_targeting_is_static() -> None:
    """No rule: the default variant, always the same decision."""
    rules_of_no_kind: tuple[Any, ...] = ({}, None)
    for targeting in rules_of_no_kind:
        rules = compile_rules(flags=shop(targeting=targeting), routes=[Route(flag="shop")])
        assert decided(rules, head("u")).reason == "STATIC"
        assert decided(rules, head("u")).variant == "stable"


def test_a_disabled_flag_takes_its_default() -> None:
    """DISABLED routes everybody to the default variant."""
    decision = decided(compile_rules(flags=shop(state="DISABLED"), routes=[Route(flag="shop")]), head("u"))
    assert (decision.variant, decision.reason) == ("stable", "DISABLED")


@pytest.mark.parametrize("state", ["ENABLED", "DISABLED"])
@pytest.mark.parametrize(("metadata", "variant"), [({}, "stable"), ({"safeVariant": "dark"}, "dark")])
def test_a_killed_flag_takes_its_safe_variant(state: str, metadata: dict[str, Any], variant: str) -> None:
    """The kill switch comes before anything else; unknown names in it change nothing."""
    flags = shop(state=state, metadata=metadata)
    rules = compile_rules(
        flags=flags, routes=[Route(flag="shop", unit="cookie:uid")], killed=["shop", "gone"]
    )
    decision = decided(rules, head("u", email="jo@example.com"))
    assert (decision.variant, decision.reason) == (variant, "KILLED")
    assert rules.explain(head("u")).reason == "KILLED"


def test_a_route_without_flag_serves() -> None:
    """`serve` sends everything to one service, which is its own control."""
    rules = compile_rules(flags={}, routes=[Route(path="/static", serve="cdn", mirror_methods=("GET",))])
    decision = decided(rules, RequestHead(path="/static/x"))
    assert (decision.reason, decision.serve, decision.control, decision.flag, decision.variant) == (
        "ROUTE", "cdn", "cdn", "", "",
    )  # fmt: skip
    assert decision.mirror == ()
    assert rules.decide(RequestHead(path="/other")) is None


def test_each_route_has_its_own_unit_and_label() -> None:
    """Two routes may ask one flag by different units."""
    targeting = {"if": [{"==": [{"var": "targetingKey"}, "x"]}, "canary"]}
    routes = [
        Route(path="/a", flag="shop", unit="header:X-Id"),
        Route(path="/b", flag="shop", unit="query:id", name="b"),
    ]
    rules = compiled(targeting, routes=routes)
    request = RequestHead(path="/a", query="id=y", headers=[(b"x-id", b"x")])
    other = RequestHead(path="/b", query="id=y", headers=[(b"x-id", b"x")])
    assert (decided(rules, request).variant, decided(rules, request).route) == ("canary", "/a")
    assert (decided(rules, other).variant, decided(rules, other).route) == ("stable", "b")


@pytest.mark.parametrize(
    "targeting",
    [
        {"var": "headers.x-user-email"},
        {"var": "headers"},
        {"+": [{"var": "headers.x-user-email"}, 1]},
        {"==": [1, {"var": "headers.x-user-email"}]},
        {"map": [[1], {"var": ""}]},
    ],
)
def test_a_result_that_is_no_variant_is_a_counted_error(targeting: Any) -> None:
    """The default variant answers, the flag's errors grow, and decisions stay few."""
    rules = compiled(targeting)
    for number in range(50):
        decision = decided(rules, head("u", email=f"user{number}@x"))
        assert (decision.variant, decision.reason) == ("stable", "ERROR")
        assert decision.error == "the rule's result is not a variant"
    assert rules.errors == {"shop": 50}
    assert len(rules.decisions) <= 6


def test_variants_may_be_called_like_booleans_and_numbers() -> None:
    """true and 1 name the variants "true" and "1", as in flagd."""
    variants = {name: {"serve": "v"} for name in ("true", "1", "other")}
    for targeting, name in (({"!": {"var": "x"}}, "true"), ({"+": [0, 1.0]}, "1")):
        flags = shop(variants=variants, defaultVariant="other", targeting=targeting)
        assert decided(compile_rules(flags=flags, routes=[Route(flag="shop")]), head()).variant == name


def test_a_rule_that_raises_is_a_counted_error() -> None:
    """Whatever a rule does at run time, the request gets the default variant."""

    def explode() -> float:
        raise RuntimeError("secret of the client")

    rules = compiled({"if": [{">": [{"var": "$flagd.timestamp"}, 5]}, "canary"]}, clock=explode)
    decision = decided(rules, head("u"))
    assert (decision.variant, decision.reason, decision.error) == (
        "stable", "ERROR", "the rule failed: RuntimeError",
    )  # fmt: skip
    assert rules.errors == {"shop": 1}
    assert rules.explain(head("u")).error == decision.error
    assert rules.errors == {"shop": 1}


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_two_threads_that_meet_new_kinds_of_failure_at_once_get_two_indices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one makes its decision the other makes a whole one: nobody could take the other's plan."""
    failures = iter([ZeroDivisionError(), ArithmeticError()])

    def explode() -> float:
        raise next(failures)

    rules = compiled({"if": [{">": [{"var": "$flagd.timestamp"}, 5]}, "canary"]}, clock=explode)
    found: list[Decision | None] = []

    def unit_field(text: str | None) -> Field | None:
        monkeypatch.undo()
        in_thread(lambda: found.append(rules.decide(head("other"))))
        return context.unit_field(text)

    monkeypatch.setattr(rules_module, "unit_field", unit_field)
    mine = decided(rules, head("mine"))
    (other,) = found
    assert other is not None
    assert mine.error != other.error
    assert mine.index != other.index


def test_two_threads_that_meet_one_new_kind_of_failure_at_once_get_one_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Decisions stay few, and each is one object."""
    rules = compiled({"var": "headers.x-user-email"})
    found: list[Decision | None] = []

    def unit_field(text: str | None) -> Field | None:
        monkeypatch.undo()
        in_thread(lambda: found.append(rules.decide(head("u", email="other@x"))))
        return context.unit_field(text)

    monkeypatch.setattr(rules_module, "unit_field", unit_field)
    assert [rules.decide(head("u", email="mine@x"))] == found
    assert [made is found[0] for made in rules.decisions].count(True) == 1


def test_no_count_of_failures_is_lost_between_threads() -> None:
    """Wherever another thread may be let go on (before and behind a call), one counts and one collects."""
    rules = compiled({"var": "headers.x-user-email"})
    collected: list[int] = []
    others = 0

    def meanwhile(frame: FrameType, event: str, _: object) -> None:
        nonlocal others
        if frame.f_code is Unchecked._fail.__code__:
            others += 1
            in_thread(lambda: rules.decide(head("u", email="other@x")))
            collected.append(rules.new_errors().get("shop", 0))

    sys.setprofile(meanwhile)
    try:
        for _ in range(3):
            rules.decide(head("u", email="mine@x"))
    finally:
        sys.setprofile(None)
    assert others >= 6
    assert sum(collected) + rules.new_errors().get("shop", 0) == others + 3
    assert rules.errors == {"shop": others + 3}


def test_time_comes_from_the_clock_at_the_time() -> None:
    """A rule on `$flagd.timestamp` changes its answer as the clock goes on."""
    now = [0.0]
    rules = compiled({"if": [{">=": [{"var": "$flagd.timestamp"}, 100]}, "canary"]}, clock=lambda: now[0])
    assert decided(rules, head()).variant == "stable"
    now[0] = 100.5
    assert decided(rules, head()).variant == "canary"
    assert rules.explain(head()).variant == "canary"
    assert rules.explain(head(), now=50).variant == "stable"


def test_fields_of_ours_that_a_client_sends_mean_nothing() -> None:
    """A client cannot choose its variant by sending our marks."""
    rules = compiled({"if": [{"var": "headers.x-understudy-variant"}, "canary"]})
    request = RequestHead(headers=[(b"X-Understudy-Variant", b"canary")])
    assert decided(rules, request).variant == "stable"


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_the_hash_version_comes_from_metadata(generation: int) -> None:
    """The flag set chooses the generation, and a flag may choose for itself."""
    targeting = SHOP["targeting"]["if"][2]
    requests = [head(f"user-{number}") for number in range(60)]

    def variants(rules: CompiledRules) -> list[str]:
        return [decided(rules, request).variant for request in requests]

    by_set = compiled(targeting, metadata={"hashVersion": generation})
    by_flag = compiled(
        flags=shop(targeting=targeting, metadata={"hashVersion": generation}), metadata={"hashVersion": 1}
    )
    assert variants(by_set) == variants(by_flag)
    assert (variants(by_set) == variants(compiled(targeting))) is (generation == 2)


def test_every_mistake_of_a_document_is_named() -> None:
    """Compiling refuses a document whole, with all its problems."""
    with pytest.raises(RuleError) as caught:
        compile_rules(
            flags={"shop": {"variants": {"a": {}}, "targeting": {"if": [{"$ref": "x"}]}}, "unused": 5},
            routes=[Route(flag="shpo"), Route(flag="shop", unit="cookies:uid")],
            evaluators={"y": {"nope": 1}},
            metadata={"hashVersion": "2"},
        )
    assert [problem.path for problem in caught.value.problems] == [
        "metadata.hashVersion",
        "$evaluators.y.nope",
        "flags.shop.targeting.if[0].$ref",
        "flags.unused",
        "flags.shop.variants.a.serve",
        "flags.shop.defaultVariant",
        "routes[0].flag",
        "routes[1].unit",
    ]
    assert "did you mean shop?" in str(caught.value)


def test_explain_says_which_rule_decided() -> None:
    """The explanation names rule, unit, hash and bucket, to read."""
    found = compiled().explain(head("user-123456"))
    assert found == Explanation(
        route="/",
        flag="shop",
        variant="stable",
        reason="TARGETING_MATCH",
        rule="if[2] otherwise → fractional canary 5, dark 20, stable 75 → stable",
        serve="shop-v1",
        control="shop-v1",
        unit="user-123456",
        key="shopuser-123456",
        hash=1374085962,
        bucket="31 of 100",
        safe="stable",
    )


@pytest.mark.parametrize(
    ("targeting", "request_", "rule"),
    [
        (None, head("u", email="jo@example.com"), 'if[1] in("@example.com", headers.x-user-email) → canary'),
        (None, head(), "if[2] otherwise → fractional canary 5, dark 20, stable 75 → null: default variant"),
        ({"if": [{"var": "query.x"}, "canary"]}, head(), "if without a match → null: default variant"),
        ({"if": [{"$ref": "staff"}, {"$ref": "which"}]}, head(email="a@b"), "if[1] $ref staff → $ref which: dark"),
        ({"var": "query.v"}, head(query="v=dark"), "query.v → dark"),
        ({"var": "query.v"}, head(query="v=dar"), "query.v → dar: default variant"),
        ({"if": [{"fractional": [[True, 1]]}, "dark"]}, head("u"), "if[1] fractional true 1 → dark"),
        ({}, head(), "no targeting: default variant"),
    ],
)  # fmt: skip
def test_rules_are_told_in_words(targeting: Any, request_: RequestHead, rule: str) -> None:
    """One line says which branch was taken and what it gave."""
    shared = {"staff": {"var": "headers.x-user-email"}, "which": {"if": ["dark"]}}
    assert compiled(targeting, evaluators=shared).explain(request_).rule == rule


def test_a_draw_in_a_condition_is_shown() -> None:
    """A ramp of two hashes shows a bucket even when the deciding draw is the condition."""
    targeting = {"if": [{"fractional": [{"var": "targetingKey"}, [True, 50], [False, 50]]}, "dark"]}
    found = compiled(targeting).explain(head("jon@company.com"))
    assert (found.variant, found.bucket, found.key) == ("dark", "36 of 100", "jon@company.com")


def test_explain_without_a_flag() -> None:
    """No route and a plain route are explained too."""
    rules = compile_rules(flags={}, routes=[Route(path="/static", serve="cdn")])
    assert rules.explain(RequestHead(path="/x")).reason == "NO_ROUTE"
    served = rules.explain(RequestHead(path="/static"))
    assert (served.reason, served.serve, served.rule) == ("ROUTE", "cdn", "the route serves cdn")


leaves: st.SearchStrategy[Any] = st.sampled_from(
    [
        "canary",
        "dark",
        "stable",
        "other",
        None,
        True,
        0,
        1.5,
        math.nan,
        [],
        {"$ref": "shared"},
        {"var": ""},
        {"flag": "base"},
    ]
) | st.sampled_from(
    [
        "targetingKey",
        "method",
        "headers.x-a",
        "cookies.uid",
        "query.q",
        "ip",
        "headers",
        "$flagd.timestamp",
        "no.thing",
    ]
).map(lambda name: {"var": name})


def _operation(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    entries = st.lists(st.tuples(inner, st.integers(0, 5) | inner).map(list), min_size=1, max_size=3)
    keys = st.lists(inner | st.just([{"var": "targetingKey"}]), max_size=1)
    return st.one_of(
        st.lists(inner, max_size=5).map(lambda items: {"if": items}),
        st.builds(lambda key, given_: {"fractional": [*key, *given_]}, keys, entries),
        st.builds(
            lambda name, items: {name: items},
            st.sampled_from([*OPERATORS, "nope"]),
            st.lists(inner, max_size=3),
        ),
    )


targetings = st.recursive(leaves, _operation, max_leaves=12).filter(lambda rule: isinstance(rule, dict))
requests = st.builds(
    lambda uid, value, query: RequestHead(
        headers=[(b"Cookie", b"uid=" + uid), (b"X-A", value)], query=query, client_ip="10.0.0.1"
    ),
    st.binary(max_size=4),
    st.binary(max_size=6),
    st.text("q=&%1a", max_size=6),
)


@example(targeting={"fractional": []}, request_=RequestHead(), generation=1)
@settings(max_examples=400, deadline=None)
@given(targeting=targetings, request_=requests, generation=st.sampled_from([1, 2, 3]))
def test_decide_never_raises_and_explain_and_the_evaluator_agree(
    targeting: Any, request_: RequestHead, generation: int
) -> None:
    """Any rule that compiles: decide answers, explain says the same, so does the generic evaluator."""
    shared = {"shared": {"if": [{"var": "query.q"}, "canary", "dark"]}}
    metadata = {"hashVersion": generation}
    base = {"variants": {"canary": 1, "stable": 2}, "defaultVariant": "stable"}
    drawn = {"fractional": [{"var": "targetingKey"}, ["canary", 1], ["stable", 1], ["gone", 1]]}
    flags = {**shop(targeting=targeting), "base": {**base, "targeting": drawn}}
    document = Document(flags=flags, evaluators=shared, metadata=metadata)
    flag = read_flag("shop", flags["shop"], metadata)
    resolver = RequestResolver("shop", "cookie:uid", lambda: 1000.0)
    compiler, _ = compile_flag(flag, resolver, document)
    if compiler.fatal:
        return
    # Past the checks of compile_rules, so that rules with lesser mistakes run as well.
    rules = Unchecked(document=document, routes=[Route(flag="shop", unit="cookie:uid")], clock=lambda: 1000.0)
    decision = decided(rules, request_)
    explained = rules.explain(request_)
    assert (explained.variant, explained.reason, explained.error) == (
        decision.variant,
        decision.reason,
        decision.error,
    )
    evaluator = Evaluator(flags=flags, evaluators=shared, metadata=metadata, clock=lambda: 1000.0)
    evaluation = evaluator.evaluate("shop", resolver.context(request_))
    if decision.reason == "ERROR":
        assert evaluation.error_code in {"GENERAL", "PARSE_ERROR"}
    else:
        assert (evaluation.variant, evaluation.reason) == (decision.variant, decision.reason)
