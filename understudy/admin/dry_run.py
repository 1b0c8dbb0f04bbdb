"""What a dry run is asked to show: ``?dry_run=true``, and for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request

from understudy.admin.movement import UNITS
from understudy.admin.refusal import Refusal
from understudy.config import parse_json
from understudy.errors import ConfigError

MOST_UNITS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The ``units`` to draw for, each with ``context`` beside it."""

    units: Sequence[str] = UNITS
    context: Mapping[str, Any] = field(default_factory=dict)


def read_dry_run(request: Request) -> DryRun | None:
    """The dry run that the query asks for; None when the request means it. Raises: Refusal 400.

    ``unit`` (as often as there are units, up to 1,000) takes the place of the 10,000 that are made up,
    ``context`` is a JSON object with the attributes that rules look at.
    """
    if not is_dry(request):
        return None
    units = request.query_params.getlist("unit")
    if len(units) > MOST_UNITS:
        raise Refusal(400, f"unit may stand in the query {MOST_UNITS} times")
    return DryRun(units=units or UNITS, context=_context(request.query_params.get("context", "{}")))


def is_dry(request: Request) -> bool:
    """Whether nothing is to be stored. Raises: Refusal 400."""
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise Refusal(400, "dry_run is true or false")
    return text == "true"


def _context(text: str) -> Mapping[str, Any]:
    try:
        found = parse_json(text)
    except ConfigError as error:
        raise Refusal(400, f"context: {error}") from None
    if not isinstance(found, Mapping):
        raise Refusal(400, 'context is a JSON object, like {"email": "ann@example.com"}')
    return found
