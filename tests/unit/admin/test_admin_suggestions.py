"""Suggested compare rules over HTTP."""

from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl, LockedStore

PATH = "/api/v1/rules/suggestions"
FINDING: dict[str, Any] = {"path": "/body/a", "kind": "value", "differing": 7, "verdict": "noise"}


@pytest.fixture
def control(control: FakeControl) -> FakeControl:
    """One noisy place, and one that is a regression."""
    samples = [{"primary": "red", "shadow": "blue"}]
    findings = [
        {**FINDING, "samples": samples},
        {**FINDING, "path": "/body/b", "verdict": "regression", "samples": samples},
    ]
    control.evidence["endpoints"] = [{"endpoint": "GET /x", "service": "v2", "findings": findings}]
    return control


@pytest.mark.usefixtures("control")
async def test_noise_gets_a_rule_and_a_regression_a_reason(client: httpx.AsyncClient) -> None:
    """The contract: what is proposed, what is refused."""
    answer = await client.get(PATH)
    assert answer.status_code == 200
    told = answer.json()
    assert told["suggestions"] == [
        {
            "endpoint": "GET /x",
            "path": "/body/a",
            "kind": "value",
            "rule": {"endpoint": "GET /x", "matching": {"/body/a": "(?s).*"}},
            "why": told["suggestions"][0]["why"],
            "hides": 7,
        }
    ]
    assert [set(item) for item in told["refused"]] == [{"endpoint", "path", "kind", "reason", "why"}]


@pytest.mark.usefixtures("control")
async def test_regressions_when_asked_for(client: httpx.AsyncClient) -> None:
    """A parameter, which is true or false."""
    told = (await client.get(PATH, params={"include_regressions": "true"})).json()
    assert [item["path"] for item in told["suggestions"]] == ["/body/a", "/body/b"]
    refused = await client.get(PATH, params={"include_regressions": "yes"})
    assert (refused.status_code, refused.json()["detail"]) == (400, "include_regressions is true or false")


async def test_a_store_that_cannot_answer_is_503(client: httpx.AsyncClient, control: FakeControl) -> None:
    """As everywhere."""
    control.failure = LockedStore()
    assert (await client.get(PATH)).status_code == 503
