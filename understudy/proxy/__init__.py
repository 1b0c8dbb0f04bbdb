"""Front door 1: a reverse proxy with its own HTTP/1.1 listener."""

from understudy.proxy.access_log import AccessLog
from understudy.proxy.doors import Doors
from understudy.proxy.server import SWEEP_SECONDS, Clock, Proxy
from understudy.proxy.tape import Tape

__all__ = ["SWEEP_SECONDS", "AccessLog", "Clock", "Doors", "Proxy", "Tape"]
