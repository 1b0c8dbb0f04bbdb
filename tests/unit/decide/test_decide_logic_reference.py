"""All that the reference table of JSONLogic (jsonlogic.com/tests.json) asks of each operation, and its corners.

Each case was asked of json-logic-js 2.0.5 too, which answers the same.
"""

# ruff: noqa: E501  # a table reads best with one operation a line

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from understudy.decide.definition import Document
from understudy.decide.fields import DataResolver
from understudy.decide.logic import Compiler
from understudy.decide.operators import OPERATORS

# By operation: its arguments, then what it gives.
PLAIN: dict[str, list[tuple[Any, Any]]] = {
    "==": [([1, 1], True), ([1, "1"], True), ([1, 2], False)],
    "===": [([1, 1], True), ([1, "1"], False), ([1, 2], False), ([0, "0"], False), ([0, {"+": "0"}], True)],
    "!=": [([1, 2], True), ([1, 1], False), ([1, "1"], False)],
    "!==": [([1, 2], True), ([1, 1], False), ([1, "1"], True)],
    ">": [([2, 1], True), ([1, 1], False), ([1, 2], False), (["2", 1], True)],
    ">=": [([2, 1], True), ([1, 1], True), ([1, 2], False), (["2", 1], True)],
    "<": [([2, 1], False), ([1, 1], False), ([1, 2], True), (["1", 2], True), ([1, 2, 3], True), ([1, 1, 3], False), ([1, 4, 3], False)],
    "<=": [([2, 1], False), ([1, 1], True), ([1, 2], True), (["1", 2], True), ([1, 2, 3], True), ([1, 4, 3], False)],
    "!": [([False], True), (False, True), ([True], False), (True, False), (0, True), (1, False), ([[]], True), ([0], True), ([""], True), (["0"], False)],
    "!!": [([[]], False), ([0], False), ([""], False), (["0"], True)],
    "or": [([True, True], True), ([False, True], True), ([True, False], True), ([False, False], False), ([False, False, True], True), ([False], False), ([True], True), ([1, 3], 1), ([3, False], 3), ([False, 3], 3), ([[], True], True), ([0, True], True), (["", True], True), (["0", True], "0")],
    "and": [([True, True], True), ([False, True], False), ([True, False], False), ([False, False], False), ([True, True, True], True), ([True, True, False], False), ([False], False), ([True], True), ([1, 3], 3), ([3, False], False), ([False, 3], False), ([[], True], []), ([0, True], 0), (["", True], ""), (["0", True], True), ([{">": [3, 1]}, {"<": [1, 3]}], True), ([{">": [3, 1]}, {"!": True}], False)],
    "?:": [([True, 1, 2], 1), ([False, 1, 2], 2), ([{">": [3, 1]}, "visible", "hidden"], "visible")],
    "in": [(["Bart", ["Bart", "Homer"]], True), (["Milhouse", ["Bart", "Homer"]], False), (["Spring", "Springfield"], True), (["i", "team"], False)],
    "cat": [("ice", "ice"), (["ice"], "ice"), (["ice", "cream"], "icecream"), ([1, 2], "12"), (["Robocop", 2], "Robocop2"), (["all ", "ice", "cream"], "all icecream")],
    "%": [([1, 2], 1), ([2, 2], 0), ([3, 2], 1)],
    "max": [([1, 2, 3], 3), ([1, 3, 3], 3), ([3, 2, 1], 3), ([1], 1)],
    "min": [([1, 2, 3], 1), ([1, 1, 3], 1), ([3, 2, 1], 1), ([1], 1)],
    "+": [([1, 2], 3), ([2, 2, 2], 6), ([1], 1), (["1", 1], 2), ("0", 0), ("1", 1)],
    "*": [([3, 2], 6), ([2, 2, 2], 8), ([1], 1), (["1", 1], 1)],
    "-": [([2, 3], -1), ([3, 2], 1), ([3], -3), (["1", 1], 0)],
    "/": [([4, 2], 2), ([2, 4], 0.5), (["1", 1], 1)],
    "substr": [(["jsonlogic", 4], "logic"), (["jsonlogic", -5], "logic"), (["jsonlogic", 0, 1], "j"), (["jsonlogic", -1, 1], "c"), (["jsonlogic", 4, 5], "logic"), (["jsonlogic", -5, 5], "logic"), (["jsonlogic", -5, -2], "log"), (["jsonlogic", 1, -5], "son")],
    "merge": [([], []), ([[1]], [1]), ([[1], []], [1]), ([[1], [2]], [1, 2]), ([[1], [2], [3]], [1, 2, 3]), ([[1, 2], [3]], [1, 2, 3]), (1, [1]), ([1, 2], [1, 2]), ([1, [2]], [1, 2])],
    "if": [([], None), ([True], True), ([False], False), (["apple"], "apple"), ([True, "apple"], "apple"), ([False, "apple"], None), ([[], 1, 2], 2), ([[1], 1, 2], 1), (["", 1, 2], 2), (["zucchini", 1, 2], 1), (["0", 1, 2], 1), ([{"+": "0"}, 1, 2], 2), ([{"+": "1"}, 1, 2], 1), ([0, 1, 2], 2), ([3.1416, 1, 2], 1), ([-1, 1, 2], 1), ([{">": [2, 1]}, {"cat": ["ap", "ple"]}, 2], "apple"), ([{">": [1, 2]}, 1, {"cat": ["ba", "na"]}], "bana")],
}  # fmt: skip
INTEGERS = {"integers": [1, 2, 3]}
ITEMS = {"items": [{"qty": 1, "sku": "apple"}, {"qty": 2, "sku": "banana"}]}
PIE = {"temp": 100, "pie": {"filling": "apple", "eta": "60s"}}
WHOLE, QTY = {"var": ""}, {"var": "qty"}
ADD = {"+": [{"var": "current"}, {"var": "accumulator"}]}
FINANCED = {"merge": ["vin", {"if": [{"var": "financing"}, ["apr"], []]}]}
# By operation: its arguments, the data, then what it gives.
OVER_DATA: dict[str, list[tuple[Any, Any, Any]]] = {
    "var": [(["a"], {"a": 1}, 1), (["b"], {"a": 1}, None), (["a"], None, None), ("a", {"a": 1}, 1), (["a", 1], None, 1), (["b", 2], {"a": 1}, 2), ("a.b", {"a": {"b": "c"}}, "c"), ("a.q", {"a": {"b": "c"}}, None), (["a.q", 9], {"a": {"b": "c"}}, 9), (1, ["apple", "banana"], "banana"), ("1", ["apple", "banana"], "banana"), ("1.1", ["apple", ["banana", "beer"]], "beer"), ([{"?:": [{"<": [{"var": "temp"}, 110]}, "pie.filling", "pie.eta"]}], PIE, "apple"), ("a.b.c", None, None), ("a.b.c", {"a": None}, None), ("a.b.c", {"a": {"b": None}}, None), ("", 1, 1), (None, 1, 1), ([], 1, 1)],
    "and": [([{"<": [{"var": "temp"}, 110]}, {"==": [{"var": "pie.filling"}, "apple"]}], PIE, True)],
    "in": [([{"var": "filling"}, ["apple", "cherry"]], {"filling": "apple"}, True)],
    "missing": [([], None, []), (["a"], None, ["a"]), ("a", None, ["a"]), ("a", {"a": "apple"}, []), (["a", "b"], {"a": "apple"}, ["b"]), (["a", "b"], {"b": "banana"}, ["a"]), (["a", "b"], {"a": 1, "b": 2}, []), (["a", "b"], {}, ["a", "b"]), (["a.b"], None, ["a.b"]), (["a.b"], {"a": "apple"}, ["a.b"]), (["a.b"], {"a": {"c": 1}}, ["a.b"]), (["a.b"], {"a": {"b": 1}}, []), (["a.b", "a.c"], {"a": {"b": 1}}, ["a.c"]), (FINANCED, {"financing": True}, ["vin", "apr"]), (FINANCED, {"financing": False}, ["vin"])],
    "missing_some": [([1, ["a", "b"]], {"a": 1}, []), ([1, ["a", "b"]], {"b": 1}, []), ([1, ["a", "b"]], {"a": 1, "b": 2}, []), ([1, ["a", "b"]], {"c": 1}, ["a", "b"]), ([2, ["a", "b", "c"]], {"a": 1, "b": 2}, []), ([2, ["a", "b", "c"]], {"a": 1, "c": 2}, []), ([2, ["a", "b", "c"]], {"a": 1, "b": 2, "c": 3}, []), ([2, ["a", "b", "c"]], {"a": 1, "d": 2}, ["b", "c"]), ([2, ["a", "b", "c"]], {"d": 1}, ["a", "b", "c"])],
    "if": [([{"missing": "a"}, "missed it", "found it"], {"a": 1}, "found it"), ([{"missing": "a"}, "missed it", "found it"], {"b": 1}, "missed it")],
    "filter": [([{"var": "integers"}, True], INTEGERS, [1, 2, 3]), ([{"var": "integers"}, False], INTEGERS, []), ([{"var": "integers"}, {">=": [WHOLE, 2]}], INTEGERS, [2, 3]), ([{"var": "integers"}, {"%": [WHOLE, 2]}], INTEGERS, [1, 3])],
    "map": [([{"var": "integers"}, {"*": [WHOLE, 2]}], INTEGERS, [2, 4, 6]), ([{"var": "integers"}, {"*": [WHOLE, 2]}], None, []), ([{"var": "items"}, QTY], ITEMS, [1, 2])],
    "reduce": [([{"var": "integers"}, ADD, 0], INTEGERS, 6), ([{"var": "integers"}, ADD, 0], None, 0), ([{"var": "integers"}, {"*": ADD["+"]}, 1], INTEGERS, 6), ([{"var": "integers"}, {"*": ADD["+"]}, 0], INTEGERS, 0), ([{"var": "items"}, {"+": [{"var": "accumulator"}, {"var": "current.qty"}]}, 0], ITEMS, 3)],
    **{
        name: [([{"var": key}, {sign: [what, 1]}], data, given) for (key, what, data, sign), given in zip((
            ("integers", WHOLE, INTEGERS, ">="), ("integers", WHOLE, INTEGERS, "=="), ("integers", WHOLE, INTEGERS, "<"), ("integers", WHOLE, {"integers": []}, "<"),
            ("items", QTY, ITEMS, ">="), ("items", QTY, ITEMS, ">"), ("items", QTY, ITEMS, "<"), ("items", QTY, {"items": []}, ">="),
        ), results, strict=True)]
        for name, results in {
            "all": (True, False, False, False, True, False, False, False),
            "none": (False, False, True, True, False, False, True, True),
            "some": (True, True, False, False, True, True, False, False),
        }.items()
    },
}  # fmt: skip


def cases() -> Iterator[tuple[Any, Any, Any]]:
    """Rule, data, and what json-logic-js gives."""
    for value in (True, False, 17, 3.14, "apple", None, ["a", "b"]):
        yield value, {}, value
    for operator, plain in PLAIN.items():
        for arguments, given in plain:
            yield {operator: arguments}, None, given
    for first, second, third in product([True, False], repeat=3):
        named = [first, "apple", second, "banana", third, "carrot"]
        chosen = "apple" if first else "banana" if second else "carrot" if third else None
        yield {"if": named}, None, chosen
        yield {"if": [*named, "date"]}, None, chosen or "date"
    for operator, over_data in OVER_DATA.items():
        for arguments, data, given in over_data:
            yield {operator: arguments}, data, given


@pytest.mark.parametrize(("rule", "data", "expected"), list(cases()), ids=str)
def test_the_reference_table_is_answered(rule: Any, data: Any, expected: Any) -> None:
    """Value and type are those of the table."""
    compiler = Compiler(operators=OPERATORS, document=Document(), resolver=DataResolver("flag"), generation=2)
    node = compiler.compile(rule, "rule")
    found = node.run(data)
    assert not compiler.fatal
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)
