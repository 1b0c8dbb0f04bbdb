"""What the supervisor makes ready before it forks."""

import hashlib
import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from understudy.app.board import Board
from understudy.app.sockets import Bound
from understudy.config import Layers, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What every child inherits beside the settings."""

    settings: Settings
    config_path: Path | None
    """The file that a reload reads, absolute; None when the settings came from elsewhere."""
    folder: Path
    """Private to this user and this run: the link's socket, and what later children are left."""
    link_socket: socket
    admin: Bound
    worker_sockets: list[list[Bound]]
    lifeline: int
    """Read end of a pipe that the supervisor alone holds open: end of file means it is gone."""
    held: int
    """The end of it that the supervisor holds."""
    telling: int
    """Where a child says words to the supervisor."""
    hearing: int
    """Where the supervisor hears them."""
    via_id: bytes
    board: Board
    tls: ssl.SSLContext | None = None
    """What the workers' TLS starts from: one for all, so that a session resumes with any of them."""
    redaction_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    """One for all children, so that a hidden value can be found again in samples and in the access log."""

    @property
    def base(self) -> Path:
        """Where relative files of the configuration lie."""
        return self.config_path.parent if self.config_path is not None else Path.cwd()

    @property
    def history(self) -> str:
        """Names the versions of the rules that count up within this run; empty where a store that hosts share
        keeps them: there each has a history of its own, and they would differ.

        A file may be emptied, or put back from a copy, between two runs. It outlives a control process, and
        a handover, as the versions do: the workers bring them over.
        """
        store = self.settings.store
        if isinstance(store, Layers) or not store.startswith(("memory:", "sqlite:")):
            return ""
        run = f"{self.folder} {store} {self.settings.environment}"
        return hashlib.sha256(run.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def link_path(self) -> Path:
        """The link's socket."""
        return self.folder / "link"

    @property
    def settings_path(self) -> Path:
        """Where the control process leaves reloaded settings for the supervisor."""
        return self.folder / "settings"

    @property
    def past_path(self) -> Path:
        """Where the control process leaves the counts of workers that are gone for the one after it."""
        return self.folder / "past"

    @property
    def kill_paths(self) -> list[Path]:
        """The kill file, and the one of this run that stands in for it when it cannot be written."""
        named = [Path(self.settings.kill_file)] if self.settings.kill_file else []
        return [*named, self.folder / "kill"]

    @property
    def killed_path(self) -> Path:
        """Where processes leave what kill files said, for those that start while they cannot be read."""
        return self.folder / "killed"

    def listeners(self) -> list[Bound]:
        """The sockets of all workers, each once."""
        return list({id(bound.socket): bound for group in self.worker_sockets for bound in group}.values())
