"""Who may do what: one row for each path of the admin server. What has no row, nobody may.

``make docs`` writes the table into docs/reference/admin.md from here; a test walks all of it.
"""

from collections.abc import Mapping
from typing import Final, Literal

from understudy.access import Role

ANYONE: Final = "anyone"
"""Also who shows no token. Such an endpoint tells nothing that is worth a secret."""

Needed = Role | Literal["anyone"]

EVALUATOR, VIEWER, OPERATOR, EDITOR, ADMIN = Role
_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
# Each line is a sentence on purpose: an endpoint cannot inherit a right that nobody thought of.
RIGHTS: Final[Mapping[str, Mapping[str, Needed]]] = {
    "/healthz": {"GET": ANYONE},
    "/readyz": {"GET": ANYONE},
    "/metrics": {"GET": VIEWER},
    "/": {"GET": VIEWER},
    "/static/{name}": {"GET": ANYONE},
    "/samples/{id}": {"GET": VIEWER},
    "/api/v1/openapi.json": {"GET": VIEWER},
    "/api/v1/access": {"GET": ANYONE},
    "/api/v1/session": {"POST": ANYONE, "DELETE": ANYONE},
    "/api/v1/tokens": {"GET": ADMIN, "POST": ADMIN},
    "/api/v1/tokens/{selector}": {"DELETE": ADMIN},
    "/api/v1/audit": {"GET": ADMIN},
    # In the environment that the path names, as everything else is in that of the process.
    "/api/v1/environments": {"GET": VIEWER},
    "/api/v1/environments/{environment}/rules": {"GET": VIEWER, "PUT": EDITOR},
    "/api/v1/environments/{environment}/rules/history": {"GET": VIEWER},
    "/api/v1/environments/{environment}/rules/{version}": {"GET": VIEWER},
    "/api/v1/environments/{environment}/rules/{version}/diff/{other}": {"GET": VIEWER},
    "/api/v1/environments/{environment}/rules/{version}/restore": {"POST": EDITOR},
    "/api/v1/environments/{environment}/flags/{key:path}/promotion": {"GET": VIEWER, "POST": VIEWER},
    "/api/v1/rules": {"GET": VIEWER, "PUT": EDITOR},
    "/api/v1/rules/history": {"GET": VIEWER},
    "/api/v1/rules/{version}": {"GET": VIEWER},
    "/api/v1/rules/{version}/diff/{other}": {"GET": VIEWER},
    "/api/v1/rules/{version}/restore": {"POST": EDITOR},
    "/api/v1/rules/suggestions": {"GET": VIEWER},
    "/api/v1/compare": {"POST": EDITOR, "DELETE": EDITOR},
    "/api/v1/flags": {"GET": VIEWER},
    "/api/v1/flags/{key:path}/kill": {"POST": OPERATOR},
    "/api/v1/flags/{key:path}/revive": {"POST": OPERATOR},
    "/api/v1/flags/{key:path}/weights": {"POST": EDITOR},
    "/api/v1/flags/{key:path}/restore": {"POST": EDITOR},
    "/api/v1/flags/{key:path}/history": {"GET": VIEWER},
    "/api/v1/flags/{key:path}": {"GET": VIEWER, "PUT": EDITOR, "PATCH": EDITOR, "DELETE": EDITOR},
    "/api/v1/segments": {"GET": VIEWER},
    "/api/v1/segments/{name:path}": {"GET": VIEWER, "PUT": EDITOR, "PATCH": EDITOR, "DELETE": EDITOR},
    "/api/v1/routes": {"GET": VIEWER, "PUT": EDITOR, "POST": EDITOR},
    "/api/v1/routes/{place:path}": {"GET": VIEWER, "PUT": EDITOR, "PATCH": EDITOR, "DELETE": EDITOR},
    # Writing services is answered with the reason why nobody can, to whoever may edit the rules.
    "/api/v1/services": {"GET": VIEWER, **dict.fromkeys(_WRITES, EDITOR)},
    "/api/v1/services/{name}": {"GET": VIEWER, **dict.fromkeys(_WRITES, EDITOR)},
    "/api/v1/bulk": {"POST": EDITOR},
    "/api/v1/reload": {"POST": OPERATOR},
    "/api/v1/restart": {"POST": OPERATOR},
    "/api/v1/recordings": {"POST": OPERATOR, "DELETE": OPERATOR},
    # The key lets one try out whose samples there are, which deleting them by unit does as well.
    "/api/v1/evidence": {"GET": OPERATOR, "POST": OPERATOR},
    # Evaluating changes nothing, whatever the method.
    "/ofrep/v1/evaluate/flags": {"POST": EVALUATOR},
    "/ofrep/v1/evaluate/flags/": {"POST": EVALUATOR},
    "/ofrep/v1/evaluate/flags/{key:path}": {"POST": EVALUATOR},
    "/ofrep/v1/sse": {"GET": EVALUATOR},
    "/api/v1/stream": {"GET": EVALUATOR},
    "/api/v1/decide/{flag}/{unit:path}": {"GET": EVALUATOR},
    "/api/v1/exposures": {"POST": EVALUATOR, "DELETE": OPERATOR},
    "/api/v1/usage": {"GET": VIEWER},
    "/api/v1/sync/flags.json": {"GET": VIEWER},
    "/api/v1/report": {"GET": VIEWER, "DELETE": OPERATOR},
    "/api/v1/report.html": {"GET": VIEWER},
    "/api/v1/report/events": {"GET": VIEWER},
    "/api/v1/samples": {"DELETE": OPERATOR},
    "/api/v1/samples/{id}": {"GET": VIEWER},
}


TARGET: Final[Mapping[tuple[str, str], Role]] = {
    ("/api/v1/environments/{environment}/flags/{key:path}/promotion", "GET"): VIEWER,
    ("/api/v1/environments/{environment}/flags/{key:path}/promotion", "POST"): EDITOR,
}
"""What is needed besides in the environment that the query names as ``to``."""

SHARED: Final = frozenset({"/api/v1/tokens", "/api/v1/tokens/{selector}", "/api/v1/audit"})
"""Paths of what is not of one environment: they need the role in all of them. Who may make tokens for one
could otherwise make one for all."""


def needed(path: str, method: str) -> Needed | None:
    """What *method* of the route with template *path* needs; None when nobody may."""
    return RIGHTS.get(path, {}).get("GET" if method == "HEAD" else method)


NOTED: Final[Mapping[tuple[str, str], str]] = {
    ("/api/v1/reload", "POST"): "reload",
    ("/api/v1/restart", "POST"): "restart",
    ("/api/v1/recordings", "POST"): "recording.begin",
    ("/api/v1/recordings", "DELETE"): "recording.end",
}
"""What the audit is told of before it is done, because it changes nothing in the store. Every other change
has its entry in the transaction that makes it."""
