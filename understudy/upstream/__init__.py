"""Connections to services: one HTTP/1.1 client protocol, pooled per origin."""

from understudy.upstream.connection import Caller, UpstreamConnection
from understudy.upstream.outgoing import Outgoing
from understudy.upstream.pool import Pool, Refusal

__all__ = ["Caller", "Outgoing", "Pool", "Refusal", "UpstreamConnection"]
