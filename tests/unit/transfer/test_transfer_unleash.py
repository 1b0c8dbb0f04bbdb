"""Unleash's exports: what is kept means the same as in Unleash's own evaluation, the rest is refused."""

from collections import Counter
from datetime import datetime
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unleash_engine import is_enabled, our_context, ours, unleash

from understudy.decide import check_rules
from understudy.errors import ConfigError
from understudy.transfer import read_unleash
from understudy.transfer.unleash_strategies import NOBODY

WORDS = ["a", "ab", "abc", "DE", "12", "12.5", "-3", "0", "true", "x@example.com"]
VERSIONS = ["1.2.3", "1.2.4", "2.0.0", "1.2.3-rc.1", "0.9.10"]


def _features(*features: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": 2, "features": list(features), "segments": [], **more}


def _feature(*strategies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "f", "enabled": True, "strategies": list(strategies), **more}


def _strategy(name: str = "default", *constraints: dict[str, Any], **parameters: str) -> dict[str, Any]:
    return {"name": name, "parameters": parameters, "constraints": list(constraints)}


def _only(feature: dict[str, Any], **more: Any) -> Any:
    imported = read_unleash(_features(feature, **more))
    assert imported.problems == ()
    return imported


def _problem(feature: dict[str, Any], **more: Any) -> str:
    imported = read_unleash(_features(feature, **more))
    assert imported.flags == {}
    assert imported.refused == (feature["name"],)
    (problem,) = imported.problems
    return f"{problem.path}: {problem.message}"


names = st.sampled_from(["userId", "remoteAddress", "plan", "age"])
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)
constraints = st.one_of(
    st.fixed_dictionaries(
        {
            "contextName": names,
            "operator": st.sampled_from(["IN", "NOT_IN", "STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS"]),
            "values": texts,
            "inverted": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "contextName": names,
            "operator": st.sampled_from(["IN", "NOT_IN"]),
            "values": st.just([]),
            "inverted": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "contextName": names,
            "operator": st.sampled_from(["NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"]),
            "value": st.sampled_from(["0", "12", "12.5", "-3", "1000"]),
            "inverted": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "contextName": st.just("version"),
            "operator": st.sampled_from(["SEMVER_EQ", "SEMVER_GT", "SEMVER_LT"]),
            "value": st.sampled_from(VERSIONS),
            "inverted": st.booleans(),
        }
    ),
)
strategies = st.builds(
    lambda kind, rules: {**kind, "constraints": rules},
    st.sampled_from(
        [
            _strategy(),
            _strategy("userWithId", userIds="a, ab ,12"),
            _strategy("remoteAddress", IPs="10.0.0.0/8, 192.168.1.7"),
            _strategy("flexibleRollout", rollout="100", stickiness="default", groupId="g"),
            _strategy("flexibleRollout", rollout="100", stickiness="plan", groupId="g"),
            _strategy("flexibleRollout", rollout="0", stickiness="userId", groupId="g"),
            _strategy("gradualRolloutRandom", percentage="100"),
        ]
    ),
    st.lists(constraints, max_size=3),
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "userId": st.sampled_from(WORDS),
        "remoteAddress": st.sampled_from(["10.1.2.3", "192.168.1.7", "192.168.1.70", "11.0.0.1"]),
        "properties": st.fixed_dictionaries(
            {},
            optional={
                "plan": st.sampled_from(WORDS),
                "age": st.sampled_from(["", "0", "12", "12.5", "-4", "abc"]),
                "version": st.sampled_from([*VERSIONS, "", "none"]),
            },
        ),
    },
)


@settings(max_examples=50, deadline=None)
@given(st.lists(strategies, max_size=3), st.lists(contexts, min_size=8, max_size=8), st.booleans())
def test_a_feature_is_on_for_the_same_contexts(
    chosen: list[dict[str, Any]], asked: list[dict[str, Any]], enabled: bool
) -> None:
    """Whatever needs no percentage answers as Unleash's engine does, for every context."""
    document = _features(_feature(*chosen, enabled=enabled))
    imported = read_unleash(document)
    assert imported.problems == ()
    assert imported.moved == ()
    assert check_rules(flags=imported.flags, routes=(), evaluators=imported.evaluators) == []
    engine, evaluator = unleash(document), ours(imported)
    for context in asked:
        found = evaluator.evaluate("f", our_context(context))
        assert found.value is is_enabled(engine, "f", context), (context, imported.flags)


@pytest.mark.parametrize("moment", ["2026-01-31T11:59:59+00:00", "2026-01-31T12:00:01+00:00"])
@pytest.mark.parametrize("operator", ["DATE_AFTER", "DATE_BEFORE"])
def test_moments_are_before_and_after_as_in_unleash(operator: str, moment: str) -> None:
    """A date is compared with the clock in both."""
    limit = {"contextName": "currentTime", "operator": operator, "value": "2026-01-31T13:00:00.000+01:00"}
    document = _features(_feature(_strategy("default", limit)))
    expected = is_enabled(unleash(document), "f", {"currentTime": moment})
    now = datetime.fromisoformat(moment).timestamp()
    assert ours(read_unleash(document), now=now).evaluate("f", {}).value is expected


@pytest.mark.parametrize("operator", ["IN", "STR_CONTAINS", "STR_STARTS_WITH"])
def test_a_number_is_compared_as_its_text(operator: str) -> None:
    """Unleash's SDKs make every attribute a text; a number that an application sends is one here too."""
    rule = {"contextName": "age", "operator": operator, "values": ["12"]}
    assert ours(_only(_feature(_strategy("default", rule)))).evaluate("f", {"age": 12}).value is True


def test_a_segment_becomes_a_shared_rule() -> None:
    """Two features that name one segment share its rule, and answer as in Unleash."""
    rule = {"contextName": "country", "operator": "IN", "values": ["DE"]}
    strategy = {**_strategy(), "segments": [7]}
    document = _features(
        _feature(strategy),
        {**_feature(strategy), "name": "g"},
        segments=[{"id": 7, "name": "germany", "constraints": [rule]}],
    )
    imported = read_unleash(document)
    assert imported.evaluators == {"germany": {"in": [{"var": "country"}, ["DE"]]}}
    assert imported.flags["g"]["targeting"] == {"if": [{"$ref": "germany"}, "on", "off"]}
    for country in ("DE", "FR"):
        expected = is_enabled(unleash(document), "g", {"properties": {"country": country}})
        assert ours(imported).evaluate("g", {"country": country}).value is expected


@pytest.mark.parametrize("stickiness", ["default", "userId", "plan"])
def test_a_percentage_keeps_its_share_and_is_said_to_move_units(stickiness: str) -> None:
    """30 % stay 30 % (±2 of 4,000 units), and the flag is named among those whose units move."""
    strategy = _strategy("flexibleRollout", rollout="30", stickiness=stickiness, groupId="g")
    document = _features(_feature(strategy))
    imported = read_unleash(document)
    assert imported.moved == ("f",)
    engine, evaluator = unleash(document), ours(imported)
    contexts = [{"userId": f"u{n}", "properties": {"plan": f"p{n}"}} for n in range(4000)]
    theirs = sum(is_enabled(engine, "f", context) for context in contexts)
    found = sum(bool(evaluator.evaluate("f", our_context(context)).value) for context in contexts)
    assert abs(theirs - 1200) < 120
    assert abs(found - 1200) < 120


def test_who_has_no_unit_is_left_out_and_that_is_told() -> None:
    """Unleash draws anew at each request; here nobody is in by chance."""
    strategy = _strategy("flexibleRollout", rollout="99", stickiness="default", groupId="g")
    imported = _only(_feature(strategy))
    assert ours(imported).evaluate("f", {}).value is False
    assert ours(imported).evaluate("f", {"sessionId": "s1"}).value is True
    assert [note.message for note in imported.notes] == [NOBODY]


def test_variants_keep_their_shares_payloads_and_overrides() -> None:
    """A variant is the object that SDKs of Unleash give; overrides win over weights, in their order."""
    variants = [
        {
            "name": "red",
            "weight": 250,
            "payload": {"type": "string", "value": "#f00"},
            "overrides": [{"contextName": "userId", "values": ["vip"]}],
        },
        {"name": "dark blue", "weight": 750},
    ]
    document = _features(_feature(_strategy(), variants=variants))
    imported = read_unleash(document)
    evaluator, engine = ours(imported), unleash(document)
    theirs = engine.get_variant("f", {"userId": "vip"}).variant
    found = evaluator.evaluate("f", {"targetingKey": "vip"}).value
    assert found == {"enabled": True, "name": theirs.name, "payload": theirs.payload}
    drawn = Counter(evaluator.evaluate("f", {"targetingKey": f"u{n}"}).variant for n in range(4000))
    assert set(drawn) == {"red", "dark-blue"}
    assert abs(drawn["red"] - 1000) < 120
    assert imported.flags["f"]["defaultVariant"] == "off"


def test_variants_of_the_strategy_that_holds_are_given() -> None:
    """The first strategy that holds decides which variants there are."""
    first = {
        **_strategy("userWithId", userIds="a"),
        "variants": [{"name": "one", "weight": 1000, "stickiness": "default"}],
    }
    second = {**_strategy(), "variants": [{"name": "two", "weight": 1000, "stickiness": "default"}]}
    document = _features(_feature(first, second))
    evaluator, engine = ours(read_unleash(document)), unleash(document)
    for unit in ("a", "b"):
        expected = engine.get_variant("f", {"userId": unit}).variant.name
        assert evaluator.evaluate("f", {"targetingKey": unit}).value["name"] == expected


@pytest.mark.parametrize("wanted", [{"enabled": True}, {"enabled": False}, {"variants": ["red"]}])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_dependency_asks_the_other_feature(wanted: dict[str, Any], enabled: bool) -> None:
    """A parent that is off, or has another variant, keeps its child off, as in Unleash."""
    red = {"name": "red", "weight": 1000, "overrides": []}
    parent = {**_feature(_strategy(), variants=[red], enabled=enabled), "name": "parent"}
    child = _feature(_strategy(), dependencies=[{"feature": "parent", "enabled": True, **wanted}])
    document = _features(parent, child)
    imported = read_unleash(document)
    assert check_rules(flags=imported.flags, routes=(), evaluators=imported.evaluators) == []
    expected = is_enabled(unleash(document), "f", {"userId": "u"})
    assert ours(imported).evaluate("f", {"targetingKey": "u"}).value is expected


def test_a_feature_that_is_off_keeps_its_rule_and_is_killed() -> None:
    """Reviving it is switching it on."""
    imported = _only(_feature(_strategy("userWithId", userIds="a"), enabled=False))
    assert imported.killed == ("f",)
    assert imported.flags["f"]["targeting"] == {"if": [{"in": [{"var": "targetingKey"}, ["a"]]}, "on", "off"]}
    assert ours(imported).evaluate("f", {"targetingKey": "a"}).value is False


def test_labels_come_along() -> None:
    """Description, tags and the archive are metadata here."""
    document = _features(
        {**_feature(_strategy(), archived=True, description="who pays"), "strategies": []},
        featureTags=[{"featureName": "f", "tagType": "simple", "tagValue": "billing"}],
    )
    flag = read_unleash(document).flags["f"]
    assert flag["state"] == "DISABLED"
    assert flag["metadata"] == {"description": "who pays", "tags": "billing", "archived": True}


def _in_environments() -> dict[str, Any]:
    return {
        "features": [{"name": "f", "type": "release", "project": "default"}],
        "featureStrategies": [
            {"name": "userWithId", "featureName": "f", "environment": "dev", "parameters": {"userIds": "a"}},
            {"name": "default", "featureName": "f", "environment": "prod", "parameters": {}},
        ],
        "featureEnvironments": [
            {"featureName": "f", "environment": "dev", "enabled": True},
            {"featureName": "f", "environment": "prod", "enabled": False},
        ],
    }


def test_one_environment_is_read() -> None:
    """State and strategies are those of the environment that was named."""
    dev = read_unleash(_in_environments(), environment="dev")
    prod = read_unleash(_in_environments(), environment="prod")
    assert (dev.killed, prod.killed) == ((), ("f",))
    assert prod.flags["f"]["targeting"] == {"if": [True, "on", "off"]}
    assert dev.flags["f"]["targeting"] == {"if": [{"in": [{"var": "targetingKey"}, ["a"]]}, "on", "off"]}


@pytest.mark.parametrize("environment", ["", "staging"])
def test_the_environment_has_to_be_named(environment: str) -> None:
    """None, or one that is not in the export, is refused with those that are."""
    with pytest.raises(ConfigError, match="dev, prod"):
        read_unleash(_in_environments(), environment=environment)


def test_segments_of_the_state_export_are_found() -> None:
    """There, another list says which strategy has which segment."""
    rule = {"contextName": "country", "operator": "IN", "values": ["DE"]}
    document = {
        "version": 4,
        "features": [{"name": "f"}],
        "featureStrategies": [{"id": "s", "strategyName": "default", "featureName": "f", "parameters": {}}],
        "featureEnvironments": [{"featureName": "f", "environment": "default", "enabled": True}],
        "featureStrategySegments": [{"featureStrategyId": "s", "segmentId": 1}],
        "segments": [{"id": 1, "name": "germany", "constraints": [rule]}],
    }
    assert read_unleash(document).flags["f"]["targeting"] == {"if": [{"$ref": "germany"}, "on", "off"]}


@pytest.mark.parametrize(
    ("strategy", "where"),
    [
        (_strategy("mine"), "features[0].strategies[0].name: "),
        (_strategy("applicationHostname", hostNames="a"), "features[0].strategies[0].name: "),
        (_strategy("gradualRolloutRandom", percentage="50"), "strategies[0].parameters.stickiness: a share"),
        (_strategy("flexibleRollout", rollout="50", stickiness="random"), "a share of 50 % by chance"),
        (_strategy("flexibleRollout", rollout="half"), "parameters.rollout: "),
        (_strategy("remoteAddress", IPs="10.0.0.0/12"), "parameters.IPs: "),
        (_strategy("remoteAddress", IPs="::1"), "parameters.IPs: "),
        ({**_strategy(), "segments": [3]}, "segments[0]: there is no segment 3"),
        ({**_strategy(), "disabled": True}, "features[0]: all of its strategies are disabled"),
    ],
)
def test_a_strategy_with_another_meaning_is_refused(strategy: dict[str, Any], where: str) -> None:
    """The message names the place in the export, and the whole feature is left out."""
    assert where in _problem(_feature(strategy))


@pytest.mark.parametrize(
    ("constraint", "where"),
    [
        ({"operator": "REGEX", "value": "a"}, "constraints[0].operator: "),
        ({"operator": "IN", "values": ["A"], "caseInsensitive": True}, "constraints[0].caseInsensitive: "),
        ({"operator": "IN", "values": [" a"]}, "constraints[0].values[0]: "),
        ({"operator": "STR_CONTAINS", "values": []}, "constraints[0].values: "),
        ({"operator": "NUM_GT", "value": "many"}, "constraints[0].value: "),
        ({"operator": "SEMVER_GT", "value": "v1.2.3"}, "constraints[0].value: "),
        ({"operator": "DATE_AFTER", "value": "2026-01-01T00:00:00Z"}, "constraints[0].contextName: "),
        ({"operator": "IN", "values": ["a"], "contextName": "a.b"}, "constraints[0].contextName: "),
    ],
)
def test_a_constraint_with_another_meaning_is_refused(constraint: dict[str, Any], where: str) -> None:
    """The message names the place in the export."""
    assert where in _problem(_feature(_strategy("default", {"contextName": "x", **constraint})))


def test_chance_among_variants_is_refused() -> None:
    """A variant that is drawn anew each time has no equal."""
    both = [{"name": name, "weight": 500, "stickiness": "random"} for name in ("a", "b")]
    assert "variants[0].stickiness: a variant by chance" in _problem(_feature(_strategy(), variants=both))


@pytest.mark.parametrize("name", ["with space", "x" * 65])
def test_a_name_that_no_label_takes_is_refused(name: str) -> None:
    """Flag keys end up in headers, URLs and metric labels."""
    assert "features[0].name: " in _problem({**_feature(), "name": name})


def test_five_thousand_features_are_read_in_time() -> None:
    """The lists of an export are walked once, not once for each feature (well below a second; 5 s here)."""
    document = {
        "features": [{"name": f"f{n}"} for n in range(5000)],
        "featureStrategies": [
            {"name": "default", "featureName": f"f{n}", "environment": "e"} for n in range(5000)
        ],
        "featureEnvironments": [
            {"featureName": f"f{n}", "environment": "e", "enabled": True} for n in range(5000)
        ],
    }
    started = process_time()
    assert len(read_unleash(document).flags) == 5000
    assert process_time() - started < 5
