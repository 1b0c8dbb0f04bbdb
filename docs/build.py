"""Write docs/reference/ from the code, so that it cannot drift: commands, configuration, metrics."""

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs`. Change the code instead. -->\n\n"
WIDTH = 100

# How a family is made in the code, and what it is to Prometheus.
FAMILIES = {
    "CounterMetricFamily": "counter",
    "_counter": "counter",
    "GaugeMetricFamily": "gauge",
    "HistogramMetricFamily": "histogram",
    "_family": "histogram",
}


def main() -> None:
    """Write every page; the list of pages is the dictionary below."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    pages = {
        "commands.md": commands(),
        "configuration.md": configuration(),
        "configuration.schema.json": schema_text(),
        "admin.md": admin(),
        "metrics.md": metrics(),
    }
    for name, text in pages.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"docs/reference: {', '.join(pages)}\n")


def commands() -> str:
    """The help of every command, as a terminal shows it."""
    import typer.main

    from understudy.cli import app

    root = typer.main.get_command(app)
    sections = [f"## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in _helps(root, "understudy")]
    return f"{NOTE}# Commands\n\n" + "\n".join(sections)


def _helps(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield context.command_path, command.get_help(context)
    for inner in getattr(command, "commands", {}).values():
        if not inner.hidden:
            yield from _helps(inner, inner.name, context)


def configuration() -> str:
    """Every setting with its default and what it means, from the JSON Schema."""
    from understudy.config import json_schema

    rows = [
        f"| `{path}` | {_default(entry)} | {_cell(entry.get('description', ''))} |"
        for path, entry in _settings(json_schema(), "")
    ]
    table = "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])
    schema = "For editors there is a JSON Schema: [configuration.schema.json](configuration.schema.json), or"
    return f"{NOTE}# Configuration\n\n{schema} `understudy schema`.\n\n{table}\n"


def _settings(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, entry in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        named = entry.get("additionalProperties")
        yield path, entry
        yield from _settings(entry, f"{path}.")
        if isinstance(named, Mapping):
            yield from _settings(named, f"{path}.NAME.")


def _default(entry: Mapping[str, Any]) -> str:
    return f"`{json.dumps(entry['default'])}`" if "default" in entry else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def schema_text() -> str:
    """The JSON Schema of the configuration."""
    from understudy.config import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def admin() -> str:
    """Every path of the admin server with its methods and what it does, from its routes."""
    from typing import cast

    from understudy.admin import ControlPlane, create_admin

    # The routes are read, no request is made: nothing asks the control plane anything.
    routes = create_admin(cast("ControlPlane", None)).routes
    rows = [row for route in routes for row in _endpoint(route)]
    table = "\n".join(["| path | method | role | answer |", "|---|---|---|---|", *rows])
    return (
        f"{NOTE}# Admin API\n\nOn `admin.listen`, which is an address of this machine. Each path needs a role"
        ": evaluator, viewer, operator, editor or admin, each of which may do what the one before it may."
        " Who asks shows a token (`Authorization: Bearer TOKEN`; `understudy token create`). The role"
        " counts in the environment that the path names, else in that of the process; everywhere means in"
        " all of them."
        " Until the first token is made every user of the machine may do everything, and"
        " `GET /api/v1/access` says so. "
        "Errors are `application/problem+json` (RFC 9457). Every change of the rules makes a new version, "
        'which its `ETag` names: `PUT` says with `If-Match: "12"` which one it replaces, or with `*` any.\n\n'
        f"{table}\n"
    )


def _endpoint(route: Any) -> Iterator[str]:
    from understudy.admin.rights import SHARED, TARGET, needed

    path = str(route.path).replace(":path", "")
    if not hasattr(route, "methods"):
        says = _cell(route.endpoint.__doc__ or "")
        yield f"| `{path}` | WebSocket | {needed(route.path, 'GET')} | {says} |"
        return
    for method in sorted(route.methods - {"HEAD"}):
        role = needed(route.path, method)
        role = f"{role}; {TARGET[route.path, method]} in `to`" if (route.path, method) in TARGET else role
        role = f"{role} everywhere" if route.path in SHARED else role
        yield f"| `{path}` | `{method}` | {role} | {_cell(route.endpoint.__doc__ or '')} |"


def metrics() -> str:
    """Every metric family that the code makes, with its labels."""
    rows = sorted(row for path in (ROOT / "understudy").rglob("*.py") for row in _families(path))
    table = "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])
    return f"{NOTE}# Metrics\n\n`GET /metrics` of the admin API: all workers summed.\n\n{table}\n"


def _families(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        kind = FAMILIES.get(_called(node))
        if not isinstance(node, ast.Call) or kind is None:
            continue
        given = [_constant(argument) for argument in (*node.args, *(word.value for word in node.keywords))]
        if len(given) < 2 or not str(given[0]).startswith("understudy_"):
            continue
        name, text, labels = str(given[0]), str(given[1]), given[2] if len(given) > 2 else []
        labels = [labels] if isinstance(labels, str) else labels or []
        suffix = "_total" if kind == "counter" else ""
        yield f"| `{name}{suffix}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {_cell(text)} |"


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


if __name__ == "__main__":
    main()
