"""The JSON Schema of the configuration file, for editors. `check` knows more than a schema can say."""

from dataclasses import MISSING
from typing import Any

from understudy.config.flags import VARIANT_KEYS
from understudy.config.names import NAME_PATTERN
from understudy.config.routes import UNIT_PATTERN
from understudy.config.setting import Kind, alternatives_of, default_of, description, settings_of
from understudy.config.settings import Settings

_METHODS = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[A-Z][A-Z0-9_-]*$"},
    "uniqueItems": True,
}
_PATH = {"type": "string", "pattern": "^/[^?#]*$"}
_NAME = {"type": "string", "pattern": NAME_PATTERN}
_POINTERS = {"type": "array", "items": {"type": "string", "pattern": "^/"}}
_AMOUNT = {"type": "number", "minimum": 0}
_TOLERANCE = {
    "anyOf": [
        _AMOUNT,
        {
            "type": "object",
            "properties": {"absolute": _AMOUNT, "relative": _AMOUNT, "seconds": _AMOUNT},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
    ]
}


def json_schema() -> dict[str, Any]:
    """The schema of the whole file (draft 2020-12), derived from the settings."""
    settings = _object(Settings)
    settings["properties"].update(_rules())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Understudy configuration",
        "description": "One file for `understudy serve`. Unknown keys are mistakes.",
        **settings,
    }


def _object(section: type) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key, kind, entry in settings_of(section):
        properties[key] = {**_of_kind(kind), "description": description(entry)}
        default = default_of(entry)
        if default is MISSING:
            required.append(key)
        elif kind.section is None and kind.written(default) != "" and key not in alternatives_of(section):
            properties[key]["default"] = kind.written(default)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if alternatives_of(section):
        schema["oneOf"] = [{"required": [key]} for key in alternatives_of(section)]
    return schema


def _of_kind(kind: Kind) -> dict[str, Any]:
    if kind.section is None:
        return dict(kind.schema)
    inner = _object(kind.section)
    return {**kind.schema, "additionalProperties": inner} if kind.is_named else inner


def _rules() -> dict[str, Any]:
    return {
        "flags": {
            "type": "object",
            "description": "Flags as flagd defines them. Those that a route names have variants with serve.",
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": _flag(),
        },
        "$evaluators": {
            "type": "object",
            "description": "Targeting rules that flags share: {$ref: NAME}.",
        },
        "metadata": {
            "type": "object",
            "description": "Metadata of all flags, for example hashVersion.",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "routes": {
            "type": "array",
            "description": "The first route that matches a request decides which flag it consults.",
            "items": _route(),
        },
        "compare": {
            "type": "array",
            "description": "What may differ between two answers of an endpoint.",
            "items": _compare(),
        },
        "killed": {
            "type": "array",
            "description": "Flags put on their safe variant, before any other rule.",
            "items": _NAME,
            "uniqueItems": True,
        },
    }


def _flag() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "state": {"enum": ["ENABLED", "DISABLED"]},
            "variants": {
                "type": "object",
                "description": "For a routing flag: {serve: SERVICE, mirror: [SERVICE…], control: SERVICE}.",
                "minProperties": 1,
                "propertyNames": {"pattern": NAME_PATTERN},
                "additionalProperties": {
                    "anyOf": [_variant(), {"type": ["string", "number", "boolean", "object"]}]
                },
            },
            "defaultVariant": {
                "type": ["string", "null"],
                "description": "The variant whenever no rule decides.",
            },
            "targeting": {"type": "object", "description": "JSONLogic with flagd's operations."},
            "metadata": {"type": "object"},
        },
        "required": ["variants"],
    }


def _variant() -> dict[str, Any]:
    what = {
        "serve": {**_NAME, "description": "The service that answers."},
        "mirror": {"type": "array", "items": _NAME, "description": "Services that get a copy."},
        "control": {**_NAME, "description": "Who is asked the second time, instead of serve."},
    }
    properties = {key: what[key] for key in VARIANT_KEYS}
    return {"type": "object", "properties": properties, "required": ["serve"], "additionalProperties": False}


def _route() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "path": {**_PATH, "description": "Prefix on segment borders; / matches all.", "default": "/"},
            "exact": {**_PATH, "description": "Exactly this path."},
            "template": {**_PATH, "description": "Each {name} is one segment: /orders/{id}."},
            "host": {"type": "string", "description": "example.com or *.example.com"},
            "methods": {**_METHODS, "description": "Only these; all when absent."},
            "flag": {**_NAME, "description": "The flag whose variant decides."},
            "serve": {**_NAME, "description": "Without a flag: always this service."},
            "unit": {
                "type": "string",
                "pattern": UNIT_PATTERN,
                "description": "What stays together: header:NAME, cookie:NAME, query:NAME, ip.",
            },
            "mirror_methods": {
                **_METHODS,
                "description": "Methods that may be copied. Default: the safe ones, which change nothing.",
                "default": ["GET", "HEAD", "OPTIONS"],
            },
            "name": {"type": "string", "description": "Label in metrics; the path when absent."},
        },
        "oneOf": [{"required": ["flag"]}, {"required": ["serve"]}],
        "additionalProperties": False,
    }


def _compare() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "endpoint": {
                "type": "string",
                "description": "METHOD /template, with ?name=value where the query matters, or * for all.",
            },
            "ignore": {**_POINTERS, "description": "Paths that may differ, with all below."},
            "matching": {
                "type": "object",
                "description": "Path → the pattern that both values match, however they differ.",
                "additionalProperties": {"type": "string"},
            },
            "unordered": {**_POINTERS, "description": "Lists, also in a header, whose order means nothing."},
            "key": {
                "type": "object",
                "description": "List → the field that names an item, or the fields that do so together.",
                "additionalProperties": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    ]
                },
            },
            "tolerance": {
                "type": "object",
                "description": "Path → how far apart values may be: 0.01, {relative: 0.05}, {seconds: 5}.",
                "additionalProperties": _TOLERANCE,
            },
            "only": {**_POINTERS, "description": "When given, nothing else of the same part counts."},
        },
        "required": ["endpoint"],
        "additionalProperties": False,
    }
