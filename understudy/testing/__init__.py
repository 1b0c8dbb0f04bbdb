"""What Understudy is tested with, for your own tests too: faults between two peers, scripted services, load.

``FaultProxy`` stands in a TCP connection and harms it as told; ``ScriptedServer`` answers raw bytes and
records what it got. Both are for one event loop, as ``async with``, and need nothing but asyncio.
``SteadyLoad`` asks at a fixed rate from a thread of its own, and counts what a restart must not cost.
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
from understudy.testing.load import LoadTally, SteadyLoad
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
    "LoadTally",
    "Pause",
    "Receive",
    "Recording",
    "Reset",
    "Script",
    "ScriptedServer",
    "Send",
    "Slicer",
    "SlowClose",
    "SteadyLoad",
    "Step",
    "Timeout",
    "answer",
    "chunked",
]
