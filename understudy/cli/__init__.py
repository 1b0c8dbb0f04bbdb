"""The command line: arguments in, text out."""

from understudy.cli import flag_stale as _flag_stale  # noqa: F401 - its commands join the group
from understudy.cli import flag_transfer as _flag_transfer  # noqa: F401
from understudy.cli import flag_usage as _flag_usage  # noqa: F401
from understudy.cli.audited import audit_app
from understudy.cli.commands import app, main, rules_app
from understudy.cli.environments import environments_app, promote
from understudy.cli.flag_app import flag_app
from understudy.cli.samples import samples_app
from understudy.cli.tokens import token_app
from understudy.cli.versions import diff, history, restore

flag_app.command()(promote)
app.add_typer(samples_app, name="samples")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")
app.add_typer(environments_app, name="environments")
app.add_typer(flag_app, name="flag")
app.add_typer(flag_app, name="flags", hidden=True)
for command in (history, diff, restore):
    rules_app.command()(command)

__all__ = ["app", "main"]
