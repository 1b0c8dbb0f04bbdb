"""Answers in one line, for the tests of the comparators."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from understudy.comparators import CompareRule, Comparison, Difference, parse_compare_rules
from understudy.messages import Answer

Fields = Sequence[tuple[str, str]]
JSON_TYPE: Fields = (("Content-Type", "application/json"),)


def answer(
    body: bytes | str = b"", *, kind: str = "", status: int = 200, fields: Fields = (), cap: int | None = None
) -> Answer:
    """An answer; with *cap* only so many bytes of its body were kept."""
    raw = body.encode() if isinstance(body, str) else body
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    if kind:
        headers.append((b"Content-Type", kind.encode("latin-1")))
    kept = raw if cap is None else raw[:cap]
    digest = hashlib.sha256(raw).hexdigest() if len(kept) < len(raw) else ""
    return Answer(status=status, headers=headers, body=kept, length_bytes=len(raw), sha256=digest)


def json_answer(value: Any, **more: Any) -> Answer:
    return answer(json.dumps(value), kind="application/json", **more)


def rules(*items: dict[str, Any]) -> tuple[CompareRule, ...]:
    """Parsed compare rules, for all endpoints unless they say otherwise."""
    parsed, problems = parse_compare_rules([{"endpoint": "*", **item} for item in items])
    assert not problems
    return parsed


def compare(primary: Answer, shadow: Answer, *items: dict[str, Any], method: str = "GET") -> list[Difference]:
    return Comparison(rules(*items)).compare(f"{method} /x", primary, shadow, method=method)


def named(differences: list[Difference]) -> list[tuple[str, str]]:
    """The paths and kinds that count, sorted."""
    return sorted((d.path, d.kind) for d in differences if not d.ignored)


def forgiven(differences: list[Difference]) -> list[tuple[str, str]]:
    return sorted((d.path, d.kind) for d in differences if d.ignored)


def compare_json(primary: Any, shadow: Any, *items: dict[str, Any]) -> list[Difference]:
    return compare(json_answer(primary), json_answer(shadow), *items)
