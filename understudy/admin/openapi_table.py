"""What each path of the admin API takes and answers, one row for each method: beside ``rights``, from which
who may is known. ``openapi`` makes the document of it, a test holds it to the routes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PATCH: Final = "application/merge-patch+json"
FORM: Final = "application/x-www-form-urlencoded"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"
EVENTS: Final = "text/event-stream"
ANY: Final = "*/*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    ``answers`` has the status of each answer that is no refusal, with its schema (empty: no body);
    ``kind`` is their media type. ``refusals`` are problems beyond those that every path may answer.
    ``query`` and ``fields`` name parameters of ``openapi``; ``takes`` is the schema of the body, in one of
    ``kinds``, which may be left out when it ``is_optional``. ``more`` has other schemas of a refusal.
    """

    answers: Mapping[int, str]
    kind: str = JSON
    query: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    takes: str = ""
    kinds: tuple[str, ...] = (JSON,)
    is_optional: bool = False
    refusals: tuple[int, ...] = ()
    more: Mapping[int, str] | None = None


def _read(schema: str, *query: str, refusals: tuple[int, ...] = (), kind: str = JSON) -> Operation:
    return Operation(answers={200: schema}, query=query, refusals=refusals, kind=kind)


def _known(schema: str, *, refusals: tuple[int, ...] = (404,)) -> Operation:
    """A read that answers 304 to who has it."""
    fields = ("If-None-Match",)
    return Operation(answers={200: schema, 304: ""}, fields=fields, refusals=refusals)


_DRY: Final = ("dry_run", "unit", "context")
_WRITTEN: Final = ("reason", *_DRY)


def _write(
    takes: str = "",
    *,
    kinds: tuple[str, ...] = (JSON,),
    creates: bool = False,
    is_optional: bool = False,
    refusals: tuple[int, ...] = (404, 409, 412, 422, 428),
) -> Operation:
    fields = ("If-Match", "X-Reason", *(("If-None-Match",) if creates else ()))
    answers = {200: "Written", 201: "Written"} if creates else {200: "Written"}
    return Operation(
        answers=answers,
        takes=takes,
        kinds=kinds,
        is_optional=is_optional,
        query=_WRITTEN,
        fields=fields,
        refusals=refusals,
    )


_BESIDE: Final = "/api/v1/environments/{environment}"
_EITHER: Final = (JSON, YAML)
_PATCHES: Final = (PATCH, JSON)
_NEVER: Final = Operation(answers={}, refusals=(405,))
_PAGE: Final = ("limit", "after")
_ASKED: Final = ("If-None-Match", "Flagd-Selector")


def _evaluate(schema: str, *, known: bool) -> Operation:
    return Operation(
        answers={200: schema, 304: ""} if known else {200: schema},
        takes="EvaluationContext",
        is_optional=True,
        fields=_ASKED if known else ("Flagd-Selector",),
        refusals=(404, 409),
        more=dict.fromkeys((400, 404, 408, 409, 413, 415, 422, 503), "EvaluationFailure"),
    )


OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/healthz": {"GET": _read("", kind=PLAIN)},
    "/readyz": {"GET": Operation(answers={200: "Readiness", 503: "Readiness"})},
    "/metrics": {"GET": _read("", kind=PLAIN)},
    "/": {"GET": _read("", "q", "verdict", kind=HTML)},
    "/static/{name}": {"GET": _read("", kind=ANY, refusals=(404,))},
    "/samples/{id}": {"GET": _read("", kind=HTML, refusals=(404,))},
    "/api/v1/openapi.json": {"GET": _known("OpenApi", refusals=())},
    "/api/v1/access": {"GET": _read("Access")},
    "/api/v1/session": {
        "POST": Operation(
            answers={200: "Caller", 303: ""}, takes="LogIn", kinds=(JSON, FORM), refusals=(409, 422)
        ),
        "DELETE": Operation(answers={204: ""}),
    },
    "/api/v1/tokens": {
        "GET": _read("Tokens"),
        "POST": Operation(answers={201: "MadeToken"}, takes="NewToken", refusals=(409, 422)),
    },
    "/api/v1/tokens/{selector}": {
        "DELETE": Operation(answers={200: "Token"}, query=("reason",), refusals=(404, 409, 422))
    },
    "/api/v1/audit": {"GET": _read("Audit", "limit", "after_number")},
    "/api/v1/rules": {
        "GET": _known("RulesDocument", refusals=()),
        "PUT": _write("RulesDocument", kinds=_EITHER, refusals=(412, 422, 428)),
    },
    "/api/v1/rules/history": {"GET": _read("Versions", "limit")},
    "/api/v1/rules/suggestions": {"GET": _read("Suggestions", "include_regressions")},
    "/api/v1/rules/{version}": {"GET": _read("RulesDocument", refusals=(404,))},
    "/api/v1/rules/{version}/diff/{other}": {"GET": _read("Difference", refusals=(404,))},
    "/api/v1/rules/{version}/restore": {"POST": _write(refusals=(404, 412, 422))},
    "/api/v1/compare": {
        "POST": Operation(
            answers={200: "Amended"},
            takes="Amendment",
            query=("dry_run",),
            fields=("If-Match",),
            refusals=(412, 422),
        ),
        "DELETE": Operation(
            answers={200: "Amended"},
            query=("endpoint", "action", "path", "dry_run"),
            fields=("If-Match",),
            refusals=(404, 412, 422),
        ),
    },
    "/api/v1/flags": {"GET": _read("Flags", "q", "tag", "owner", "state", "archived", *_PAGE)},
    "/api/v1/flags/{key:path}": {
        "GET": _known("Flag"),
        "PUT": _write("FlagDefinition", kinds=_EITHER, creates=True),
        "PATCH": _write("MergePatch", kinds=_PATCHES),
        "DELETE": _write(),
    },
    "/api/v1/flags/{key:path}/kill": {"POST": _write("Reason", is_optional=True, refusals=(404, 422))},
    "/api/v1/flags/{key:path}/revive": {"POST": _write("Reason", is_optional=True, refusals=(404, 422))},
    "/api/v1/flags/{key:path}/weights": {"POST": _write("Weights")},
    "/api/v1/flags/{key:path}/restore": {"POST": _write("Restore")},
    "/api/v1/flags/{key:path}/history": {"GET": _read("FlagHistory", "limit", "before", refusals=(404,))},
    "/api/v1/segments": {"GET": _read("Segments", "q", *_PAGE)},
    "/api/v1/segments/{name:path}": {
        "GET": _known("Segment"),
        "PUT": _write("Segment", kinds=_EITHER, creates=True),
        "PATCH": _write("MergePatch", kinds=_PATCHES),
        "DELETE": _write(),
    },
    "/api/v1/routes": {
        "GET": _read("RouteList"),
        "PUT": _write("Routes", kinds=_EITHER),
        "POST": _write("AddedRoute"),
    },
    "/api/v1/routes/{place:path}": {
        "GET": _known("Route"),
        "PUT": _write("Route", kinds=_EITHER),
        "PATCH": _write("MergePatch", kinds=_PATCHES),
        "DELETE": _write(),
    },
    "/api/v1/services": {
        "GET": _read("Services"),
        **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), _NEVER),
    },
    "/api/v1/services/{name}": {
        "GET": _read("Service", refusals=(404,)),
        **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), _NEVER),
    },
    "/api/v1/evidence": {
        "GET": _read("EvidenceKey", refusals=(404,)),
        "POST": Operation(answers={200: "Added"}, takes="EvidenceBatch", refusals=(404,)),
    },
    "/api/v1/exposures": {
        "POST": Operation(answers={200: "Accepted"}, takes="Exposures"),
        "DELETE": _read("Forgotten", "unit"),
    },
    "/api/v1/usage": {"GET": _read("Usage", "flag", refusals=(404,))},
    "/api/v1/stream": {"GET": Operation(answers={}, refusals=(426,))},
    "/api/v1/environments": {"GET": _read("Environments", refusals=(501,))},
    f"{_BESIDE}/rules": {
        "GET": _known("RulesDocument", refusals=(404, 501)),
        "PUT": _write("RulesDocument", kinds=_EITHER, creates=True, refusals=(404, 412, 422, 428, 501)),
    },
    f"{_BESIDE}/rules/history": {"GET": _read("Versions", "limit", refusals=(404, 501))},
    f"{_BESIDE}/rules/{{version}}": {"GET": _read("RulesDocument", refusals=(404, 501))},
    f"{_BESIDE}/rules/{{version}}/diff/{{other}}": {"GET": _read("Difference", refusals=(404, 501))},
    f"{_BESIDE}/rules/{{version}}/restore": {"POST": _write(refusals=(404, 412, 422, 501))},
    f"{_BESIDE}/flags/{{key:path}}/promotion": {
        "GET": _read("Promotion", "to", "with", refusals=(404, 422, 501)),
        "POST": Operation(
            answers={200: "Promoted"},
            query=("to", "with", "reason"),
            fields=("If-Match",),
            refusals=(404, 409, 412, 422, 428, 501),
        ),
    },
    "/api/v1/bulk": {"POST": _write("Bulk", creates=True)},
    "/api/v1/reload": {"POST": Operation(answers={200: "Reload"}, refusals=(422,))},
    "/api/v1/restart": {"POST": Operation(answers={202: "Workers"})},
    "/api/v1/recordings": {
        "POST": Operation(
            answers={200: "Har"}, takes="Recording", is_optional=True, refusals=(409, 422, 501)
        ),
        "DELETE": _read("Ended", refusals=(501,)),
    },
    "/ofrep/v1/evaluate/flags": {"POST": _evaluate("Evaluations", known=True)},
    "/ofrep/v1/evaluate/flags/": {"POST": _evaluate("Evaluations", known=True)},
    "/ofrep/v1/evaluate/flags/{key:path}": {"POST": _evaluate("Evaluation", known=False)},
    "/ofrep/v1/sse": {"GET": _read("", kind=EVENTS)},
    "/api/v1/decide/{flag}/{unit:path}": {"GET": _read("Decision", refusals=(404,))},
    "/api/v1/sync/flags.json": {
        "GET": Operation(answers={200: "Definition", 304: ""}, query=("whole",), fields=_ASKED)
    },
    "/api/v1/report": {"GET": _read("Report"), "DELETE": Operation(answers={204: ""})},
    "/api/v1/report.html": {"GET": _read("", kind=HTML)},
    "/api/v1/report/events": {"GET": _read("", kind=EVENTS)},
    "/api/v1/samples": {"DELETE": _read("Forgotten", "unit", "all")},
    "/api/v1/samples/{id}": {"GET": _read("Sample", refusals=(404,))},
}
