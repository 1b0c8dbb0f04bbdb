"""The application that `middleware.py --wsgi` measures: one answer by Flask, bare or with a middleware."""

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response
from middleware_rules import BODY, MODES, configuration

from understudy.middleware import UnderstudyWSGIMiddleware


class Idle:
    """A middleware that does nothing."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)


def behind(mode: str) -> Flask:
    """The application as *mode* serves it."""
    made: Any = Flask(f"{__name__}.{mode}")
    made.add_url_rule(
        f"/{mode}", view_func=lambda: Response(BODY, mimetype="application/json"), endpoint=mode
    )
    if mode == "idle":
        made.wsgi_app = Idle(made.wsgi_app)
    elif mode != "bare":
        made.wsgi_app = UnderstudyWSGIMiddleware(made.wsgi_app, config=configuration(mode))
    found: Flask = made
    return found


APPS = {f"/{mode}": behind(mode) for mode in MODES}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """All modes in one process, since processes differ by more than what is measured."""
    return APPS[environ["PATH_INFO"]](environ, start_response)
