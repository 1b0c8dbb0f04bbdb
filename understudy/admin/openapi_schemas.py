"""The shapes of what the admin API takes and gives, as JSON Schema; those of rules from the settings'."""

from collections.abc import Mapping
from typing import Any, Final

from understudy.access import Role
from understudy.config import json_schema

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG_KEY: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
ANYTHING: Final[Schema] = {}


def shape(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any
) -> Schema:
    """An object that has at least *required*."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        **more,
    }


def listed(items: Schema, **more: Any) -> Schema:
    """A list of *items*."""
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    """The schema called *name*."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """*schema*, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    return {**_of_rules(), **_taken(), **_given(), **_of_access(), **_of_evaluation(), **_of_evidence()}


def _of_rules() -> dict[str, Schema]:
    rules = json_schema()["properties"]
    names = ("flags", "$evaluators", "metadata", "routes", "compare", "killed")
    shown = {"key": FLAG_KEY, "killed": {"type": "boolean"}}
    return {
        "RulesDocument": {
            "type": "object",
            "properties": {name: rules[name] for name in names},
            "additionalProperties": False,
        },
        "FlagDefinition": rules["flags"]["additionalProperties"],
        "Flag": shape(shown),
        "Segment": {"type": "object", "description": "JSONLogic that flags refer to with $ref."},
        "Route": rules["routes"]["items"],
        "Routes": rules["routes"],
    }


def _taken() -> dict[str, Schema]:
    reason = {"reason": {"type": "string", "maxLength": 500}}
    operation = shape(
        {"method": {"enum": ["PUT", "PATCH", "DELETE", "POST"]}, "path": {"type": "string", "pattern": "^/"}},
        {"body": ANYTHING},
        additionalProperties=False,
    )
    weights = {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 0},
        "minProperties": 1,
    }
    texts = dict.fromkeys(("endpoint", "path"), TEXT)
    return {
        "MergePatch": {
            "type": "object",
            "description": "RFC 7396: null removes, objects merge, lists replace.",
        },
        "Reason": {"type": "object", "properties": reason, "additionalProperties": False},
        "Weights": shape({"weights": weights}, reason, additionalProperties=False),
        "Restore": shape({"version": {"type": "integer", "minimum": 1}}, reason, additionalProperties=False),
        "AddedRoute": shape(
            {"route": ref("Route")},
            {"before": {"type": ["integer", "string", "null"]}},
            additionalProperties=False,
        ),
        "Bulk": shape(
            {"operations": listed(operation, minItems=1, maxItems=1000)}, reason, additionalProperties=False
        ),
        "Amendment": shape(
            {**texts, "action": {"enum": ["ignore", "unordered"]}}, additionalProperties=False
        ),
        "Recording": {
            "type": "object",
            "properties": {
                "requests": {"type": "integer", "minimum": 1},
                "seconds": {"type": ["number", "string"]},
                "max_bytes": {"type": ["integer", "string"]},
                "share": {"type": "number", "minimum": 0, "maximum": 1},
                "path_prefix": TEXT,
                "route": TEXT,
            },
            "additionalProperties": False,
        },
    }


def _given() -> dict[str, Schema]:
    error = shape({"path": TEXT, "message": TEXT, "hint": TEXT})
    version = {"version": WHOLE, "sha256": TEXT, "author": TEXT, "reason": TEXT, "at": NUMBER}
    changes = listed(shape({"path": TEXT}, {"before": ANYTHING, "after": ANYTHING}))
    name = {"type": ["string", "null"]}
    row = shape({"from": name, "to": name, "units": WHOLE, "share": NUMBER, "examples": listed(TEXT)})
    moves = shape(
        {
            "flag": TEXT,
            "units": WHOLE,
            "moved": WHOLE,
            "share": NUMBER,
            "matrix": listed(row),
            "routes": listed({"type": "object"}),
        }
    )
    page = {"version": WHOLE, "next": or_null(TEXT)}
    health = shape({"healthy": or_null(WHOLE), "origins": WHOLE})
    place = shape({"environment": TEXT, "version": WHOLE})
    promotion = shape({"flag": TEXT, "from": place, "to": place, "changes": changes})
    service = {"name": TEXT, "origins": listed(TEXT), "balance": TEXT, "health": health}
    return {
        "Problem": shape(
            {"title": TEXT, "status": WHOLE, "detail": TEXT},
            {"errors": listed(error), "known": listed(TEXT), "actual": WHOLE, "expected": WHOLE},
            description="RFC 9457.",
        ),
        "Change": shape(
            {**version, "workers": WHOLE, "applied": WHOLE},
            {"flag": ref("Flag"), "segment": ANYTHING},
            description="What was stored, and how many of the workers have it by now.",
        ),
        "DryRun": shape(
            {
                "dry_run": {"const": True},
                "version": WHOLE,
                "changes": changes,
                "moves": listed(moves),
                "omitted": listed(TEXT),
            },
            description="What would be stored, and who moves; `omitted` has flags that were not drawn for.",
        ),
        "Written": {"anyOf": [ref("Change"), ref("DryRun")]},
        "Versions": shape({"versions": listed(shape(version))}),
        "Difference": shape({"from": WHOLE, "to": WHOLE, "changes": changes}),
        "Flags": shape({**page, "flags": listed(ref("Flag"))}),
        "FlagHistory": shape(
            {"flag": TEXT, "versions": listed(shape({**version, "changes": changes})), "next": or_null(WHOLE)}
        ),
        "Segments": shape({**page, "segments": listed(shape({"name": TEXT, "rule": ANYTHING}))}),
        "RouteList": shape({"version": WHOLE, "routes": listed(ANYTHING)}),
        "Service": shape(service),
        "Services": shape({"services": listed(ref("Service"))}),
        "Amended": shape({"rule": or_null({"type": "object"}), "version": WHOLE}),
        "Suggestions": {"type": "object"},
        "Environments": shape({"own": TEXT, "environments": listed(shape({"name": TEXT, "version": WHOLE}))}),
        "Promotion": promotion,
        "Promoted": {**promotion, "properties": {**promotion["properties"], "version": WHOLE}},
        "Reload": shape(
            {
                "changed": listed(TEXT),
                "waiting": listed(TEXT),
                "notes": listed(TEXT),
                "workers": WHOLE,
                "applied": WHOLE,
            }
        ),
        "Workers": shape({"workers": WHOLE}),
        "Ended": shape({"ended": {"type": "boolean"}}),
        "Har": {"type": "object", "description": "HTTP Archive 1.2."},
        "OpenApi": shape({"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}),
    }


def _of_access() -> dict[str, Schema]:
    role = {"enum": [role.value for role in Role]}
    when = or_null(NUMBER)
    token = shape(
        {
            "selector": TEXT,
            "name": TEXT,
            "created_at": NUMBER,
            "created_by": TEXT,
            "expires_at": when,
            "used_at": when,
            "revoked_at": when,
        }
    )
    deed = dict.fromkeys(("who", "origin", "action", "target", "reason", "previous", "hash"), TEXT)
    numbers = {"number": WHOLE, "at": NUMBER, "before": WHOLE, "after": WHOLE}
    return {
        "Access": shape({"open": {"type": "boolean"}, "detail": TEXT, "you": ANYTHING}),
        "LogIn": shape({"token": TEXT}, additionalProperties=False),
        "Caller": shape({"name": TEXT}),
        "NewToken": shape(
            {"name": {"type": "string", "minLength": 1, "maxLength": 100}},
            {
                "role": role,
                "roles": {"type": "object", "additionalProperties": role},
                "expires_in_days": {"type": "integer", "minimum": 0, "maximum": 3650},
                "reason": {"type": "string", "maxLength": 500},
            },
        ),
        "Token": token,
        "MadeToken": {**token, "properties": {**token["properties"], "token": TEXT}},
        "Tokens": shape({"tokens": listed(ref("Token"))}),
        "Audit": shape(
            {
                "entries": listed(shape({**numbers, **deed})),
                "head": shape({"number": WHOLE, "hash": TEXT}),
            }
        ),
    }


def _of_evaluation() -> dict[str, Schema]:
    answer = shape({"key": TEXT}, {"value": ANYTHING, "variant": TEXT, "reason": TEXT})
    failure = shape({"errorCode": TEXT}, {"key": TEXT, "errorDetails": TEXT})
    return {
        "EvaluationContext": {
            "type": "object",
            "properties": {"context": {"type": "object", "properties": {"targetingKey": TEXT}}},
        },
        "Evaluation": answer,
        "EvaluationFailure": failure,
        "Evaluations": shape(
            {"flags": listed({"anyOf": [answer, failure]})}, {"metadata": {"type": "object"}}
        ),
        "Decision": shape(
            {
                "flag": TEXT,
                "unit": TEXT,
                "variant": TEXT,
                "value": ANYTHING,
                "reason": TEXT,
                "rule": TEXT,
                "version": WHOLE,
            }
        ),
        "Definition": shape({"flags": {"type": "object"}}),
    }


def _of_evidence() -> dict[str, Schema]:
    return {
        "Report": shape(
            {
                "verdict": {"enum": ["regression", "clean", "undecided"]},
                "exchanges": WHOLE,
                "with_control": WHOLE,
                "mirror": {"type": "object"},
                "endpoints": listed({"type": "object"}),
            }
        ),
        "Sample": shape({"id": TEXT, "service": TEXT, "endpoint": TEXT, "path": TEXT, "kind": TEXT}),
        "EvidenceKey": shape({"units": TEXT}),
        "EvidenceBatch": shape(
            {
                "source": {"type": "string", "minLength": 1, "maxLength": 200},
                "sequence": {"type": "integer", "minimum": 1},
                "counts": listed({"type": "array"}),
                "samples": listed({"type": "object"}),
            },
            additionalProperties=False,
        ),
        "Added": shape({"added": {"type": "boolean"}}),
        "Exposures": shape(
            {
                "exposures": listed(
                    shape(
                        {
                            "flag": {"type": "string", "minLength": 1},
                            "variant": {"type": "string", "minLength": 1},
                        },
                        {
                            "unit": TEXT,
                            "at": {"type": "number", "minimum": 0},
                            "evaluations": {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
                        },
                        additionalProperties=False,
                    )
                ),
                "batch": {"type": "string", "minLength": 1},
            },
            additionalProperties=False,
        ),
        "Accepted": shape({"accepted": WHOLE, "unknown": WHOLE, "repeated": {"type": "boolean"}}),
        "Usage": shape({"sample": NUMBER, "retention_seconds": NUMBER, "flags": listed({"type": "object"})}),
        "Forgotten": shape({"deleted": WHOLE}),
        "Readiness": shape({"ready": {"type": "boolean"}, "checks": {"type": "object"}}),
    }
