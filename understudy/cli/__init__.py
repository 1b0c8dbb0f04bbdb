"""The command line: arguments in, text out."""

import typer

from understudy.cli.audited import audit_app
from understudy.cli.commands import app, main, rules_app
from understudy.cli.environments import environments_app, promote
from understudy.cli.samples import samples_app
from understudy.cli.tokens import token_app
from understudy.cli.versions import diff, history, restore

flags_app = typer.Typer(
    help="Bring flags from one environment into another.", no_args_is_help=True, rich_markup_mode=None
)
flags_app.command()(promote)

app.add_typer(samples_app, name="samples")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")
app.add_typer(environments_app, name="environments")
app.add_typer(flags_app, name="flags")
for command in (history, diff, restore):
    rules_app.command()(command)

__all__ = ["app", "main"]
