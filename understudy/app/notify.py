"""What systemd is told about this service (sd_notify(3)); nothing when nobody listens."""

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends to the socket that NOTIFY_SOCKET names. Never waits, never fails."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace, where the first byte is NUL.
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def ready(self, status: str = "") -> None:
        """Serving, for the first time or again after `reloading`."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Draining."""
        self._send("STOPPING=1", "STATUS=draining")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            try:
                sending.sendto("\n".join(lines).encode(), os.fsencode(self._address))
            except OSError:
                pass  # whoever listened has gone
