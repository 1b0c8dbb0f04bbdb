"""Files that a command writes: whole or not at all."""

import os
import tempfile
from pathlib import Path

from understudy.cli.frame import CommandError, ExitCode


def write_file(path: Path, text: str) -> None:
    """Put *text* (UTF-8) at *path*: who reads it meets the old file or the new one, never a part.

    A link stays a link, and permissions stay; a pipe or a device is written to. Raises: CommandError.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise CommandError(message, code=ExitCode.CANNOT_WRITE) from None


def _replace(target: Path, data: bytes) -> None:
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    descriptor, beside = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(beside).chmod(mode)
        Path(beside).replace(target)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
