"""The definition as providers fetch it that evaluate by themselves."""

from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl

from understudy.config import Rules
from understudy.decide import Evaluator

PATH = "/api/v1/sync/flags.json"
BOTH = {"on": True, "off": False}
DOCUMENT: dict[str, Any] = {
    "metadata": {"flagSetId": "web"},
    "$evaluators": {"has-base": {"===": [{"flag": "base"}, "on"]}},
    "flags": {
        "plain": {"variants": BOTH, "defaultVariant": "off"},
        "asking": {
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"if": [{"$ref": "has-base"}, "on", "off"]},
        },
        "base": {
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"if": [{"===": [{"flag": "root"}, "on"]}, "on", "off"]},
            "metadata": {"flagSetId": "app"},
        },
        "root": {
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on", "off"]},
            "metadata": {"flagSetId": "app", "safeVariant": "on"},
        },
        "lone": {"variants": BOTH, "defaultVariant": "off", "metadata": {"flagSetId": "app"}},
    },
}


def rules_with(*killed: str) -> Rules:
    """The document's rules, and what is killed."""
    return Rules(
        flags=DOCUMENT["flags"],
        evaluators=DOCUMENT["$evaluators"],
        metadata=DOCUMENT["metadata"],
        killed=killed,
    )


@pytest.fixture
def control() -> FakeControl:
    """A control plane with the document in force."""
    made = FakeControl()
    made.succession.put(version=12, rules=rules_with(), at=1_767_000_000.25)
    return made


async def fetch(client: httpx.AsyncClient, query: str = "", selector: str = "") -> dict[str, Any]:
    """The definition."""
    answer = await client.get(PATH + query, headers={"Flagd-Selector": selector})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_a_stock_provider_gets_no_prerequisites(client: httpx.AsyncClient) -> None:
    """It would refuse the whole definition for a word that it does not know."""
    found = await fetch(client)
    assert list(found["flags"]) == ["plain", "root", "lone"]
    assert found["$evaluators"] == {}
    assert "killed" not in found


async def test_the_whole_definition_is_what_the_server_evaluates(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """With prerequisites and kill switches: an evaluator made of it answers as ours does, reasons too."""
    rules = rules_with("root")
    control.succession.put(version=13, rules=rules, at=1_767_000_001.0)
    found = await fetch(client, "?whole=true")
    theirs = Evaluator(
        flags=found["flags"],
        evaluators=found["$evaluators"],
        metadata=found["metadata"],
        killed=found["killed"],
    )
    ours = Evaluator(
        flags=rules.flags, evaluators=rules.evaluators, metadata=rules.metadata, killed=rules.killed
    )
    answers = {key: theirs.evaluate(key, {"plan": "free"}) for key in DOCUMENT["flags"]}

    assert answers == {key: ours.evaluate(key, {"plan": "free"}) for key in DOCUMENT["flags"]}
    assert (answers["root"].reason, answers["asking"].value) == ("KILLED", True)


async def test_a_flag_set_brings_what_its_flags_ask(client: httpx.AsyncClient) -> None:
    """From whatever flag set that is, through shared rules, and nothing else."""
    found = await fetch(client, "?whole=true", "web")
    assert list(found["flags"]) == ["plain", "asking", "base", "root"]


async def test_both_forms_have_their_own_tag(client: httpx.AsyncClient) -> None:
    """So that no cache gives the one for the other; each is answered with 304."""
    plain, whole = await client.get(PATH), await client.get(PATH + "?whole=true")
    again = await client.get(PATH + "?whole=true", headers={"If-None-Match": whole.headers["etag"]})

    assert plain.headers["etag"] != whole.headers["etag"]
    assert again.status_code == 304


async def test_the_version_and_its_time_are_told(client: httpx.AsyncClient) -> None:
    """With 304 too: who has the same flags of an older version learns that they are not outdated."""
    answer = await client.get(PATH)
    same = await client.get(PATH, headers={"If-None-Match": answer.headers["etag"]})

    for each in (answer, same):
        assert each.headers["x-understudy-version"] == "12"
        assert float(each.headers["x-understudy-stored-at"]) == 1_767_000_000.25
