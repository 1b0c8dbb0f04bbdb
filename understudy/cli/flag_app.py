"""The group `understudy flag`; `understudy flags` is another name for it."""

import typer

flag_app = typer.Typer(
    help="Read, change, import and export flags (also: understudy flags).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
