"""GrowthBook's exports: what is kept means the same as in GrowthBook's own SDK, the rest is refused."""

import json
from collections import Counter
from typing import Any

import pytest
from growthbook import GrowthBook
from hypothesis import given, settings
from hypothesis import strategies as st
from unleash_engine import ours

from understudy.decide import check_rules
from understudy.errors import ConfigError
from understudy.transfer import Imported, read_growthbook

GROUPS = {"staff": ["ann", "bob"], "ids": [1, 2, 3]}


def _theirs(features: dict[str, Any], key: str, attributes: dict[str, Any]) -> Any:
    """What GrowthBook's SDK says *key* is for *attributes*."""
    # It empties what it was given when it is destroyed.
    sdk = GrowthBook(attributes=dict(attributes), features=features, savedGroups=GROUPS)
    try:
        return sdk.eval_feature(key).value
    finally:
        sdk.destroy()


def _read(features: Any, **more: Any) -> Imported:
    imported = read_growthbook({"features": features, "savedGroups": GROUPS}, **more)
    assert imported.problems == ()
    assert check_rules(flags=imported.flags, routes=(), evaluators=imported.evaluators) == []
    return imported


def _ours(imported: Imported, key: str, attributes: dict[str, Any]) -> Any:
    context = {("targetingKey" if name == "id" else name): value for name, value in attributes.items()}
    return ours(imported).evaluate(key, context).value


def _forcing(condition: Any, **more: Any) -> dict[str, Any]:
    return {"f": {"defaultValue": False, "rules": [{"condition": condition, "force": True, **more}]}}


names = st.sampled_from(["ann", "bob", "eve", ""])
operations = st.one_of(
    st.fixed_dictionaries({"$eq": names}),
    st.fixed_dictionaries({"$in": st.lists(names, max_size=3)}),
    st.fixed_dictionaries({"$nin": st.lists(names, max_size=3)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$regex": st.sampled_from(["^an", "b$", "^eve$", "e", r"@ex\.com$"])}),
    st.sampled_from([{"$inGroup": "staff"}, {"$notInGroup": "staff"}]),
    st.fixed_dictionaries({"$gt": names, "$lte": names}),
)
numbers = st.one_of(
    st.fixed_dictionaries({"$gt": st.integers(-3, 5)}),
    st.fixed_dictionaries({"$gte": st.integers(-3, 5), "$lt": st.integers(0, 9)}),
    st.fixed_dictionaries({"$lte": st.sampled_from([0, 2.5])}),
    st.sampled_from([{"$inGroup": "ids"}, {"$not": {"$gt": 2}}, {"$in": [1, 2.5]}]),
)
lists = st.one_of(
    st.fixed_dictionaries({"$in": st.lists(names, max_size=2)}),
    st.fixed_dictionaries({"$nin": st.lists(names, max_size=2)}),
    st.fixed_dictionaries({"$elemMatch": operations}),
    st.fixed_dictionaries({"$all": st.lists(names, min_size=1, max_size=2)}),
)
versions = st.dictionaries(
    st.sampled_from(["$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte"]),
    st.sampled_from(["1.2.3", "1.10.0", "2.0.0-rc.1", "2.0.0"]),
    min_size=1,
    max_size=2,
)
leaves = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(names, operations),
        "account.plan": operations,
        "age": numbers,
        "groups": lists,
        "version": versions,
        "beta": st.booleans(),
    },
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$nor": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["ann", "bob", "eve"]),
        "account": st.fixed_dictionaries({}, optional={"plan": st.sampled_from(["ann", "eve", "x@ex.com"])}),
        "age": st.sampled_from([-2, 0, 1, 2.5, 4]),
        "groups": st.lists(names, max_size=3),
        "version": st.sampled_from(
            ["1.2.3", "v1.2.3", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0"]
        ),
        "beta": st.booleans(),
    },
)


@settings(max_examples=50, deadline=None)
@given(conditions, st.lists(contexts, min_size=6, max_size=6))
def test_a_condition_holds_for_the_same_contexts(condition: Any, asked: list[dict[str, Any]]) -> None:
    """Every operator that is kept answers as GrowthBook's SDK does."""
    features = _forcing(condition)
    imported = _read(features)
    assert imported.moved == ()
    for attributes in asked:
        expected = _theirs(features, "f", attributes)
        assert _ours(imported, "f", attributes) is expected, (attributes, imported.flags)


@pytest.mark.parametrize("country", ["DE", "FR", "US"])
def test_the_first_rule_that_holds_decides(country: str) -> None:
    """Rules are asked in their order, and the default comes last; values keep their types."""
    features = {
        "colour": {
            "defaultValue": "grey",
            "rules": [
                {"condition": {"country": "DE"}, "force": "black red gold"},
                {"condition": {"country": {"$in": ["DE", "FR"]}}, "force": "blue"},
            ],
        }
    }
    imported = _read(features)
    assert _ours(imported, "colour", {"country": country}) == _theirs(
        features, "colour", {"country": country}
    )
    assert set(imported.flags["colour"]["variants"]) == {"grey", "value-1", "blue"}


def test_a_rollout_keeps_its_share() -> None:
    """20 % stay 20 %; who has no unit is left out in both; the flag is named as moved."""
    features = _forcing({}, coverage=0.2, hashAttribute="id")
    imported = _read(features)
    assert imported.moved == ("f",)
    assert _ours(imported, "f", {}) is _theirs(features, "f", {}) is False
    evaluator = ours(imported)
    found = sum(bool(evaluator.evaluate("f", {"targetingKey": f"u{n}"}).value) for n in range(4000))
    assert abs(found - 800) < 110


@pytest.mark.parametrize("coverage", [0, 1])
def test_none_and_all_are_exact(coverage: int) -> None:
    """At 0 and 1 nobody moves, and everybody means everybody with a unit."""
    features = _forcing({}, coverage=coverage)
    imported = _read(features)
    assert imported.moved == ()
    for attributes in ({}, {"id": "u"}, {"id": ""}):
        assert _ours(imported, "f", attributes) is _theirs(features, "f", attributes)


def test_an_experiment_keeps_coverage_weights_and_namespace() -> None:
    """Shares are those of GrowthBook: half of a namespace of 40 %, split 1 to 3."""
    rule = {
        "variations": ["control", "blue"],
        "weights": [0.25, 0.75],
        "coverage": 0.5,
        "key": "exp",
        "hashVersion": 2,
        "namespace": ["pricing", 0.2, 0.6],
    }
    features = {"f": {"defaultValue": "none", "rules": [rule]}}
    evaluator = ours(_read(features))
    units = [f"u{n}" for n in range(8000)]
    theirs = Counter(_theirs(features, "f", {"id": unit}) for unit in units)
    found = Counter(evaluator.evaluate("f", {"targetingKey": unit}).value for unit in units)
    for value, share in (("control", 0.05), ("blue", 0.15), ("none", 0.8)):
        assert abs(theirs[value] / 8000 - share) < 0.02
        assert abs(found[value] / 8000 - share) < 0.02


def test_a_larger_coverage_only_adds_units() -> None:
    """As in GrowthBook: whoever takes part keeps the variation when the coverage grows."""

    def variants(coverage: float) -> list[str]:
        rule = {"variations": ["a", "b"], "coverage": coverage, "key": "exp"}
        evaluator = ours(_read({"f": {"defaultValue": "out", "rules": [rule]}}))
        return [evaluator.evaluate("f", {"targetingKey": f"u{n}"}).variant for n in range(2000)]

    before, after = variants(0.2), variants(0.6)
    assert all(now == was for was, now in zip(before, after, strict=True) if was != "out")
    assert after.count("out") < before.count("out")


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("parent", [True, False])
def test_a_prerequisite_asks_the_other_feature(parent: bool, gate: bool) -> None:
    """A gate that is closed gives no value at all; another prerequisite only skips its rule."""
    rule = {
        "parentConditions": [{"id": "base", "condition": {"value": True}, "gate": gate}],
        "force": "new",
    }
    features = {
        "base": {"defaultValue": parent, "rules": [{"condition": {"x": 1}, "force": not parent}]},
        "f": {"defaultValue": "old", "rules": [rule]},
    }
    imported = _read(features)
    for attributes in ({}, {"x": 1}):
        assert _ours(imported, "f", attributes) == _theirs(features, "f", attributes)


def test_a_value_that_is_null_is_the_callers_own() -> None:
    """GrowthBook's SDKs answer their caller's default for null; so does a flag without default variant."""
    imported = _read({"f": {"defaultValue": None, "rules": [{"condition": {"x": 1}, "force": 5}]}})
    assert "defaultVariant" not in imported.flags["f"]
    assert _ours(imported, "f", {}) is None
    assert _ours(imported, "f", {"x": 1}) == 5


def test_a_saved_group_becomes_a_shared_rule() -> None:
    """It is kept once for each attribute that is looked up in it."""
    condition = {"name": {"$inGroup": "staff"}}
    features = {name: {"defaultValue": 1, "rules": [{"condition": condition, "force": 2}]} for name in "ab"}
    imported = _read(features)
    assert list(imported.evaluators) == ["staff-name"]
    assert _ours(imported, "b", {"name": "ann"}) == 2


def _of_the_api() -> list[dict[str, Any]]:
    definition = {"defaultValue": False, "rules": [{"force": True}]}
    return [
        {
            "id": "f",
            "description": "who pays",
            "owner": "ann",
            "tags": ["billing", "new"],
            "environments": {
                "dev": {"enabled": True, "definition": json.dumps(definition)},
                "prod": {"enabled": False, "definition": json.dumps({"defaultValue": False})},
            },
        }
    ]


def test_the_rest_api_gives_one_environment_with_its_labels() -> None:
    """The definition of the environment that was named is read; one that is off is killed."""
    dev = _read(_of_the_api(), environment="dev")
    prod = _read(_of_the_api(), environment="prod")
    assert dev.flags["f"]["metadata"] == {"description": "who pays", "owner": "ann", "tags": "billing, new"}
    assert (dev.killed, prod.killed) == ((), ("f",))
    assert _ours(dev, "f", {}) is True


@pytest.mark.parametrize("environment", ["", "staging"])
def test_the_environment_has_to_be_named(environment: str) -> None:
    """None, or one that is not there, is refused with those that are."""
    with pytest.raises(ConfigError, match="dev, prod"):
        read_growthbook({"features": _of_the_api()}, environment=environment)


def test_encrypted_features_are_refused() -> None:
    """With what to export instead."""
    with pytest.raises(ConfigError, match="without encryption"):
        read_growthbook({"features": {}, "encryptedFeatures": "x"})


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"force": None}, "features.f.rules[0].force: "),
        ({"force": 5}, "features.f.rules[0].force: is of the type number"),
        ({}, "features.f.rules[0]: neither"),
        ({"force": True, "shiny": 1}, "features.f.rules[0].shiny: unknown key"),
        ({"variations": [True, False], "coverage": 0}, "features.f.rules[0]: no unit takes part"),
        ({"variations": [True]}, "features.f.rules[0].variations: "),
        (
            {"variations": [True, False], "meta": [{"passthrough": True}, {}]},
            "rules[0].meta[0].passthrough: ",
        ),
        ({"variations": [True, False], "ranges": [[0, 0.6], [0.5, 1]]}, "rules[0].ranges: overlap"),
        ({"force": True, "condition": {"a": {"$size": 2}}}, "rules[0].condition.a.$size: "),
        ({"force": True, "condition": {"a": {"$regex": "a.b"}}}, "rules[0].condition.a.$regex: "),
        ({"force": True, "condition": {"a": {"b": 1}}}, "rules[0].condition.a: objects"),
        ({"force": True, "condition": {"a": {"$veq": "1.2"}}}, "rules[0].condition.a.$veq: "),
        ({"force": True, "condition": {"a": {"$inGroup": "gone"}}}, "rules[0].condition.a.$inGroup: "),
        ({"force": True, "condition": {"a": {"$type": "array"}}}, "rules[0].condition.a.$type: "),
        ({"force": True, "parentConditions": [{"id": "gone"}]}, "rules[0].parentConditions[0].id: "),
        ({"force": True, "coverage": "all"}, "rules[0].coverage: "),
    ],
)
def test_a_rule_with_another_meaning_is_refused(rule: dict[str, Any], where: str) -> None:
    """The message names the place in the export, and the whole feature is left out."""
    imported = read_growthbook(
        {"features": {"f": {"defaultValue": False, "rules": [rule]}, "g": {"defaultValue": 1}}}
    )
    assert list(imported.flags) == ["g"]
    assert imported.refused == ("f",)
    assert any(where in f"{problem.path}: {problem.message}" for problem in imported.problems)
