"""Sockets and processes that whoever started this process hands over: systemd, or the image before this one.

systemd says it in LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3)); our own image, which was
replaced in place (see `handover`), in one variable of its own.
"""

import json
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from understudy.app.sockets import address_of
from understudy.errors import ListenError

HANDOVER: Final = "UNDERSTUDY_HANDOVER"
FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A listening socket, under the address that the configuration gives it."""

    address: str
    socket: socket.socket
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """The generation that serves until the new one does: its processes, and what it goes on using."""

    control: int
    workers: tuple[int, ...]
    lifeline: tuple[int, int]
    folder: Path
    link: socket.socket


@dataclass(slots=True, kw_only=True)
class Inheritance:
    """What is handed over. In a rehearsal nothing may be disturbed and nothing is started."""

    sockets: list[Given] = field(default_factory=list)
    former: Former | None = None
    is_rehearsal: bool = False

    def take(self, address: str) -> list[Given]:
        """The sockets for *address*; each is taken once."""
        taken = [given for given in self.sockets if given.address == address]
        self.sockets = [given for given in self.sockets if given.address != address]
        return taken


def inherit(environ: MutableMapping[str, str]) -> Inheritance:
    """What *environ* says is handed to this very process; the variables are removed. Raises `ListenError`."""
    told = environ.pop(HANDOVER, "")
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if told:
        found = _from_image(json.loads(told))
        if found is not None:
            return found
    if pid == str(os.getpid()) and count.isdecimal():
        return Inheritance(sockets=[_from_systemd(FIRST_FD + at) for at in range(int(count))])
    return Inheritance()


def _from_systemd(fd: int) -> Given:
    given = _adopt(fd)
    if given.type != socket.SOCK_STREAM or given.family not in (
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_UNIX,
    ):
        raise ListenError(f"the inherited file descriptor {fd} is no TCP or Unix stream socket")
    return Given(address=address_of(given), socket=given, is_ours=False)


def _from_image(told: dict[str, Any]) -> Inheritance | None:
    """None when it was said to somebody else: the variable of a parent, inherited by accident."""
    is_rehearsal = told["is_rehearsal"]
    if told["pid"] != (os.getppid() if is_rehearsal else os.getpid()):
        return None
    sockets = [
        Given(address=entry["address"], socket=_adopt(entry["fd"]), is_ours=entry["is_ours"])
        for entry in told["sockets"]
    ]
    if is_rehearsal:
        return Inheritance(sockets=sockets, is_rehearsal=True)
    reading, held = told["lifeline"]
    for fd in (reading, held):
        os.set_inheritable(fd, False)
    former = Former(
        control=told["control"],
        workers=tuple(told["workers"]),
        lifeline=(reading, held),
        folder=Path(told["folder"]),
        link=_adopt(told["link"]),
    )
    return Inheritance(sockets=sockets, former=former)


def _adopt(fd: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise ListenError(f"the inherited file descriptor {fd} is no socket: {error.strerror}") from None
    adopted.set_inheritable(False)
    adopted.setblocking(False)
    return adopted
