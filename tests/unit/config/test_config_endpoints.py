"""`endpoints:` of a configuration: templates of one's own, and those of an OpenAPI file."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.config import Settings, json_schema, load, parse_settings, reloaded, summary
from understudy.config.openapi import read_openapi
from understudy.config.place import Refused
from understudy.errors import ConfigError

BASE: dict[str, Any] = {"services": {"v1": {"url": "http://127.0.0.1:9001"}}}
PATHS: dict[str, Any] = {
    "/orders/{orderId}": {"get": {}, "put": {}, "parameters": []},
    "/health": {"get": {}},
}


def parsed(endpoints: object, base: Path = Path("/etc")) -> Settings:
    return parse_settings({**BASE, "endpoints": endpoints}, base=base, environ={})


def refusal(endpoints: object, base: Path = Path("/etc")) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(endpoints, base)
    return str(caught.value)


def written(folder: Path, document: object, name: str = "api.json") -> str:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("head", "bases"),
    [
        ({"openapi": "3.0.3"}, [""]),
        ({"openapi": "3.1.0", "servers": [{"url": "https://api.example.com/v1/"}]}, ["/v1"]),
        ({"openapi": "3.1.0", "servers": [{"url": "/v1"}, {"url": "/v1/"}, {"url": "v2"}]}, ["/v1", "/v2"]),
        ({"openapi": "3.1.0", "servers": [{"url": "https://example.com"}]}, [""]),
        (
            {
                "openapi": "3.0.0",
                "servers": [{"url": "/{v}", "variables": {"v": {"default": "v1", "enum": ["v1", "v2"]}}}],
            },
            ["/v1", "/v2"],
        ),
        ({"openapi": "3.0.0", "servers": [{"url": "/{tenant}/api"}]}, ["/{tenant}/api"]),
        ({"openapi": "3.0.0", "servers": "x"}, [""]),
        ({"swagger": "2.0", "basePath": "/v1"}, ["/v1"]),
        ({"swagger": "2.0", "basePath": "/"}, [""]),
        ({"swagger": "2.0"}, [""]),
    ],
)
def test_a_file_gives_a_template_for_each_operation(
    tmp_path: Path, head: dict[str, Any], bases: list[str]
) -> None:
    """Below each base path of its servers, in the file's order."""
    name = written(tmp_path, {**head, "paths": PATHS})
    operations = [("GET", "/orders/{orderId}"), ("PUT", "/orders/{orderId}"), ("GET", "/health")]
    expected = tuple(f"{method} {base}{path}" for method, path in operations for base in bases)
    assert parsed({"openapi": name}, tmp_path).endpoints.templates == expected


def test_servers_of_a_path_and_of_an_operation_come_first(tmp_path: Path) -> None:
    """The innermost counts."""
    paths = {
        "/a": {"servers": [{"url": "/p"}], "get": {}, "post": {"servers": [{"url": "/o"}]}},
        "/b": {"$ref": "other.yaml#/b"},
        "x-notes": {},
    }
    name = written(tmp_path, {"openapi": "3.1.0", "servers": [{"url": "/v1"}], "paths": paths})
    assert read_openapi(tmp_path / name) == ["GET /p/a", "POST /o/a", "* /v1/b"]


def test_yaml_is_read_too(tmp_path: Path) -> None:
    """With dates, numbers as keys and anchors, as such files have them."""
    text = """
openapi: 3.0.3
info: {title: Shop, version: 2026-01-01}
paths:
  /orders/{id}:
    get: &get
      responses: {200: {description: ok}}
    delete: *get
"""
    (tmp_path / "api.yaml").write_text(text, encoding="utf-8")
    found = parsed({"openapi": "api.yaml", "templates": ["GET /mine"]}, tmp_path).endpoints.templates
    assert found == ("GET /mine", "GET /orders/{id}", "DELETE /orders/{id}")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("{", "a.json", "broken JSON at line 1, column 2"),
        ("a: [", "a.yaml", "broken YAML at line "),
        ("[]", "a.yaml", "is no OpenAPI document"),
        ("", "a.yaml", "is no OpenAPI document"),
        ("a: 1", "a.yaml", "says no version (openapi: 3.x"),
        ("openapi: 4.0.0", "a.yaml", 'is of version "4.0.0"'),
        ("openapi: 3.0.0", "a.yaml", "describes no paths"),
        ("openapi: 3.0.0\npaths: {/a: {}}", "a.yaml", "describes no operation"),
        ("openapi: 3.0.0\npaths: {a: {get: {}}}", "a.yaml", "did you mean /a?"),
        ("a: &a [*a]\nopenapi: 3.0.0", "a.yaml", "describes no paths"),
        ("!!python/object:os.system {}", "a.yaml", "broken YAML"),
        ("\xff", "a.json", "openapi"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, name: str, words: str) -> None:
    """The key of the configuration, the file, and what is wrong in it."""
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    told = refusal({"openapi": name}, tmp_path)
    assert told.startswith(f"endpoints.openapi: {tmp_path / name}: ")
    assert words in told


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        ({"openapi": "none.json"}, "endpoints.openapi: /etc/none.json: there is no such file"),
        ({"openapi": "."}, "endpoints.openapi: /etc: cannot be read: Is a directory"),
        ({"openapi": 3}, "endpoints.openapi: must be the name of a file"),
        ({"openap": "x"}, "did you mean openapi?"),
        ({"templates": "GET /a"}, "endpoints.templates: must be a list"),
        ({"templates": ["get /a"]}, 'endpoints.templates[0]: "get" is no method (did you mean GET?)'),
        ({"templates": ["GET a"]}, 'endpoints.templates[0]: "GET a" has no path'),
        ({"templates": ["GET /a/*"]}, "endpoints.templates[0]: a * stands for many paths"),
        ({"templates": ["GET /a?"]}, "endpoints.templates[0]: nothing follows the ?"),
        ({"templates": [3]}, "endpoints.templates[0]: must be the template of an endpoint"),
        ({"templates": ["GET /a", "GET  /a"]}, 'endpoints.templates[1]: "GET  /a" stands here twice'),
    ],
)
def test_mistakes_are_told_with_their_place(endpoints: object, words: str) -> None:
    """What is wrong where, and what was probably meant."""
    assert words in refusal(endpoints)


def test_other_processes_never_read_the_file_again(tmp_path: Path) -> None:
    """The document that workers get says the templates, so that all have the same; a reload reads it anew."""
    name = written(tmp_path, {"openapi": "3.0.0", "paths": PATHS})
    config = tmp_path / "understudy.json"
    config.write_text(json.dumps({**BASE, "endpoints": {"openapi": name}}), encoding="utf-8")
    before = load(config, {})
    (tmp_path / name).write_text("broken", encoding="utf-8")
    assert parse_settings(before.document, base=tmp_path, environ={}).endpoints == before.endpoints
    written(tmp_path, {"openapi": "3.0.0", "paths": {"/new": {"get": {}}}})
    change = reloaded(before, load(config, {}))
    assert (change.changed, change.settings.endpoints.templates) == (("endpoints",), ("GET /new",))


def test_check_tells_how_many_and_the_schema_knows_them() -> None:
    """`understudy check` counts the templates; editors know the keys."""
    assert summary(parsed({"templates": ["GET /a"]})).endpoints == "1 template, others learned"
    assert summary(parsed({})).endpoints == "learned"
    assert set(json_schema()["properties"]["endpoints"]["properties"]) == {"openapi", "templates"}


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    """UNDERSTUDY_ENDPOINTS__OPENAPI; a mistake is told under its name."""
    name = written(tmp_path, {"openapi": "3.0.0", "paths": PATHS})
    environ = {"UNDERSTUDY_ENDPOINTS__OPENAPI": name}
    assert len(parse_settings(BASE, base=tmp_path, environ=environ).endpoints.templates) == 3
    with pytest.raises(
        ConfigError, match=r"UNDERSTUDY_ENDPOINTS__OPENAPI: /etc/api\.json: there is no such file"
    ):
        parse_settings(BASE, base=Path("/etc"), environ=environ)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["/a", "/{b}", "get", "servers", "url", "variables", "v", "enum", "paths"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["paths", "servers", "basePath", "x"]), JSON))
@settings(max_examples=50)
def test_any_document_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    """Never another exception; what is read are templates."""
    folder = tmp_path_factory.mktemp("openapi")
    name = written(folder, {"openapi": "3.0.0", **document})
    with suppress(Refused):
        assert all(template.split(" ")[1].startswith("/") for template in read_openapi(folder / name))
