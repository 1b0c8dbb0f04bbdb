"""Active health checks: each origin of a service is asked now and then whether it is well.

On a connection of its own, in a task with a deadline, started by the sweep: nothing waits for one.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, cast

from understudy.config import HealthCheck
from understudy.upstream.health import Health
from understudy.upstream.origin import Origin

JITTER: Final = 0.1
"""Share of the interval by which a check comes early or late, so that workers do not ask in step."""

STATUS_BYTES: Final = 1024
"""Of an answer no more than its first line is of interest."""

_FIELDS: Final = (b"User-Agent: understudy-health", b"Accept: */*", b"Connection: close")
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9])[ \r]")


class Checks:
    """The checks of one service, shared by the pools of all its roles. Call `sweep` often.

    An origin counts as well until ``unhealthy`` checks in a row have failed.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        check: HealthCheck,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._check = check
        self._loop = loop
        self._spawn = spawn
        self._clock = clock
        self._chance = chance
        self._patients = [_Patient(origin) for origin in origins]
        self._is_stopped = False

    def watch(self, index: int, health: Health) -> None:
        """Tell *health* what becomes of the origin at *index*, from now on."""
        patient = self._patients[index]
        health.is_failing = patient.is_failing
        patient.watched.append(health)

    def unwatch(self, health: Health) -> None:
        """Tell *health* no more."""
        for patient in self._patients:
            if health in patient.watched:
                patient.watched.remove(health)

    def sweep(self, now: float) -> None:
        """Start the checks that are due."""
        for patient in self._patients:
            if now >= patient.due and not patient.is_asked and not self._is_stopped:
                patient.is_asked = True
                self._spawn(self._ask(patient))

    def stop(self) -> None:
        """End the checks under way now, and start none."""
        self._is_stopped = True
        for patient in self._patients:
            if patient.deadline is not None:
                patient.deadline.reschedule(self._loop.time())

    async def _ask(self, patient: "_Patient") -> None:
        reason = await self._diagnose(patient)
        patient.is_asked = False
        patient.due = self._clock() + self._check.interval * (1 - JITTER + 2 * JITTER * self._chance())
        if not self._is_stopped:
            patient.settle(self._check, reason)

    async def _diagnose(self, patient: "_Patient") -> str:
        """Why the origin is not well; empty when it is."""
        probe = Probe(request(patient.origin, self._check.path), self._loop.create_future())
        try:
            async with asyncio.timeout(self._check.timeout) as patient.deadline:
                await patient.origin.connect(self._loop, lambda: probe)
                status = await probe.status
        except TimeoutError:
            return f"no answer within {self._check.timeout:g} s"
        except Exception as error:  # noqa: BLE001  whatever keeps an origin from answering, it is not well
            return str(error) or type(error).__name__
        finally:
            patient.deadline = None
            probe.end()
        accepted = self._check.status
        if status in accepted or f"{status // 100}xx" in accepted:
            return ""
        return f"{self._check.path} answered {status}"


class _Patient:
    """One origin, and how its last checks went."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.watched: list[Health] = []
        self.due = 0.0
        self.is_asked = False
        self.is_failing = False
        self.in_a_row = 0
        self.deadline: asyncio.Timeout | None = None

    def settle(self, check: HealthCheck, reason: str) -> None:
        """Count a check that passed, or failed for *reason*; enough of them in a row turn the verdict."""
        if self.is_failing == bool(reason):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.in_a_row >= (check.unhealthy if reason else check.healthy):
            self.in_a_row = 0
            self.is_failing = bool(reason)
            for health in self.watched:
                health.checked(is_failing=self.is_failing, reason=reason)


class Probe(asyncio.Protocol):
    """One question on one connection; ``status`` is what the answer begins with."""

    def __init__(self, question: bytes, status: "asyncio.Future[int]") -> None:
        self.status = status
        self._question = question
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.status.done():
            return
        if b"\r\n" in self._received:
            found = _STATUS.match(self._received)
            if found is None:
                self.status.set_exception(ConnectionError("what it answered is not HTTP/1.1"))
            else:
                self.status.set_result(int(found[1]))
        elif len(self._received) > STATUS_BYTES:
            self.status.set_exception(ConnectionError("what it answered is not HTTP/1.1"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.status.done():
            self.status.set_exception(exc or ConnectionError("it closed the connection without an answer"))

    def end(self) -> None:
        """Hang up."""
        self.status.cancel()
        if self._transport is not None:
            self._transport.abort()


def request(origin: Origin, path: str) -> bytes:
    """What an origin is asked; like any client's request, so that no special case is tested."""
    host = origin.authority
    if origin.tls is not None and origin.tls.server_name:
        host = origin.tls.server_name.encode("latin-1")
    lines = (b"GET %b HTTP/1.1" % path.encode("ascii"), b"Host: %b" % host, *_FIELDS, b"", b"")
    return b"\r\n".join(lines)
