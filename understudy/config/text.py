"""Text of a file → one plain value: mappings with text keys, lists, text, numbers, booleans, null.

YAML is read by its 1.2 core rules, so ``on``, ``off``, ``yes``, ``no`` and dates stay text: flagd files
name variants ``on`` and ``off``. Two keys of one name are refused, as is anything that JSON cannot say.
"""

import json
import re
from collections import Counter
from pathlib import Path

import yaml

from understudy.config.place import Place, shown
from understudy.config.plain import DEEPEST, MOST_VALUES, plain, unsayable
from understudy.errors import ConfigError, Problem

MOST_BYTES = 4 * 1024 * 1024
"""10,000 flags take about 3 MiB; nothing larger was written by a person."""
_TAG = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """The YAML 1.2 core schema (yaml.org/spec/1.2.2, 10.3.2), in place of PyYAML's 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML keeps its resolvers in this class attribute


class _CoreDumper(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else than text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML calls it by this signature
        """Every value is written out: a document that people edit has no anchors."""
        return True


for _kind, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)
    _CoreDumper.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)


def read_file(path: Path) -> object:
    """The plain value in the file at *path*; JSON when its name ends in ``.json``, else YAML.

    Raises: ConfigError when it cannot be read or is not such a text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _refused(f"{path}: there is no such file", "name one with -c FILE") from None
    except IsADirectoryError:
        raise _refused(f"{path}: is a directory, not a file", f"perhaps {path / 'understudy.yaml'}") from None
    except OSError as error:
        raise _refused(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_bytes(raw, str(path), is_json=path.suffix == ".json")


def parse_bytes(raw: bytes, name: str, *, is_json: bool = False) -> object:
    """The plain value in *raw*, JSON or YAML in UTF-8, which messages call *name*.

    Raises: ConfigError when it is not such a text, or longer than ``MOST_BYTES``.
    """
    if len(raw) > MOST_BYTES:
        raise _refused(f"{name}: is larger than {MOST_BYTES // 1024 // 1024} MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(f"{name}: is not UTF-8 text, at byte {error.start}") from None
    if not text.strip():
        raise _refused(f"{name}: is empty", "examples/minimal.yaml shows the least that is needed")
    return parse_json(text) if is_json else parse_yaml(text)


def parse_yaml(text: str) -> object:
    """The plain value that the one YAML document in *text* says.

    Raises: ConfigError with line and column; with every duplicate key.
    """
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _refused(f"broken YAML{where}: {what}") from None
    except yaml.YAMLError as error:
        raise _refused(f"broken YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise _refused(f"is nested deeper than {DEEPEST} levels") from None
    except (ValueError, OverflowError) as error:
        # PyYAML lets a \U escape beyond Unicode reach chr().
        raise _refused(f"broken YAML: {error}") from None
    walk = _Walk()
    value = walk.value(node, Place(problems=walk.problems), 0)
    if walk.problems:
        raise ConfigError(tuple(walk.problems))
    return value


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Plain and single-quoted scalars fold NEL, LS and PS into line breaks; escapes keep them.
    return dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_CoreDumper.add_representer(str, _represent_text)


def write_yaml(value: object) -> str:
    """The plain *value* as YAML that `parse_yaml` reads back as the same."""
    text = yaml.dump(value, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=100)
    return str(text)


def parse_json(text: str) -> object:
    """The plain value that the JSON *text* says. Raises: ConfigError with line and column."""
    problems: list[Problem] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        document = dict(pairs)
        if len(document) < len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            problems.append(Problem(path="", message=f"duplicate key {shown(twice)}"))
        return document

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise _refused(f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _refused(f"is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise _refused(f"broken JSON: {error}") from None
    place = Place(problems=problems)
    value = plain(value, place)
    if problems:
        raise ConfigError(tuple(problems))
    return value


class _Walk:
    """One pass over a YAML node graph, counting every value that aliases repeat."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._left = iter(range(MOST_VALUES))
        self._open: set[int] = set()

    def value(self, node: yaml.Node | None, place: Place, depth: int) -> object:
        if next(self._left, None) is None:
            raise _refused(f"holds more than {MOST_VALUES:,} values once its anchors are expanded")
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if id(node) in self._open:
            raise _refused(f"the anchor on line {_line(node)} contains itself")
        if depth >= DEEPEST:
            raise _refused(f"is nested deeper than {DEEPEST} levels, on line {_line(node)}")
        if node.tag not in {_TAG + "map", _TAG + "seq"}:
            place.refuse(f"the tag {_tag(node)} on line {_line(node)} is not allowed")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place, depth)
            return [self.value(entry, place.item(i), depth + 1) for i, entry in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, object]:
        document: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged = {**self._merge(value_node, place, depth), **merged}
                continue
            key = self.value(key_node, place, depth + 1)
            if not isinstance(key, str):
                hint = f'quote it: "{key_node.value}"' if isinstance(key_node, yaml.ScalarNode) else ""
                place.refuse(f"the key on line {_line(key_node)} is not text", hint)
                continue
            if key in lines:
                place.key(key).refuse(f"duplicate key on line {_line(key_node)}, first on line {lines[key]}")
                continue
            lines[key] = _line(key_node)
            document[key] = self.value(value_node, place.key(key), depth + 1)
        return {**merged, **document} if merged else document

    def _merge(self, node: yaml.Node, place: Place, depth: int) -> dict[str, object]:
        """What ``<<`` brings in: a mapping, or a list of them of which the first wins."""
        value = self.value(node, place, depth + 1)
        merged: dict[str, object] = {}
        for part in reversed(value if isinstance(value, list) else [value]):
            if isinstance(part, dict):
                merged.update(part)
            else:
                place.refuse(f"<< on line {_line(node)} must name mappings")
        return merged

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> object:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        if kind not in {"str", "null", "bool", "int", "float"}:
            place.refuse(f"the tag {_tag(node)} on line {_line(node)} is not allowed")
            return None
        try:
            value = _scalar_value(kind, text)
        except (ValueError, KeyError):
            place.refuse(f"{shown(text)} on line {_line(node)} cannot be read as {_tag(node)}")
            return None
        message = unsayable(value)
        if message:
            place.refuse(f"{message} (line {_line(node)})")
            return None
        return value


def _scalar_value(kind: str, text: str) -> object:
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    if kind == "int":
        base = {"0x": 16, "0o": 8}.get(text[:2], 10)
        return int(text, base)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None


def _tag(node: yaml.Node) -> str:
    tag = str(node.tag)
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _refused(message: str, hint: str = "") -> ConfigError:
    return ConfigError((Problem(path="", message=message, hint=hint),))
