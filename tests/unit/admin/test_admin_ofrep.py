"""OFREP over HTTP: answers that every stock provider understands."""

import asyncio
import gzip
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from admin_fakes import FakeControl

from understudy.admin import create_admin
from understudy.admin.decider import Decider
from understudy.admin.ofrep_answers import accepts_gzip
from understudy.config import Rules, parse_rules
from understudy.decide import Evaluator

ONE = "/ofrep/v1/evaluate/flags/"
ALL = "/ofrep/v1/evaluate/flags"
DOCUMENT: dict[str, Any] = {
    "metadata": {"flagSetId": "web", "version": "12"},
    "flags": {
        "ready": {"variants": {"on": True, "off": False}, "defaultVariant": "on"},
        "ratio": {"variants": {"one": 1.0, "half": 0.5}, "defaultVariant": "one"},
        "count": {"variants": {"one": 1, "two": 2}, "defaultVariant": "one"},
        "look": {
            "variants": {"dark": {"ink": "white"}, "light": {"ink": "black"}},
            "defaultVariant": "light",
            "targeting": {"if": [{"==": [{"var": "country"}, "NL"]}, "dark", None]},
            "metadata": {"owner": "team web"},
        },
        "split": {
            "variants": {"a": "A", "b": "B"},
            "defaultVariant": "a",
            "targeting": {"fractional": [["a", 50], ["b", 50]]},
        },
        "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
        "open": {"variants": {"on": True}, "defaultVariant": None},
        "lost": {
            "variants": {"on": True},
            "defaultVariant": "on",
            "targeting": {"var": "variant"},
        },
        "team.name": {"variants": {"on": True}, "defaultVariant": "on", "metadata": {"flagSetId": "app"}},
    },
}
READY: dict[str, Any] = {
    "key": "ready",
    "reason": "STATIC",
    "variant": "on",
    "value": True,
    "metadata": {"flagSetId": "web", "version": "12"},
}


def put(control: FakeControl, version: int = 12, **changes: Any) -> None:
    """Put the document in force, with *changes* of its keys."""
    rules = parse_rules({**DOCUMENT, **changes}, services=())
    control.succession.put(version=version, rules=rules, at=1_767_000_000.0)


@pytest.fixture
def control() -> FakeControl:
    """A control plane with the document in force."""
    made = FakeControl()
    put(made)
    return made


async def ask(client: httpx.AsyncClient, key: str, context: Mapping[str, Any] | None = None) -> Any:
    """The answer of one flag."""
    return (await client.post(ONE + key, json={"context": context or {}})).json()


async def test_one_flag_is_answered(client: httpx.AsyncClient) -> None:
    """Key, reason, variant, value and the metadata of flag and flag set."""
    answer = await client.post(ONE + "ready", json={"context": {"targetingKey": "ann"}})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == READY


@pytest.mark.parametrize(
    ("key", "context", "variant", "reason"),
    [
        ("look", {"country": "NL"}, "dark", "TARGETING_MATCH"),
        ("look", {"country": "BE"}, "light", "DEFAULT"),
        ("split", {"targetingKey": "ann"}, "b", "TARGETING_MATCH"),
        ("split", {}, "a", "DEFAULT"),
        ("off", {}, "", "DISABLED"),
        ("open", {}, "", "DEFAULT"),
    ],
)
async def test_reasons_are_those_that_sdks_know(
    client: httpx.AsyncClient, key: str, context: dict[str, Any], variant: str, reason: str
) -> None:
    """A variant is always there; without one there is no value, and the caller's own default counts."""
    answer = await ask(client, key, context)

    assert (answer["variant"], answer["reason"]) == (variant, reason)
    assert ("value" in answer) is (variant != "")


@pytest.mark.parametrize("end", ["%0A", "%0D", "%0D%0A", "%20", "%00", "%0Ax"])
async def test_a_key_is_taken_whole(client: httpx.AsyncClient, end: str) -> None:
    """A line feed at its end is part of it: no flag is named so, and OFREP says so."""
    answer = await client.post(f"{ONE}ready{end}", json={})

    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert answer.json()["key"] == "ready" + unquote(end)


async def test_a_killed_flag_has_one_answer_for_all(client: httpx.AsyncClient, control: FakeControl) -> None:
    """KILLED is not OpenFeature's: SDKs hear STATIC, and the metadata tells who looks."""
    put(control, 13, killed=["look"])

    answer = await ask(client, "look", {"country": "NL"})

    assert (answer["variant"], answer["reason"]) == ("light", "STATIC")
    assert answer["metadata"] == {**READY["metadata"], "owner": "team web", "killed": True}


async def test_one_and_one_point_zero_stay_apart(client: httpx.AsyncClient) -> None:
    """Providers tell integers from floats by how they are written."""
    ratio, count = await client.post(ONE + "ratio"), await client.post(ONE + "count")

    assert b'"value":1.0' in ratio.content
    assert b'"value":1,' in count.content


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b'{"context":null}', b'{"context":{}}'])
async def test_a_missing_context_is_an_empty_one(client: httpx.AsyncClient, body: bytes) -> None:
    """Python's provider sends none when it has none."""
    answer = await client.post(ONE + "ready", content=body)

    assert answer.json() == READY


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"{", "PARSE_ERROR", "not JSON"),
        (b"\xff", "PARSE_ERROR", "not JSON"),
        (b"[" * 5000, "PARSE_ERROR", "not JSON"),
        (b"[]", "PARSE_ERROR", "must be an object"),
        (b'{"context":[]}', "INVALID_CONTEXT", "context must be an object"),
        (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT", "targetingKey must be text"),
        (b'{"context":{"a":' + b"[" * 300 + b"]" * 300 + b"}}", "INVALID_CONTEXT", "cannot be used"),
    ],
)
async def test_a_bad_body_has_an_error_code(
    client: httpx.AsyncClient, body: bytes, code: str, says: str
) -> None:
    """400 with `errorCode` and `errorDetails`, for one flag and for all."""
    for path in (ONE + "ready", ALL):
        answer = await client.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["errorCode"] == code
        assert says in answer.json()["errorDetails"]
        assert answer.json().get("key") == ("ready" if path != ALL else None)


async def test_an_endless_body_is_refused(client: httpx.AsyncClient) -> None:
    """413, with details, and read no further than the bound."""
    answer = await client.post(ONE + "ready", content=b" " * 300_000)

    assert answer.status_code == 413
    assert "262,144 bytes" in answer.json()["errorDetails"]


async def test_an_unknown_flag_is_not_found(client: httpx.AsyncClient) -> None:
    """404, with everything that providers look at."""
    answer = await client.post(ONE + "raedy", json={})

    assert answer.status_code == 404
    assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"
    assert "'raedy'" in answer.json()["errorDetails"]
    assert (answer.json()["variant"], answer.json()["reason"]) == ("", "ERROR")


async def test_a_rule_that_names_no_variant_is_an_error(client: httpx.AsyncClient) -> None:
    """400 GENERAL alone; among others it is an entry, and the others are answered."""
    one = await client.post(ONE + "lost", json={"context": {"variant": "out"}})
    entries = (await client.post(ALL, json={"context": {"variant": "out"}})).json()["flags"]

    assert (one.status_code, one.json()["errorCode"]) == (400, "GENERAL")
    assert [entry["key"] for entry in entries if "errorCode" in entry] == ["lost"]
    assert all("variant" in entry and "reason" in entry for entry in entries)
    assert all("errorDetails" in entry for entry in entries if "errorCode" in entry)


async def test_a_key_is_decoded_once(client: httpx.AsyncClient) -> None:
    """JavaScript's provider escapes keys, Python's does not; an escaped slash or percent names no flag."""
    assert (await ask(client, "team%2Ename"))["variant"] == "on"
    assert (await ask(client, "team%252Ename"))["errorCode"] == "FLAG_NOT_FOUND"
    assert (await ask(client, "a%2Fb"))["key"] == "a/b"


async def test_all_flags_are_answered_at_once(client: httpx.AsyncClient) -> None:
    """In document order, each as it is alone; and where changes are told of, without an origin."""
    context = {"targetingKey": "ann", "country": "NL"}
    answer = await client.post(ALL, json={"context": context})
    body = answer.json()

    assert [entry["key"] for entry in body["flags"]] == list(DOCUMENT["flags"])
    for entry in body["flags"][:5]:
        assert entry == await ask(client, entry["key"], context)
    assert body["metadata"] == DOCUMENT["metadata"]
    assert body["eventStreams"] == [
        {"type": "sse", "endpoint": {"requestUri": "/ofrep/v1/sse"}, "inactivityDelaySec": 120}
    ]
    assert (await client.post(ALL + "/", json={"context": context})).json() == body


async def test_what_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """304 without a body for the same context, in any order of its members and in any coding."""
    plain = {"Accept-Encoding": "identity"}
    first = await client.post(ALL, json={"context": {"targetingKey": "ann", "plan": 1}}, headers=plain)
    tag = first.headers["etag"]
    again = await client.post(
        ALL,
        content=b'{"context":{"plan":1,"targetingKey":"ann"}}',
        headers={"If-None-Match": f'"other", {tag}'},
    )

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"].replace("-gzip", "") == tag
    assert again.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("context", [{"targetingKey": "bob"}, {"targetingKey": "ann", "plan": 1.0}, {}])
async def test_another_context_is_another_answer(client: httpx.AsyncClient, context: dict[str, Any]) -> None:
    """The web provider keeps its tag when attributes change: the tag must not fit then."""
    known = await client.post(ALL, json={"context": {"targetingKey": "ann", "plan": 1}})
    answer = await client.post(
        ALL, json={"context": context}, headers={"If-None-Match": known.headers["etag"]}
    )

    assert answer.status_code == 200
    assert answer.headers["etag"] != known.headers["etag"]


async def test_another_version_is_another_answer(client: httpx.AsyncClient, control: FakeControl) -> None:
    """After a turn nobody's tag fits any more."""
    known = (await client.post(ALL, json={})).headers["etag"]
    put(control, 13)

    answer = await client.post(ALL, json={}, headers={"If-None-Match": known})

    assert answer.status_code == 200


async def test_a_rule_that_reads_the_clock_changes_the_tag(
    client: httpx.AsyncClient, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version and context are the same, the answer is not."""
    now = [1_000.0]
    flag = {
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{">": [{"var": "$flagd.timestamp"}, 2_000]}, "on", "off"]},
    }
    monkeypatch.setattr("understudy.admin.server.time.time", lambda: now[0])
    put(control, 13, flags={"late": flag})
    async with made(control) as clocked:
        known = await clocked.post(ALL, json={})
        now[0] = 3_000.0
        answer = await clocked.post(ALL, json={}, headers={"If-None-Match": known.headers["etag"]})

    assert answer.status_code == 200
    assert answer.json()["flags"][0]["value"] is True


async def test_the_tag_of_an_event_is_no_condition(client: httpx.AsyncClient) -> None:
    """A 304 for `flagConfigEtag` would keep the very answer back that an event announced."""
    known = await client.post(ALL, json={})
    query = {"flagConfigEtag": known.headers["etag"], "flagConfigLastModified": "1767000000"}

    assert (await client.post(ALL, json={}, params=query)).status_code == 200


async def test_answers_are_packed_for_who_can_unpack(client: httpx.AsyncClient) -> None:
    """gzip has its own tag, and caches are told what the answer depends on."""
    plain = await client.post(ALL, json={}, headers={"Accept-Encoding": "identity"})
    async with client.stream("POST", ALL, json={}, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join([piece async for piece in packed.aiter_raw()])

    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in packed.headers["vary"]
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.00, *", False),
    ],
)
def test_accept_encoding_is_read(field: str, expected: bool) -> None:
    """Weight 0 is no (RFC 9110, 12.5.3)."""
    assert accepts_gzip(field) is expected


async def test_a_flag_set_is_chosen_by_flagds_field(client: httpx.AsyncClient) -> None:
    """Flags of another set are neither listed nor found; another selector has another tag."""
    chosen = {"Flagd-Selector": "flagSetId=app"}
    bulk = await client.post(ALL, json={}, headers=chosen)
    missing = await client.post(ONE + "ready", json={}, headers=chosen)
    nothing = await client.post(ALL, json={}, headers={"Flagd-Selector": "ios"})
    unclear = await client.post(ALL, json={}, headers={"Flagd-Selector": "source=a,flagSetId=b"})
    synced = await client.get("/api/v1/sync/flags.json", headers=chosen)
    refused = await client.get("/api/v1/sync/flags.json", headers={"Flagd-Selector": "a=b=c"})

    assert [entry["key"] for entry in bulk.json()["flags"]] == ["team.name"]
    assert (missing.status_code, missing.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert nothing.json()["flags"] == []
    assert (unclear.status_code, unclear.json()["errorCode"]) == (400, "GENERAL")
    assert list(synced.json()["flags"]) == ["team.name"]
    assert refused.status_code == 400


async def test_flags_are_there_with_the_store_away(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Answers come from the rules in force."""
    control.hangs = True

    assert (await ask(client, "ready")) == READY


async def test_before_the_rules_were_read_clients_are_told_when_to_come_back() -> None:
    """503 with Retry-After in whole seconds, in OFREP's words."""
    async with made(FakeControl()) as client:
        for path in (ONE + "ready", ALL):
            answer = await client.post(path, json={})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["errorCode"] == "GENERAL"


async def test_many_flags_leave_room_for_others(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are compiled in a thread, once for all who ask meanwhile, and evaluated in pieces: each, once."""
    threads: list[threading.Thread] = []

    def compiled(**document: Any) -> Evaluator:
        threads.append(threading.current_thread())
        return Evaluator(**document)

    monkeypatch.setattr("understudy.admin.decider.Evaluator", compiled)
    flag = {"variants": {"on": True}, "defaultVariant": "on"}
    put(control, 13, flags={f"flag-{n}": flag for n in range(1_200)})
    async with made(control) as client:
        answers = await asyncio.gather(*(client.post(ALL, json={}) for _ in range(3)))

    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    for answer in answers:
        assert [entry["key"] for entry in answer.json()["flags"]] == [f"flag-{n}" for n in range(1_200)]


async def test_flags_that_take_long_leave_room_for_others(control: FakeControl) -> None:
    """Whoever else has something to do gets a turn between them, however few they are."""
    loop_over_list = {"if": [{"some": [{"var": "list"}, {"==": [{"var": ""}, 2]}]}, "on", "off"]}
    flag = {"variants": {"on": True, "off": False}, "defaultVariant": "on", "targeting": loop_over_list}
    put(control, 13, flags={f"flag-{n}": flag for n in range(20)})
    deciding = await Decider(control, clock=lambda: 0.0).deciding()
    turns = 0
    async with asyncio.TaskGroup() as tasks:
        answering = tasks.create_task(deciding.answers({"list": [1] * 20_000}, selector=""))
        while not answering.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 4
    assert b'"variant":"off"' in answering.result()[19]


def made(control: FakeControl, **more: Any) -> httpx.AsyncClient:
    """A client of a server of its own."""
    transport = httpx.ASGITransport(app=create_admin(control, **more), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090")


PAGE = "https://app.example.com"


async def test_pages_of_other_origins_are_refused(client: httpx.AsyncClient) -> None:
    """Without a configured origin nothing is shared, and a browser is told so by silence."""
    answer = await client.post(ALL, json={}, headers={"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    preflight = await client.options(ALL, headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize("origins", [[PAGE], ["*"]])
async def test_a_named_origin_may_evaluate(control: FakeControl, origins: list[str]) -> None:
    """Preflight and answer name the origin; ETag and Retry-After can be read by the page."""
    fields = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    async with made(control, origins=origins) as client:
        preflight = await client.options(ALL, headers=asked)
        answer = await client.post(ALL, json={}, headers=fields)

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert "If-None-Match" in preflight.headers["access-control-allow-headers"]
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "ETag, Retry-After"
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_named_origin_may_do_nothing_else(control: FakeControl) -> None:
    """The kill switch is no flag to evaluate; another origin is another origin."""
    fields = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    async with made(control, origins=[PAGE]) as client:
        killed = await client.post("/api/v1/flags/shop/kill", headers=fields)
        other = await client.post(ALL, json={}, headers={**fields, "Origin": PAGE + ".evil.example"})

    assert killed.status_code == 403
    assert control.killed == []
    assert other.status_code == 403


async def test_the_definition_is_there_for_providers_in_process(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """flagd's format: a state in every flag, nothing of routes; a killed flag has its safe variant only."""
    put(control, 13, killed=["look"])
    answer = await client.get("/api/v1/sync/flags.json")
    known = answer.headers["etag"]
    again = await client.get("/api/v1/sync/flags.json", headers={"If-None-Match": known})
    put(control, 14)
    changed = await client.get("/api/v1/sync/flags.json", headers={"If-None-Match": known})
    body = answer.json()

    assert set(body) == {"flags", "metadata"}
    assert body["flags"]["ready"] == {"state": "ENABLED", **DOCUMENT["flags"]["ready"]}
    assert "targeting" not in body["flags"]["look"]
    assert body["flags"]["look"]["defaultVariant"] == "light"
    assert b'"one":1.0' in answer.content
    assert (again.status_code, again.content) == (304, b"")
    assert changed.json()["flags"]["look"]["targeting"] == DOCUMENT["flags"]["look"]["targeting"]


async def test_rules_that_ask_flags_stay_here(client: httpx.AsyncClient, control: FakeControl) -> None:
    """flagd refuses a definition with an operation it does not know; whoever asks over OFREP is answered."""
    shared = {
        "beta": {"==": [{"flag": "ready"}, "on"]},
        "both": {"and": [{"$ref": "beta"}, True]},
        "dutch": {"==": [{"var": "country"}, "NL"]},
    }
    plain = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
    flags = {
        "ready": DOCUMENT["flags"]["ready"],
        "far": {**plain, "targeting": {"if": [{"$ref": "both"}, "on", "off"]}},
        "near": {**plain, "targeting": {"if": [{"$ref": "dutch"}, "on", "off"]}},
    }
    control.succession.put(version=13, rules=Rules(flags=flags, evaluators=shared, document={}), at=1.0)
    body = (await client.get("/api/v1/sync/flags.json")).json()

    assert list(body["flags"]) == ["ready", "near"]
    assert list(body["$evaluators"]) == ["dutch"]
    assert (await ask(client, "far"))["variant"] == "on"


async def test_a_person_can_ask_who_gets_what(client: httpx.AsyncClient) -> None:
    """The path names flag and unit, the query the rest of the context; a dot leads inside."""
    answer = await client.get("/api/v1/decide/look/ann%2Fb?country=NL&headers.x-plan=gold")
    split = (await client.get("/api/v1/decide/split/ann")).json()

    assert answer.status_code == 200
    found = answer.json()
    assert (found["flag"], found["unit"], found["version"]) == ("look", "ann/b", 12)
    assert (found["variant"], found["value"], found["reason"]) == (
        "dark",
        {"ink": "white"},
        "TARGETING_MATCH",
    )
    assert found["rule"] == 'if[1] ==(country, "NL") → dark'
    assert split["variant"] == "b"
    assert split["bucket"] == f"{split['hash'] * 100 >> 32} of 100"
    assert split["key"] == "splitann"


async def test_a_person_is_told_what_is_wrong(client: httpx.AsyncClient) -> None:
    """An unknown flag is a problem with the known ones; a query that says two things is refused."""
    unknown = await client.get("/api/v1/decide/raedy/ann")
    twice = await client.get("/api/v1/decide/ready/ann?a=1&a=2")
    both = await client.get("/api/v1/decide/ready/ann?a=1&a.b=2")

    assert (unknown.status_code, unknown.json()["known"]) == (404, list(DOCUMENT["flags"]))
    assert (twice.status_code, twice.json()["detail"]) == (400, "a stands in the query twice")
    assert (both.status_code, both.json()["detail"]) == (400, "a.b: a has a value of its own already")
