"""Child processes that never outlive the demo."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from understudy.errors import UnderstudyError

POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 6.0
"""After this a child that was asked to end is killed, with its whole process group."""

TAIL_LINES: Final = 20


class ChildFailed(UnderstudyError):
    """A child ended early or did not become ready; the message carries the end of its log."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One running child. Its output goes to ``log``."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, name: str, arguments: Sequence[str], *, log: Path, pass_fds: Sequence[int] = ()
    ) -> "Child":
        """Run ``python *arguments*`` in its own process group, so that Ctrl-C reaches the demo alone."""
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
        return cls(name=name, process=process, log=log)

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait for *is_ready*.

        Raises:
            ChildFailed: the child ended, or *seconds* went by.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if (status := self.process.poll()) is not None:
                raise self.failure(f"ended with status {status}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {seconds:g} s")
            time.sleep(POLL_SECONDS)

    def failure(self, what: str) -> ChildFailed:
        """What went wrong, with the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return ChildFailed("\n".join([f"{self.name} {what}; the end of {self.log}:", *lines]))

    def check(self) -> None:
        """Raises:
        ChildFailed: the child has ended.
        """
        if (status := self.process.poll()) is not None:
            raise self.failure(f"ended with status {status}")

    def stop(self) -> None:
        """End the child: SIGTERM, then SIGKILL for its whole group. Safe to call again."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        self._kill_group()
        self.process.wait()

    def _kill_group(self) -> None:
        # The group outlives its leader while any grandchild is left.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def listener() -> socket.socket:
    """A socket that listens on a free port of 127.0.0.1, to be handed to a child."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen(1024)
    return bound


def free_ports(count: int) -> list[int]:
    """*count* different ports of 127.0.0.1 that nobody listens on now."""
    held = [listener() for _ in range(count)]
    try:
        return [int(bound.getsockname()[1]) for bound in held]
    finally:
        for bound in held:
            bound.close()


def answers(url: str) -> bool:
    """Whether ``GET url`` gives 200 within a second."""
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
