"""The application that `middleware.py --wsgi` measures: one answer by Flask, bare or with a middleware."""

from collections.abc import Iterable
from typing import Any, ClassVar
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response
from middleware_rules import BODY, MODES, configuration

from understudy.middleware import UnderstudyWSGIMiddleware
from understudy.middleware.decision import KEY


class Idle:
    """A middleware that does nothing."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)


class LookedUp(Idle):
    """A middleware that leaves in the environment what it knows of the path, and does no more."""

    known: ClassVar = {"/looked_up": object()}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in self.known:
            environ[KEY] = self.known[path]
        return self.app(environ, start_response)


BESIDE = {"idle": Idle, "looked_up": LookedUp}


def behind(mode: str) -> Flask:
    """The application as *mode* serves it."""
    made: Any = Flask(f"{__name__}.{mode}")
    made.add_url_rule(
        f"/{mode}", view_func=lambda: Response(BODY, mimetype="application/json"), endpoint=mode
    )
    if mode in BESIDE:
        made.wsgi_app = BESIDE[mode](made.wsgi_app)
    elif mode != "bare":
        made.wsgi_app = UnderstudyWSGIMiddleware(made.wsgi_app, config=configuration(mode))
    found: Flask = made
    return found


APPS = {f"/{mode}": behind(mode) for mode in MODES}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """All modes in one process, since processes differ by more than what is measured."""
    return APPS[environ["PATH_INFO"]](environ, start_response)
