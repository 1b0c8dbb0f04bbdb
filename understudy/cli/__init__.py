"""The command line: arguments in, text out."""

from understudy.cli.commands import app, main
from understudy.cli.samples import samples_app

app.add_typer(samples_app, name="samples")

__all__ = ["app", "main"]
