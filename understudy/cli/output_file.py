"""Files that a command writes: whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from understudy.cli.frame import CommandError, ExitCode

_IN_PLACE = {errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV, errno.EROFS}


def write_file(path: Path, text: str) -> None:
    """Put *text* (UTF-8) at *path*: who reads it meets the old file or the new one, never a part.

    A link stays a link, and permissions stay. A pipe, a device and a file that cannot be replaced (mounted
    alone, or in a folder of others) are written to. Raises: CommandError.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        target = Path(os.path.realpath(path))
        if target.is_file() or not target.exists():
            _replace(target, data)
        else:
            target.write_bytes(data)
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise CommandError(message, code=ExitCode.CANNOT_WRITE) from None


def _replace(target: Path, data: bytes) -> None:
    try:
        _put_beside_and_rename(target, data)
    except OSError as error:
        if error.errno not in _IN_PLACE or not os.access(target, os.W_OK):
            raise
        target.write_bytes(data)


def _put_beside_and_rename(target: Path, data: bytes) -> None:
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
