"""The decision of the present request, where the helpers for frameworks look for it."""

from collections.abc import Mapping
from typing import Any

from understudy.errors import DecisionMissing
from understudy.middleware.decision import KEY, Decision

__all__ = ["KEY", "decision_in", "missing"]


def decision_in(place: Mapping[str, Any], mend: str) -> Decision:
    """The decision in *place*, a scope or an environment. Raises `DecisionMissing` with *mend*."""
    found = place.get(KEY)
    if not isinstance(found, Decision):
        raise DecisionMissing(f"nothing was decided for this request: {mend}")
    return found


def missing(module: str, framework: str, extra: str) -> ImportError:
    """What is raised when *module* is imported without *framework*, which is never installed unasked."""
    return ImportError(f"{module} needs {framework}: pip install 'understudy[{extra}]'", name=extra)
