"""What is told of a request in the access log: enumerated fields, nothing that opens a door.

A line is made after the answer's bytes have left, in the same turn of the event loop; who writes it to a
disk is somebody else's affair (`Sink`).
"""

import json
import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from understudy.shadow import Redaction, is_plain
from understudy.tracing import read_traceparent

if TYPE_CHECKING:
    from understudy.proxy.exchange import Exchange

log = logging.getLogger("understudy.proxy")

LONGEST_TARGET: Final = 1024
"""Characters of path and query together: so a line stays under what a pipe takes in one piece, 4 KiB."""
LONGEST_HOST: Final = 255
LONGEST_AGENT: Final = 256
LONGEST_ID: Final = 128
TOLD_SECONDS: Final = 60.0
"""A fault that repeats with every request is told this often."""

_TARGET_END = re.compile("[?#]")


class Sink(Protocol):
    """Where lines go. Never waits; what it has no room for it counts."""

    def offer(self, line: bytes) -> None:
        """Take one line, its end included."""


class Entry:
    """What is noted of one request while it runs; ``mirror`` are the services that got a copy."""

    __slots__ = (
        "_log",
        "bytes_in",
        "bytes_out",
        "mirror",
        "reason",
        "request_id",
        "seconds",
        "status",
        "upstream_seconds",
    )

    def __init__(self, owner: "AccessLog") -> None:
        self._log = owner
        self.bytes_in = 0
        self.bytes_out = 0
        self.mirror: list[str] = []
        self.reason = ""
        self.request_id = b""
        self.status = 0
        self.seconds: float | None = None
        self.upstream_seconds: float | None = None

    def refused(self, reason: str, answer: bytes) -> None:
        """The proxy answered by itself, with *answer*."""
        self.reason = reason
        self.bytes_out = len(answer) - answer.index(b"\r\n\r\n") - 4

    def end(self, exchange: "Exchange", status: int, started_at: float) -> None:
        """All is said; *started_at* is 0 for what never became a request."""
        self.status = status
        if started_at:
            self.seconds = perf_counter() - started_at
        self._log.ended(exchange)


class AccessLog:
    """Makes the lines of one worker.

    *call_soon* is the event loop's; *wall* gives Unix seconds, *chance* is uniform in [0, 1).
    """

    def __init__(
        self,
        sink: Sink,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        redaction: Redaction,
        worker: str,
        wall: Callable[[], float],
        chance: Callable[[], float],
        sample: float = 1.0,
        query: bool = False,
    ) -> None:
        self.faults = 0
        self._sink = sink
        self._call_soon = call_soon
        self._redaction = redaction
        self._worker = worker
        self._sample = sample
        self._query = query
        self._wall = wall
        self._chance = chance
        self._ended: list[Exchange] = []
        self._second = 0
        self._second_text = ""
        self._told_at = -TOLD_SECONDS
        self._agent = lru_cache(maxsize=1024)(self._hidden)  # few, and long

    def hide(self, redaction: Redaction) -> None:
        """Hide by these rules from now on."""
        self._redaction = redaction
        self._agent = lru_cache(maxsize=1024)(self._hidden)

    def open(self) -> Entry | None:
        """The entry of a new request; None for one that the sample leaves out."""
        return Entry(self) if self._sample >= 1.0 or self._chance() < self._sample else None

    def ended(self, exchange: "Exchange") -> None:
        """Write *exchange* up when this turn's bytes have left."""
        if not self._ended:
            self._call_soon(self._write_up)
        self._ended.append(exchange)

    def _write_up(self) -> None:
        ended, self._ended = self._ended, []
        for exchange in ended:
            try:
                entry, exchange.entry = exchange.entry, None
                if entry is not None:
                    self._sink.offer(encoded(self.record(exchange, entry)))
            except Exception:  # a line that cannot be made must not cost a request
                self.faults += 1
                now = perf_counter()
                if now - self._told_at >= TOLD_SECONDS:
                    self._told_at = now
                    log.exception("a line of the access log could not be made")

    def record(self, exchange: "Exchange", entry: Entry) -> dict[str, Any]:
        """The line of *exchange* as a mapping; what is not known is null."""
        seconds = entry.seconds
        record: dict[str, Any] = {
            "time": self._time(self._wall() - (seconds or 0.0)),
            "client": exchange.client_ip or None,
            "method": exchange.method if seconds is not None else None,
            "host": exchange.host[:LONGEST_HOST] or None,
        }
        self._target(record, exchange)
        record["status"] = entry.status
        record["bytes_in"] = entry.bytes_in
        record["bytes_out"] = entry.bytes_out
        record["duration_seconds"] = None if seconds is None else round(seconds, 6)
        upstream = entry.upstream_seconds
        record["upstream_seconds"] = None if upstream is None else round(upstream, 6)
        plan = exchange.plan
        decision = None if plan is None else plan.decision
        record["service"] = None if decision is None else decision.serve
        record["flag"] = (None if decision is None else decision.flag) or None
        record["variant"] = (None if decision is None else decision.variant) or None
        record["mirror"] = entry.mirror
        record["reason"] = entry.reason or None
        fields = exchange.fields
        trace = None
        request_id = entry.request_id
        if fields is not None:
            request_id = request_id or fields.request_id
            if fields.traceparent:
                trace = read_traceparent(fields.traceparent)
        record["request_id"] = self._hidden(request_id.decode("latin-1"), LONGEST_ID) or None
        record["trace_id"] = None if trace is None else trace.trace_id.decode("ascii")
        record["user_agent"] = self._agent(user_agent(exchange.headers), LONGEST_AGENT) or None
        record["worker"] = self._worker
        return record

    def _target(self, record: dict[str, Any], exchange: "Exchange") -> None:
        path, query = exchange.path, exchange.query
        if not path and exchange.target[:1] == b"/":  # refused before it was looked at
            path = _TARGET_END.split(exchange.target.decode("latin-1"), maxsplit=1)[0]
        record["path"] = self._path(path[:LONGEST_TARGET], is_cut=len(path) > LONGEST_TARGET) or None
        if self._query:
            left = LONGEST_TARGET - min(len(path), LONGEST_TARGET)
            shown = self._redaction.target("", cut(query, left)) if query and left else ""
            record["query"] = shown[1:] or None

    def _path(self, path: str, *, is_cut: bool) -> str:
        if is_cut:
            path += "…"  # tells the redaction that half a word may stand before it
        return path if is_plain(path) else self._redaction.target(path, "")[: LONGEST_TARGET + 1]

    def _hidden(self, text: str, most: int) -> str:
        text = cut(text, most)
        return text if is_plain(text) else self._redaction.text(text)

    def _time(self, at: float) -> str:
        """RFC 3339 in UTC, with milliseconds."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((at - second) * 1000):03d}Z"


def cut(text: str, most: int) -> str:
    """*text*, at most that many characters; one that was cut says so by its end."""
    return text if len(text) <= most else text[:most] + "…"


def user_agent(headers: list[tuple[bytes, bytes]]) -> str:
    """The User-Agent field; empty without one."""
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"user-agent":
            return value.decode("latin-1")
    return ""


def encoded(record: dict[str, Any]) -> bytes:
    """*record* as one line of ASCII, so that nothing in it means anything to a terminal or a line reader."""
    line = orjson.dumps(record)
    if not line.isascii() or b"\x7f" in line:
        line = json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii")
    return line + b"\n"
