"""Flags for applications in Python.

Evaluated in their own process, kept up to date, whatever the server does.
"""

from understudy.client.async_client import AsyncClient
from understudy.client.client import Client
from understudy.client.details import Details
from understudy.client.hooks import Exposure
from understudy.client.status import State, Status

__all__ = ["AsyncClient", "Client", "Details", "Exposure", "State", "Status"]
