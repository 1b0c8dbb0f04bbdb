"""Lines reach their file whole, whatever becomes of it; nobody waits, and what is lost is counted."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from understudy.app.line_file import BUFFER_BYTES, LineFile, pieces

PATIENCE_SECONDS = 60.0


@contextmanager
def written_to(path: Path | str, *, buffer_bytes: int = BUFFER_BYTES) -> Iterator[LineFile]:
    """A file that is closed at the end."""
    file = LineFile(str(path), buffer_bytes=buffer_bytes)
    try:
        yield file
    finally:
        file.close(PATIENCE_SECONDS)


def put(file: LineFile, *lines: bytes) -> None:
    """Write *lines* and wait until they are, or are given up."""
    goal = file.counts.total() + len(lines)
    for line in lines:
        file.offer(line)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while file.counts.total() < goal:
        assert time.monotonic() < deadline
        file.flush()
        time.sleep(0.001)


def test_lines_are_appended(tmp_path: Path) -> None:
    """Behind what is there; readable by the group at most."""
    path = tmp_path / "access.log"
    path.write_bytes(b"old\n")
    with written_to(path) as file:
        file.offer(b"one\n")
        file.offer(b"two\n")
        file.flush()
    assert path.read_bytes() == b"old\none\ntwo\n"
    assert file.counts == {"written": 2, "dropped": 0}
    path.unlink()
    with written_to(path) as file:
        file.offer(b"one\n")
    assert path.read_bytes() == b"one\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_a_rotated_file_is_made_anew(tmp_path: Path) -> None:
    """Renamed or removed: the next lines stand in a new one at the path."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with written_to(path) as file:
        put(file, b"one\n")
        path.rename(old)
        put(file, b"two\n")
        assert (old.read_bytes(), path.read_bytes()) == (b"one\n", b"two\n")
        path.unlink()
        put(file, b"three\n")
        assert path.read_bytes() == b"three\n"


def test_a_slow_reader_costs_lines_not_time(tmp_path: Path) -> None:
    """A pipe that nobody reads: what the buffer cannot take is dropped; the reader gets whole lines."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    line = b"x" * 999 + b"\n"
    with written_to(path, buffer_bytes=200_000) as file:
        for _ in range(400):
            file.offer(line)
            file.flush()
        # Of what the buffer holds the thread may have brought into the pipe what that takes, 64 KiB.
        assert file.counts["dropped"] >= 400 - 200 - 66
        got = b""
        while len(got) < (400 - file.counts["dropped"]) * 1000:
            file.flush()
            with suppress(BlockingIOError):  # the writer may drop, while we look, what we would wait for
                got += os.read(reader, 65536)
    os.close(reader)
    assert set(got.splitlines(keepends=True)) == {line}
    assert file.counts["written"] + file.counts["dropped"] == 400


def test_a_file_that_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its lines are dropped and counted, told once; when it can be opened, the next are written."""
    path = tmp_path / "later" / "access.log"
    with written_to(path) as file:
        put(file, b"one\n", b"two\n")
        put(file, b"three\n")
        assert file.counts == {"written": 0, "dropped": 3}
        path.parent.mkdir()
        put(file, b"four\n")
    assert path.read_bytes() == b"four\n"
    assert [record.message for record in caplog.records] == [
        f"access log {path}: No such file or directory; lines are dropped until it can be written"
    ]


def test_a_full_disk_tears_no_second_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was written by half stays alone on its line."""
    path = tmp_path / "access.log"
    real = os.write
    left = [3]

    def write(file: int, data: bytes) -> int:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        written = real(file, data[: left[0]])
        left[0] -= written
        return written

    with written_to(path) as file:
        monkeypatch.setattr("understudy.app.line_file.os.write", write)
        put(file, b"first\n")
        left[0] = 1000
        put(file, b"second\n")
        put(file, b"third\n")
    assert path.read_bytes() == b"fir\nsecond\nthird\n"
    assert file.counts == {"written": 2, "dropped": 1}


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    """``-`` names it, whatever it is."""
    with written_to("-") as file:
        put(file, b"one\n")
    assert capfdbinary.readouterr().out == b"one\n"


def test_a_fault_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The thread goes on."""
    path = tmp_path / "access.log"
    with written_to(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr("understudy.app.line_file.pieces", None)
            put(file, b"one\n")
        put(file, b"two\n")
    assert path.read_bytes() == b"two\n"
    assert file.counts == {"written": 1, "dropped": 1}


def test_pieces() -> None:
    """As many whole lines as fit; one that does not fit stands alone."""
    lines = [b"aa\n", b"b\n", b"c\n", b"dddddd\n", b"e\n"]
    assert list(pieces(lines, 5)) == [(2, b"aa\nb\n"), (1, b"c\n"), (1, b"dddddd\n"), (1, b"e\n")]
    assert list(pieces([], 5)) == []
