"""The admin server as the control process runs it, on a real socket."""

import asyncio
import json
import socket

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from understudy.app.admin_server import AdminServer


async def told_peer(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says whom it sees, and over which scheme."""
    request = Request(scope)
    await Response(json.dumps([request.client and request.client.host, scope["scheme"]]))(
        scope, receive, send
    )


async def test_who_asks_cannot_say_where_he_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """X-Forwarded-For would choose the address that is slowed down, let in and written into the audit."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    listener = socket.create_server(("127.0.0.1", 0))
    server = AdminServer(told_peer)
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", headers=forged)
        server.should_exit = True
    assert answer.json() == ["127.0.0.1", "http"]
