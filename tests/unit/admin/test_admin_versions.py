"""Versions of the rules document: as one was, what changed, and back again."""

from dataclasses import replace
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


@pytest.mark.parametrize("at", ["1970-01-01T00:01:30Z", "1970-01-01T01:01:30%2B01:00", "90", "90.5"])
async def test_the_rules_of_a_time_are_shown(
    client: httpx.AsyncClient, control: FakeControl, at: str
) -> None:
    """The document, and who stored it; the time as ISO 8601, or in seconds."""
    document = dict(control.versions[-1].document)
    control.versions = [replace(stored(n, document | {"killed": [f"v{n}"]}), at=60.0 * n) for n in (1, 2)]
    shown = await client.get(f"/api/v1/rules?at={at}")
    assert (shown.status_code, shown.json()["killed"], shown.headers["etag"]) == (200, ["v1"], '"1"')
    told = (await client.get(f"/api/v1/rules/history?at={at}")).json()["versions"]
    assert [version["version"] for version in told] == [1]


@pytest.mark.parametrize("path", ["/api/v1/rules", "/api/v1/rules/history"])
@pytest.mark.parametrize(
    ("at", "status", "detail"),
    [
        ("0", 404, "there were no rules at that time"),
        ("1970-01-01T00:01:30", 400, "a time with its zone"),
        ("yesterday", 400, "a time with its zone"),
        ("", 400, "a time with its zone"),
        ("nan", 400, "a time with its zone"),
        ("-1", 400, "a time with its zone"),
        ("9" * 5000, 200, ""),
        ("0001-01-01T00:00:00%2B23:59", 404, "there were no rules at that time"),
    ],
)
async def test_a_time_without_rules_or_that_is_none_is_refused(
    client: httpx.AsyncClient, path: str, at: str, status: int, detail: str
) -> None:
    """A time of no zone would be another one on each machine."""
    answer = await client.get(f"{path}?at={at}")
    assert (answer.status_code, detail in answer.text) == (status, True)


async def test_a_plus_that_nobody_escaped_is_one(client: httpx.AsyncClient) -> None:
    """In a query it stands for a space, and everybody forgets that."""
    assert (await client.get("/api/v1/rules?at=2100-01-01T00:00:00+01:00")).status_code == 200
