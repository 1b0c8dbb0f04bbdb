"""The certificate that TLS clients of one worker are shown; a new one takes its place without a restart."""

import logging
import ssl
from collections import Counter
from pathlib import Path
from typing import Final

from understudy.config import CertificateError, TlsSettings, server_context

log = logging.getLogger("understudy.worker")

WATCH_SECONDS: Final = 5.0
"""How often the files are looked at: two system calls, and far below the time any renewal leaves."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """Connections that are open keep what they have; handshakes get the newest pair that could be read.

    *context* is what the listeners were opened with. A pair that cannot be used is told once and counted in
    *counts* as refused, and the one before it stays.
    """

    def __init__(self, context: ssl.SSLContext, tls: TlsSettings, counts: Counter[str]) -> None:
        self.context = context
        self._present = context
        self._tls = tls
        self._counts = counts
        self._stamp: Stamp = ()
        context.sni_callback = self._choose
        # It was read before this process was forked, perhaps long ago; the first look counts as nothing.
        self._read(_stamp(tls))

    def refresh(self, tls: TlsSettings | None = None) -> None:
        """Look at the files, those of *tls* from now on if given, and read them if they changed."""
        is_moved = tls is not None and tls != self._tls
        self._tls = tls or self._tls
        stamp = _stamp(self._tls)
        if stamp == self._stamp and not is_moved:
            return
        is_read = self._read(stamp)
        self._counts["applied" if is_read else "refused"] += 1
        if is_read:
            log.info("the certificate in %s is shown from now on", self._tls.cert)

    def _read(self, stamp: Stamp) -> bool:
        self._stamp = stamp
        try:
            self._present = server_context(Path(self._tls.cert), Path(self._tls.key))
        except CertificateError as error:
            log.error("%s; the certificate before it stays", error)
            return False
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Asked in every handshake, with or without a name in it."""
        connection.context = self._present


def _stamp(tls: TlsSettings) -> Stamp:
    return tuple(_stamp_of(Path(name)) for name in (tls.cert, tls.key))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file, also when a link is turned to another; None while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
