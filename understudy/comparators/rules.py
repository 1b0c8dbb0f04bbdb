"""Compare rules as people write them: what may differ at which endpoint. Every mistake is reported."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from understudy.comparators.dialect import UnfitPattern
from understudy.comparators.expression import compiled
from understudy.comparators.pattern import PARTS, meant, parse_field, parse_pattern
from understudy.comparators.templates import read_template
from understudy.comparators.tolerance import UNITS, Tolerance
from understudy.errors import Problem

FIELDS: Final = ("endpoint", "ignore", "matching", "unordered", "key", "tolerance", "only")
EXAMPLE: Final = "such as GET /orders/{id}, * /orders, or * for all"
FIELD_EXAMPLE: Final = "such as sku, /meta/id or [sku, size]"
PARTS_OF: Final = {
    "ignore": PARTS,
    "only": PARTS,
    "matching": PARTS,
    "tolerance": ("body", "headers"),
    "unordered": ("body", "headers"),
    "key": ("body",),
}
"""Where each kind of rule can hold."""

UNFIT: Final = {
    "status": (
        "a status has no such rule; for a field of the body write /body/status",
        "matching: {/status: '20[01]'} or ignore: [/status]",
    ),
    "headers": (
        "a header field has no items; for a field of the body write /body/headers/…",
        "unordered: [/headers/NAME] for a list in which order means nothing",
    ),
}
METHOD: Final = re.compile(r"[A-Z][A-Z0-9_-]*|\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRule:
    """What may differ between two answers of one endpoint.

    ``endpoint``: ``"GET /orders/{id}"``, ``"* /orders"``, or ``"*"`` for all; ``*`` in a path stands for
    one segment, at its end for all that follow; ``"GET /rpc?method=find"`` is told apart by its query.
    Paths: see `parse_pattern`. They lead into texts that hold JSON, too.
    ``ignore``: branches that may differ. ``matching``: values that may differ as long as both match
    the pattern whole. ``unordered``: lists, in the body or in a header field, whose order means nothing.
    ``key``: lists whose items are matched by a field, or by several together. ``tolerance``: how far apart
    two values may be. ``only``: when given, nothing else of the same part (body, headers) counts.
    """

    endpoint: str = "*"
    ignore: tuple[str, ...] = ()
    matching: Mapping[str, str] = field(default_factory=dict)
    unordered: tuple[str, ...] = ()
    key: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        """The endpoint, when it names one path template; empty when it is a pattern for many."""
        path = (self.endpoint.partition(" ")[2] or self.endpoint).partition("?")[0]
        return "" if "*" in path.split("/") or path == "*" else self.endpoint


class _Reader:
    """Reads one rule, noting mistakes instead of raising."""

    def __init__(self, place: str, problems: list[Problem]) -> None:
        self.place = place
        self.problems = problems

    def refuse(self, where: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path=f"{self.place}{where}", message=message, hint=hint))

    def paths(self, name: str, value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            self.refuse(f".{name}", "must be a list of paths", f"{name}: [/a/path]")
            return ()
        parts = PARTS_OF[name]
        return tuple(text for i, text in enumerate(value) if self.is_path(f".{name}[{i}]", text, parts))

    def is_path(self, where: str, text: object, parts: Sequence[str]) -> bool:
        if not isinstance(text, str):
            self.refuse(
                where, f"must be a path, not {_name(text)}", "such as /items/*/price or /headers/etag"
            )
            return False
        try:
            part = parse_pattern(text)[0]
        except ValueError as error:
            hint = meant(text)
            self.refuse(where, str(error), f"{hint}?" if hint else "")
            return False
        if part not in parts:
            self.refuse(where, *UNFIT[part])
            return False
        return True

    def by_path(self, name: str, value: object, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        """A mapping of paths; *read* gives an entry's value, or None after noting a mistake."""
        if not isinstance(value, Mapping):
            self.refuse(f".{name}", "must be a mapping of paths", f"{name}: {{/a/path: …}}")
            return {}
        whole = {}
        for path, item in value.items():
            where = f".{name}[{path}]" if isinstance(path, str) else f".{name}"
            if self.is_path(where, path, PARTS_OF[name]):
                entry = read(where, item)
                if entry is not None:
                    whole[path] = entry
        return whole

    def regex(self, where: str, value: object) -> str | None:
        if not isinstance(value, str):
            self.refuse(where, f"must be a regular expression, not {_name(value)}", 'such as "[0-9a-f]{8}"')
            return None
        try:
            compiled(value)
        except re.error as error:
            hint = f"{re.escape(value)}?" if value in ("*", "+", "?") or value[:1] in "*+?" else ""
            self.refuse(where, f"is no regular expression: {error}", hint)
            return None
        except (OverflowError, RecursionError):
            self.refuse(where, "is no regular expression: it repeats or nests too much")
            return None
        except UnfitPattern as error:
            self.refuse(where, str(error), error.hint)
            return None
        return value

    def item_fields(self, where: str, value: object) -> tuple[str, ...] | None:
        """One field, or several that name an item together."""
        fields = [value] if isinstance(value, str) else value
        if not isinstance(fields, list | tuple) or not fields:
            self.refuse(where, "must name the field that tells the items apart", FIELD_EXAMPLE)
            return None
        for i, text in enumerate(fields):
            at = where if isinstance(value, str) else f"{where}[{i}]"
            if not isinstance(text, str) or not text.strip("/"):
                self.refuse(at, "must name the field that tells the items apart", FIELD_EXAMPLE)
                return None
            try:
                parse_field(text)
            except ValueError as error:
                self.refuse(at, str(error))
                return None
        return tuple(fields)

    def tolerance(self, where: str, value: object) -> Tolerance | None:
        unit: object = "absolute"
        amount = value
        if isinstance(value, Mapping):
            if len(value) != 1:
                self.refuse(where, "must have exactly one of " + ", ".join(UNITS), _TOLERANCES)
                return None
            unit, amount = next(iter(value.items()))
            if unit not in UNITS:
                self.refuse(where, f"unknown tolerance {unit!r}", _guess(unit, UNITS) or _TOLERANCES)
                return None
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < float("inf"):
            hint = _meant_amount(amount) or _TOLERANCES
            self.refuse(where, f"must be a number of 0 or more, not {_name(amount)}", hint)
            return None
        return Tolerance(unit=str(unit), amount=float(amount))

    def endpoint(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(".endpoint", "must name an endpoint", EXAMPLE)
            return ""
        method, _, path = value.strip().partition(" ")
        if not path:
            method, path = "*", method
        if path != "*" and not path.startswith("/"):
            self.refuse(".endpoint", f"{value!r} has no path", EXAMPLE)
        elif not METHOD.fullmatch(method):
            self.refuse(".endpoint", f"{method!r} is no method", method.upper() + "?" if method else EXAMPLE)
        else:
            try:
                read_template(f"{method} {path}")
            except ValueError as error:
                self.refuse(".endpoint", str(error), EXAMPLE)
        return "*" if (method, path) == ("*", "*") else f"{method} {path}"


_TOLERANCES: Final = "0.01, {relative: 0.05} or {seconds: 5}"


def _meant_amount(value: object) -> str:
    """What ``5s``, ``500ms`` or ``5%`` would be here."""
    text = value.strip() if isinstance(value, str) else ""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|%)", text)
    if found is None:
        return ""
    number = float(found[1])
    if found[2] == "%":
        return f"{{relative: {number / 100:g}}}?"
    return f"{{seconds: {number / 1000 if found[2] == 'ms' else number:g}}}?"


def parse_compare_rules(items: Sequence[Any]) -> tuple[tuple[CompareRule, ...], list[Problem]]:
    """The rules, and every mistake in them with its place: ``[0].ignore[1]``, relative to the list.

    A rule with a mistake is left out.
    """
    rules: list[CompareRule] = []
    problems: list[Problem] = []
    for i, item in enumerate(items):
        before = len(problems)
        rule = _rule(item, _Reader(f"[{i}]", problems))
        if len(problems) == before and rule is not None:
            rules.append(rule)
    return tuple(rules), problems


def _rule(item: object, reader: _Reader) -> CompareRule | None:
    if not isinstance(item, Mapping):
        reader.refuse("", f"must be a mapping, not {_name(item)}", '{endpoint: "GET /x", ignore: [/a]}')
        return None
    for name in item:
        if name not in FIELDS:
            reader.refuse(f".{name}", "unknown key", _guess(name, FIELDS) or "one of " + ", ".join(FIELDS))
    if "endpoint" not in item:
        reader.refuse(".endpoint", "is missing", EXAMPLE)
    read: dict[str, Callable[[Any], Any]] = {
        "endpoint": reader.endpoint,
        "ignore": lambda value: reader.paths("ignore", value),
        "matching": lambda value: reader.by_path("matching", value, reader.regex),
        "unordered": lambda value: reader.paths("unordered", value),
        "key": lambda value: reader.by_path("key", value, reader.item_fields),
        "tolerance": lambda value: reader.by_path("tolerance", value, reader.tolerance),
        "only": lambda value: reader.paths("only", value),
    }
    return CompareRule(**{name: read[name](value) for name, value in item.items() if name in read})


def _guess(given: object, known: Sequence[str]) -> str:
    close = get_close_matches(str(given), known, n=1)
    return f"{close[0]}?" if close else ""


def _name(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{type(value).__name__} {value!r}"[:60]
