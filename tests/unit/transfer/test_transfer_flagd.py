"""flagd's format goes out and comes in without a loss; conflicts are named."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.config import parse_json, parse_yaml, write_yaml
from understudy.errors import ConfigError
from understudy.transfer import Mode, kind_of, lost_in_flagd, merged, read_flagd, read_flags, write_flagd

ON = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
EMPTY: dict[str, Any] = {"flags": {}, "routes": [], "compare": [], "killed": []}

keys = st.text("abcXYZ09._-", min_size=1, max_size=8)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
values = st.recursive(
    st.one_of(st.none(), scalars),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
flags = st.dictionaries(
    keys,
    st.fixed_dictionaries(
        {"variants": st.dictionaries(keys, values, min_size=1, max_size=3)},
        optional={
            "state": st.sampled_from(["ENABLED", "DISABLED"]),
            "targeting": st.dictionaries(st.sampled_from(["if", "var", "in"]), values, max_size=1),
            "metadata": st.dictionaries(keys, scalars, max_size=2),
        },
    ),
    max_size=3,
)
documents = st.fixed_dictionaries(
    {
        "flags": flags,
        "routes": st.just([{"path": "/", "serve": "a"}]),
        "compare": st.just([]),
        "killed": st.just([]),
    },
    optional={
        "$evaluators": st.dictionaries(keys, st.just({"in": ["a", {"var": "b"}]}), min_size=1, max_size=2),
        "metadata": st.dictionaries(keys, scalars, min_size=1, max_size=2),
    },
)


def _written(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


@settings(max_examples=50, deadline=None)
@given(documents, st.sampled_from(["json", "yaml"]))
def test_what_goes_out_comes_in_unchanged(document: dict[str, Any], form: str) -> None:
    """Into an empty store, and over itself: every word, type and order of the flags is as it was."""
    exported = write_flagd(document)
    read = parse_yaml(write_yaml(exported)) if form == "yaml" else parse_json(_written(exported))
    assert isinstance(read, dict)
    imported = read_flagd(read)
    fresh = merged(EMPTY, imported, Mode.ADD).document
    for part in ("flags", "$evaluators", "metadata"):
        assert _written(fresh.get(part)) == _written(document.get(part))
    over = merged(document, imported, Mode.ADD)
    assert over.document == document
    assert over.added == over.replaced == over.removed == ()
    assert merged(document, imported, Mode.REPLACE).document == document


def test_a_conflict_is_named_and_nothing_comes_of_it() -> None:
    """A flag, or a segment, of the same name with another meaning."""
    document = {**EMPTY, "flags": {"a": ON, "b": ON}, "$evaluators": {"s": {"var": "x"}}}
    file = {
        "flags": {"a": {**ON, "defaultVariant": "on"}, "b": ON, "c": ON},
        "$evaluators": {"s": {"var": "y"}},
    }
    with pytest.raises(ConfigError) as caught:
        merged(document, read_flagd(file), Mode.ADD)
    assert [problem.path for problem in caught.value.problems] == ["flags.a", "$evaluators.s"]
    done = merged(document, read_flagd(file), Mode.MERGE)
    assert (done.added, done.replaced, done.removed, done.unchanged) == (("c",), ("a",), (), ("b",))
    assert done.document["$evaluators"] == {"s": {"var": "y"}}


@pytest.mark.parametrize("other", [1.0, True, "1"])
def test_types_are_not_confused(other: Any) -> None:
    """1, 1.0 and true are three values, so this is a conflict too."""
    document = {**EMPTY, "flags": {"a": {"variants": {"x": 1}}}}
    with pytest.raises(ConfigError, match=r"flags\.a"):
        merged(document, read_flagd({"flags": {"a": {"variants": {"x": other}}}}), Mode.ADD)


def test_replacing_keeps_routes_and_the_kills_of_flags_that_stay() -> None:
    """A kill is an answer to trouble; an import does not undo it."""
    document = {
        **EMPTY,
        "routes": [{"path": "/", "serve": "a"}],
        "flags": {"a": ON, "b": ON},
        "killed": ["a", "b"],
    }
    done = merged(document, read_flagd({"flags": {"a": ON, "c": ON}, "killed": ["c"]}), Mode.REPLACE)
    assert done.removed == ("b",)
    assert done.document["killed"] == ["a", "c"]
    assert done.document["routes"] == document["routes"]


def test_metadata_of_the_set_becomes_the_flags_own() -> None:
    """Else the hash of flags that are there would change, or that of those that come."""
    document = {**EMPTY, "flags": {"old": ON}, "metadata": {"hashVersion": 3}}
    done = merged(document, read_flagd({"flags": {"new": ON}, "metadata": {"flagSetId": "web"}}), Mode.ADD)
    assert done.document["metadata"] == {"hashVersion": 3}
    assert done.document["flags"]["old"] == ON
    assert done.document["flags"]["new"] == {**ON, "metadata": {"flagSetId": "web", "hashVersion": 2}}


def test_what_flagd_cannot_say_is_told() -> None:
    """A kill and a prerequisite."""
    rule = {"if": [{"===": [{"flag": "a"}, "on"]}, "on"]}
    document = {**EMPTY, "flags": {"a": ON, "b": {**ON, "targeting": rule}}, "killed": ["a"]}
    assert [problem.path for problem in lost_in_flagd(document)] == ["flags.a", "flags.b"]


def test_a_whole_configuration_gives_its_flags() -> None:
    """What else is in it is named and left."""
    imported = read_flagd({"flags": {"a": ON}, "services": {}, "killed": ["a", "gone"], "version": 3})
    assert imported.killed == ("a",)
    assert [note.path for note in imported.notes] == ["services"]


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"flags": {}}, "flagd"),
        ({"features": {}}, "growthbook"),
        ({"features": [{"id": "a", "environments": {}}]}, "growthbook"),
        ({"encryptedFeatures": ""}, "growthbook"),
        ({"features": [{"name": "a"}], "version": 1}, "unleash"),
        ({"features": []}, "unleash"),
    ],
)
def test_a_file_tells_whose_it_is(document: dict[str, Any], kind: str) -> None:
    """By the keys that only one product has."""
    assert kind_of(document) == kind


@pytest.mark.parametrize("document", [{}, {"flags": []}, {"flags": {}, "metadata": 3}])
def test_another_file_is_refused(document: dict[str, Any]) -> None:
    """With what is wrong, instead of an empty import."""
    with pytest.raises(ConfigError):
        read_flags(document)
