"""FastAPI: what was decided for a request, as dependencies. See docs/frameworks.md.

    @app.get("/")
    async def home(colour: Annotated[str, variant("colour")]) -> str: ...

They are coroutines, so FastAPI asks them in the event loop; each takes what evaluating the flag takes.
"""

from typing import Annotated, Any

from understudy.middleware.decision import Decision
from understudy.middleware.found import decision_in, missing

try:
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
except ImportError as error:
    raise missing(__name__, "FastAPI", "fastapi") from error

MEND = "app.add_middleware(UnderstudyMiddleware, config=…) decides HTTP requests"


async def decision(request: HTTPConnection) -> Decision:
    """The decision of *request*. Raises `DecisionMissing` without the middleware, and for WebSockets."""
    return decision_in(request.scope, MEND)


CurrentDecision = Annotated[Decision, Depends(decision)]
"""The type of a parameter that is given the request's decision."""


def variant(flag: str) -> Any:
    """A dependency: the variant of *flag* for this request, a string; empty when it has none."""

    async def ask(request: HTTPConnection) -> str:
        return decision_in(request.scope, MEND).variant_of(flag)

    return Depends(ask)


def value(flag: str, default: Any = None) -> Any:
    """A dependency: the value of *flag* for this request; *default* when it has none or is not known."""

    async def ask(request: HTTPConnection) -> Any:
        return decision_in(request.scope, MEND).value(flag, default)

    return Depends(ask)


def enabled(flag: str, *, default: bool = False) -> Any:
    """A dependency: whether *flag* is true for this request; *default* when it is no boolean."""

    async def ask(request: HTTPConnection) -> bool:
        return decision_in(request.scope, MEND).is_enabled(flag, default=default)

    return Depends(ask)
