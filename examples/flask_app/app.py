"""A shop in Flask that decides by itself who meets its next release."""

import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify

from understudy.middleware.flask import current_variant, init_app

app = Flask(__name__)
middleware = init_app(app, config=Path(__file__).with_name("understudy.yaml"))


@app.get("/")
def home() -> Response:
    """The page of the user's variant."""
    page = "The new shop" if current_variant("front_page") == "new" else "The shop"
    return Response(page, content_type="text/plain")


@app.get("/products/<int:number>")
def product(number: int) -> tuple[dict[str, Any], dict[str, str]]:
    """One product, with when it was answered, which differs by itself."""
    price = float(f"{10 + number % 7}.90")
    body = {"id": number, "name": f"Lantern {number}", "price": price, "served_at": time.time_ns()}
    return body, {"X-Release": "1"}


@app.get("/report")
def report() -> Response:
    """What was found so far; not for everybody, in a shop of your own."""
    return jsonify(middleware.report())
