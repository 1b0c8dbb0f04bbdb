"""The last good rules in a file of this host, to start from when no store answers."""

import hashlib
import json
import logging
import os
import tempfile
import threading
from pathlib import Path

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
        self._written = ("", 0)

    def read(self) -> tuple[StoredRules, str] | None:
        """The rules and the mark of their store; None when there are none, or they are damaged (logged)."""
        try:
            checksum, _, text = self.path.read_text(encoding="ascii").partition("\n")
            if hashlib.sha256(text.encode()).hexdigest() != checksum:
                raise ValueError("its checksum is not that of its content")
            found = json.loads(text)
            if self.origin and found["origin"] != self.origin:
                log.warning("the last good rules in %s are those of another store; left aside", self.path)
                return None
            return row_rules(found["version"], found["rules"].encode()), found["origin"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
            log.warning("the last good rules in %s cannot be used: %s", self.path, error)
            return None

    def write(self, rules: StoredRules, origin: str) -> None:
        """Put *rules* there, whole or not at all, readable for the owner alone. Raises OSError.

        Of two threads that write rules of one store the higher version stays, whoever comes last.
        """
        with self._writing:
            if origin != self._written[0] or rules.version >= self._written[1]:
                self._write(rules, origin)
                self._written = (origin, rules.version)

    def _write(self, rules: StoredRules, origin: str) -> None:
        row = row_text(rules, document_text(rules.document))
        text = json_text({"version": rules.version, "origin": origin, "rules": row})
        whole = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
        handle, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
