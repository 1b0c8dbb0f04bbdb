"""`understudy rules suggest`: proposed compare rules for people, or as a section to be pasted."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.cli.frame import CommandError
from understudy.cli.screen import console, print_json, visible
from understudy.cli.streams import print_document
from understudy.comparators import suggest
from understudy.config import write_yaml

_WHERE = "# Belongs under `compare` of what `understudy rules get` prints, for `understudy rules put`.\n"
_HOW = "`understudy report --format json -o FILE` writes one"


def from_file(path: Path, *, include_regressions: bool) -> dict[str, Any]:
    """What the report in the JSON file *path* suggests. Raises: CommandError, OSError."""
    try:
        report = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: is no JSON: {error}", _HOW) from None
    if not isinstance(report, Mapping) or not isinstance(report.get("endpoints"), list):
        raise CommandError(f"{path}: is no report: it has no endpoints", _HOW)
    return suggest(report, include_regressions=include_regressions)


def write(found: Mapping[str, Any], *, form: str) -> None:
    """Print *found* as *form*: text, json, or yaml, the ``compare`` section of a rules document."""
    if form == "json":
        print_json(found)
    elif form == "yaml":
        print_document(as_yaml(found))
    else:
        screen = console()
        for line in as_text(found):
            screen.print(line)


def as_text(found: Mapping[str, Any]) -> Iterator[str]:
    """Each rule with its reason, then what is refused by reason."""
    suggestions, refused = found["suggestions"], found["refused"]
    total = sum(item["hides"] for item in suggestions)
    rules = f"{len(suggestions)} rule{'' if len(suggestions) == 1 else 's'}"
    if suggestions:
        yield f"{rules} would have hidden {total:,} differences; --format yaml prints them to be pasted."
    else:
        yield "Nothing to suggest: there is no noise that a rule could forgive."
    for item in suggestions:
        yield ""
        yield visible(f"{item['endpoint']}  {item['path']}  ({item['kind']})")
        yield visible(f"  {_said(item['rule'])}")
        yield visible(f"  hides {item['hides']:,}: {item['why']}")
    if refused:
        yield ""
        yield "Not suggested:"
    for item in refused:
        yield visible(f"  {item['reason']}  {item['endpoint']}  {item['path']}  ({item['kind']})")
        yield visible(f"    {item['why']}")


def _said(rule: Mapping[str, Any]) -> str:
    """A rule without its endpoint, in one line of YAML."""
    rest = {key: value for key, value in rule.items() if key != "endpoint"}
    return "; ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rest.items())


def as_yaml(found: Mapping[str, Any]) -> str:
    """A ``compare`` section with one rule for each endpoint."""
    document = {"compare": merged([item["rule"] for item in found["suggestions"]])}
    return _WHERE + write_yaml(document)


def merged(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """*rules* with those of one endpoint made one."""
    whole: dict[str, dict[str, Any]] = {}
    for rule in rules:
        one = whole.setdefault(rule["endpoint"], {"endpoint": rule["endpoint"]})
        for key, value in rule.items():
            if isinstance(value, list):
                one[key] = [*one.get(key, []), *value]
            elif isinstance(value, dict):
                one[key] = {**one.get(key, {}), **value}
    return list(whole.values())
