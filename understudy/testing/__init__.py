"""What Understudy is tested with, for your own tests too: faults between two peers, and scripted services.

``FaultProxy`` stands in a TCP connection and harms it as told; ``ScriptedServer`` answers raw bytes and
records what it got. Both are for one event loop, as ``async with``, and need nothing but asyncio.
"""

from understudy.testing.faults import (
    Bandwidth,
    Direction,
    Fault,
    Latency,
    LimitData,
    Reset,
    Slicer,
    SlowClose,
    Timeout,
)
from understudy.testing.http1 import Fields, answer, chunked
from understudy.testing.proxy import FaultProxy, Recording
from understudy.testing.server import Connection, End, Pause, Receive, Script, ScriptedServer, Send, Step

__all__ = [
    "Bandwidth",
    "Connection",
    "Direction",
    "End",
    "Fault",
    "FaultProxy",
    "Fields",
    "Latency",
    "LimitData",
    "Pause",
    "Receive",
    "Recording",
    "Reset",
    "Script",
    "ScriptedServer",
    "Send",
    "Slicer",
    "SlowClose",
    "Step",
    "Timeout",
    "answer",
    "chunked",
]
