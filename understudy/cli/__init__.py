"""The command line: arguments in, text out."""

from understudy.cli.commands import app, main

__all__ = ["app", "main"]
