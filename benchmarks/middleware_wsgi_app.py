"""The application that `middleware.py --wsgi` measures: one answer by Flask, bare or with the middleware."""

from flask import Flask, Response
from middleware_rules import BODY, MODE, configuration

from understudy.middleware import UnderstudyWSGIMiddleware

app = Flask(__name__)


@app.get("/")
def answer() -> Response:
    """Always the same."""
    return Response(BODY, mimetype="application/json")


if MODE != "bare":
    app.wsgi_app = UnderstudyWSGIMiddleware(app.wsgi_app, config=configuration())  # type: ignore[method-assign]
