"""A file that lines are appended to from a thread of its own: a slow disk is never waited for."""

import logging
import os
import select
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Final

log = logging.getLogger("understudy.worker")

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""About 8,000 lines: most of a second at 10,000 requests a second, far longer at what is usual."""
FILE_BYTES: Final = 64 * 1024
PIPE_BYTES: Final = 4096
"""A pipe takes so much in one piece (PIPE_BUF); more could be mixed with what another worker writes."""
READY_SECONDS: Final = 1.0
TOLD_SECONDS: Final = 60.0


class LineFile:
    """Appends whole lines to *path*; ``-`` is standard output.

    Several processes may append to one file. One that was renamed or removed is made anew, so it may be
    rotated without a word to us. ``counts``: lines ``written`` and ``dropped`` (no room, or no disk).
    """

    def __init__(self, path: str, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.counts: Counter[str] = Counter(written=0, dropped=0)
        self._path = path
        self._buffer_bytes = buffer_bytes
        self._lines: list[bytes] = []
        self._offered_bytes = 0
        self._done_bytes = 0
        self._batches: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._under_way = 0
        self._taken = 0
        self._left = 0
        self._file = -1
        self._identity: tuple[int, int] | None = None
        self._piece_bytes = PIPE_BYTES
        self._is_torn = False
        self._told_at = -TOLD_SECONDS
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    # -- the event loop's side ---------------------------------------------------------------------------

    def offer(self, line: bytes) -> None:
        """Keep *line* for the next `flush`, or count it as dropped."""
        if self._offered_bytes - self._done_bytes + len(line) > self._buffer_bytes:
            self.counts["dropped"] += 1
            return
        self._offered_bytes += len(line)
        self._lines.append(line)

    def flush(self) -> None:
        """Hand over what has gathered, unless the thread still writes what it got before."""
        if self._lines and self._under_way == self._taken:
            lines, self._lines = self._lines, []
            self._under_way += 1
            self._batches.put(lines)

    def close(self, seconds: float) -> None:
        """Write the rest; wait for it, at most *seconds*."""
        self._batches.put(self._lines)
        self._lines = []
        self._batches.put(None)
        self._thread.join(seconds)

    # -- the thread's side -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (lines := self._batches.get()) is not None:
            try:
                self._write(lines)
            except OSError as error:
                self._lost(error.strerror or str(error))
            except Exception:
                # Else the log would end here in silence.
                log.exception("access log %s: a fault", self._path)
                self._lost("a fault")
            self._done_bytes += sum(map(len, lines))
            self._taken += 1

    def _write(self, lines: list[bytes]) -> None:
        self._left = len(lines)
        self._open()
        for count, piece in pieces(lines, self._piece_bytes):
            self._put(b"\n" + piece if self._is_torn else piece)
            self._left -= count
            self.counts["written"] += count

    def _lost(self, why: str) -> None:
        """Count what was not written, and tell of it now and then."""
        self.counts["dropped"] += self._left
        now = time.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.error("access log %s: %s; lines are dropped until it can be written", self._path, why)

    def _open(self) -> None:
        """Have the file open that stands at the path now. Raises OSError."""
        if self._path == "-":
            self._file = sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
            self._set_piece(os.fstat(self._file))
            return
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:
            there = None
        if self._file >= 0 and there is not None and self._identity == (there.st_dev, there.st_ino):
            return
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        opened = os.fstat(self._file)
        self._identity = (opened.st_dev, opened.st_ino)
        self._is_torn = False
        self._set_piece(opened)

    def _set_piece(self, status: os.stat_result) -> None:
        self._piece_bytes = FILE_BYTES if stat.S_ISREG(status.st_mode) else PIPE_BYTES

    def _put(self, data: bytes) -> None:
        """Write *data*. Raises OSError; then the file may end inside a line."""
        while data:
            try:
                written = os.write(self._file, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._file, select.POLLOUT)
                if not poll.poll(READY_SECONDS * 1000):
                    raise
                continue
            self._is_torn = not data[:written].endswith(b"\n")
            data = data[written:]


def pieces(lines: list[bytes], most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """*lines* joined as far as *most_bytes* allow, with their number; a longer line stands alone."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most_bytes:
            yield len(piece), b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield len(piece), b"".join(piece)
