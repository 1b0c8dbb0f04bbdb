"""`/api/v1/recordings`: what is asked for is checked, one recording at a time, told as problems."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl

from understudy.admin import create_admin
from understudy.admin import recordings as module
from understudy.admin.recordings import RecordingBusy, Wanted


class Plane:
    """Records two pieces, and what was wanted."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []
        self.is_busy = False

    def record(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        if self.is_busy:
            raise RecordingBusy
        self.wanted.append(wanted)
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        yield b'{"log":'
        yield b"{}}"

    def end_recording(self) -> bool:
        return self.is_busy


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
async def asking(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that records."""
    transport = httpx.ASGITransport(app=create_admin(FakeControl(), recordings=plane))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as made:
        yield made


async def test_a_recording_is_streamed_as_a_file(asking: httpx.AsyncClient, plane: Plane) -> None:
    """Without a body by the defaults; every bound can be said."""
    answer = await asking.post("/api/v1/recordings")
    assert (answer.status_code, answer.json()) == (200, {"log": {}})
    assert "traffic.har" in answer.headers["content-disposition"]
    asked = {
        "requests": 5,
        "seconds": "2m",
        "max_bytes": "1MiB",
        "share": 0.5,
        "path_prefix": "/a",
        "route": "r",
    }
    await asking.post("/api/v1/recordings", json=asked)
    assert plane.wanted == [
        Wanted(),
        Wanted(requests=5, seconds=120.0, max_bytes=2**20, share=0.5, path_prefix="/a", route="r"),
    ]


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"requests": 0}, "requests", "must be 1 to 1000000, not 0"),
        ({"seconds": "long"}, "seconds", "is not a duration"),
        ({"max_bytes": 1}, "max_bytes", "must be 1KiB to 2GiB"),
        ({"share": 3}, "share", "must be a number from 0 to 1"),
        ({"path_prefix": 7}, "path_prefix", "must be one line of text"),
        ({"second": 1}, "second", "unknown key"),
    ],
)
async def test_what_cannot_be_recorded_is_refused_with_the_place(
    document: dict[str, Any], path: str, message: str, asking: httpx.AsyncClient, plane: Plane
) -> None:
    """422, and nothing begins."""
    answer = await asking.post("/api/v1/recordings", json=document)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == path
    assert message in error["message"]
    assert plane.wanted == []


async def test_a_second_recording_is_a_conflict_and_can_be_ended(
    asking: httpx.AsyncClient, plane: Plane
) -> None:
    """409 says how to end the first; DELETE says whether there was one."""
    assert (await asking.delete("/api/v1/recordings")).json() == {"ended": False}
    plane.is_busy = True
    answer = await asking.post("/api/v1/recordings")
    assert answer.status_code == 409
    assert "DELETE /api/v1/recordings ends it" in answer.json()["detail"]
    assert (await asking.delete("/api/v1/recordings")).json() == {"ended": True}


async def test_a_body_that_is_no_mapping_is_refused(asking: httpx.AsyncClient) -> None:
    """A list asks for nothing."""
    assert (await asking.post("/api/v1/recordings", json=[1])).status_code == 422


async def test_a_server_that_cannot_record_says_so(client: httpx.AsyncClient) -> None:
    """501, not a fault."""
    assert (await client.post("/api/v1/recordings")).status_code == 501


async def test_a_reader_that_takes_nothing_ends_the_recording(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connection open: after a while nothing is recorded for it, and another one may record."""
    monkeypatch.setattr(module, "SEND_SECONDS", 0.01)
    ended = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"{"
        finally:
            ended.set()

    async def receive() -> dict[str, Any]:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    asked: list[bool] = []
    monkeypatch.setattr(plane, "_pieces", pieces)
    scope = {"type": "http", "method": "POST", "path": "/api/v1/recordings", "query_string": b""}
    app = create_admin(FakeControl(), recordings=plane)
    async with asyncio.timeout(60):
        await app({**scope, "headers": [(b"host", b"127.0.0.1")]}, receive, send)
    assert ended.is_set()
