"""One sample in full: both answers, redacted and bounded, side by side with what differs marked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.report import tolerant
from understudy.report.marks import Side, mark
from understudy.report.view import Change, Sample, read_sample
from understudy.report.visible import value_text, visible

_MOST_HEADERS: Final = 200
_MOST_CHANGES: Final = 200
_CONTEXT: Final = 600
_MOST: Final = 40_000
"""Characters of a changed stretch; a sample is bounded where it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One header field on both sides: ``differs`` also where one side lacks it."""

    name: str
    primary: Side
    shadow: Side
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A sample, and the two answers that it was seen in."""

    sample: Sample
    service: str
    endpoint: str
    path: str
    kind: str
    status: tuple[str, str]
    headers: tuple[Row, ...]
    body: tuple[Side, Side]

    @property
    def changes(self) -> tuple[Change, ...]:
        """From the primary's answer to the shadow's, step by step, as many as one would read."""
        return self.sample.explanation[:_MOST_CHANGES]


def read_whole(document: Mapping[str, Any]) -> Whole:
    """Read *document*, the JSON of ``/api/v1/samples/{id}``; what is absent is empty."""
    primary, shadow = (tolerant.mapping(document.get(side)) for side in ("primary", "shadow"))
    kind = tolerant.text(document.get("kind"))
    return Whole(
        sample=read_sample({**document, "primary": None, "shadow": None}, kind),
        service=tolerant.text(document.get("service")),
        endpoint=tolerant.text(document.get("endpoint")),
        path=tolerant.text(document.get("path")),
        kind=kind,
        status=(tolerant.text(primary.get("status")), tolerant.text(shadow.get("status"))),
        headers=_headers(primary.get("headers"), shadow.get("headers")),
        body=mark(_body(primary), _body(shadow), context=_CONTEXT, most=_MOST),
    )


def _body(answer: Mapping[str, Any]) -> str:
    body = answer.get("body")
    if isinstance(body, str):
        return visible(body, keep="\n")
    return value_text(body, pretty=True) if body is not None else ""


def _headers(primary: object, shadow: object) -> tuple[Row, ...]:
    ours, theirs = _fields(primary), _fields(shadow)
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name, ""), theirs.get(name, "")
        marked = mark(visible(one), visible(other))
        rows.append(Row(name=name, primary=marked[0], shadow=marked[1], differs=one != other))
    return tuple(rows[:_MOST_HEADERS])


def _fields(headers: object) -> dict[str, str]:
    """Values by lower-case name; several of one name stand below each other."""
    fields: dict[str, str] = {}
    for pair in tolerant.items(headers):
        name, value = (tolerant.text(part) for part in pair) if _is_pair(pair) else ("", "")
        if name:
            key = name.lower()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return fields


def _is_pair(item: object) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2
