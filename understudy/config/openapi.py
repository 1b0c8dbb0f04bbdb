"""The endpoints that an OpenAPI file describes (Swagger 2.0, OpenAPI 3.x; JSON or YAML)."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from understudy.config.place import Refused, shown

MOST_BYTES = 32 * 1024 * 1024
"""Such files describe every field, so they are longer than what else people write; some have 10 MiB."""

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MOST_BASES = 20
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's takes a second where PyYAML's own takes ten."""


def read_openapi(path: Path) -> list[str]:
    """The templates of every operation, ``METHOD /base/path``, in the file's order. Raises: Refused."""
    document = _document(path)
    version = document.get("openapi", document.get("swagger"))
    if not re.fullmatch(r"(2\.0|3\.\d+(\.\d+)?.*)", str(version)):
        what = "says no version" if version is None else f"is of version {shown(version)}"
        raise Refused(f"{path}: {what}", "openapi: 3.x or swagger: 2.0 stands at its top")
    paths = document.get("paths")
    if not isinstance(paths, Mapping) or not paths:
        raise Refused(f"{path}: describes no paths", "paths: {/orders: {get: …}}")
    bases = [_base_path(document)] if "swagger" in document else _bases(document.get("servers"))
    templates = dict.fromkeys(
        template for text, item in paths.items() for template in _operations(str(text), item, bases, path)
    )
    if not templates:
        raise Refused(f"{path}: describes no operation", "paths: {/orders: {get: …}}")
    return list(templates)


def _operations(text: str, item: object, bases: list[str], file: Path) -> Iterator[str]:
    if text.startswith("x-"):
        return
    if not text.startswith("/"):
        raise Refused(f"{file}: the path {shown(text)} does not start with /", f"did you mean /{text}?")
    text = re.sub(r"\s", "%20", text.partition("#")[0])
    entry = item if isinstance(item, Mapping) else {}
    own = _bases(entry["servers"]) if "servers" in entry else bases
    methods = [method for method in METHODS if method in entry]
    for method in methods:
        operation = entry[method] if isinstance(entry[method], Mapping) else {}
        for base in _bases(operation["servers"]) if "servers" in operation else own:
            yield f"{method.upper()} {base}{text}"
    if not methods and "$ref" in entry:
        for base in own:
            yield f"* {base}{text}"  # what stands in another file is not looked for


def _document(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise Refused(f"{path}: there is no such file") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MOST_BYTES:
        raise Refused(f"{path}: is larger than {MOST_BYTES // 1024 // 1024} MiB")
    document = _parsed(raw, path)
    if not isinstance(document, Mapping):
        raise Refused(f"{path}: is no OpenAPI document, but {shown(document)}")
    return document


def _parsed(raw: bytes, path: Path) -> object:
    try:
        text = raw.decode("utf-8-sig")
        if text.lstrip()[:1] == "{":
            try:
                return json.loads(text)
            except json.JSONDecodeError as error:
                if path.suffix == ".json":
                    where = f"line {error.lineno}, column {error.colno}"
                    raise Refused(f"{path}: broken JSON at {where}: {error.msg}") from None
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, libyaml's or PyYAML's own
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: is not UTF-8 text, at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Refused(f"{path}: broken YAML{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise Refused(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None


def _base_path(document: Mapping[str, Any]) -> str:
    """The path before all others in Swagger 2.0."""
    base = document.get("basePath")
    return _path_of(base) if isinstance(base, str) else ""


def _bases(servers: object) -> list[str]:
    """The different paths of *servers*, without a slash at their ends; one empty one when there are none."""
    found: dict[str, None] = {}
    for server in servers if isinstance(servers, list) else []:
        if isinstance(server, Mapping) and isinstance(server.get("url"), str):
            for url in _urls(server["url"], server.get("variables")):
                found[_path_of(url)] = None
    return list(found)[:MOST_BASES] or [""]


def _urls(url: str, variables: object) -> Iterator[str]:
    """*url* with each value that its variables may have; one without any stays a placeholder."""
    names = list(dict.fromkeys(_VARIABLE.findall(url)))
    known = variables if isinstance(variables, Mapping) else {}
    choices = [_values(name, known.get(name)) for name in names]
    for number, values in enumerate(product(*choices)):
        if number >= MOST_BASES:
            return
        text = url
        for name, value in zip(names, values, strict=True):
            text = text.replace(f"{{{name}}}", value)
        yield text


def _values(name: str, variable: object) -> list[str]:
    if not isinstance(variable, Mapping):
        return [f"{{{name}}}"]
    listed = variable.get("enum")
    values = [variable.get("default"), *(listed if isinstance(listed, list) else [])]
    return list(dict.fromkeys(str(value) for value in values if value is not None)) or [f"{{{name}}}"]


def _path_of(url: str) -> str:
    """The path of a server's URL, which may be relative."""
    try:
        path = urlsplit(url).path if "://" in url else url.partition("?")[0]
    except ValueError:
        return ""
    path = re.sub(r"\s", "%20", path.strip().strip("/").partition("#")[0])
    return f"/{path}" if path and path != "." else ""
