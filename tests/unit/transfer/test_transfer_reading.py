"""Whatever stands in a file, reading it ends in flags or in problems with places."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import ConfigError
from understudy.transfer import read_flags

words = st.sampled_from(
    [
        "features",
        "name",
        "id",
        "enabled",
        "strategies",
        "parameters",
        "constraints",
        "segments",
        "variants",
        "weight",
        "stickiness",
        "rollout",
        "operator",
        "contextName",
        "values",
        "value",
        "dependencies",
        "feature",
        "defaultValue",
        "rules",
        "force",
        "condition",
        "variations",
        "weights",
        "coverage",
        "ranges",
        "namespace",
        "filters",
        "meta",
        "parentConditions",
        "$in",
        "$or",
        "$elemMatch",
        "$regex",
        "$vgt",
    ]
)
scalars = st.sampled_from(
    [None, True, 0, 0.5, -1, "", "a", "default", "flexibleRollout", "IN", "NUM_GT", "50"]
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
unleash = st.fixed_dictionaries(
    {"name": st.just("f"), "strategies": st.lists(st.dictionaries(words, junk, max_size=4), max_size=2)},
    optional={"variants": junk, "dependencies": junk, "enabled": junk},
)
growthbook = st.fixed_dictionaries(
    {"rules": st.lists(st.dictionaries(words, junk, max_size=4), max_size=2)}, optional={"defaultValue": junk}
)


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(
        st.builds(lambda one, two: {"features": [one], "segments": two}, unleash, junk),
        st.builds(lambda one, two: {"features": {"f": one}, "savedGroups": two}, growthbook, junk),
        st.dictionaries(words, junk, max_size=3),
    )
)
def test_nothing_but_problems_comes_of_junk(document: dict[str, Any]) -> None:
    """No other exception, and a refused flag is never there as well."""
    try:
        imported = read_flags(document)
    except ConfigError:
        return
    assert not set(imported.refused) & set(imported.flags)
    assert bool(imported.refused) == bool(imported.problems)
