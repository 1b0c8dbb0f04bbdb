"""Connections to services: one HTTP/1.1 client protocol, pooled per origin, balanced per service."""

from understudy.upstream.allowance import Allowance
from understudy.upstream.answers import KnownHeads
from understudy.upstream.balance import Balancer, Upstream
from understudy.upstream.connection import Caller, UpstreamConnection
from understudy.upstream.delegate import Delegate, DelegateConnection, DelegatePool, delegate_pool
from understudy.upstream.health import Health
from understudy.upstream.maker import UpstreamMaker
from understudy.upstream.origin import Origin
from understudy.upstream.outgoing import Outgoing
from understudy.upstream.pool import Pool
from understudy.upstream.room import Refusal, Room

__all__ = [
    "Allowance",
    "Balancer",
    "Caller",
    "Delegate",
    "DelegateConnection",
    "DelegatePool",
    "Health",
    "KnownHeads",
    "Origin",
    "Outgoing",
    "Pool",
    "Refusal",
    "Room",
    "Upstream",
    "UpstreamConnection",
    "UpstreamMaker",
    "delegate_pool",
]
