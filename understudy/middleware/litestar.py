"""Litestar: what was decided for a request, as dependencies. See docs/frameworks.md.

@get("/", dependencies={"colour": variant("colour")})
async def home(colour: str) -> str: ...
"""

from typing import Any, cast

from prometheus_client import CollectorRegistry

from understudy.middleware.asgi import UnderstudyMiddleware
from understudy.middleware.decision import Decision
from understudy.middleware.found import decision_in, missing
from understudy.middleware.request import App
from understudy.middleware.understudy import Config, Understudy

try:
    from litestar import Litestar
    from litestar.di import Provide
    from litestar.types import Scope
except ImportError as error:
    raise missing(__name__, "Litestar", "litestar") from error

MEND = "around(Litestar(…), config=…) decides HTTP requests"


def around(
    app: Litestar,
    config: Config | None = None,
    *,
    understudy: Understudy | None = None,
    fail_open: bool = False,
    registry: CollectorRegistry | None = None,
) -> UnderstudyMiddleware:
    """*app* in the middleware, outside of its routing: in Litestar's own list it would come after that.

    Raises what `UnderstudyMiddleware` raises.
    """
    asgi = cast("App", app)  # Litestar's types name the messages one by one
    return UnderstudyMiddleware(asgi, config, understudy=understudy, fail_open=fail_open, registry=registry)


def decision() -> Provide:
    """A dependency: the decision. Raises `DecisionMissing` without the middleware, and for WebSockets."""

    async def ask(scope: Scope) -> Decision:
        return decision_in(scope, MEND)

    return Provide(ask)


def variant(flag: str) -> Provide:
    """A dependency: the variant of *flag* for this request, a string; empty when it has none."""

    async def ask(scope: Scope) -> str:
        return decision_in(scope, MEND).variant_of(flag)

    return Provide(ask)


def value(flag: str, default: Any = None) -> Provide:
    """A dependency: the value of *flag* for this request; *default* when it has none or is not known."""

    async def ask(scope: Scope) -> Any:
        return decision_in(scope, MEND).value(flag, default)

    return Provide(ask)


def enabled(flag: str, *, default: bool = False) -> Provide:
    """A dependency: whether *flag* is true for this request; *default* when it is no boolean."""

    async def ask(scope: Scope) -> bool:
        return decision_in(scope, MEND).is_enabled(flag, default=default)

    return Provide(ask)
