"""`understudy rules suggest`: from a report in a file, for people and to be pasted."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from understudy.cli import app
from understudy.comparators import parse_compare_rules
from understudy.comparators.suggest import BY_HAND
from understudy.config import parse_yaml

ESCAPED = "/body/\\u001b[2J"

REPORT: dict[str, Any] = {
    "endpoints": [
        {
            "endpoint": "GET /orders/{id}",
            "findings": [
                {
                    "path": "/body/at",
                    "kind": "value",
                    "verdict": "noise",
                    "differing": 1200,
                    "samples": [{"primary": "2026-01-01T00:00:00Z", "shadow": "2026-01-01T00:00:01Z"}],
                },
                {"path": "/body/tags", "kind": "order", "verdict": "noise", "differing": 3, "samples": []},
                {
                    "path": "/body/ref",
                    "kind": "value",
                    "verdict": "noise",
                    "differing": 5,
                    "samples": [{"primary": "9fceb02d", "shadow": "0ae598e9"}],
                },
                {"path": "/body/\x1b[2J", "kind": "missing", "verdict": "noise", "differing": 1},
            ],
        }
    ]
}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["rules", "suggest", *arguments])


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A report as `understudy report --format json` writes it."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT), encoding="utf-8")
    return str(path)


def test_the_text_has_the_reasons(file: str) -> None:
    """What each rule is, hides and why; what is refused and why; nothing that steers the terminal."""
    result = run("--report", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "3 rules would have hidden 1,208 differences; --format yaml prints them to be pasted.",
        "",
        "GET /orders/{id}  /body/at  (value)",
        '  tolerance: {"/body/at": {"seconds": 2}}',
        "  hides 1,200: times (ISO 8601), at most 1 s apart in 1 sample",
        "",
        "GET /orders/{id}  /body/tags  (order)",
        '  unordered: ["/body/tags"]',
        "  hides 3: the same items, in another order",
        "",
        "GET /orders/{id}  /body/ref  (value)",
        '  matching: {"/body/ref": "[0-9a-f]{8}"}',
        "  hides 5: hexadecimal on both sides in 1 sample",
        "",
        "Not suggested:",
        f"  STRUCTURAL  GET /orders/{{id}}  {ESCAPED}  (missing)",
        f"    what is gone breaks clients{BY_HAND.format(path=ESCAPED)}",
    ]


def test_the_yaml_can_be_pasted(file: str) -> None:
    """A compare section with one rule an endpoint, which parses."""
    result = run("--report", file, "--format", "yaml")
    document = parse_yaml(result.stdout)
    assert isinstance(document, dict)
    (rule,), problems = parse_compare_rules(document["compare"])
    assert problems == []
    assert (list(rule.matching), list(rule.tolerance), rule.unordered) == (
        ["/body/ref"],
        ["/body/at"],
        ("/body/tags",),
    )


def test_the_json_is_what_the_api_says(file: str) -> None:
    """Suggestions and refusals."""
    told = json.loads(run("--report", file, "--format", "json").stdout)
    assert [len(told[key]) for key in ("suggestions", "refused")] == [3, 1]


def test_nothing_to_suggest_is_said(tmp_path: Path) -> None:
    """In words, and as an empty section."""
    path = tmp_path / "report.json"
    path.write_text('{"endpoints": []}', encoding="utf-8")
    assert run("--report", str(path)).stdout.startswith("Nothing to suggest")
    assert parse_yaml(run("--report", str(path), "--format", "yaml").stdout) == {"compare": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "is no report"),
        ("{}", "is no report"),
        ('{"endpoints": 1}', "is no report"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With its name, and how to make one."""
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    result = run("--report", str(path))
    assert result.exit_code == 1
    assert words in result.stderr
    assert "understudy report --format json" in result.stderr


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """In a line."""
    result = run("--report", str(tmp_path / "none.json"))
    assert result.exit_code == 1
    assert "No such file" in result.stderr
