"""The command line: arguments in, text out."""

from understudy.cli.audited import audit_app
from understudy.cli.commands import app, main
from understudy.cli.samples import samples_app
from understudy.cli.tokens import token_app

app.add_typer(samples_app, name="samples")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")

__all__ = ["app", "main"]
