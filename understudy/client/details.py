"""Answers as an application gets them: a value of the type it asked for, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from understudy.decide import Evaluation

T = TypeVar("T")

KINDS: Final[Mapping[type, str]] = {
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "float",
    dict: "object",
    list: "object",
}
"""What a caller expects, by the type of his default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details(Generic[T]):
    """What a flag answered, and why.

    ``value`` is the caller's default, ``variant`` empty and ``is_default`` true where the flag gave none: it
    is disabled, has no default variant, or something is wrong. ``reason``: STATIC, DEFAULT, TARGETING_MATCH,
    DISABLED, KILLED or ERROR, and then ``error_code`` is FLAG_NOT_FOUND, PARSE_ERROR, TYPE_MISMATCH, GENERAL
    or PROVIDER_NOT_READY. ``version`` of the rules; None when unknown.
    """

    flag: str
    value: T
    variant: str
    reason: str
    error_code: str = ""
    error_details: str = ""
    version: int | None = None
    is_default: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


def details_of(
    flag: str, found: Evaluation, default: Any, *, version: int | None, kind: str = ""
) -> Details[Any]:
    """*found*, for a caller that expects *kind*, or takes whatever it is when that is empty."""
    fitting = found.expecting(kind) if kind else found
    return Details(
        flag=flag,
        value=copied(fitting.value) if fitting.variant else default,
        variant=fitting.variant,
        reason=fitting.reason,
        error_code=fitting.error_code,
        error_details=fitting.error_details,
        version=version,
        is_default=not fitting.variant,
        metadata=dict(fitting.metadata),
    )


def copied(value: Any) -> Any:
    """*value*, a JSON one, for a caller who may change it."""
    if type(value) is dict:
        return {name: copied(inner) for name, inner in value.items()}
    if type(value) is list:
        return [copied(inner) for inner in value]
    return value


def kind_of(default: object) -> str:
    """What a caller expects; empty for None, who takes any. Raises: TypeError."""
    if default is None:
        return ""
    kind = KINDS.get(type(default)) or next((KINDS[base] for base in KINDS if isinstance(default, base)), "")
    if not kind:
        raise TypeError(
            f"a default is a boolean, text, number, dict, list or None, not {type(default).__name__}"
        )
    return kind


def check_default(default: object, kinds: tuple[type, ...]) -> None:
    """Raises: TypeError unless *default* is of one of *kinds*, or of a class of its own of that kind.

    True is no number.
    """
    if not isinstance(default, kinds) or (isinstance(default, bool) and bool not in kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"the default is of the type asked for, {names}, not {type(default).__name__}")
