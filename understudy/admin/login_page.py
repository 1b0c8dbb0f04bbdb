"""The page that a browser gets instead of the report while it shows no token. Works without a script."""

from html import escape
from string import Template
from typing import Final

from starlette.responses import Response

from understudy.admin.refusal import Refusal

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Understudy: log in</title>
<link rel="stylesheet" href="/static/report.css">
<link rel="icon" href="/static/icon.svg">
</head>
<body>
<main id="main">
<h1>Understudy</h1>
<p role="status">$detail</p>
<form method="post" action="/api/v1/session">
<p><label for="token">API token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Log in</button></p>
</form>
<p>An admin makes one with <code>understudy token create NAME --role viewer</code>.</p>
</main>
</body>
</html>
""")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
    # Under no-referrer a browser sends a form with `Origin: null`, which the guard refuses.
    "Referrer-Policy": "same-origin",
}


def login_page(refusal: Refusal) -> Response:
    """The page, with the status of *refusal* and its reason."""
    text = _PAGE.substitute(detail=escape(refusal.detail))
    headers = {**(refusal.headers or {}), **_HEADERS}
    return Response(text.encode(), status_code=refusal.status, media_type="text/html", headers=headers)
