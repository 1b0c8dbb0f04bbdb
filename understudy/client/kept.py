"""The last good definition in a file of this host, to start from when the server is away."""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.client.definition import Origin
from understudy.client.trouble import Trouble

_MOST_BYTES = 128 * 1024 * 1024
"""Twice what is taken from a server. A file beyond that is not ours."""


class Kept:
    """The file at *path*: a checksum of what follows, a line on where it is from, the definition.

    *source* says which server and which flag set; what was kept from another one is not taken.
    """

    def __init__(self, path: Path, *, source: str) -> None:
        self.path = path
        self._source = source

    def read(self) -> tuple[Origin, bytes] | None:
        """What was kept; None when nothing was. Raises: Trouble when it is damaged or from elsewhere."""
        try:
            with self.path.open("rb") as file:
                whole = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._trouble(str(error)) from None
        checksum, _, rest = whole.partition(b"\n")
        if hashlib.sha256(rest).hexdigest().encode() != checksum:
            raise self._trouble("its checksum is not that of its content; left aside")
        about, _, body = rest.partition(b"\n")
        try:
            found = json.loads(about)
            source, origin = found["source"], _origin(found)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._trouble("it was written by another program; left aside") from None
        if source != self._source:
            raise self._trouble(f"it was kept from {source}, not from {self._source}; left aside")
        return origin, body

    def write(self, origin: Origin, body: bytes) -> None:
        """Keep *body*, whole or not at all, readable for the owner alone. Raises: Trouble.

        Processes may share the file: what one of them kept stays where *origin* is surely older.
        """
        if self._has_newer(origin):
            return
        about = {
            "source": self._source,
            "tag": origin.tag,
            "version": origin.version,
            "stored_at": origin.stored_at,
        }
        rest = json.dumps(about).encode() + b"\n" + body
        try:
            self._put(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        except OSError as error:
            raise self._trouble(f"the definition cannot be kept: {error.strerror or error}") from None

    def _has_newer(self, origin: Origin) -> bool:
        try:
            found = self.read()
        except Trouble:
            return False
        return found is not None and origin.is_older(found[0])

    def _put(self, whole: bytes) -> None:
        # mkstemp makes a file that its owner alone may read.
        handle, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _trouble(self, what: str) -> Trouble:
        return Trouble(f"{self.path}: {what}")


def _origin(found: Mapping[str, Any]) -> Origin:
    """Raises: KeyError, TypeError."""
    tag, version, stored_at = found["tag"], found["version"], found["stored_at"]
    is_whole = version is None or (type(version) is int and abs(version) < 1 << 63)
    is_time = stored_at is None or (isinstance(stored_at, float | int) and math.isfinite(stored_at))
    if not (isinstance(tag, str) and is_whole and is_time):
        raise TypeError("an origin is an entity tag, a version and a time")
    return Origin(tag=tag, version=version, stored_at=stored_at)
