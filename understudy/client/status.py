"""How a client stands with its server."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """starting: there are no flags yet.

    Ready: in touch with the server. stale: going on without it. closed.
    """

    STARTING = "starting"
    READY = "ready"
    STALE = "stale"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a client stands with its server now.

    ``since``: when it came to this state, in seconds since 1970. ``is_connected``: it hears of changes at
    once, by the stream; else it asks now and then. ``version`` of the rules that answer; None when there are
    none or the server does not tell. ``age_seconds`` since the server last said that they are the newest;
    None when it has not said so in this process. ``flags``: how many may be asked; in remote mode 0.
    ``error``: what the last trouble was; empty while there is none. The counters count from the start of the
    process.
    """

    state: State
    since: float
    is_connected: bool
    version: int | None
    age_seconds: float | None
    flags: int
    error: str
    troubles: int
    hook_errors: int
    exposures_sent: int
    exposures_dropped: int


ChangeListener = Callable[[frozenset[str]], object]
"""Told which flags may answer differently from now on."""
StatusListener = Callable[[State], object]
"""Told what state the client has come to."""
