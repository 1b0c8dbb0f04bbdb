"""Flask: the middleware around an application, and what was decided, in ``g``. See docs/frameworks.md.

init_app(app, config="understudy.yaml")

@app.get("/")
def home() -> str:
    return render_template(f"home-{current_variant('front_page')}.html")
"""

from prometheus_client import CollectorRegistry

from understudy.middleware.decision import Decision
from understudy.middleware.found import KEY, decision_in, missing
from understudy.middleware.understudy import Config, Understudy
from understudy.middleware.wsgi import UnderstudyWSGIMiddleware

try:
    from flask import Flask, g, request
except ImportError as error:
    raise missing(__name__, "Flask", "flask") from error

MEND = "init_app(app, config=…) puts the middleware around the application"


def init_app(
    app: Flask,
    config: Config | None = None,
    *,
    understudy: Understudy | None = None,
    fail_open: bool = False,
    registry: CollectorRegistry | None = None,
) -> UnderstudyWSGIMiddleware:
    """Put the middleware around *app*, and the decision in ``g.understudy`` for views and templates.

    The middleware is what is returned, for its `report` and `stop`. Raises RuntimeError when *app* has one,
    and what `UnderstudyWSGIMiddleware` raises.
    """
    if KEY in app.extensions:
        raise RuntimeError("this application has the middleware already")
    middleware = UnderstudyWSGIMiddleware(
        app.wsgi_app, config, understudy=understudy, fail_open=fail_open, registry=registry
    )
    app.wsgi_app = middleware  # type: ignore[method-assign]
    app.extensions[KEY] = middleware
    app.before_request(_tell)
    return middleware


def current_decision() -> Decision:
    """The decision of the present request. Raises `DecisionMissing` without the middleware."""
    return decision_in(request.environ, MEND)


def current_variant(flag: str) -> str:
    """The variant of *flag* for the present request; empty when it has none or is not known."""
    return current_decision().variant_of(flag)


def _tell() -> None:
    g.understudy = request.environ.get(KEY)
