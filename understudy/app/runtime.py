"""What the supervisor makes ready before it forks."""

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from understudy.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What every child inherits beside the settings."""

    settings: Settings
    link_path: Path
    link_socket: socket.socket
    admin_socket: socket.socket
    worker_sockets: list[list[socket.socket]]
    lifeline: int
    """Read end of a pipe that the supervisor alone holds open: end of file means it is gone."""
    via_id: bytes
    redaction_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    """One for all children, so that a hidden value can be found again in samples and in the access log."""

    def listeners(self) -> list[socket.socket]:
        """The sockets of all workers."""
        return [bound for group in self.worker_sockets for bound in group]
