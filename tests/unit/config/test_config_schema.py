"""The JSON Schema accepts what loads, refuses what cannot, and explains every default."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from understudy.comparators import CompareRule
from understudy.config import (
    AdminSettings,
    Ejection,
    HealthCheck,
    Limits,
    OriginTls,
    RedactSettings,
    Service,
    Settings,
    ShadowSettings,
    json_schema,
    read_file,
)
from understudy.config.setting import Kind, alternatives_of, default_of, reason, settings_of
from understudy.decide import Route

EXAMPLES = Path(__file__).parents[3] / "examples"
SECTIONS = (
    Settings,
    AdminSettings,
    Service,
    OriginTls,
    HealthCheck,
    Ejection,
    ShadowSettings,
    Limits,
    RedactSettings,
)
TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether *value* is valid under the keywords of JSON Schema that ours uses."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    checks = [
        not types or any(TYPES[name](value) for name in types),
        "enum" not in schema or value in schema["enum"],
        "anyOf" not in schema or any(fits(value, option) for option in schema["anyOf"]),
        "oneOf" not in schema or sum(fits(value, option) for option in schema["oneOf"]) == 1,
    ]
    if isinstance(value, str):
        checks.append(re.search(schema.get("pattern", ""), value) is not None)
    if isinstance(value, dict):
        checks.append(_fits_object(value, schema))
    if isinstance(value, list):
        checks.append(len(value) >= schema.get("minItems", 0))
        checks.extend(fits(item, schema.get("items", {})) for item in value)
    if TYPES["number"](value):
        checks.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        checks.append("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
    return all(checks)


def _fits_object(value: dict[str, Any], schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", {})
    checks = [
        set(schema.get("required", ())) <= set(value),
        schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)),
        *(fits(key, schema.get("propertyNames", {})) for key in value),
    ]
    for key, item in value.items():
        allowed = properties.get(key, others)
        checks.append(allowed is not False and fits(item, {} if allowed is True else allowed))
    return all(checks)


@pytest.mark.parametrize("name", ["understudy.yaml", "minimal.yaml"])
def test_the_examples_fit(name: str) -> None:
    """An editor shows no complaint in the files we hand out."""
    assert fits(read_file(EXAMPLES / name), json_schema())


@pytest.mark.parametrize(
    "changes",
    [
        {"listn": "127.0.0.1:80"},
        {"workers": 0},
        {"workers": "one"},
        {"services": {}},
        {"services": {"v1": {"url": "http://a/b"}}},
        {"services": {"v 1": {"url": "http://a"}}},
        {"services": {"v1": {"url": "http://a", "tls": True}}},
        {"services": {"v1": {}}},
        {"services": {"v1": {"url": "http://a", "origins": ["http://b"]}}},
        {"services": {"v1": {"origins": []}}},
        {"services": {"v1": {"url": "http://a", "health": {"status": ["2x"]}}}},
        {"services": {"v1": {"url": "http://a", "balance": "random"}}},
        {"shadow": {"control": 2}},
        {"shadow": {"timeout": "5 parsecs"}},
        {"shadow": {"budget": "64 bytes"}},
        {"store": "mysql://r"},
        {"listen": []},
        {"routes": [{"path": "/"}]},
        {"routes": [{"flag": "a", "serve": "b"}]},
        {"routes": [{"flag": "a", "unit": "uid"}]},
        {"flags": {"a b": {"state": "ENABLED", "variants": {"x": {"serve": "v1"}}}}},
        {"flags": {"a": {"state": "ON", "variants": {"x": {"serve": "v1"}}}}},
        {"compare": [{"ignore": ["/a"]}]},
        {"compare": [{"endpoint": "*", "tolerance": {"/a": {"absolut": 1}}}]},
    ],
)
def test_what_cannot_load_does_not_fit(changes: dict[str, Any]) -> None:
    """An editor marks the usual mistakes while they are typed."""
    least = {"services": {"v1": {"url": "http://127.0.0.1:9001"}}}
    assert fits(least, json_schema())
    assert not fits({**least, **changes}, json_schema())


def test_the_schema_is_json() -> None:
    """It names its draft and survives being printed."""
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_knows_every_key() -> None:
    """Settings are derived; routes and compare rules are held to what is really read."""
    properties = json_schema()["properties"]
    assert set(properties["routes"]["items"]["properties"]) == {
        entry.name for entry in dataclasses.fields(Route)
    }
    assert set(properties["compare"]["items"]["properties"]) == {
        entry.name for entry in dataclasses.fields(CompareRule)
    }
    assert {"flags", "$evaluators", "metadata", "killed"} <= set(properties)
    assert properties["shadow"]["properties"]["budget"]["default"] == "64MiB"
    assert properties["shadow"]["properties"]["timeout"]["default"] == "5s"


def _scalars() -> list[tuple[type, str, Kind, Any]]:
    return [
        (section, key, kind, entry)
        for section in SECTIONS
        for key, kind, entry in settings_of(section)
        if kind.section is None and key not in alternatives_of(section)
    ]


@pytest.mark.parametrize(("section", "key", "kind", "entry"), _scalars())
def test_every_default_has_a_reason_and_fits(section: type, key: str, kind: Kind, entry: Any) -> None:
    """A default without a reason is a guess; one that its own schema refuses is a mistake."""
    default = default_of(entry)
    if default is dataclasses.MISSING:
        assert not reason(entry)
    else:
        assert len(reason(entry)) > 15
        assert fits(kind.written(default), kind.schema)
