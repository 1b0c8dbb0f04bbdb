"""Samples over HTTP: whole and explained; forgotten by unit, never by mistake."""

import threading
from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl, LockedStore

from understudy.admin import samples as module
from understudy.store import Sample

NAME = "0123456789abcdef"


def sample(**more: Any) -> Sample:
    """A sample of a price that differs."""
    given: dict[str, Any] = {
        "service": "v2",
        "endpoint": "GET /orders/{id}",
        "path": "/body/price",
        "kind": "value",
        "priority": 0.5,
        "at": 1_800_000_000.0,
        "name": NAME,
        "unit": "abcd",
        "body": {"id": NAME, "at": "/body/price", "request": "GET /orders/7", "flag": "shop", "seen": 2.0},
        "whole": {
            "primary": {"status": 200, "headers": [["X-A", "1"]], "body": {"price": 1}},
            "shadow": {"status": 200, "headers": [["X-A", "2"]], "body": {"price": 2, "new": None}},
        },
    }
    return Sample(**{**given, **more})


async def test_a_sample_comes_whole_and_explained(client: httpx.AsyncClient, control: FakeControl) -> None:
    """What a report shows of it, both answers, each place where they differ; nothing that names a unit."""
    control.samples[NAME] = sample()

    answer = await client.get(f"/api/v1/samples/{NAME}")

    assert answer.status_code == 200
    assert answer.json() == {
        "id": NAME,
        "service": "v2",
        "endpoint": "GET /orders/{id}",
        "path": "/body/price",
        "kind": "value",
        "at": "/body/price",
        "request": "GET /orders/7",
        "flag": "shop",
        "seen": 2.0,
        "curl": "",
        "primary": {"status": 200, "headers": [["X-A", "1"]], "body": {"price": 1}},
        "shadow": {"status": 200, "headers": [["X-A", "2"]], "body": {"price": 2, "new": None}},
        "explanation": [
            {"path": "/body/new", "change": "extra", "primary": None, "shadow": None},
            {"path": "/body/price", "change": "value", "primary": 1, "shadow": 2},
            {"path": "/headers/x-a", "change": "value", "primary": "1", "shadow": "2"},
        ],
    }


async def test_a_sample_of_an_older_version_has_no_answers(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """It is told without them."""
    control.samples[NAME] = sample(whole=None)

    told = (await client.get(f"/api/v1/samples/{NAME}")).json()

    assert (told["primary"], told["shadow"], told["explanation"]) == (None, None, [])


async def test_an_explanation_that_takes_too_long_is_left_out(
    client: httpx.AsyncClient, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are worth having without it."""
    control.samples[NAME] = sample()
    over = threading.Event()
    monkeypatch.setattr(module, "EXPLAINED_SECONDS", 0.01)
    monkeypatch.setattr(module, "explain", lambda *_: [{"late": over.wait(60)}])

    told = (await client.get(f"/api/v1/samples/{NAME}")).json()
    over.set()

    assert (told["explanation"], told["primary"]["status"]) == ([], 200)


@pytest.mark.parametrize("name", [NAME, "no", "..%2f..", "0123456789ABCDEF", "%00", "x" * 5000])
async def test_what_is_not_kept_is_404(client: httpx.AsyncClient, name: str) -> None:
    """In words, whatever was asked for."""
    answer = await client.get(f"/api/v1/samples/{name}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "unit"), [("unit=alice", "alice"), ("unit=a%26b%20%C3%A9", "a&b é"), ("all=true", None)]
)
async def test_samples_are_forgotten(
    client: httpx.AsyncClient, control: FakeControl, query: str, unit: str | None
) -> None:
    """The unit as it was typed; how many there were."""
    answer = await client.delete(f"/api/v1/samples?{query}")

    assert (answer.status_code, answer.json()) == (200, {"deleted": 3})
    assert control.forgotten == [unit]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "unit=",
        "all=false",
        "all=",
        "all=true&unit=a",
        "unit=a&unit=b",
        "all=true&all=true",
        "user=a",
        "unit=a&x=1",
    ],
)
async def test_it_must_be_said_whose_samples(
    client: httpx.AsyncClient, control: FakeControl, query: str
) -> None:
    """Nothing is forgotten by a typing error."""
    answer = await client.delete(f"/api/v1/samples?{query}")

    assert answer.status_code == 400
    assert "?unit=TEXT" in answer.json()["detail"]
    assert control.forgotten == []


async def test_a_page_of_another_site_forgets_nothing(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """As for every write."""
    answer = await client.delete("/api/v1/samples?all=true", headers={"Origin": "http://evil.example"})

    assert (answer.status_code, control.forgotten) == (403, [])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_store_without_an_answer_is_503(
    client: httpx.AsyncClient, control: FakeControl, method: str
) -> None:
    """And says so."""
    control.failure = LockedStore()
    path = "/api/v1/samples?all=true" if method == "DELETE" else f"/api/v1/samples/{NAME}"

    assert (await client.request(method, path)).status_code == 503
