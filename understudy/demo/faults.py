"""What was planted in the next release, and whether a report found it.

Pure: a report comes in as the JSON of ``GET /api/v1/report``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LATENCY: Final = "latency"
"""Stands for the kind of a slower endpoint, which the report judges beside its findings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One fault: where the report must name it.

    ``kind`` is a comparator's kind or `LATENCY`. ``explains`` lists further (path, kind) pairs of
    the endpoint that the same fault may show up as: a 500 has another body, too.
    """

    what: str
    endpoint: str
    path: str
    kind: str
    explains: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wobble:
    """Something that differs without being a fault: noise, or a difference the rules forgive."""

    what: str
    endpoint: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One planted thing and what became of it."""

    what: str
    where: str
    expected: str
    verdict: str
    ok: bool


PLANTED: Final = (
    Planted(
        what="discount taken twice on some products",
        endpoint="GET /products/{id}",
        path="/body/price",
        kind="value",
    ),
    Planted(
        what="the same wrong price in the catalogue",
        endpoint="GET /catalogue",
        path="/body/items/*/price",
        kind="value",
    ),
    Planted(
        what="the catalogue may not be cached any more",
        endpoint="GET /catalogue",
        path="/headers/cache-control",
        kind="header",
    ),
    Planted(
        what="tracking number is gone",
        endpoint="GET /orders/{id}",
        path="/body/tracking",
        kind="missing",
    ),
    Planted(
        what="loyalty points became text",
        endpoint="GET /profile",
        path="/body/loyalty_points",
        kind="type",
    ),
    Planted(
        what="scores became text, under random values",
        endpoint="GET /recommendations",
        path="/body/items/*/score",
        kind="type",
    ),
    Planted(
        what="internal margin leaks",
        endpoint="GET /cart",
        path="/body/margin_percent",
        kind="extra",
    ),
    Planted(
        what="older orders are cut off",
        endpoint="GET /orders",
        path="/body/orders",
        kind="length",
    ),
    Planted(
        what="categories in the wrong order",
        endpoint="GET /categories",
        path="/body/categories",
        kind="order",
    ),
    Planted(
        what="500 when the query is not ASCII",
        endpoint="GET /search",
        path="/status",
        kind="status",
        explains=(("/body", "*"), ("/headers", "*"), ("/content_type", "*")),
    ),
    Planted(
        what="text announced as HTML",
        endpoint="GET /orders/{id}/invoice",
        path="/headers/content-type",
        kind="content_type",
        explains=(("/body", "*"),),
    ),
    Planted(
        what="pictures in the wrong colour",
        endpoint="GET /products/{id}/image",
        path="/body",
        kind="body",
    ),
    Planted(
        what="reviews became slower",
        endpoint="GET /products/{id}/reviews",
        path="",
        kind=LATENCY,
    ),
)

WOBBLES: Final = (
    Wobble(what="time of the answer", endpoint="GET /catalogue", path="/body/served_at"),
    Wobble(what="random recommendations", endpoint="GET /recommendations", path="/body/items/*/id"),
    Wobble(what="length of a random list", endpoint="GET /recommendations", path="/body/items"),
    Wobble(what="a banner that comes and goes", endpoint="GET /offers", path="/body/banner"),
    Wobble(what="last visit", endpoint="GET /profile", path="/body/last_seen"),
    Wobble(what="one-time value in a page", endpoint="GET /", path="/body/html/body/p/*/@data-nonce"),
    Wobble(what="tags, declared unordered", endpoint="GET /products/{id}", path="/body/tags"),
    Wobble(what="release number, declared ignored", endpoint="GET /health", path="/body/release"),
)


def judge(
    report: Mapping[str, Any], planted: Sequence[Planted] = PLANTED, wobbles: Sequence[Wobble] = WOBBLES
) -> list[Check]:
    """What *report* made of every planted fault, every wobble, and of anything else it calls a regression."""
    endpoints = {item["endpoint"]: item for item in report["endpoints"]}
    return [
        *(_fault(fault, endpoints.get(fault.endpoint)) for fault in planted),
        *(_wobble(wobble, endpoints) for wobble in wobbles),
        *_surprises(endpoints, planted, wobbles),
    ]


def _fault(fault: Planted, endpoint: Mapping[str, Any] | None) -> Check:
    verdict = _verdict_of_fault(fault, endpoint)
    where = f"{fault.endpoint} {fault.path}".rstrip()
    return Check(
        what=fault.what, where=where, expected=fault.kind, verdict=verdict, ok=verdict == "regression"
    )


def _verdict_of_fault(fault: Planted, endpoint: Mapping[str, Any] | None) -> str:
    if endpoint is None:
        return "endpoint not seen"
    if fault.kind == LATENCY:
        return str(endpoint["latency"]["verdict"])
    found = [
        str(finding["verdict"])
        for finding in endpoint["findings"]
        if (finding["path"], finding["kind"]) == (fault.path, fault.kind)
    ]
    return found[0] if found else "not found"


def _wobble(wobble: Wobble, endpoints: Mapping[str, Mapping[str, Any]]) -> Check:
    verdicts = {
        str(finding["verdict"])
        for name, endpoint in endpoints.items()
        for finding in endpoint["findings"]
        if wobble.endpoint in ("*", name) and finding["path"] == wobble.path
    }
    verdict = ", ".join(sorted(verdicts)) or "equal"
    where = f"{wobble.endpoint} {wobble.path}"
    return Check(
        what=wobble.what, where=where, expected="noise", verdict=verdict, ok="regression" not in verdicts
    )


def _surprises(
    endpoints: Mapping[str, Mapping[str, Any]], planted: Sequence[Planted], wobbles: Sequence[Wobble]
) -> Iterator[Check]:
    for name, path, kind in _regressions(endpoints):
        if not any(accounts_for(fault, name, path, kind) for fault in planted) and not any(
            wobble.endpoint in ("*", name) and wobble.path == path for wobble in wobbles
        ):
            where = f"{name} {path}".rstrip()
            yield Check(what=f"not planted: {kind}", where=where, expected="", verdict="regression", ok=False)


def _regressions(endpoints: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for name, endpoint in endpoints.items():
        for finding in endpoint["findings"]:
            if finding["verdict"] == "regression":
                yield name, str(finding["path"]), str(finding["kind"])
        if endpoint["latency"]["verdict"] == "regression":
            yield name, "", LATENCY


def accounts_for(fault: Planted, endpoint: str, path: str, kind: str) -> bool:
    """Whether *fault* alone explains a difference at (*endpoint*, *path*, *kind*)."""
    if fault.endpoint != endpoint:
        return False
    if (fault.path, fault.kind) == (path, kind):
        return True
    return any(
        (path == root or path.startswith(root + "/")) and known in ("*", kind)
        for root, known in fault.explains
    )
