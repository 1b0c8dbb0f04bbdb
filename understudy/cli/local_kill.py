"""The kill switch of this host alone: lines in its kill file, which needs nobody to answer."""

import getpass
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from understudy.cli.frame import CommandError, ExitCode, complain
from understudy.cli.output_file import write_file
from understudy.config import Settings, read_file
from understudy.config.kill_file import EVERY, MOST_BYTES, add_lines, is_line, without_lines
from understudy.errors import ConfigError

VARIABLE = "UNDERSTUDY_KILL_FILE"


def kill_file(config: Path | None, file: Path | None) -> Path:
    """*file*, or the one that the configuration at *config* names. Raises: CommandError.

    Only that one setting is read, so that a mistake elsewhere in it keeps nobody from the switch.
    """
    if file is not None:
        return file
    if config is None:
        hint = "-c understudy.yaml, whose kill_file it is; or --kill-file PATH"
        raise CommandError("the kill file of which configuration?", hint, code=ExitCode.USAGE)
    try:
        document = read_file(config)
    except ConfigError as error:
        raise CommandError(f"{config} cannot be read: {error}", "--kill-file PATH does without it") from None
    default = Settings.__dataclass_fields__["kill_file"].default
    said = document.get("kill_file", default) if isinstance(document, dict) else default
    name = os.environ.get(VARIABLE, said)
    if not isinstance(name, str) or not name or name.lower() == "off":
        hint = "SIGRTMIN to the supervisor kills every flag on this host"
        raise CommandError(f"{config}: kill_file is {name!r}: this host has none", hint)
    return config.parent / name


def kill_here(flags: Sequence[str], path: Path, *, reason: str) -> None:
    """Add *flags* to the kill file at *path*. Raises: CommandError; then nothing has changed."""
    for flag in flags:
        if not is_line(flag):
            hint = "one line, without spaces around it, not beginning with #"
            raise CommandError(f"{flag!r} is no key of a flag", hint, code=ExitCode.USAGE)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        add_lines(path, [f"# {now} {_user()}: {reason or 'killed'}", *flags])
    except OSError as error:
        hint = "another place: kill_file in the configuration; SIGRTMIN to the supervisor needs none"
        message = f"{path}: {error.strerror or error}"
        raise CommandError(message, hint, code=ExitCode.CANNOT_WRITE) from None
    typer.echo(
        f"{_named(flags)} killed on this host by {path}: its workers see it within a second, and after"
        " restarts; `understudy revive --local` undoes it"
    )


def revive_here(flags: Sequence[str], path: Path) -> None:
    """Take *flags* out of the kill file at *path*; it goes with its last flag. Raises: CommandError."""
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        complain(f"there is no {path}: nothing is killed by it", is_warning=True)
        return
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    if len(before) > MOST_BYTES:
        raise CommandError(f"{path} is no kill file: it is longer than {MOST_BYTES:,} bytes")
    lines = {line.strip() for line in before.decode("utf-8", "replace").splitlines()}
    absent = [flag for flag in flags if flag not in lines]
    if absent:
        also = f"; {EVERY} in it kills every flag" if EVERY in lines else ""
        complain(f"{path} does not name {', '.join(absent)}{also}", is_warning=True)
    _replace(path, without_lines(before, flags))
    typer.echo(f"{_named(flags)} not killed by {path} any more")


def _replace(path: Path, text: str) -> None:
    if text:
        write_file(path, text)
        return
    try:
        path.unlink()
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise CommandError(message, code=ExitCode.CANNOT_WRITE) from None


def _named(flags: Sequence[str]) -> str:
    words = ["every flag that a route names" if flag == EVERY else flag for flag in flags]
    return f"{', '.join(words)} {'are' if len(words) > 1 else 'is'}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # 3.13 raises the former, those before it the latter
        return f"user {os.getuid()}"
