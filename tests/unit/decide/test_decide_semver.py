"""Order of semantic versions."""

from typing import Any

import pytest

from understudy.decide.semver import parse, satisfies


@pytest.mark.parametrize(
    ("value", "operator", "target", "expected"),
    [
        ("2.0.0", "=", "2.0.0", True),
        ("2.1.0", ">", "2.0.0", True),
        ("1.9.0", "<", "2.0.0", True),
        ("1.10.0", ">", "1.9.0", True),
        ("2.0.0-alpha", "<", "2.0.0", True),
        ("2.0.0-alpha", "<", "2.0.0-alpha.1", True),
        ("2.0.0-alpha.1", "<", "2.0.0-alpha.beta", True),
        ("2.0.0-alpha.beta", "<", "2.0.0-beta", True),
        ("2.0.0-beta.2", "<", "2.0.0-beta.11", True),
        ("2.0.0-beta.11", "<", "2.0.0-rc.1", True),
        ("3.0.1", "~", "3.0.0", True),
        ("3.1.0", "~", "3.0.0", False),
        ("3.1.0", "^", "3.0.0", True),
        ("4.0.0", "^", "3.0.0", False),
        ("v1.0.0", "=", "V1.0.0", True),
        ("1", "^", "1.5.0", True),
        ("1.2", "=", "1.2.0", True),
        (1, "=", "1.0.0", True),
        (1.0, "=", "1.0.0", True),
        (1.2, ">", "1.1", True),
        ("1.0.0+build", "=", "1.0.0+other", True),
        ("1.0.0", "!=", "1.0.0", False),
        ("1.0.0", "<=", "1.0.0", True),
        ("1.0.0", ">=", "1.0.1", False),
        ("2.0.0.0", "=", "2.0.0", None),
        ("01.0.0", "=", "1.0.0", None),
        ("1.0.0-01", "=", "1.0.0", None),
        ("not-a-version", "=", "1.0.0", None),
        ("1.0.0", "===", "1.0.0", None),
        ("1.0.0", None, "1.0.0", None),
        (True, "=", "1.0.0", None),
        (None, "=", "1.0.0", None),
        ("", "=", "1.0.0", None),
        ("1.0.0\n", "=", "1.0.0", None),
        ("\u0661.0.0", "=", "1.0.0", None),
    ],
)
def test_versions_compare_by_precedence(
    value: Any, operator: Any, target: Any, expected: bool | None
) -> None:
    """semver.org's precedence and flagd's leniency; null for anything that is no version."""
    assert satisfies(value, operator, target) is expected


def test_a_huge_prerelease_is_read() -> None:
    """Identifiers longer than Python turns into a number still compare."""
    assert parse("1.0.0-" + "1" * 8000) is not None
