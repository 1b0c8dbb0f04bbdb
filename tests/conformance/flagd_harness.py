"""Flags, rules and contexts made by chance, and what openfeature-flagd-core makes of them.

What is generated stays where both sides mean to agree; every place where they do not stands in
`test_flagd_differential.py`, as a case of its own.
"""

import copy
import importlib
import json
import logging
import random
from dataclasses import dataclass
from typing import Any
from unittest import mock

import mmh3
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from understudy.decide import Evaluation, Evaluator

# By name: the package hides its module behind a function of the same name.
theirs = importlib.import_module("openfeature.contrib.tools.flagd.core.targeting.targeting")

DEFAULTS: dict[str, Any] = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}
WORDS = ["", "a", "ab", "abc", "x-ray", "pro", "jon@example.com", "Ω", "0", "1", "1.5", "true"]
NUMBERS = [0, 1, -1, 2, 7, 18, 1.5, -0.25, 1000, 99.5]
VERSIONS = [
    "1.0.0",
    "1.2.3",
    "v1.2",
    "2",
    "2.0.0-rc.1",
    "V2.0.0",
    "1.2.3+build",
    "1.10.0",
    "x",
    "",
    "1.2.3.4",
]
FIELDS = ["plan", "age", "email", "version", "tags", "beta", "deep.er", "nobody", "targetingKey", "empty"]
SIGNS = ["=", "!=", "<", "<=", ">", ">=", "^", "~", "=="]
NAMES = ["on", "off", "red", "1", "true"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One document with one flag, and one question to it."""

    document: dict[str, Any]
    context: dict[str, Any]
    kind: str


class Chance:
    """Cases made from a seed."""

    def __init__(self, seed: int, generation: int) -> None:
        self._random = random.Random(seed)
        self._pick = self._random.choice
        self._generation = generation

    def case(self) -> Case:
        """A flag with variants of one type, mostly with a rule, and a context."""
        kind = self._pick(list(DEFAULTS))
        flag: dict[str, Any] = {
            "state": self._pick(["ENABLED"] * 9 + ["DISABLED"]),
            "variants": {name: self._value(kind) for name in NAMES},
            "defaultVariant": self._pick([*NAMES, *NAMES, None, "gone"]),
            "metadata": self._pick([{}, {"owner": "flag", "n": 1.0}]),
        }
        if flag["defaultVariant"] is None and self._random.random() < 0.5:
            del flag["defaultVariant"]
        if self._random.random() < 0.9:
            flag["targeting"] = self._targeting()
        document = {
            "flags": {"f": flag},
            "$evaluators": {"shared": _ascii(self._boolean(2)), "drawn": self._fractional(1)},
            "metadata": {"owner": "set", "hashVersion": self._generation},
        }
        other = "object" if kind == "boolean" else self._pick(list(DEFAULTS))
        asked = kind if self._random.random() < 0.9 else other
        return Case(document=document, context=self._context(), kind=asked)

    def _value(self, kind: str) -> Any:
        values: dict[str, list[Any]] = {
            "boolean": [True, False],
            "string": WORDS,
            "integer": [0, 1, -5],
            "float": [0.5, 1.0, 2.0],
            "object": [{}, {"a": [1, 1.0]}, {"b": None}],
        }
        return self._pick(values[kind])

    def _context(self) -> dict[str, Any]:
        everything: dict[str, Any] = {
            "targetingKey": self._pick(["", "user-1", "Ω", f"u{self._random.randrange(10**6)}"]),
            "plan": self._pick([*WORDS, *NUMBERS]),
            "age": self._pick([*NUMBERS, "18", "old"]),
            "email": self._pick(["jon@example.com", "eve@x.org", ""]),
            "version": self._pick(VERSIONS),
            "tags": self._pick([[], ["a"], ["a", "pro", "beta"], [1, 2]]),
            "beta": self._pick([True, False]),
            "deep": self._pick([{"er": 1}, {"er": "a"}, {}]),
            "empty": "",
        }
        some = {name: value for name, value in everything.items() if self._random.random() < 0.8}
        always = {"years": self._pick(NUMBERS), "is": self._pick([True, False])}
        return {**some, **always, "id": f"id-{self._random.randrange(10**6)}"}

    def _targeting(self) -> dict[str, Any]:
        rule: dict[str, Any] = self._pick([self._choice, self._choice, self._choice, self._fractional])(3)
        broken = {"if": [self._pick([{"unknown": [1]}, {"$ref": "gone"}]), "on", "off"]}
        return self._pick([*[rule] * 20, {}, {"$ref": "drawn"}, broken])

    def _choice(self, depth: int) -> dict[str, Any]:
        branches = [self._boolean(depth), self._outcome(depth - 1), self._outcome(depth - 1)]
        if self._random.random() < 0.3:
            branches = [self._boolean(depth), self._outcome(0), *branches]
        return {"if": branches[: len(branches) - self._pick([0, 0, 1])]}

    def _outcome(self, depth: int) -> Any:
        if depth > 0 and self._random.random() < 0.4:
            return self._pick([self._choice, self._fractional])(depth)
        stray = self._pick([None, "nobody", True, False, 1, {"var": "plan"}])
        return self._pick([*NAMES, *NAMES, stray])

    def _fractional(self, depth: int) -> dict[str, Any]:
        entries: list[Any] = [
            [self._pick([*NAMES, None, self._outcome(0) if depth else "on"]), self._weight()]
            for _ in range(self._random.randrange(1, 5))
        ]
        if self._random.random() < 0.2:
            entries[0] = self._pick([["on"], [], "on", ["on", 1, 2], ["off", "many"]])
        keys = [
            {"var": "email"},
            {"cat": [{"var": "$flagd.flagKey"}, {"var": "id"}]},
            {"cat": ["salt-", {"var": "id"}, "-end"]},
        ]
        return {"fractional": [*self._pick([[], [], *([key] for key in keys)]), *entries]}

    def _weight(self) -> Any:
        return self._pick([1, 10, 25, 50, 0, -5, 99_999, 2**31 - 1, True, {"var": "age"}])

    def _boolean(self, depth: int) -> Any:
        if depth <= 0:
            return self._pick([True, False, {"var": "beta"}, {"!!": [{"var": self._pick(FIELDS)}]}])
        made = self._pick(
            [self._logic, self._equal, self._order, self._texts, self._version, self._lists, self._time]
        )
        return made(depth - 1)

    def _logic(self, depth: int) -> Any:
        both = [self._boolean(depth) for _ in range(self._random.randrange(1, 4))]
        return self._pick(
            [{"and": both}, {"or": both}, {"!": [both[0]]}, {"$ref": "shared"} if depth else True]
        )

    def _equal(self, depth: int) -> Any:
        alike: list[list[Any]] = [
            [{"var": "email"}, *WORDS],
            [{"var": "years"}, *NUMBERS],
            [{"var": "is"}, True, False],
        ]
        mixed = [{"var": "plan"}, {"var": "years"}, {"var": "nobody"}, *WORDS, *NUMBERS, None]
        if self._random.random() < 0.3:
            return {self._pick(["===", "!=="]): [self._pick(mixed), self._pick(mixed)]}
        group = self._pick(alike)
        return {self._pick(["==", "!=", "===", "!=="]): [self._pick(group), self._pick(group)]}

    def _order(self, depth: int) -> Any:
        sums = [{"+": [1, {"var": "years"}]}, {"max": [{"var": "age"}, 5]}, {"*": [{"var": "years"}, 2]}]
        left = self._pick([{"var": "age"}, *sums, self._pick(NUMBERS)])
        many = [left, self._pick(NUMBERS), *self._pick([[], [self._pick(NUMBERS)]])]
        return (
            {self._pick(["<", "<="]): many} if len(many) > 2 else {self._pick(["<", ">", "<=", ">="]): many}
        )

    def _texts(self, depth: int) -> Any:
        first = self._pick([{"var": "email"}, {"var": "plan"}, {"cat": [{"var": "id"}, "!"]}, "abc", 5])
        some: Any = {"substr": [{"var": "email"}, self._pick([0, 1, -3]), self._pick([1, 2])]}
        name = self._pick(["starts_with", "ends_with", "in"])
        second = self._pick([*WORDS, some, {"var": "email"}])
        few: list[Any] = [second, first] if name == "in" else [first, second]
        return {name: few if self._random.random() < 0.95 or name == "in" else few[:1]}

    def _version(self, depth: int) -> Any:
        given = [self._pick([{"var": "version"}, 1, *VERSIONS]), self._pick(SIGNS), self._pick(VERSIONS)]
        return {"sem_ver": given if self._random.random() < 0.95 else given[:2]}

    def _lists(self, depth: int) -> Any:
        tags, whole = {"var": "tags"}, {"var": ""}
        lists: list[Any] = [tags, ["a", "pro", "1.5"], [0.5, 7, 18]]
        test = self._pick([{"==": [whole, "pro"]}, {"in": [whole, ["a", "x"]]}, {">": [whole, 1]}])
        return self._pick(
            [
                {
                    "in": [
                        self._pick([{"var": "email"}, "a", "1.5", 1, 7]),
                        self._pick(lists),
                    ]
                },
                {self._pick(["some", "all", "none"]): [tags, test]},
                {"!!": [{"filter": [tags, test]}]},
                {"==": [{"reduce": [tags, {"+": [{"var": "accumulator"}, 1]}, 0]}, 1]},
                {"!!": [{"missing": ["email", "nobody"]}]},
                {"!!": [{"missing_some": [1, ["email", "nobody"]]}]},
                {"in": ["a", {"merge": [tags, ["x"], "a"]}]},
            ]
        )

    def _time(self, depth: int) -> Any:
        return {
            self._pick([">", "<"]): [{"var": "$flagd.timestamp"}, self._pick([1_600_000_000, 9_000_000_000])]
        }


def _ascii(rule: Any) -> Any:
    """*rule* as the core can copy it into flags: its `re.sub` reads escapes of JSON as its own; no circle."""
    return json.loads(json.dumps(rule).replace("\\u03a9", "w").replace('{"$ref": "shared"}', "true"))


Answer = tuple[str, str, str, str]
"""The value as text (1 and 1.0 apart), the variant, the reason and the error code."""


def our_answer(case: Case) -> Answer:
    """What Understudy answers."""
    document = case.document
    evaluator = Evaluator(
        flags=document["flags"],
        evaluators=document["$evaluators"],
        metadata=document["metadata"],
        clock=lambda: 1_700_000_000.0,
    )
    found: Evaluation = evaluator.evaluate("f", case.context).expecting(case.kind)
    if found.error_code:
        return "", "", "ERROR", found.error_code
    return repr(found.value) if found.variant else "", found.variant, found.reason, ""


def their_answer(case: Case, generation: int) -> Answer:
    """What openfeature-flagd-core answers; an exception that is not OpenFeature's is called CRASH."""
    core = FlagdCore()
    core.set_flags(copy.deepcopy(case.document))
    others = {name: value for name, value in case.context.items() if name != "targetingKey"}
    asked = EvaluationContext(case.context.get("targetingKey"), others)
    operators = theirs.OPERATORS if generation == 3 else {**theirs.OPERATORS, "fractional": older(generation)}
    try:
        with mock.patch.object(theirs, "OPERATORS", operators):
            found = getattr(core, f"resolve_{case.kind}_value")("f", DEFAULTS[case.kind], asked)
    except OpenFeatureError as error:
        return "", "", "ERROR", error.error_code.value
    except Exception:  # noqa: BLE001  # what a reference does not foresee is its own affair
        return "", "", "ERROR", "CRASH"
    return repr(found.value) if found.variant else "", found.variant or "", str(found.reason.value), ""


def older(generation: int) -> Any:
    """`fractional` of generations 1 and 2, which the core no longer has, as flagd's documents put it."""

    def fractional(data: dict[str, Any], *arguments: Any) -> Any:
        unit, entries = data.get("targetingKey"), list(arguments)
        if isinstance(entries[0], str):
            key = entries.pop(0)
        else:
            key = data["$flagd"]["flagKey"] + unit if isinstance(unit, str) and unit else ""
        if entries and entries[0] is None:
            entries.pop(0)
        weights = []
        for entry in entries:
            if not isinstance(entry, list) or len(entry) not in (1, 2):
                return None
            weight = entry[1] if len(entry) == 2 else 1
            if type(weight) is not int:
                return None
            weights.append(max(0, weight))
        total = sum(weights)
        if not key or not 0 < total < 2**31:
            return None
        digest = mmh3.hash(key.encode(), 0, signed=generation == 1)
        place = abs(digest) / 2147483647 * 100 if generation == 1 else (digest * total) >> 32
        end = 0.0
        for entry, weight in zip(entries, weights, strict=True):
            end += 100 * weight / total if generation == 1 else weight
            if place < end:
                return entry[0]
        return None

    return fractional


def differing(seed: int, count: int, generation: int) -> list[tuple[Case, Answer, Answer]]:
    """The cases of *count* in which the two answer differently."""
    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL + 1)
    chance, found = Chance(seed, generation), []
    for _ in range(count):
        case = chance.case()
        ours, other = our_answer(case), their_answer(case, generation)
        if ours != other:
            found.append((case, ours, other))
    return found
