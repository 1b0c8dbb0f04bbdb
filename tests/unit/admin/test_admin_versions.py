"""Versions of the rules document: as one was, what changed, and back again."""

from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.admin.changes import changes

FLAG = {"state": "ENABLED"}
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([1.0, "a"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b/~"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {}, [{"path": "/a", "before": 1}]),
        ({}, {"a": None}, [{"path": "/a", "after": None}]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [{"path": "/a/b", "before": 1, "after": 2}]),
        ({"a/b~": 1}, {"a/b~": 2}, [{"path": "/a~1b~0", "before": 1, "after": 2}]),
        ({"a": 1}, {"a": 1.0}, [{"path": "/a", "before": 1, "after": 1.0}]),
        ({"a": [1]}, {"a": [True]}, [{"path": "/a", "before": [1], "after": [True]}]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, []),
        ({"a": {"b": 1}}, {"a": [1]}, [{"path": "/a", "before": {"b": 1}, "after": [1]}]),
    ],
)
def test_each_change_is_told_at_its_place(before: Any, after: Any, expected: list[dict[str, Any]]) -> None:
    """Added, removed or changed; types count, lists are whole."""
    assert list(changes(before, after)) == expected


@settings(max_examples=50)
@given(TREES, TREES)
def test_the_way_back_is_the_same_way(before: Any, after: Any) -> None:
    """Nothing changes between a document and itself, and both ways name the same places."""
    assert list(changes(before, before)) == []
    there, back = list(changes(before, after)), list(changes(after, before))
    assert {change["path"] for change in there} == {change["path"] for change in back}


async def test_a_version_is_shown_compared_and_restored(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """As a version of its own, with what it restores as the reason."""
    first = control.versions[-1].document
    control.versions.append(stored(8, {**first, "flags": {"shop": FLAG, "new": FLAG}}))

    shown = await client.get("/api/v1/rules/7")
    assert (shown.json(), shown.headers["etag"]) == (first, '"7"')
    told = (await client.get("/api/v1/rules/7/diff/8")).json()
    assert told == {"from": 7, "to": 8, "changes": [{"path": "/flags/new", "after": FLAG}]}
    answer = await client.post("/api/v1/rules/7/restore?reason=oops")
    assert (answer.status_code, answer.json()["version"]) == (200, 9)
    newest = control.versions[-1]
    assert (newest.document, newest.reason) == (first, "restore version 7: oops")


@pytest.mark.parametrize("version", ["6", "0", "-1", "x", "1e3", "9999999999", "%C2%B2"])
@pytest.mark.parametrize("path", ["{}", "{}/diff/7", "7/diff/{}", "{}/restore"])
async def test_a_version_that_is_not_kept_is_told(client: httpx.AsyncClient, version: str, path: str) -> None:
    """404, and where the list is."""
    method = "POST" if path.endswith("restore") else "GET"
    answer = await client.request(method, f"/api/v1/rules/{path.format(version)}")
    assert (answer.status_code, "/api/v1/rules/history" in answer.text) == (404, True)


async def test_going_back_revives_nobody(client: httpx.AsyncClient, control: FakeControl) -> None:
    """A flag that was killed since stays killed; one that is gone is not named."""
    first = control.versions[-1].document
    now = {**first, "flags": {"shop": FLAG, "new": FLAG}, "killed": ["new", "shop"]}
    control.versions.append(stored(8, now))

    assert (await client.post("/api/v1/rules/7/restore")).status_code == 200
    assert control.versions[-1].document["killed"] == ["shop"]
