"""Understudy lets a new backend rehearse on live traffic before it meets users."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> object:
    """The client library, once somebody asks for it: to import this package costs nothing."""
    if name in ("AsyncClient", "Client"):
        from understudy import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
