"""What processes say to each other and to systemd outside of the link: counts, words, notifications."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from understudy.app.notify import Notifier
from understudy.app.reports import Reports, Word, report

FORKING = """
import os
from understudy.app.board import KEYS, RELOADS, RESTARTS, Board
board = Board()
board.count(RESTARTS, "worker", "died")
if not (child := os.fork()):
    board.count(RELOADS, "applied")
    os._exit(0)
os.waitpid(child, 0)
assert dict(board.rows(RESTARTS))["worker", "died"] == 1
assert dict(board.rows(RELOADS)) == {("applied",): 1, ("refused",): 0}
assert len(KEYS) == len(list(board.rows(RESTARTS))) + 2
"""


def test_counts_are_shared_with_children() -> None:
    """What a child counts is seen here, after its death too.

    In a process of its own: this one may have loaded what must not be forked.
    """
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_word_rings_and_is_heard() -> None:
    """SIGIO comes with it, to this thread and no other; words that came together are told apart."""
    hearing, telling = os.pipe()
    is_over = threading.Event()
    other = threading.Thread(target=is_over.wait)  # it does not block SIGIO, which would end the process
    other.start()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    try:
        reports = Reports(hearing)
        assert reports.take() == []
        report(telling, Word.READY)
        report(telling, Word.SETTINGS)
        got = signal.sigtimedwait([signal.SIGIO], 60)
        assert got is not None
        assert reports.take() == [(Word.READY, os.getpid()), (Word.SETTINGS, os.getpid())]
    finally:
        signal.sigtimedwait([signal.SIGIO], 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(hearing)
        is_over.set()
        other.join()
    report(telling, Word.READY)  # nobody hears it, and that is no trouble
    os.close(telling)


def test_systemd_is_told(tmp_path: Path) -> None:
    """State by state, in the form of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready("serving")
        assert manager.recv(4096) == b"READY=1\nSTATUS=serving"
        notifier.reloading()
        state, _, moment = manager.recv(4096).partition(b"\n")
        assert state == b"RELOADING=1"
        assert moment.removeprefix(b"MONOTONIC_USEC=").isdigit()
        notifier.stopping()
        assert manager.recv(4096).startswith(b"STOPPING=1\n")


def test_an_abstract_name_begins_with_nul() -> None:
    """systemd writes it with an @."""
    name = f"understudy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(60)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert manager.recv(4096).startswith(b"READY=1\n")


def test_without_systemd_nothing_is_said(tmp_path: Path) -> None:
    """Nor is a manager that has gone a trouble."""
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
