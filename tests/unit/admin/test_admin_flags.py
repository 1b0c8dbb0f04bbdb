"""The kill switch over HTTP."""

import httpx
import pytest
from admin_fakes import FakeControl, LockedStore


async def test_kill_needs_no_body(client: httpx.AsyncClient, control: FakeControl) -> None:
    """In a hurry, one POST is enough."""
    answer = await client.post("/api/v1/flags/shop/kill")

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"8"'
    assert (answer.json()["workers"], answer.json()["applied"]) == (2, 1)
    assert control.killed == ["shop"]


async def test_revive_undoes_kill(client: httpx.AsyncClient, control: FakeControl) -> None:
    """After both, the flag follows its rules again."""
    await client.post("/api/v1/flags/shop/kill")

    answer = await client.post("/api/v1/flags/shop/revive", json={"reason": "fixed"})

    assert answer.status_code == 200
    assert answer.json()["reason"] == "fixed"
    assert control.killed == []


async def test_who_and_why_are_kept(client: httpx.AsyncClient, control: FakeControl) -> None:
    """The change carries the client's address and the reason given."""
    await client.post("/api/v1/flags/shop/kill", json={"reason": "prices are wrong"})

    assert control.versions[-1].author == "admin API (127.0.0.1)"
    assert control.versions[-1].reason == "prices are wrong"


@pytest.mark.parametrize("action", ["kill", "revive"])
@pytest.mark.parametrize("key", ["shpo", "a/b", "%3Cscript%3E", "%00", "%E2%80%AE"])
async def test_an_unknown_flag_is_404_with_those_known(
    client: httpx.AsyncClient, action: str, key: str
) -> None:
    """A misspelt key is answered with the keys there are."""
    answer = await client.post(f"/api/v1/flags/{key}/{action}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["known"] == ["shop"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"reason": 5}', 422),
        (b'{"reason": "a\\nb"}', 422),
        (b'{"because": "x"}', 422),
        (b"[]", 422),
        (b"{", 400),
        (b'{"reason": "a", "reason": "b"}', 400),
        (b" " * 20_000, 413),
    ],
)
async def test_a_bad_body_kills_nothing(
    client: httpx.AsyncClient, control: FakeControl, body: bytes, status: int
) -> None:
    """A body that is not understood is refused, so that no reason is lost silently."""
    answer = await client.post(
        "/api/v1/flags/shop/kill", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == status
    assert control.killed == []


async def test_a_form_is_refused(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Only JSON may carry a reason."""
    answer = await client.post("/api/v1/flags/shop/kill", data={"reason": "x"})

    assert answer.status_code == 415
    assert control.killed == []


async def test_a_store_that_cannot_answer_is_503(client: httpx.AsyncClient, control: FakeControl) -> None:
    """The kill has not happened, and the answer says so."""
    control.failure = LockedStore()

    assert (await client.post("/api/v1/flags/shop/kill")).status_code == 503
