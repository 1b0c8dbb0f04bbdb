"""What the decider counts for /metrics."""

import asyncio

import httpx
import pytest
from admin_fakes import FakeControl
from prometheus_client import CollectorRegistry

from understudy.admin import OfrepCounts, create_admin
from understudy.admin.ofrep_counts import MOST_FLAGS, OTHER
from understudy.admin.stream import Pace, Room
from understudy.app.control_metrics import Collected
from understudy.config import parse_rules

ON = {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"}
ALL = "/ofrep/v1/evaluate/flags"


@pytest.fixture
def counts() -> OfrepCounts:
    """Nothing counted yet."""
    return OfrepCounts()


def told(counts: OfrepCounts, name: str, **labels: str) -> float | None:
    """What a scrape reads."""
    registry = CollectorRegistry()
    registry.register(Collected(counts.collect))
    return registry.get_sample_value(name, labels)


async def test_evaluations_are_counted_by_flag_and_result(counts: OfrepCounts) -> None:
    """A key that is no flag is no label; errors have their code; 304 is told from an answer."""
    control = FakeControl()
    rules = parse_rules({"flags": {"look": ON}, "routes": [], "compare": []}, services=())
    control.succession.put(version=7, rules=rules, at=1.0)
    transport = httpx.ASGITransport(create_admin(control, counts=counts), client=("127.0.0.1", 50123))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        await client.post(f"{ALL}/look", json={})
        await client.post(f"{ALL}/nobody", json={})
        await client.post(f"{ALL}/look", content=b"{")
        tag = (await client.post(ALL, json={})).headers["etag"]
        await client.post(ALL, json={}, headers={"If-None-Match": tag})
        await client.post(ALL, content=b"{")

    one = "understudy_evaluations_total"
    assert told(counts, one, flag="look", result="static") == 1
    assert told(counts, one, flag="", result="flag_not_found") == 1
    assert told(counts, one, flag="", result="parse_error") == 1
    bulk = [
        told(counts, "understudy_bulk_evaluations_total", result=result)
        for result in ("answered", "not_modified", "refused")
    ]
    assert bulk == [1, 1, 1]
    assert told(counts, "understudy_evaluation_duration_seconds_count", asked="one") == 3
    assert told(counts, "understudy_evaluation_duration_seconds_bucket", asked="all", le="+Inf") == 3


def test_labels_are_bounded(counts: OfrepCounts) -> None:
    """Flags beyond the first thousand share one."""
    for number in range(MOST_FLAGS + 5):
        counts.evaluated(f"flag-{number}", "STATIC", 0.0)

    assert told(counts, "understudy_evaluations_total", flag=OTHER, result="static") == 5


def test_rooms_tell_who_listens_and_who_was_cut(counts: OfrepCounts) -> None:
    """As they are when they are asked."""
    room = Room(pace=Pace(), stopping=asyncio.Event(), instead="something else")
    counts.watch("sse", room)
    room.listeners, room.dropped = 3, 2

    assert told(counts, "understudy_streams", kind="sse") == 3
    assert told(counts, "understudy_streams_dropped_total", kind="sse") == 2
