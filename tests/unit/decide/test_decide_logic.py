"""JSONLogic as json-logic-js defines it, compiled."""

# ruff: noqa: E501  # a table reads best with one case a line

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.decide.coercion import text
from understudy.decide.definition import Document
from understudy.decide.fields import DataResolver
from understudy.decide.logic import DEEPEST, Compiler, closest
from understudy.decide.operators import OPERATORS, contains
from understudy.decide.work import MOST_WORK, TooMuchWork


def compiler(evaluators: dict[str, Any] | None = None, clock: float | None = None) -> Compiler:
    resolver = DataResolver("flag", None if clock is None else lambda: clock)
    document = Document(evaluators=evaluators)
    return Compiler(operators=OPERATORS, document=document, resolver=resolver, generation=2)


def evaluate(rule: Any, data: Any = None, **more: Any) -> Any:
    made = compiler(**more)
    node = made.compile(rule, "rule")
    assert not made.fatal, made.problems
    return node.run({} if data is None else data)


def problems(rule: Any, evaluators: dict[str, Any] | None = None) -> list[str]:
    made = compiler(evaluators)
    made.compile(rule, "targeting")
    return [str(problem) for problem in made.problems]


# From json-logic-js's own tests, and from JavaScript's tables of coercion.
TABLE: list[tuple[Any, Any, Any]] = [
    ({"if": []}, None, None),
    ({"if": [True]}, None, True),
    ({"if": ["apple"]}, None, "apple"),
    ({"if": [False, "apple"]}, None, None),
    ({"if": [True, "apple", "banana"]}, None, "apple"),
    ({"if": [False, "apple", "banana"]}, None, "banana"),
    ({"if": [[], "apple", "banana"]}, None, "banana"),
    ({"if": [[1], "apple", "banana"]}, None, "apple"),
    ({"if": ["", "apple", "banana"]}, None, "banana"),
    ({"if": ["0", "apple", "banana"]}, None, "apple"),
    ({"if": [0, "apple", "banana"]}, None, "banana"),
    ({"if": [{"var": "nan"}, 1, 2]}, {"nan": math.nan}, 2),
    ({"if": [{"var": "object"}, 1, 2]}, {"object": {}}, 1),
    ({"if": [False, "a", False, "b", False, "c"]}, None, None),
    ({"if": [False, "a", {"var": "x"}, "b", "c"]}, {"x": 1}, "b"),
    ({"if": [False, "a", {"var": "x"}, "b", "c"]}, {"x": 0}, "c"),
    ({"?:": [{">": [2, 1]}, {"cat": ["ap", "ple"]}, "b"]}, None, "apple"),
    ({"==": [1, 1.0]}, None, True),
    ({"==": [1, "1"]}, None, True),
    ({"==": [0, False]}, None, True),
    ({"==": ["", 0]}, None, True),
    ({"==": [None, 0]}, None, False),
    ({"==": [None, None]}, None, True),
    ({"==": [None, False]}, None, False),
    ({"==": ["1_0", 10]}, None, False),
    ({"==": ["0x10", 16]}, None, True),
    ({"==": [[1], 1]}, None, True),
    ({"==": [[1], [1]]}, None, False),
    ({"==": [{"var": "a"}, {"var": "a"}]}, {"a": [1]}, True),
    ({"===": [1, "1"]}, None, False),
    ({"===": [1, 1.0]}, None, True),
    ({"===": [True, 1]}, None, False),
    ({"!=": [1, "2"]}, None, True),
    ({"!==": [1, "1"]}, None, True),
    ({"in": ["", ""]}, None, True),
    ({"!": [[]]}, None, True),
    ({"!": "0"}, None, False),
    ({"!!": ["0"]}, None, True),
    ({"!!": 0}, None, False),
    ({"and": [1, 0, 3]}, None, 0),
    ({"and": [1, "b"]}, None, "b"),
    ({"or": [0, "", "c"]}, None, "c"),
    ({"or": [0, ""]}, None, ""),
    ({">": [2, "1"]}, None, True),
    ({">": ["10", "9"]}, None, False),
    ({">=": [1, 1]}, None, True),
    ({"<": ["abc", 1]}, None, False),
    ({"<": [None, 1]}, None, True),
    ({"<": [1, 2, 3]}, None, True),
    ({"<": [1, 1, 3]}, None, False),
    ({"<=": [1, 1, 3]}, None, True),
    ({"<=": [1, 4, 3]}, None, False),
    ({"max": [1, "3", 2]}, None, 3),
    ({"min": [1, -3, 2]}, None, -3),
    ({"+": [1, "2", 3]}, None, 6),
    ({"+": "3.14 apples"}, None, 3.14),
    ({"*": [2, "3", 4]}, None, 24),
    ({"-": [5, "2"]}, None, 3),
    ({"-": "2"}, None, -2),
    ({"/": [4, 2]}, None, 2),
    ({"/": [1, 0]}, None, math.inf),
    ({"/": [-1, 0]}, None, -math.inf),
    ({"%": [101, 2]}, None, 1),
    ({"%": [-5, 3]}, None, -2),
    ({"in": ["Spring", "Springfield"]}, None, True),
    ({"in": ["x", {"var": "word"}]}, {"word": "fox"}, True),
    ({"in": ["x", {"var": "words"}]}, {"words": ["a", "x"]}, True),
    ({"in": ["x", {"var": "nothing"}]}, None, False),
    ({"in": [1, ["1"]]}, None, False),
    ({"in": [1, "21"]}, None, True),
    ({"in": ["a", 5]}, None, False),
    ({"cat": ["I love ", {"var": "what"}, "!"]}, {"what": "pie"}, "I love pie!"),
    ({"cat": ["a", None, True, 1.0, 2.5, [1, [2, None]]]}, None, "atrue12.51,2,"),
    ({"cat": "one"}, None, "one"),
    ({"cat": [{"var": "o"}]}, {"o": {"a": 1}}, "[object Object]"),
    ({"substr": ["jsonlogic", 4]}, None, "logic"),
    ({"substr": ["jsonlogic", -5]}, None, "logic"),
    ({"substr": ["jsonlogic", 0, 4]}, None, "json"),
    ({"substr": ["jsonlogic", -5, 2]}, None, "lo"),
    ({"substr": ["jsonlogic", 4, -2]}, None, "log"),
    ({"substr": ["jsonlogic", -50, 2]}, None, "js"),
    ({"merge": [[1], 2, [3, 4]]}, None, [1, 2, 3, 4]),
    ({"merge": []}, None, []),
    ({"var": "a.b"}, {"a": {"b": 7}}, 7),
    ({"var": ["a.b", 9]}, {"a": {}}, 9),
    ({"var": ["a", 9]}, {"a": None}, None),
    ({"var": ["a", {"var": "b"}]}, {"b": 3}, 3),
    ({"var": {"cat": ["a", ".b"]}}, {"a": {"b": 7}}, 7),
    ({"var": 1}, ["x", "y"], "y"),
    ({"var": "list.1"}, {"list": ["x", "y"]}, "y"),
    ({"var": "list.5"}, {"list": ["x"]}, None),
    ({"var": "text.length"}, {"text": "abc"}, None),
    ({"missing": ["a", "b"]}, {"b": 1}, ["a"]),
    ({"missing": "a"}, {"a": ""}, ["a"]),
    ({"missing": {"merge": ["vin", {"if": [{"var": "f"}, ["apr"], []]}]}}, {"f": True}, ["vin", "apr"]),
    ({"missing_some": [1, ["a", "b"]]}, {"a": 1}, []),
    ({"missing_some": [2, ["a", "b", "c"]]}, {"a": 1}, ["b", "c"]),
    ({"map": [{"var": "n"}, {"*": [{"var": ""}, 2]}]}, {"n": [1, 2]}, [2, 4]),
    ({"map": [{"var": "n"}, 1]}, None, []),
    ({"filter": [{"var": "n"}, {">": [{"var": "q"}, 1]}]}, {"n": [{"q": 1}, {"q": 2}]}, [{"q": 2}]),
    ({"reduce": [[1, 2, 3], {"+": [{"var": "current"}, {"var": "accumulator"}]}, 10]}, None, 16),
    ({"reduce": [{"var": "n"}, {"var": "current"}, 10]}, None, 10),
    ({"all": [[1, 2], {">": [{"var": ""}, 0]}]}, None, True),
    ({"all": [[], True]}, None, False),
    ({"some": [[1, 2], {">": [{"var": ""}, 1]}]}, None, True),
    ({"some": [[], True]}, None, False),
    ({"none": [[1, 2], {">": [{"var": ""}, 5]}]}, None, True),
    ({"none": [[1, 2], {">": [{"var": ""}, 1]}]}, None, False),
    ({"none": [[], True]}, None, True),
    ({"starts_with": ["abc", "ab"]}, None, True),
    ({"starts_with": [1, "ab"]}, None, None),
    ({"ends_with": ["abc", "bc"]}, None, True),
    ({"ends_with": ["abc", None]}, None, None),
    ({"var": "$flagd.flagKey"}, {"$flagd": {"flagKey": "forged"}}, "flag"),
]


@pytest.mark.parametrize(("rule", "data", "expected"), TABLE, ids=lambda value: json.dumps(value)[:60])
def test_rule_gives_what_json_logic_gives(rule: Any, data: Any, expected: Any) -> None:
    """A rule over data has the value that json-logic-js (or flagd, for its operations) computes."""
    result = evaluate(rule, data)
    assert result == expected
    assert isinstance(result, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(
    "rule", [{"/": [0, 0]}, {"%": [1, 0]}, {"+": [None]}, {"max": [1, "x"]}, {"*": ["x", 2]}]
)
def test_impossible_arithmetic_is_not_a_number(rule: Any) -> None:
    """Arithmetic without a result gives NaN; nothing raises."""
    assert math.isnan(evaluate(rule))


def test_timestamp_is_asked_when_the_rule_runs() -> None:
    """`$flagd.timestamp` is the clock's whole seconds; null without a clock."""
    assert evaluate({"var": "$flagd.timestamp"}, clock=1700000000.9) == 1700000000
    assert evaluate({"var": "$flagd.timestamp"}) is None


def test_a_reference_stands_for_its_evaluator() -> None:
    """`$ref` has the value of the shared rule that it names."""
    shared = {"adult": {">": [{"var": "age"}, 17]}, "same": {"$ref": "adult"}}
    rule = {"if": [{"$ref": "same"}, "on", "off"]}
    assert evaluate(rule, {"age": 18}, evaluators=shared) == "on"
    assert evaluate(rule, {"age": 17}, evaluators=shared) == "off"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"startswith": ["a", "b"]}, "targeting.startswith: unknown operator 'startswith' (did you mean starts_with?)"),
        ({"if": [{"==": [1]}, "a"]}, "targeting.if[0].==: takes 2 arguments, not 1"),
        ({"!": {"in": ["a"]}}, "targeting.!.in: takes 2 arguments, not 1"),
        ({">": [1, 2, 3]}, "targeting.>: takes 2 arguments, not 3"),
        ({"sem_ver": ["1.0.0", "=>", "1.0.0"]}, "targeting.sem_ver[1]: unknown comparison '=>' (one of = != < <= > >= ^ ~)"),
        ({"sem_ver": [{"var": "v"}, ">", "newest"]}, "targeting.sem_ver[2]: 'newest' is not a version (like 1.2.3)"),
        ({"a": 1, "b": 2}, "targeting: a rule has exactly one operator; here: a, b"),
        ({"$ref": "adlut"}, "targeting.$ref: there is no evaluator 'adlut' (did you mean adult?)"),
        ({"map": [[1], {"nope": 1}]}, "targeting.map[1].nope: unknown operator 'nope' (did you mean none?)"),
        ({"fractional": [{"var": "targetingKey"}, ["a", 1.5]]}, "targeting.fractional[1][1]: a weight is a whole number from 0, not 1.5 (multiply all weights until they are whole)"),
        ({"fractional": [{"var": "targetingKey"}, "a"]}, "targeting.fractional[1]: an entry is a list of a variant and a weight (like [\"canary\", 5])"),
        ({"fractional": [["a", 2147483647], ["b", 1]]}, "targeting.fractional: weights add up to 2147483648, over 2147483647"),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(rule: Any, expected: str) -> None:
    """Every mistake in a rule has its path, what is wrong and, where there is one, a hint."""
    assert problems(rule, {"adult": True}) == [expected]


def test_all_mistakes_are_found_at_once() -> None:
    """Compiling goes on after a mistake."""
    rule = {"if": [{"nope": 1}, {"==": [1]}, {"$ref": "gone"}]}
    assert len(problems(rule)) == 3


def test_evaluators_in_a_circle_are_refused() -> None:
    """A shared rule that reaches itself is a problem, not an endless loop."""
    found = problems({"$ref": "a"}, {"a": {"!": {"$ref": "b"}}, "b": {"!": {"$ref": "a"}}})
    assert len(found) == 1
    assert "a → b → a" in found[0]


def doubling(levels: int) -> dict[str, Any]:
    """Shared rules, each naming the next twice and inside `map`."""
    made: dict[str, Any] = {
        f"e{i}": {"or": [{"$ref": f"e{i + 1}"}, {"some": [[1], {"$ref": f"e{i + 1}"}]}]}
        for i in range(levels)
    }
    return {**made, f"e{levels}": True}


def test_evaluators_that_double_each_other_are_bounded() -> None:
    """What may run ten thousand operations is refused, and at once; below that it is read and runs."""
    assert evaluate({"$ref": "e0"}, evaluators=doubling(9)) is True
    (found,) = problems({"$ref": "e0"}, doubling(40))
    assert found.endswith("one evaluation may run more than 10,000 operations")


ACCUMULATOR = {"var": "accumulator"}


@pytest.mark.parametrize(
    "step",
    [
        {"cat": [ACCUMULATOR, ACCUMULATOR]},
        {"merge": [ACCUMULATOR, ACCUMULATOR]},
        {"cat": [[ACCUMULATOR, ACCUMULATOR]]},
        {"cat": [{"cat": ["a", ACCUMULATOR]}, *[ACCUMULATOR] * 9]},
    ],
    ids=str,
)
def test_a_loop_that_doubles_what_it_has_is_stopped(step: Any) -> None:
    """Sixty doublings would fill any memory; the evaluation fails, and that is counted."""
    rule = {"reduce": [{"var": "list"}, step, ["a"]]}
    with pytest.raises(ValueError, match="too long"):
        evaluate(rule, {"list": [0] * 60})


def test_a_list_that_holds_itself_twice_over_is_not_written_out() -> None:
    """It takes no memory while it is made, and is given up on when it shall be a text."""
    rule = {"cat": [{"reduce": [{"var": "list"}, [ACCUMULATOR, ACCUMULATOR], "a"]}, "!"]}
    with pytest.raises(ValueError, match="too long"):
        evaluate(rule, {"list": [0] * 60})


def test_loops_over_constant_lists_are_bounded() -> None:
    """A loop counts as often as its list is long: three of a hundred in each other are too many."""
    rule: Any = {"!": [True]}
    for _ in range(2):
        rule = {"some": [list(range(100)), rule]}
    assert problems({"some": [[0, 1], {"some": [list(range(100)), {"!": [True]}]}]}) == []
    assert problems(rule)[0].endswith("one evaluation may run more than 10,000 operations")


@pytest.mark.parametrize(
    ("needle", "expected"),
    [("u7", True), ("u100000", False), (7, False), (True, False), (1, True), (1.0, True), (None, False), ([], False)],
)  # fmt: skip
def test_a_long_list_has_the_members_it_has(needle: Any, expected: bool) -> None:
    """A hundred thousand ids: found by ===, whatever is looked for."""
    people = {"in": [{"var": "who"}, [*(f"u{n}" for n in range(100_000)), 1]]}
    assert evaluate({"$ref": "people"}, {"who": needle}, evaluators={"people": people}) is expected


@given(
    st.lists(st.sampled_from([0, 0.0, 1, 1.0, True, False, None, "", "1", "a"]), max_size=80),
    st.sampled_from([0, 1, 1.0, True, False, None, "", "1", "a", [], {}]),
)
def test_members_are_those_of_a_search(items: list[Any], needle: Any) -> None:
    """The quick answer is that of the slow one."""
    assert evaluate({"in": [{"var": "n"}, items]}, {"n": needle}) is contains(needle, items)


SUM = {"reduce": [{"var": "list"}, {"+": [{"var": "current"}, ACCUMULATOR]}, 0]}


def test_a_list_is_worked_through_as_long_as_the_evaluation_may_last() -> None:
    """A thousand elements are summed; a client that sends a hundred thousand stops its own evaluation."""
    assert evaluate(SUM, {"list": [1] * 1000}) == 1000
    with pytest.raises(TooMuchWork):
        evaluate(SUM, {"list": [1] * 100_000})


@pytest.mark.parametrize(
    "step",
    [
        {"some": [ACCUMULATOR, {"==": [{"var": ""}, -1]}]},
        {"reduce": [ACCUMULATOR, ACCUMULATOR, ACCUMULATOR]},
        {"if": [{"in": [{"var": "current"}, ACCUMULATOR]}, ACCUMULATOR, ACCUMULATOR]},
        {"merge": [ACCUMULATOR, {"var": "current"}]},
    ],
    ids=str,
)
def test_a_loop_over_what_a_loop_keeps_is_stopped(step: Any) -> None:
    """The rule is short, and the client's list makes it quadratic or worse: its elements are paid for each time."""
    with pytest.raises(TooMuchWork):
        evaluate(
            {"reduce": [{"var": "list"}, {"if": [step, ACCUMULATOR, ACCUMULATOR]}, {"var": "list"}]},
            {"list": [1] * 3000},
        )


@given(st.integers(0, 300), st.integers(0, 60))
def test_whether_a_loop_is_stopped_depends_on_sizes_alone(outer: int, inner: int) -> None:
    """Below the bound every answer is given, above it none: lists in a list cost what their rule costs for each."""
    rule = {"map": [{"var": "list"}, {"filter": [{"var": ""}, {"!": [{"var": ""}]}]}]}
    data = {"list": [[0] * inner] * outer}
    work = outer * (4 + 1) + outer * inner * (2 + 1)
    assert work <= MOST_WORK
    assert evaluate(rule, data) == data["list"]


def test_a_number_is_read_in_the_time_of_its_length() -> None:
    """A header may hold thirty thousand digits and then a letter; nobody waits for what is tried instead."""
    begun = time.process_time()
    assert evaluate({">": [{"var": "age"}, 17]}, {"age": "1" * 30_000 + "x"}) is False
    assert evaluate({"+": [{"var": "age"}, 1]}, {"age": "1" * 300 + "." + "1" * 30_000 + "e"}) > 1e299
    assert time.process_time() - begun < 3


def test_a_thousand_misspelt_names_among_ten_thousand_are_told_at_once() -> None:
    """Each is compared with the few that begin alike, so that a wrong document holds nothing up."""
    names = [f"flag-{n}" for n in range(10_000)]
    begun = time.process_time()
    assert [closest(f"flog-{n}", names) for n in range(1000)] == [""] * 1000
    assert time.process_time() - begun < 20, "a tenth of what ten million comparisons take"
    assert closest("flag-12x", names[:5000]).startswith("did you mean flag-1")
    assert closest("x" * 1_000_000, ["x" * 1_000_000]) == ""


def nested(levels: int) -> Any:
    rule: Any = {"var": "x"}
    for _ in range(levels):
        rule = {"!": rule}
    return rule


def test_depth_is_bounded() -> None:
    """Up to the bound a rule compiles and runs; beyond, however deep, it is one problem."""
    assert evaluate(nested(DEEPEST - 1), {"x": 1}) is False
    assert [problem.rpartition(": ")[2] for problem in problems(nested(20_000))] == [
        "nested deeper than 100 levels"
    ]
    assert len(problems(nested(DEEPEST))) == 1


def test_depth_counts_through_references() -> None:
    """A chain of shared rules cannot nest deeper than one rule may."""
    shared: dict[str, Any] = {f"e{i}": {"!": {"$ref": f"e{i + 1}"}} for i in range(200)}
    assert any("nested deeper" in problem for problem in problems({"$ref": "e0"}, {**shared, "e200": 1}))
    # Met first near the root, then again far below.
    twice = {"and": [{"$ref": "e150"}, nested(0)]}
    deep: Any = {"$ref": "e150"}
    for _ in range(60):
        deep = {"!": deep}
    twice["and"].append(deep)
    assert any("nested deeper" in problem for problem in problems(twice, {**shared, "e200": 1}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (1e-6, "0.000001"), (1.5e-7, "1.5e-7"), (math.nan, "NaN"), (-math.inf, "-Infinity"),
        (2**70, "1.1805916207174113e+21"), (10**400, "Infinity"), (5e-324, "5e-324"),
    ],
)  # fmt: skip
def test_numbers_become_text_as_in_javascript(value: float, expected: str) -> None:
    """``String(number)`` of the JavaScript specification."""
    assert text(value) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
junk_rules = st.recursive(
    json_values,
    lambda inner: st.builds(
        lambda name, items: {name: items},
        st.sampled_from([*OPERATORS, "$ref", "nope"]),
        st.lists(inner, max_size=4) | inner,
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(rule=junk_rules, data=st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_junk_compiles_and_runs_or_is_refused(rule: Any, data: Any) -> None:
    """Whatever a rule holds, compiling never raises, and what is not refused runs."""
    made = compiler({"e": {"var": "e"}})
    node = made.compile(rule, "targeting")
    if not made.fatal:
        node.run(data)
