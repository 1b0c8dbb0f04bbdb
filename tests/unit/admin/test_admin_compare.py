"""One path into a compare rule, or out of it again."""

from typing import Any

import httpx
import pytest
from admin_fakes import DOCUMENT, FakeControl, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.admin.amendment import Amendment, add, read_amendment, remove
from understudy.admin.refusal import Refusal
from understudy.comparators import parse_compare_rules

COMPARE = "/api/v1/compare"
TOTAL = {"endpoint": "GET /orders/{id}", "action": "ignore", "path": "/body/total"}
RULE = {"endpoint": "GET /orders/{id}", "ignore": ["/body/total"]}
OTHER = {"endpoint": "GET /search", "unordered": ["/body/results"]}


def with_rules(control: FakeControl, *rules: Any) -> None:
    """The stored document has these compare rules."""
    control.versions.append(stored(8, DOCUMENT | {"compare": list(rules)}))


def assert_refused(answer: httpx.Response, status: int, control: FakeControl) -> dict[str, Any]:
    """*answer* is a problem, and nothing was stored; returns its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(control.versions) == 1
    body: dict[str, Any] = answer.json()
    return body


async def test_a_path_gets_a_rule(client: httpx.AsyncClient, control: FakeControl) -> None:
    """The next version has a rule for the endpoint, and everything else as it was."""
    answer = await client.post(COMPARE, json=TOTAL)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"rule": RULE, "version": 8, "workers": 2, "applied": 2}
    assert answer.headers["etag"] == '"8"'
    assert control.versions[-1].document == DOCUMENT | {"compare": [RULE]}
    assert control.versions[-1].reason == "ignore /body/total at GET /orders/{id}"


async def test_a_dry_run_shows_the_rule_and_stores_nothing(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """Rule, the compare section as it would be, and the rule as YAML to look at."""
    answer = await client.post(COMPARE, json=TOTAL, params={"dry_run": "true"})

    assert answer.headers["etag"] == '"7"'
    assert answer.json() == {
        "rule": RULE,
        "version": 7,
        "compare": [RULE],
        "yaml": "compare:\n- endpoint: GET /orders/{id}\n  ignore:\n  - /body/total\n",
    }
    assert len(control.versions) == 1


async def test_an_endpoint_keeps_one_rule(client: httpx.AsyncClient, control: FakeControl) -> None:
    """A path joins the endpoint's own rule, at its place among the others."""
    with_rules(control, {"endpoint": " GET  /orders/{id}".replace("  ", " "), "ignore": ["/body/at"]}, OTHER)

    answer = await client.post(COMPARE, json=TOTAL)

    assert answer.json()["rule"]["ignore"] == ["/body/at", "/body/total"]
    assert control.versions[-1].document["compare"][1] == OTHER
    assert len(control.versions[-1].document["compare"]) == 2


async def test_twice_is_once(client: httpx.AsyncClient, control: FakeControl) -> None:
    """A rule that is there is not written again, and makes no version."""
    first = await client.post(COMPARE, json=TOTAL)
    second = await client.post(COMPARE, json=TOTAL)

    assert (first.json()["version"], second.json()["version"]) == (8, 8)
    assert second.json()["rule"] == RULE
    assert len(control.versions) == 2


async def test_a_path_leaves_its_rule_again(client: httpx.AsyncClient, control: FakeControl) -> None:
    """What remains of the rule stays; a rule that says nothing any more goes."""
    both = RULE | {"ignore": ["/body/at", "/body/total"]}
    with_rules(control, OTHER, both)

    first = await client.delete(COMPARE, params=TOTAL)
    second = await client.delete(COMPARE, params=TOTAL | {"path": "/body/at"})

    assert first.json()["rule"] == RULE | {"ignore": ["/body/at"]}
    assert second.json()["rule"] is None
    assert control.versions[-1].document["compare"] == [OTHER]
    assert control.versions[-1].reason == "no longer ignore /body/at at GET /orders/{id}"


async def test_what_no_rule_names_cannot_leave(client: httpx.AsyncClient, control: FakeControl) -> None:
    """404, and the word where else to look."""
    body = assert_refused(await client.delete(COMPARE, params=TOTAL), 404, control)

    assert "rules document" in body["detail"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "/body"}, "ROOT_VALUE"),
        ({"path": "/body/*"}, "OVER_BROAD"),
        ({"path": "/*"}, "OVER_BROAD"),
        ({"path": "/{key}"}, "OVER_BROAD"),
        ({"path": "/body/{key}/*"}, "OVER_BROAD"),
        ({"path": "/headers/*"}, "OVER_BROAD"),
        ({"path": "/"}, "ROOT_VALUE"),
        ({"path": "/status"}, "STRUCTURAL"),
        ({"endpoint": "*"}, "OVER_BROAD"),
        ({"endpoint": "GET *"}, "OVER_BROAD"),
        ({"endpoint": "* /orders/*"}, "OVER_BROAD"),
    ],
)
async def test_what_hides_too_much_is_refused_with_its_reason(
    client: httpx.AsyncClient, control: FakeControl, change: dict[str, str], reason: str
) -> None:
    """A click hides the place that was looked at, never all there is."""
    body = assert_refused(await client.post(COMPARE, json=TOTAL | change), 422, control)

    assert body["reason"] == reason
    assert "by hand" in body["detail"]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "endpoint: is missing"),
        ({"path": None}, "path: is missing"),
        (TOTAL | {"path": "/status", "action": "unordered"}, "path: "),
        (TOTAL | {"path": 7}, "path: must be text, not int"),
        (TOTAL | {"path": "total"}, "path: a path starts with /"),
        (TOTAL | {"path": ""}, "ROOT_VALUE"),
        (TOTAL | {"path": "/a~b"}, "path: ~ is written"),
        (TOTAL | {"path": "/" + "x" * 4001}, "path: must be at most 4,000 characters"),
        (TOTAL | {"endpoint": "orders"}, "endpoint: "),
        (TOTAL | {"action": "tolerance"}, "action: unknown action 'tolerance'"),
        (TOTAL | {"pth": "/x"}, "pth: unknown key"),
        ([TOTAL], "must be an object"),
        ("ignore", "must be an object"),
    ],
)
async def test_a_mistake_is_told_with_its_place(
    client: httpx.AsyncClient, control: FakeControl, given: Any, place: str
) -> None:
    """Which key, and what is wrong with it."""
    answer = await client.post(COMPARE, json=given)

    assert_refused(answer, 422, control)
    assert place in answer.text


async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, control: FakeControl) -> None:
    """As everywhere: 400 with line and column, 415 for another media type."""
    broken = await client.post(COMPARE, content=b"{", headers={"Content-Type": "application/json"})
    other = await client.post(COMPARE, content=b"{}", headers={"Content-Type": "text/plain"})

    assert_refused(broken, 400, control)
    assert_refused(other, 415, control)
    assert_refused(await client.post(COMPARE, json=TOTAL, params={"dry_run": "yes"}), 400, control)


@pytest.mark.parametrize("match", ['"6"', 'W/"7"'])
async def test_a_rule_over_another_version_conflicts(
    client: httpx.AsyncClient, control: FakeControl, match: str
) -> None:
    """Who looked at an older version learns the current one, and nothing is stored."""
    answer = await client.post(COMPARE, json=TOTAL, headers={"If-Match": match})

    assert_refused(answer, 412, control)
    assert answer.headers["etag"] == '"7"'


@pytest.mark.parametrize("match", ['"7"', "*", '"3", "7"'])
async def test_a_rule_over_the_version_that_was_seen_is_written(
    client: httpx.AsyncClient, match: str
) -> None:
    """The tag of the dry run is the tag to write with."""
    answer = await client.post(COMPARE, json=TOTAL, headers={"If-Match": match})

    assert (answer.status_code, answer.json()["version"]) == (200, 8)


async def test_a_section_that_is_no_list_is_left_alone(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """A stored document that does not fit any more is replaced by hand, not mended by a click."""
    control.versions[-1] = stored(7, DOCUMENT | {"compare": {"oops": 1}})

    assert "no list" in assert_refused(await client.post(COMPARE, json=TOTAL), 422, control)["detail"]


async def test_what_cannot_be_seen_is_spelled(client: httpx.AsyncClient, control: FakeControl) -> None:
    """A path may hold anything; its preview and the history of the rules hold text only."""
    hostile = TOTAL | {"path": "/body/\u202ex\x1b[2J\n"}

    preview = await client.post(COMPARE, json=hostile, params={"dry_run": "true"})
    written = await client.post(COMPARE, json=hostile)

    assert all(line.isprintable() for line in preview.json()["yaml"].split("\n"))
    assert written.json()["rule"]["ignore"] == [hostile["path"]]
    assert control.versions[-1].reason.isprintable()


NAMES = st.sampled_from(["GET /a", "GET /b/{id}", "/c"])
PATHS = st.sampled_from(["/body/x", "/body/y/*", "/headers/etag"])
ACTIONS = st.sampled_from(["ignore", "unordered"])
RULES = st.lists(
    st.builds(lambda name, action, paths: {"endpoint": name, action: paths}, NAMES, ACTIONS, st.lists(PATHS)),
    max_size=4,
)


@settings(max_examples=50)
@given(RULES, NAMES, ACTIONS, PATHS)
def test_adding_and_removing_change_nothing_else(
    rules: list[dict[str, Any]], endpoint: str, action: str, path: str
) -> None:
    """The section stays valid; the path is named afterwards, and not named after it was taken back."""
    amendment = read_amendment({"endpoint": endpoint, "action": action, "path": path})

    added, rule = add(rules, amendment)

    assert path in rule[action]
    assert parse_compare_rules(added)[1] == []
    assert add(added, amendment)[0] == added
    while is_named(added, amendment):
        added, _ = remove(added, amendment)
    with pytest.raises(Refusal):
        remove(added, amendment)


def is_named(rules: list[Any], amendment: Amendment) -> bool:
    """Whether any rule of the endpoint, as rules are read, names the path."""
    read, _ = parse_compare_rules(rules)
    return any(
        rule.endpoint == amendment.endpoint and amendment.path in getattr(rule, amendment.action)
        for rule in read
    )
