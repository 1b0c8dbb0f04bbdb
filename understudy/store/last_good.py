"""The last good rules in a file of this host, to start from when no store answers."""

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import StoreError
from understudy.store.rules import StoredRules, document_text, json_text, row_rules, row_text

log = logging.getLogger("understudy.control")


class LastGood:
    """The file at *path*: a checksum, a line end, and what it was taken over. Blocks its thread.

    With *origin*, the mark of a store, the rules of any other are left aside.
    """

    def __init__(self, path: Path, *, origin: str = "") -> None:
        self.path = path
        self.origin = origin
        self._writing = threading.Lock()
        self._written = ("", 0, 0.0)

    def read(self) -> tuple[StoredRules, str] | None:
        """The rules and the mark of their store; None when there are none, or they are damaged (logged)."""
        try:
            found = self._found()
            if self.origin and found["origin"] != self.origin:
                log.warning("the last good rules in %s are those of another store; left aside", self.path)
                return None
            return row_rules(found["version"], found["rules"].encode()), found["origin"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
            log.warning("the last good rules in %s cannot be used: %s", self.path, error)
            return None

    def write(self, rules: StoredRules, origin: str, *, read_at: float | None = None) -> None:
        """Put *rules* there, whole or not at all, readable for the owner alone. Raises OSError.

        *read_at* is when the store told of them (Unix time), by default now. Of several threads and processes
        of a host that write rules of one store the higher version stays, whoever comes last, unless the
        lower one was read later: then the store was put back.
        """
        now = time.time()
        with self._writing:
            before, version, last_read_at = self._written
            # A thread that was not told when they were read may have been slow to come here.
            is_later = read_at is not None and read_at > last_read_at
            if origin != before or rules.version >= version or is_later:
                self._write(rules, origin, now if read_at is None else read_at)
                self._written = (origin, rules.version, now if read_at is None else read_at)

    def _write(self, rules: StoredRules, origin: str, read_at: float) -> None:
        row = row_text(rules, document_text(rules.document))
        text = json_text({"version": rules.version, "origin": origin, "rules": row, "read_at": read_at})
        whole = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
        handle, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            # Looked at last, for another process may have been quicker. What slips through still is put right
            # by whoever it was: he hears of the newer rules as well.
            if self._is_behind(rules.version, origin, read_at):
                Path(name).unlink()
            else:
                Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _is_behind(self, version: int, origin: str, read_at: float) -> bool:
        """Whether another process has put newer rules of the same store there meanwhile."""
        try:
            found = self._found()
            is_newer: bool = found["version"] > version and found.get("read_at", 0.0) > read_at
            return found["origin"] == origin and is_newer
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _found(self) -> Mapping[str, Any]:
        """What the file says. Raises OSError, and ValueError when it is damaged."""
        checksum, _, text = self.path.read_text(encoding="ascii").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != checksum:
            raise ValueError("its checksum is not that of its content")
        found: Mapping[str, Any] = json.loads(text)
        return found
