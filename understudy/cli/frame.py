"""What surrounds every command: exit codes, and errors told in a line instead of a traceback."""

import errno
import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from understudy.cli.streams import open_streams
from understudy.errors import ConfigError, UnderstudyError

_ARGUMENT_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser raises for every wrong argument; typer exports only this one subclass of it."""


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    REFUSED = 1
    """The answer is no: problems found, a regression, a change that was not accepted."""
    UNDECIDED = 2
    """`understudy report` cannot tell yet."""
    UNREACHABLE = 3
    """The admin API did not answer, or failed."""
    USAGE = 64
    """Wrong arguments (EX_USAGE of sysexits.h); not the usual 2, which a pipeline would read as undecided."""
    CANNOT_WRITE = 73
    """A file, or standard output, could not be written (EX_CANTCREAT of sysexits.h); 1 would read as a
    regression."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    """The reader of our output has gone (128 + SIGPIPE)."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class CommandError(UnderstudyError):
    """A command cannot go on: ``message`` says why, ``hint`` how to mend it."""

    def __init__(self, message: str, hint: str = "", *, code: ExitCode = ExitCode.REFUSED) -> None:
        self.message = message
        self.hint = hint
        self.code = code
        super().__init__(message)


class Commands(TyperGroup):
    """A group of commands in which every foreseen error becomes text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, its output included: a reader who left shall not look like a failure."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_quietly()
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that *args* name; ends the process unless *standalone_mode* is off."""
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        open_streams()
        try:
            result = run()
        except typer.Abort:
            sys.exit(ExitCode.INTERRUPTED)
        except _ARGUMENT_ERROR as error:
            _say_usage(error)
            sys.exit(ExitCode.USAGE)
        except ConfigError as error:
            _say_problems(error)
            sys.exit(ExitCode.REFUSED)
        except UnderstudyError as error:
            sys.exit(_say(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            complain(f"{where}{error.strerror or error}")
            sys.exit(_no_room() if error.errno in _FULL else ExitCode.REFUSED)
        sys.exit(result if isinstance(result, int) else ExitCode.OK)


def complain(message: str, hint: str = "", *, is_warning: bool = False) -> None:
    """One line on standard error, and how to mend it on the next."""
    mark = typer.style("warning: ", fg="yellow") if is_warning else typer.style("error: ", fg="red")
    # no-color.org: any value but an empty one asks for none.
    typer.echo(mark + message, err=True, color=False if os.environ.get("NO_COLOR") else None)
    if hint:
        typer.echo(f"  {hint}", err=True)


def end(code: int) -> NoReturn:
    """End the command with *code*."""
    raise typer.Exit(code)


def _say(error: UnderstudyError) -> ExitCode:
    if isinstance(error, CommandError):
        complain(error.message, error.hint)
        return error.code
    complain(str(error))
    return ExitCode.REFUSED


def _say_problems(error: ConfigError) -> None:
    from understudy.cli.screen import print_problems

    print_problems(error.problems)


def _say_usage(error: Exception) -> None:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "understudy"
    text = getattr(error, "format_message", lambda: str(error))()
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(text, err=True)
    else:
        complain(text.rstrip("."), f"{command} --help shows what there is")


def _leave_quietly() -> NoReturn:
    """End after the reader of our output has."""
    _say_no_more()
    sys.exit(ExitCode.BROKEN_PIPE)


def _no_room() -> ExitCode:
    _say_no_more()
    return ExitCode.CANNOT_WRITE


def _say_no_more() -> None:
    """Nothing more can be said on standard output, so nothing is tried at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
