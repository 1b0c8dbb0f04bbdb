"""Connections to services: one HTTP/1.1 client protocol, pooled per origin."""

from understudy.upstream.connection import Caller, UpstreamConnection
from understudy.upstream.pool import Pool, Refusal

__all__ = ["Caller", "Pool", "Refusal", "UpstreamConnection"]
