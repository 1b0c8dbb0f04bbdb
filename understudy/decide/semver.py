"""Order of semantic versions (semver.org 2.0.0), as the `sem_ver` operation of flagd reads them."""

import re

from understudy.decide.coercion import Json, joined

Version = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
"""Major, minor, patch, prerelease; the prerelease is made so that tuples compare by precedence."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "^", "~")

_NUMBER = r"(0|[1-9]\d{0,17})"
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"[vV]?{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
# Sorts after every prerelease: a version without one is the newer.
_RELEASE: tuple[tuple[int, int, str], ...] = ((2, 0, ""),)


def parse(value: Json) -> Version | None:
    """*value* as a version, None when it is none.

    As in flagd: a leading v is dropped, missing parts are 0, numbers count as their text and build
    metadata is ignored.
    """
    if type(value) not in (str, int, float):
        return None
    found = _VERSION.fullmatch(value if type(value) is str else joined(value))
    if not found:
        return None
    major, minor, patch, prerelease = found.groups()
    rest = _RELEASE if prerelease is None else _prerelease(prerelease)
    return int(major), int(minor or 0), int(patch or 0), rest


def _prerelease(identifiers: str) -> tuple[tuple[int, int, str], ...]:
    return tuple(
        (0, int(part), "") if part.isdigit() and len(part) < 4000 else (1, 0, part)
        for part in identifiers.split(".")
    )


def compare(left: Version, operator: str, right: Version) -> bool | None:
    """Whether ``left operator right``; ``^`` same major, ``~`` same major and minor.

    None when there is no such operator.
    """
    match operator:
        case "=":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "^":
            return left[0] == right[0]
        case "~":
            return left[:2] == right[:2]
    return None


def satisfies(value: Json, operator: Json, target: Json) -> bool | None:
    """The `sem_ver` operation: None on anything but two versions and an operator between them."""
    if type(operator) is not str:
        return None
    left, right = parse(value), parse(target)
    return None if left is None or right is None else compare(left, operator, right)
