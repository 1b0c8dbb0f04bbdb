"""`understudy.comparators.rules` and what they forgive."""

from typing import Any

import pytest
from comparators_examples import answer, compare, compare_json, forgiven, json_answer, named, rules
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import CompareRule, Comparison, Tolerance, doubts, parse_compare_rules
from understudy.comparators.rules import FIELDS
from understudy.comparators.templates import is_meant


@pytest.mark.parametrize(
    ("item", "path", "words"),
    [
        ("x", "[0]", "must be a mapping"),
        ({}, "[0].endpoint", "is missing"),
        ({"endpoint": 3}, "[0].endpoint", "must name an endpoint"),
        ({"endpoint": "GET orders"}, "[0].endpoint", "no path"),
        ({"endpoint": "get /orders"}, "[0].endpoint", "GET?"),
        ({"endpoint": "*", "ingore": []}, "[0].ingore", "ignore?"),
        ({"endpoint": "*", "ignore": "/a"}, "[0].ignore", "list"),
        ({"endpoint": "*", "ignore": ["/a", "a.b"]}, "[0].ignore[1]", "/a/b?"),
        ({"endpoint": "*", "ignore": [7]}, "[0].ignore[0]", "must be a path"),
        ({"endpoint": "*", "ignore": ["/headers"]}, "[0].ignore[0]", "/headers/NAME"),
        ({"endpoint": "*", "ignore": ["/a~b"]}, "[0].ignore[0]", "~0"),
        ({"endpoint": "*", "ignore": ["/status/x"]}, "[0].ignore[0]", "/body/status"),
        ({"endpoint": "*", "matching": {"/a": "("}}, "[0].matching[/a]", "regular expression"),
        ({"endpoint": "*", "matching": ["/a"]}, "[0].matching", "mapping"),
        ({"endpoint": "*", "key": {"/items": 3}}, "[0].key[/items]", "field"),
        ({"endpoint": "*", "tolerance": {"/a": "x"}}, "[0].tolerance[/a]", "number"),
        ({"endpoint": "*", "tolerance": {"/a": -1}}, "[0].tolerance[/a]", "0 or more"),
        ({"endpoint": "*", "tolerance": {"/a": True}}, "[0].tolerance[/a]", "number"),
        ({"endpoint": "*", "tolerance": {"/a": {"second": 1}}}, "[0].tolerance[/a]", "seconds?"),
        ({"endpoint": "*", "tolerance": {"/a": {}}}, "[0].tolerance[/a]", "exactly one"),
        ({"endpoint": "*", "tolerance": {"/a": "500ms"}}, "[0].tolerance[/a]", "{seconds: 0.5}?"),
        ({"endpoint": "*", "tolerance": {"/a": "5 %"}}, "[0].tolerance[/a]", "{relative: 0.05}?"),
        ({"endpoint": "*", "tolerance": {"/status": 1}}, "[0].tolerance[/status]", "matching: {/status"),
        ({"endpoint": "*", "unordered": ["/status"]}, "[0].unordered[0]", "no such rule"),
        (
            {"endpoint": "*", "key": {"/headers/link": "rel"}},
            "[0].key[/headers/link]",
            "unordered: [/headers",
        ),
        ({"endpoint": "*", "key": {"/a": []}}, "[0].key[/a]", "[sku, size]"),
        ({"endpoint": "*", "key": {"/a": ["sku", 3]}}, "[0].key[/a][1]", "field"),
        ({"endpoint": "*", "key": {"/a": "x~y"}}, "[0].key[/a]", "~0"),
        ({"endpoint": "*", "ignore": ["/a/**/b"]}, "[0].ignore[0]", "/a/*/b?"),
        ({"endpoint": "*", "ignore": ["$.a[*].b['c']"]}, "[0].ignore[0]", "/a/*/b/c?"),
        ({"endpoint": "*", "ignore": ["items[0].n"]}, "[0].ignore[0]", "/items/0/n?"),
        ({"endpoint": "*", "matching": {"/a": "*"}}, "[0].matching[/a]", "regular expression"),
        ({"endpoint": "*", "matching": {"/a": "a{99999999999}"}}, "[0].matching[/a]", "repeats"),
        ({"endpoint": "GET /a?"}, "[0].endpoint", "nothing follows"),
        ({"endpoint": "GET /a?=1"}, "[0].endpoint", "?name=value"),
        ({"endpoint": "GET /a b"}, "[0].endpoint", "no space"),
    ],
)
def test_a_mistake_is_named_with_its_place(item: Any, path: str, words: str) -> None:
    """Where it stands, what is wrong, what was probably meant."""
    parsed, (problem,) = parse_compare_rules([item])
    assert parsed == ()
    assert problem.path == path
    assert words in str(problem)


def test_all_mistakes_are_reported_and_the_good_rules_kept() -> None:
    """Several mistakes at once, in several rules."""
    parsed, problems = parse_compare_rules(
        [{"endpoint": "*", "ignore": ["a", "b"], "only": 1}, {"endpoint": "GET /x"}, 5]
    )
    assert [problem.path for problem in problems] == ["[0].ignore[0]", "[0].ignore[1]", "[0].only", "[2]"]
    assert parsed == (CompareRule(endpoint="GET /x"),)


def test_a_rule_is_read_whole() -> None:
    """Every field of a rule, as DESIGN §4 writes it."""
    item = {
        "endpoint": "GET /orders/{id}",
        "ignore": ["/served_at"],
        "unordered": ["/tags"],
        "key": {"/items": "sku", "/lines": ["sku", "size"]},
        "tolerance": {"/total": 0.01, "/at": {"seconds": 5}},
        "matching": {"/id": "[a-f0-9]+"},
        "only": ["/total"],
    }
    (rule,), problems = parse_compare_rules([item])
    assert problems == []
    assert (rule.endpoint, rule.template) == ("GET /orders/{id}", "GET /orders/{id}")
    assert rule.key == {"/items": ("sku",), "/lines": ("sku", "size")}
    assert rule.tolerance["/at"] == Tolerance(unit="seconds", amount=5.0)
    assert CompareRule(endpoint="GET /a/*").template == ""


@pytest.mark.parametrize(
    ("pattern", "endpoint", "expected"),
    [
        ("*", "GET /x", True),
        ("GET *", "GET /x", True),
        ("GET *", "POST /x", False),
        ("* /x", "POST /x", True),
        ("/x", "POST /x", True),
        ("GET /orders/{id}", "GET /orders/{uuid}", True),
        ("GET /orders/{id}", "GET /orders", False),
        ("GET /orders/{id}", "GET /orders/{id}/lines", False),
        ("GET /orders/*", "GET /orders/{id}/lines", True),
        ("GET /orders/*", "GET /orders", False),
        ("GET /*/lines", "GET /orders/lines", True),
        ("GET /Orders", "GET /orders", False),
    ],
)
def test_a_rule_means_endpoints(pattern: str, endpoint: str, expected: bool) -> None:
    """Placeholders stand for a segment whatever their name."""
    assert is_meant(pattern, endpoint) == expected


def test_rules_of_other_endpoints_do_not_forgive() -> None:
    """A rule holds where it says."""
    (rule,), _ = parse_compare_rules([{"endpoint": "GET /a/{id}", "ignore": ["/t"]}])
    comparison = Comparison([rule])
    one, two = json_answer({"t": 1}), json_answer({"t": 2})
    assert [d.ignored for d in comparison.compare("GET /a/{id}", one, two)] == [True]
    assert [d.ignored for d in comparison.compare("POST /a/{id}", one, two)] == [False]


NESTED = [{"sku": "a", "lines": [{"id": 1, "n": 1}, {"id": 2, "n": 2}]}, {"sku": "b", "lines": []}]
MOVED = [{"sku": "b", "lines": []}, {"sku": "a", "lines": [{"id": 2, "n": 2}, {"id": 1, "n": 9}]}]
SIZES = [{"s": "a", "z": 1, "n": 1}, {"s": "a", "z": 2, "n": 2}, {"s": "b", "z": 1, "n": 3}]
ITEMS = [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}, {"sku": "c", "n": 3}]


@pytest.mark.parametrize(
    ("rule", "primary", "shadow", "counted", "ignored"),
    [
        ({"ignore": ["/t"]}, {"t": 1}, {"t": 2}, [], [("/body/t", "value")]),
        ({"ignore": ["/body/t"]}, {"t": 1}, {}, [], [("/body/t", "missing")]),
        ({"ignore": ["/t"]}, {"t": {"a": {"b": 1}}}, {"t": {"a": {"b": 2}}}, [], [("/body/t", "value")]),
        ({"ignore": ["/t"]}, {"tt": 1}, {"tt": 2}, [("/body/tt", "value")], []),
        ({"ignore": ["/t/x"]}, {"t": {"x": 1}}, {}, [("/body/t", "missing")], []),
        ({"ignore": ["/a/*/t"]}, {"a": [{"t": 1}]}, {"a": [{"t": 2}]}, [], [("/body/a/*/t", "value")]),
        (
            {"ignore": ["/m/{key}/t"]},
            {"m": {"17": {"t": 1}}},
            {"m": {"17": {"t": 2}}},
            [],
            [("/body/m/{key}/t", "value")],
        ),
        ({"ignore": ["/a/0"]}, {"a": [1, 2]}, {"a": [3, 4]}, [("/body/a/*", "value")], []),
        ({"ignore": [""]}, {"a": 1}, {"b": 1}, [], [("/body", "value")]),
        (
            {"ignore": ["/body/headers/x"]},
            {"headers": {"x": 1}},
            {"headers": {"x": 2}},
            [],
            [("/body/headers/x", "value")],
        ),
        ({"matching": {"/id": "[0-9a-f]{4}"}}, {"id": "12ab"}, {"id": "ffff"}, [], [("/body/id", "value")]),
        ({"matching": {"/id": "[0-9a-f]{4}"}}, {"id": "12ab"}, {"id": "oops"}, [("/body/id", "value")], []),
        ({"matching": {"/id": "[0-9a-f]{4}"}}, {"id": "1234"}, {"id": 1234}, [("/body/id", "type")], []),
        ({"matching": {"/id": ".*"}}, {"id": "1"}, {}, [("/body/id", "missing")], []),
        ({"tolerance": {"/p": 0.1}}, {"p": 1.0}, {"p": 1.1}, [], [("/body/p", "value")]),
        ({"tolerance": {"/p": 0.1}}, {"p": 1.0}, {"p": 1.11}, [("/body/p", "value")], []),
        ({"tolerance": {"/p": 0.1}}, {"p": "9.99"}, {"p": "9.95"}, [], [("/body/p", "value")]),
        ({"tolerance": {"/p": 0.1}}, {"p": 1}, {"p": None}, [("/body/p", "type")], []),
        ({"tolerance": {"/p": {"relative": 0.1}}}, {"p": 1000}, {"p": 901}, [], [("/body/p", "value")]),
        ({"tolerance": {"/p": {"relative": 0.1}}}, {"p": 1000}, {"p": 899}, [("/body/p", "value")], []),
        (
            {"tolerance": {"/p": {"seconds": 2}}},
            {"p": "2026-01-01T00:00:59Z"},
            {"p": "2026-01-01T01:01:01+01:00"},
            [],
            [("/body/p", "value")],
        ),
        (
            {"tolerance": {"/p": {"seconds": 2}}},
            {"p": 1700000000123},
            {"p": 1700000002000},
            [],
            [("/body/p", "value")],
        ),
        ({"tolerance": {"/p": {"seconds": 2}}}, {"p": "x"}, {"p": "y"}, [("/body/p", "value")], []),
        (
            {"tolerance": {"/a/*/p": 1}},
            {"a": [{"p": 1}, {"p": 5}]},
            {"a": [{"p": 2}, {"p": 9}]},
            [("/body/a/*/p", "value")],
            [],
        ),
        ({"unordered": ["/a"]}, {"a": [1, 2, 2]}, {"a": [2, 1, 2]}, [], [("/body/a", "order")]),
        ({"unordered": ["/a"]}, {"a": [1, 2, 2]}, {"a": [2, 1, 1]}, [("/body/a/*", "value")], []),
        ({"unordered": ["/a"]}, {"a": [1, 2]}, {"a": [3, 2, 1]}, [("/body/a", "length")], []),
        (
            {"unordered": ["/a"]},
            {"a": [{"x": 1}, {"x": 2}]},
            {"a": [{"x": 2}, {"x": 3}]},
            [("/body/a/*/x", "value")],
            [],
        ),
        (
            {"unordered": ["/a"], "ignore": ["/a/*/t"]},
            {"a": [{"x": 1, "t": 1}, {"x": 2, "t": 2}]},
            {"a": [{"x": 2, "t": 3}, {"x": 1, "t": 4}]},
            [],
            [("/body/a", "order")],
        ),
        ({"unordered": [""]}, [1, 2], [2, 1], [], [("/body", "order")]),
        ({"key": {"/i": "sku"}}, {"i": ITEMS}, {"i": ITEMS[::-1]}, [], [("/body/i", "order")]),
        ({"key": {"/i": "/sku"}}, {"i": ITEMS}, {"i": ITEMS[1:]}, [("/body/i/*", "missing")], []),
        ({"key": {"/i": "sku"}}, {"i": ITEMS[1:]}, {"i": ITEMS}, [("/body/i/*", "extra")], []),
        (
            {"key": {"/i": "sku"}},
            {"i": ITEMS},
            {"i": [ITEMS[2], {"sku": "a", "n": 9}, ITEMS[1]]},
            [("/body/i/*/n", "value")],
            [("/body/i", "order")],
        ),
        (
            {"key": {"/i": "m/id"}},
            {"i": [{"m": {"id": 1}, "n": 1}, {"m": {"id": 2}, "n": 2}]},
            {"i": [{"m": {"id": 2}, "n": 2}, {"m": {"id": 1}, "n": 0}]},
            [("/body/i/*/n", "value")],
            [("/body/i", "order")],
        ),
        ({"key": {"/i": "sku"}}, {"i": [1, 2]}, {"i": [1, 3]}, [("/body/i/*", "value")], []),
        (
            {"only": ["/a/b"]},
            {"a": {"b": 1, "c": 1}},
            {"a": {"b": 2, "c": 2}},
            [("/body/a/b", "value")],
            [("/body/a/c", "value")],
        ),
        ({"only": ["/a/b"]}, {"a": {"b": {"d": 1}}}, {"a": {"b": {"d": 2}}}, [("/body/a/b/d", "value")], []),
        ({"only": ["/a/b"]}, {"a": {"b": 1}, "x": 1}, {}, [("/body/a", "missing")], [("/body/x", "missing")]),
        (
            {"only": ["/a"], "ignore": ["/a/t"]},
            {"a": {"t": 1, "n": 1}, "x": 1},
            {"a": {"t": 2, "n": 2}, "x": 2},
            [("/body/a/n", "value")],
            [("/body/a/t", "value"), ("/body/x", "value")],
        ),
        (
            {"key": {"/i": "sku", "/i/*/lines": "id"}},
            {"i": NESTED},
            {"i": MOVED},
            [("/body/i/*/lines/*/n", "value")],
            [("/body/i", "order"), ("/body/i/*/lines", "order")],
        ),
        (
            {"key": {"/i": ["s", "z"]}},
            {"i": SIZES},
            {"i": [SIZES[2], SIZES[0], {**SIZES[1], "n": 9}]},
            [("/body/i/*/n", "value")],
            [("/body/i", "order")],
        ),
        ({"key": {"/i": ["s", "z"]}}, {"i": SIZES}, {"i": SIZES[:2]}, [("/body/i/*", "missing")], []),
        (
            {"unordered": ["/a", "/a/*/t"]},
            {"a": [{"x": 1, "t": [1, 2]}, {"x": 2, "t": [3, 4]}]},
            {"a": [{"x": 2, "t": [4, 3]}, {"x": 1, "t": [2, 1]}]},
            [],
            [("/body/a", "order")],
        ),
        (
            {"ignore": ["/p/t"]},
            {"p": '{"t": 1, "n": 1}'},
            {"p": '{"t": 2, "n": 2}'},
            [("/body/p/n", "value")],
            [("/body/p/t", "value")],
        ),
        ({"ignore": ["/p/t"]}, {"p": '{"a": 1}'}, {"p": '{ "a": 1 }'}, [], []),
        ({"ignore": ["/p/t"]}, {"p": '{"t": 1'}, {"p": '{"t": 2'}, [("/body/p", "value")], []),
        ({"ignore": ["/q/t"]}, {"p": '{"t": 1}'}, {"p": '{"t": 2}'}, [("/body/p/t", "value")], []),
        (
            {"ignore": ["/p/q/t"]},
            {"p": '{"q": "{\\"t\\": 1}"}'},
            {"p": '{"q": "{\\"t\\": 2}"}'},
            [],
            [("/body/p/q/t", "value")],
        ),
        ({"matching": {"/a": "[a-z]+"}}, {"a": "x" * 70_000}, {"a": "y"}, [("/body/a", "value")], []),
        (
            {"tolerance": {"/p": {"seconds": 1}}},
            {"p": "2026-01-01T00:00:00.000001+00:00"},
            {"p": "2025-12-31T19:00:00.999999999-05:00"},
            [],
            [("/body/p", "value")],
        ),
        (
            {"tolerance": {"/p": {"seconds": 1}}},
            {"p": 1700000000000000000},
            {"p": 1700000000900000000},
            [],
            [("/body/p", "value")],
        ),
        (
            {"tolerance": {"/p": {"seconds": 1}}},
            {"p": "Thu, 01 Jan 2026 00:00:00 GMT"},
            {"p": "2026-01-01T00:00:01"},
            [],
            [("/body/p", "value")],
        ),
        ({"tolerance": {"/p": {"relative": 0.5}}}, {"p": "inf"}, {"p": "5"}, [("/body/p", "value")], []),
    ],
)
def test_what_rules_forgive(
    rule: dict[str, Any], primary: Any, shadow: Any, counted: list[Any], ignored: list[Any]
) -> None:
    """What is forgiven is still there, marked; what is not forgiven counts."""
    found = compare_json(primary, shadow, rule)
    assert (named(found), forgiven(found)) == (counted, ignored)


def test_header_rules() -> None:
    """Fields and cookies are named as reports name them, in any case."""
    a = answer(fields=[("X-A", "1"), ("X-B", "1"), ("Set-Cookie", "s=1"), ("Set-Cookie", "t=1")])
    b = answer(fields=[("X-A", "2"), ("X-B", "2"), ("Set-Cookie", "s=2"), ("Set-Cookie", "t=2")])
    found = compare(a, b, {"ignore": ["/headers/X-A", "/headers/set-cookie/s"]})
    assert named(found) == [("/headers/set-cookie/t", "value"), ("/headers/x-b", "header")]
    found = compare(a, b, {"only": ["/headers/x-b"]})
    assert named(found) == [("/headers/x-b", "header")]


def test_header_rules_by_value_and_order() -> None:
    """Patterns and tolerances hold for each value of a field; a list is unordered where a rule says so."""
    a = answer(fields=[("X-Ms", "10"), ("X-Tag", "v1"), ("X-Tag", "v2"), ("X-Has", "b, a"), ("X-Is", "A,b")])
    b = answer(fields=[("X-Ms", "12"), ("X-Tag", "v1"), ("X-Tag", "v9"), ("X-Has", "a,b"), ("X-Is", "a,b")])
    rule = {
        "tolerance": {"/headers/x-ms": 5},
        "matching": {"/headers/X-Tag": r"v\d"},
        "unordered": ["/headers/x-has", "/headers/x-is"],
    }
    found = compare(a, b, rule)
    assert named(found) == [("/headers/x-is", "header")]
    assert forgiven(found) == [
        ("/headers/x-has", "order"),
        ("/headers/x-ms", "header"),
        ("/headers/x-tag", "header"),
    ]


def test_cookies_by_value() -> None:
    """A cookie is named below set-cookie; its attributes are compared apart from its value."""
    a, b = answer(fields=[("Set-Cookie", "s=a1; Path=/")]), answer(fields=[("Set-Cookie", "s=b2; Path=/")])
    c = answer(fields=[("Set-Cookie", "s=b2")])
    rule = {"matching": {"/headers/set-cookie/*": "[a-z][0-9]"}}
    assert forgiven(compare(a, b, rule)) == [("/headers/set-cookie/s", "value")]
    assert named(compare(a, c, {"ignore": ["/headers/set-cookie"]})) == []
    assert ("/headers/set-cookie/s", "header") in named(compare(a, c, {"tolerance": {"/headers/a": 1}}))


def test_a_status_that_matches_is_no_other_outcome() -> None:
    """200 and 201 may stand for each other; then the bodies are compared, too."""
    a, b = json_answer({"n": 1}), json_answer({"n": 2}, status=201)
    assert named(compare(a, b)) == [("/body", "body"), ("/status", "status")]
    found = compare(a, b, {"matching": {"/status": "20[01]"}})
    assert (named(found), forgiven(found)) == ([("/body/n", "value")], [("/status", "status")])


def test_a_content_type_may_match() -> None:
    """Two names for JSON."""
    a, b = answer("{}", kind="application/json"), answer("{}", kind="application/vnd.api+json")
    assert named(compare(a, b)) == [("/headers/content-type", "content_type")]
    assert named(compare(a, b, {"matching": {"/headers/content-type": "application/(.*[+])?json"}})) == []


def test_a_whole_text_may_match() -> None:
    """A body that is one text is held against the pattern as it is, not as it is shown."""
    a, b = (
        answer("up 10 s " + "x" * 900, kind="text/plain"),
        answer("up 99 s " + "x" * 900, kind="text/plain"),
    )
    assert named(compare(a, b, {"matching": {"/body": r"up \d+ s x+"}})) == []
    assert named(compare(a, b, {"matching": {"/body": r"up \d s x+"}})) == [("/body", "body")]


def test_the_order_of_rules_means_nothing() -> None:
    """Rules add up."""
    some = ({"ignore": ["/a"]}, {"endpoint": "GET /x", "tolerance": {"/b": 1}}, {"only": ["/a", "/b", "/c"]})
    one, two = {"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 2}
    told = [compare_json(one, two, *order) for order in (some, some[::-1])]
    assert [named(found) for found in told] == [[("/body/c", "value")]] * 2
    assert forgiven(told[0]) == forgiven(told[1])


WORDS = st.sampled_from(
    ["/a", "/a/*", "a.b", "", "*", "GET /x", "/status", "/headers/x", "(", "x", "/a~", "5s"]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(PLAIN | st.dictionaries(st.sampled_from([*FIELDS, "x"]), PLAIN), max_size=3))
@settings(max_examples=50)
def test_any_document_parses_or_is_refused(items: list[Any]) -> None:
    """Never an exception; every item is a rule or has a problem at its place; rules can be put in force."""
    parsed, problems = parse_compare_rules(items)
    assert len(parsed) + len({problem.path.partition("]")[0] for problem in problems}) == len(items)
    compare = Comparison(parsed).compare
    assert isinstance(compare("GET /x", json_answer({"a": [1]}), json_answer({"a": ["2"]})), list)
    assert all(isinstance(doubt, str) for doubt in doubts(parsed))


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (
            [{"matching": {"/a/b": "x"}, "ignore": ["/a"]}],
            "compare[0].matching[/a/b]: says nothing more, because",
        ),
        (
            [{"ignore": ["/a"]}, {"endpoint": "GET /x", "key": {"/a": "id"}}],
            "compare[0].ignore[0] ignores it",
        ),
        ([{"unordered": ["/a"], "key": {"/a": "id"}}], "compare[0].key[/a] matches the items"),
        ([{"only": ["/status"]}], "/status alone"),
        ([{"tolerance": {"/headers/Date": {"seconds": 5}}}], "date is forgiven anyway"),
        ([{"ignore": ["/headers/via"]}], "via is never compared"),
        ([{"ignore": [""]}], "nothing of the body"),
        ([{"ignore": ["/header/etag"]}], "did you mean /headers/…?"),
        ([{"ignore": ["/items[*]/n"]}], "did you mean /items/*/n?"),
    ],
)
def test_what_is_hardly_meant_is_told(items: list[dict[str, Any]], words: str) -> None:
    """A rule that does nothing, or more than it seems to."""
    (doubt,) = doubts(rules(*items))
    assert words in doubt


def test_ordinary_rules_raise_no_doubt() -> None:
    """What examples say is meant."""
    some = rules(
        {
            "endpoint": "GET /a/{id}",
            "ignore": ["/t", "/headers/x"],
            "unordered": ["/tags"],
            "only": ["/n", "/u"],
        },
        {"endpoint": "POST /b", "key": {"/t/items": "sku"}, "tolerance": {"/t": 1}},
    )
    assert list(doubts(some)) == []


def test_a_forgiven_place_does_not_hide_a_counted_one_of_the_same_path() -> None:
    """The first item is within tolerance, the second is not: the path counts, with the second as sample."""
    rule = {"tolerance": {"/a/*": 1}}
    (found,) = compare_json({"a": [1, 1]}, {"a": [2, 5]}, rule)
    assert (found.ignored, found.shadow, found.at) == (False, 5, "/body/a/1")


def test_paths_of_an_endpoint_are_bounded() -> None:
    """An endpoint that invents keys for ever ends in one path for all others."""
    comparison = Comparison()
    words = [a + b + c for a in "abcdefghij" for b in "abcdefghij" for c in "klmnopqr"]
    paths = set()
    for word in words:
        for difference in comparison.compare("GET /x", json_answer({}), json_answer({word: 1})):
            paths.add(difference.path)
    assert len(paths) == 501
    assert "/body/{other}" in paths


@pytest.mark.parametrize("rule", [{"ignore": ["/items"]}, {"only": ["/other"]}, {"ignore": [""]}])
def test_a_branch_that_is_ignored_may_differ_in_any_number_of_places(rule: dict[str, Any]) -> None:
    """However many: what is ignored is not walked, so it cannot use up what the walk may note."""
    many = [{"items": [{"v": i + more} for i in range(25_000)], "other": 1} for more in (0, 1)]
    found = compare_json(*many, rule)
    assert named(found) == []
    assert len(forgiven(found)) == 1
    assert named(compare_json(many[0], {**many[1], "other": 2}, {"ignore": ["/items"]})) == [
        ("/body/other", "value")
    ]


def test_items_of_one_name_take_linear_time() -> None:
    """A list of a million items that have no key, or all the same, is no trap."""
    many: list[Any] = [{}] * 300_000
    found = compare_json([*many, 1], [*many, 2], {"key": {"/body": "id"}})
    assert named(found) == [("/body/*", "value")]


def test_a_text_that_is_too_long_for_any_pattern_does_not_match() -> None:
    """Time is linear in the length, and the length is bounded."""
    long, longer = {"a": "a" * 65_000 + "b"}, {"a": "a" * 66_000 + "b"}
    rule = {"matching": {"/a": ".*a.*b"}}
    assert named(compare_json(long, {"a": "ab"}, rule)) == []
    assert named(compare_json(longer, {"a": "ab"}, rule)) == [("/body/a", "value")]


def test_new_rules_do_not_make_room_for_more_paths() -> None:
    """The bound is of an endpoint, not of a version of the rules: evidence stays."""
    comparison, paths = Comparison(), set()
    for version in "abcdefghijklmnop":
        tree = {version + a + b: 1 for a in "abcde" for b in "klmnopqrs"}
        found = comparison.compare("GET /x", json_answer({}), json_answer(tree))
        paths |= {difference.path for difference in found}
        comparison = Comparison(rules({"ignore": ["/other"]}), before=comparison)
    assert len(paths) == 501
