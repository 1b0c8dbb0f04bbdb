"""The description of the admin API as OpenAPI 3.1, made from the tables that the server itself goes by."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.admin.ofrep_request import tagged
from understudy.admin.openapi_schemas import FLAG_KEY, TEXT, Schema, ref, schemas
from understudy.admin.openapi_table import HTML, JSON, OPERATIONS, PLAIN, Operation
from understudy.admin.payload import json_bytes
from understudy.admin.rights import ANYONE, RIGHTS

PROBLEM: Final = "application/problem+json"
_ALWAYS: Final = (400, 401, 403, 421, 429, 503)
"""Any path may refuse so: a bad field, no token, too little of a role, a foreign Host, too many, no store."""
_OF_BODIES: Final = (408, 413, 415)
_VARIABLE: Final = re.compile(r"\{(\w+)(:path)?\}")

_TRUTH: Final[Schema] = {"type": "string", "enum": ["true", "false"]}
_PATH: Final[Mapping[str, Schema]] = {
    "key": FLAG_KEY,
    "flag": FLAG_KEY,
    "environment": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"},
    "version": {"type": "integer", "minimum": 1},
    "other": {"type": "integer", "minimum": 1},
    "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
}
_QUERY: Final[Mapping[str, tuple[str, Schema]]] = {
    "reason": ("Why; kept in the history and the audit.", {"type": "string", "maxLength": 500}),
    "dry_run": ("true shows what would be, and stores nothing.", _TRUTH),
    "unit": ("A unit; of a dry run as often as there are any.", {"type": "string", "minLength": 1}),
    "context": ("JSON with the attributes that rules look at, for a dry run.", TEXT),
    "limit": ("How many at most.", {"type": "integer", "minimum": 1, "maximum": 200}),
    "after": ("The `next` of the page before.", TEXT),
    "after_number": ("Beyond which entry.", {"type": "integer", "minimum": 0}),
    "before": ("The `next` of the page before.", {"type": "integer", "minimum": 1}),
    "q": ("Words to look for.", TEXT),
    "verdict": ("One verdict only.", TEXT),
    "tag": ("One of the flag's tags.", TEXT),
    "owner": ("The flag's owner.", TEXT),
    "state": ("The flag's state.", {"enum": ["ENABLED", "DISABLED", "KILLED"]}),
    "archived": ("Whether it is archived.", _TRUTH),
    "endpoint": ("Method and path template.", TEXT),
    "action": ("What the rule forgives.", {"enum": ["ignore", "unordered"]}),
    "path": ("A path of the report.", TEXT),
    "include_regressions": ("Whether regressions may be forgiven too.", _TRUTH),
    "flag": ("One flag only.", TEXT),
    "to": ("The environment that the flag shall go to.", {"type": "string", "minLength": 1}),
    "with": ("What shall travel too, with commas.", TEXT),
    "whole": ("true: with prerequisites and kill switches, which flagd does not know.", _TRUTH),
    "all": ("Those of everybody.", {"const": "true"}),
}
_ON_THE_WIRE: Final = {"after_number": "after"}
_FIELDS: Final[Mapping[str, str]] = {
    "If-Match": 'The version that is replaced, as `"12"`, or `*` for whatever is there.',
    "If-None-Match": "The version that is known already; of a write `*`: it must not be there yet.",
    "X-Reason": "Why, where the query does not say it.",
    "Flagd-Selector": "The flag set.",
}


class OpenApiEndpoints:
    """``/api/v1/openapi.json``."""

    def __init__(self) -> None:
        self.routes: tuple[Route, ...] = ()
        """The routes to describe; set once they are all made, this one's own among them."""
        self._written: tuple[bytes, str] | None = None

    async def document(self, request: Request) -> Response:
        """GET this description, as OpenAPI 3.1."""
        if self._written is None:
            body = json_bytes(openapi(self.routes))
            self._written = body, blake2b(body, digest_size=16).hexdigest()
        body, digest = self._written
        return tagged(request, body, digest, headers={"Cache-Control": "no-cache", "Vary": "Accept-Encoding"})


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The document: what the docstrings of *routes* say, with the tables of rights and of operations."""
    told = {route.path: " ".join((route.endpoint.__doc__ or "").split()) for route in routes}
    paths = {
        _VARIABLE.sub(r"{\1}", path): {
            method.lower(): _operation(path, method, operation, told.get(path, ""))
            for method, operation in row.items()
        }
        for path, row in OPERATIONS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Understudy's admin API",
            "version": version("understudy"),
            "description": "Versioned rules, flags and their evaluation, evidence, tokens and the audit.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "understudy_session"},
            },
        },
    }


@cache
def _schemas() -> dict[str, Schema]:
    return schemas()


def _operation(path: str, method: str, operation: Operation, told: str) -> dict[str, Any]:
    right = RIGHTS.get(path, {}).get(method, ANYONE)
    described: dict[str, Any] = {
        "operationId": _name(path, method, is_page=operation.kind == HTML),
        "summary": told.partition(". ")[0].partition("; ")[0][:120],
        "description": f"{told} Needs the role {right}." if right != ANYONE else told,
        "parameters": _parameters(path, operation),
        "responses": {**_answers(operation), **_refusals(path, operation)},
        "security": [] if right == ANYONE else [{"token": []}, {"session": []}],
    }
    if operation.takes:
        described["requestBody"] = {
            "required": not operation.is_optional,
            "content": {kind: {"schema": ref(operation.takes)} for kind in operation.kinds},
        }
    return described


def _name(path: str, method: str, *, is_page: bool) -> str:
    """``put_flags_key``; pages are told apart, and a slash at the end, as it is by the server."""
    words = re.findall(r"\w+", _VARIABLE.sub(r"\1", path.removeprefix("/api/v1")))
    ends = ["page"] if is_page else ["slash"] if path.endswith("/") else []
    return "_".join([method.lower(), *words, *ends])


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    variables = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _PATH.get(name, {"type": "string", "minLength": 1}),
        }
        for name, _ in _VARIABLE.findall(path)
    ]
    queries = [
        {"name": _ON_THE_WIRE.get(name, name), "in": "query", "description": what, "schema": schema}
        for name, (what, schema) in ((name, _QUERY[name]) for name in operation.query)
    ]
    fields = [
        {"name": name, "in": "header", "description": _FIELDS[name], "schema": TEXT}
        for name in operation.fields
    ]
    return [*variables, *queries, *fields]


def _answers(operation: Operation) -> dict[str, Any]:
    found = {}
    for status, schema in operation.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if schema:
            answer["content"] = {operation.kind: {"schema": ref(schema)}}
        elif operation.kind != JSON and status == 200:
            is_text = operation.kind in (PLAIN, HTML)
            answer["content"] = {operation.kind: {"schema": TEXT} if is_text else {}}
        found[str(status)] = answer
    return found


def _refusals(path: str, operation: Operation) -> dict[str, Any]:
    """Problems, and what OFREP has in their place; a status that is an answer too keeps its own schema."""
    of_body = (*_OF_BODIES, 422) if operation.takes else ()
    found = {}
    for status in sorted({*_ALWAYS, *of_body, *operation.refusals} - set(operation.answers)):
        content: dict[str, Any] = {PROBLEM: {"schema": ref("Problem")}}
        other = (operation.more or {}).get(status)
        if other:
            content[JSON] = {"schema": ref(other)}
        if status in (401, 429) and path in ("/", "/api/v1/session"):
            content[HTML] = {"schema": TEXT}
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return found
