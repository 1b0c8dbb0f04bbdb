"""A client of the admin server, in process."""

from collections.abc import AsyncIterator

import httpx
import pytest
from admin_fakes import FakeControl

from understudy.admin import create_admin


@pytest.fixture
def control() -> FakeControl:
    """The control plane behind the server."""
    return FakeControl()


@pytest.fixture
async def client(control: FakeControl) -> AsyncIterator[httpx.AsyncClient]:
    """A client that speaks to the server as a tool on the same machine does."""
    app = create_admin(control, hosts=["admin.internal"])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("127.0.0.1", 50123))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as made:
        yield made
