"""Words from children to the supervisor, through a pipe; the kernel rings with SIGIO when there is one."""

import fcntl
import os
import signal
import struct
import threading
from enum import StrEnum
from typing import Final

F_SETOWN_EX: Final = 15
F_OWNER_TID: Final = 0
"""fcntl(2); Python has no names for them."""


class Word(StrEnum):
    """What a child says; its pid follows."""

    READY = "ready"  # it serves
    SETTINGS = "settings"  # control: the file beside the link holds new settings
    RELOADED = "reloaded"  # control: a reload is over, whatever came of it
    RESTART = "restart"  # control: somebody asks for a rolling restart


def report(telling: int, word: Word) -> None:
    """Say *word*. A line is shorter than PIPE_BUF, so it is never mixed with another."""
    try:
        os.write(telling, f"{word} {os.getpid()}\n".encode())
    except OSError:
        pass  # nobody hears: the supervisor is gone, or 64 KiB behind


def _heard(_number: int, _frame: object) -> None:
    """Nothing: who waits for words waits for the signal itself (sigtimedwait), and blocks it."""


class Reports:
    """The supervisor's end; it rings in the thread that makes it."""

    def __init__(self, hearing: int) -> None:
        self._hearing = hearing
        self._rest = b""
        os.set_blocking(hearing, False)
        # Without a handler it would end a process that does not block it. This thread, because another one
        # would take it from the one that waits.
        signal.signal(signal.SIGIO, _heard)
        fcntl.fcntl(hearing, F_SETOWN_EX, struct.pack("ii", F_OWNER_TID, threading.get_native_id()))
        flags = fcntl.fcntl(hearing, fcntl.F_GETFL)
        fcntl.fcntl(hearing, fcntl.F_SETFL, flags | os.O_ASYNC)

    def take(self) -> list[tuple[Word, int]]:
        """(word, pid) of everything said since the last call."""
        try:
            while piece := os.read(self._hearing, 65536):
                self._rest += piece
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        said = [line.decode().split(" ") for line in lines]
        return [(Word(word), int(pid)) for word, pid in said]
