"""Flags one by one over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from admin_book import BANNER, DOCUMENT, SERVICES, SHOP, BookControl, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.admin import create_admin
from understudy.admin.flag_edits import weigh_flag
from understudy.admin.flag_route import ACTIONS, ActionRoute
from understudy.admin.merge_patch import MERGE_PATCH, merge
from understudy.app.rulebook import Rulebook
from understudy.decide import Evaluator
from understudy.errors import VersionConflict

FLAGS = "/api/v1/flags"
SHOP_AT = f"{FLAGS}/shop"
ANY = {"If-Match": "*"}
NEW: dict[str, Any] = {"state": "ENABLED", "variants": {"a": "x", "b": "y"}, "defaultVariant": "a"}


@pytest.fixture
def book() -> BookControl:
    """Rules at version 1."""
    return BookControl()


@pytest.fixture
async def api(book: BookControl) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with serving(book) as client:
        yield client


async def test_flags_are_listed_by_key_in_pages(api: httpx.AsyncClient) -> None:
    """Each with its definition; `next` leads to the next page, and is null on the last."""
    first = (await api.get(FLAGS, params={"limit": 3})).json()
    last = (await api.get(FLAGS, params={"limit": 3, "after": first["next"]})).json()

    assert first["version"] == 1
    assert [flag["key"] for flag in first["flags"]] == ["banner", "late", "old"]
    assert first["next"] == "old"
    assert last == {"version": 1, "flags": [{"key": "shop", "killed": False, **SHOP}], "next": None}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"q": "SHO"}, ["shop"]),
        ({"q": "christmas"}, ["old"]),
        ({"tag": "checkout"}, ["shop"]),
        ({"tag": "check"}, []),
        ({"owner": "ann"}, ["shop"]),
        ({"state": "DISABLED"}, ["old"]),
        ({"state": "KILLED"}, ["banner"]),
        ({"archived": "true"}, ["old"]),
        ({"archived": "false", "q": "o"}, ["shop"]),
    ],
)
async def test_flags_are_filtered(api: httpx.AsyncClient, asked: dict[str, str], found: list[str]) -> None:
    """All that is asked must be so."""
    await api.post(f"{FLAGS}/banner/kill")
    listed = (await api.get(FLAGS, params=asked)).json()["flags"]
    assert [flag["key"] for flag in listed] == found


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "state=on", "archived=1", "dry_run=1"])
async def test_a_list_that_cannot_be_is_refused(api: httpx.AsyncClient, query: str) -> None:
    """With the values that can."""
    method = "PUT" if "dry" in query else "GET"
    path = SHOP_AT if "dry" in query else FLAGS
    assert (await api.request(method, f"{path}?{query}", json={})).status_code == 400


async def test_a_flag_is_read_with_its_version(api: httpx.AsyncClient) -> None:
    """A version that is known is not sent again; an unknown key is told those there are."""
    answer = await api.get(SHOP_AT)
    assert (answer.json(), answer.headers["etag"]) == ({"key": "shop", "killed": False, **SHOP}, '"1"')
    assert (await api.get(SHOP_AT, headers={"If-None-Match": '"1"'})).status_code == 304
    unknown = await api.get(f"{FLAGS}/shpo")
    assert (unknown.status_code, unknown.json()["known"]) == (404, list(DOCUMENT["flags"]))


async def test_put_creates_and_then_replaces(api: httpx.AsyncClient, book: BookControl) -> None:
    """201 and 200; what others wrote stays; the audit and the history name flag, author and reason."""
    made = await api.put(f"{FLAGS}/new", json=NEW, headers=[(b"X-Reason", "für später".encode())])
    assert (made.status_code, made.headers["etag"]) == (201, '"2"')
    assert (made.json()["version"], made.json()["applied"]) == (2, 2)
    assert made.json()["flag"] == {"key": "new", "killed": False, **NEW}
    again = await api.put(
        f"{FLAGS}/new?reason=b", json={**NEW, "defaultVariant": "b"}, headers={"If-Match": '"2"'}
    )
    assert again.status_code == 200
    assert (book.flags["new"]["defaultVariant"], book.flags["shop"]) == ("b", SHOP)
    deeds = [entry.deed for entry in await book.entries()]
    assert [(d.action, d.target, d.reason, d.before, d.after) for d in deeds] == [
        ("flag.put", "new", "für später", 1, 2),
        ("flag.put", "new", "b", 2, 3),
    ]
    assert deeds[0].who == "admin API (127.0.0.1)"
    assert deeds[0].origin == "127.0.0.1"


async def test_what_was_read_can_be_written_back(api: httpx.AsyncClient, book: BookControl) -> None:
    """`key` and `killed` are taken when they say what is so, and refused when they would change something."""
    read = (await api.get(SHOP_AT)).json()
    assert (await api.put(SHOP_AT, json=read, headers=ANY)).status_code == 200
    assert book.flags["shop"] == SHOP
    for wrong in ({"key": "other"}, {"killed": True}):
        answer = await api.put(SHOP_AT, json={**read, **wrong}, headers=ANY)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, *wrong)
        assert (await api.patch(SHOP_AT, json=wrong)).status_code == 422


async def test_replacing_needs_to_know_what_is_replaced(api: httpx.AsyncClient, book: BookControl) -> None:
    """428 without If-Match, 412 with a version that is over, and when the flag must be new and is not."""
    assert (await api.put(SHOP_AT, json=NEW)).status_code == 428
    old = await api.put(SHOP_AT, json=NEW, headers={"If-Match": '"9"'})
    assert (old.status_code, old.json()["actual"], old.headers["etag"]) == (412, 1, '"1"')
    assert (await api.put(SHOP_AT, json=NEW, headers={"If-None-Match": "*"})).status_code == 412
    assert (await api.put(SHOP_AT, json=NEW, headers={"If-None-Match": '"1"'})).status_code == 400
    fresh = await api.put(f"{FLAGS}/new", json=NEW, headers={"If-None-Match": "*"})
    assert fresh.status_code == 201
    assert (book.book.version, book.flags["shop"]) == (2, SHOP)


async def test_of_two_editors_of_one_version_one_is_told(api: httpx.AsyncClient, book: BookControl) -> None:
    """Who names the version he saw gets 412; who names none has his patch made on what is there by then."""
    book.rival = {**DOCUMENT, "flags": {**DOCUMENT["flags"], "rival": NEW}}
    lost = await api.patch(SHOP_AT, json={"state": "DISABLED"}, headers={"If-Match": '"1"'})
    assert (lost.status_code, lost.json()["actual"], book.flags["shop"]) == (412, 2, SHOP)
    book.rival = {**DOCUMENT, "flags": {**DOCUMENT["flags"], "other": NEW}}
    won = await api.patch(SHOP_AT, json={"state": "DISABLED"})
    assert (won.status_code, won.json()["version"]) == (200, 4)
    assert book.flags["shop"]["state"] == "DISABLED"
    assert "other" in book.flags


async def test_editors_who_name_no_version_all_get_through(api: httpx.AsyncClient, book: BookControl) -> None:
    """Ten at once, each with a label of its own: ten versions, and every label is there."""
    patches = [api.patch(SHOP_AT, json={"metadata": {f"label{n}": n}}) for n in range(10)]
    answers = await asyncio.gather(*patches)

    assert {answer.status_code for answer in answers} == {200}
    assert book.book.version == 11
    assert {f"label{n}" for n in range(10)} < book.flags["shop"]["metadata"].keys()


async def test_who_is_never_first_is_told_to_come_again(
    api: httpx.AsyncClient, book: BookControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 503, for the request was right."""

    async def outrun(*_: object, **__: object) -> None:
        raise VersionConflict(expected=1, actual=2)

    monkeypatch.setattr(book, "put_rules", outrun)
    answer = await api.patch(SHOP_AT, json={"state": "DISABLED"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("terms", [{}, {"If-Match": '"2"'}])
async def test_what_another_host_stored_is_neither_lost_nor_in_the_way(
    api: httpx.AsyncClient, book: BookControl, terms: dict[str, str]
) -> None:
    """Though its bell has not rung here yet: a patch is made on it, and who has seen it there may name it."""
    other = Rulebook(book.store, seed=book.book.parsed, services=SERVICES)
    await other.load(1.0)
    document = {**DOCUMENT, "flags": {**DOCUMENT["flags"], "other": NEW}}
    await other.put(document, expected=1, author="bob", reason="", at=2.0)

    answer = await api.patch(SHOP_AT, json={"state": "DISABLED"}, headers=terms)

    assert (answer.status_code, answer.json()["version"]) == (200, 3)
    assert (book.flags["shop"]["state"], book.flags["other"]) == ("DISABLED", NEW)


async def test_a_merge_patch_changes_what_it_names(api: httpx.AsyncClient, book: BookControl) -> None:
    """RFC 7396: null removes, objects merge, the rest replaces; also under its own media type."""
    patch = b'{"metadata": {"owner": null, "description": "d"}, "targeting": null}'
    answer = await api.patch(SHOP_AT, content=patch, headers={"Content-Type": MERGE_PATCH})
    expected = {key: value for key, value in SHOP.items() if key != "targeting"}
    expected["metadata"] = {"tags": "web, checkout", "description": "d"}
    assert (answer.status_code, book.flags["shop"]) == (200, expected)
    assert (await api.patch(SHOP_AT, json=[1])).status_code == 422
    assert (await api.patch(f"{FLAGS}/nothing", json={})).status_code == 404


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merging_is_as_the_rfc_has_it(target: Any, patch: Any, result: Any) -> None:
    """The table of RFC 7396, appendix A."""
    assert merge(target, patch) == result


@pytest.mark.parametrize(
    ("flag", "path"),
    [
        ({**NEW, "defaultVariant": "z"}, "flags.new.defaultVariant"),
        ({**NEW, "targeting": {"fractional": [["z", 1]]}}, "flags.new.targeting.fractional[0][0]"),
        ({**NEW, "surprise": 1}, "flags.new.surprise"),
        ({"variants": {}}, "flags.new.variants"),
    ],
)
async def test_a_flag_with_mistakes_is_refused_with_their_places(
    api: httpx.AsyncClient, book: BookControl, flag: dict[str, Any], path: str
) -> None:
    """422, and nothing is stored."""
    answer = await api.put(f"{FLAGS}/new", json=flag)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert path in [error["path"] for error in answer.json()["errors"]]
    assert (book.book.version, await book.entries()) == (1, [])


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null"])
async def test_what_is_no_flag_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    """Whatever it is."""
    kind = {"Content-Type": "application/json"}
    assert (await api.put(f"{FLAGS}/new", content=body, headers=kind)).status_code == 422


async def test_delete_takes_the_flag_and_its_kill_switch(api: httpx.AsyncClient, book: BookControl) -> None:
    """Deleted twice is 404."""
    await api.post(f"{FLAGS}/old/kill")
    assert (await api.delete(f"{FLAGS}/old")).status_code == 200
    assert "old" not in book.flags
    assert book.book.current().document["killed"] == []
    assert (await api.delete(f"{FLAGS}/old")).status_code == 404


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("shop", "routes[0].flag"),
        ("banner", "flags.late.targeting.if[0].===[0].flag"),
        ("left", "$evaluators.layer.fractional[1]"),
    ],
)
async def test_a_flag_that_is_named_stays(key: str, place: str) -> None:
    """409 names the places: a route, a prerequisite, a layer."""
    left = {**NEW, "targeting": {"if": [{"==": [{"$ref": "layer"}, "left"]}, "b"]}}
    layer = {"fractional": [{"cat": ["L", {"var": "targetingKey"}]}, ["left", 50], ["right", 50]]}
    evaluators = {**DOCUMENT["$evaluators"], "layer": layer}
    right = {**NEW, "targeting": {"if": [{"==": [{"$ref": "layer"}, "right"]}, "b"]}}
    flags = {**DOCUMENT["flags"], "left": left, "right": right}
    book = BookControl(document={**DOCUMENT, "flags": flags, "$evaluators": evaluators})
    async with serving(book) as api:
        answer = await api.delete(f"{FLAGS}/{key}")
        assert (answer.status_code, [error["path"] for error in answer.json()["errors"]]) == (409, [place])
        assert (await api.delete(f"{FLAGS}/{key}?dry_run=true")).status_code == 409
        assert book.book.version == 1


def test_every_action_below_a_flag_is_known_as_one() -> None:
    """So that none is taken for a part of the key."""
    found = {route.path for route in create_admin(BookControl()).routes if isinstance(route, ActionRoute)}
    assert found == {f"/api/v1/flags/{{key:path}}/{action}" for action in ACTIONS}


@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_an_action_with_another_method_is_405(api: httpx.AsyncClient, action: str) -> None:
    """It is not taken for a flag whose key ends so."""
    method = "POST" if action == "history" else "PUT"
    assert (await api.request(method, f"{FLAGS}/shop/{action}", json=NEW)).status_code == 405
    made = await api.put(f"{FLAGS}/{action}", json=NEW)
    assert made.status_code == 201


@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_a_key_may_end_like_an_action(action: str) -> None:
    """Only a slash that is written as one sets the action apart; a key's own is sent as %2F."""
    async with serving(BookControl()) as api:
        at = f"{FLAGS}/a%2F{action}"
        for method in ("GET", "DELETE", "PATCH"):
            answer = await api.request(method, at, json={} if method == "PATCH" else None)
            assert answer.json()["detail"] == f"there is no flag 'a/{action}'"
        refused = await api.put(at, json=NEW)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["message"].startswith(f'"a/{action}" is not a flag key')
        assert (await api.post(at)).status_code == 405
        assert (await api.post(f"{at}/kill")).json()["detail"] == f"there is no flag 'a/{action}'"
        assert (await api.get(f"{at}/history")).json()["detail"] == f"there is no flag 'a/{action}'"


async def test_without_a_key_there_is_nothing(api: httpx.AsyncClient) -> None:
    """An empty key is no flag."""
    assert (await api.get(f"{FLAGS}/")).status_code == 404
    assert (await api.put(f"{FLAGS}/", json=NEW)).status_code == 404


@pytest.mark.parametrize("key", ["x" * 60_000, "%00", "%E2%80%AE", "a%20b", "%ff"])
async def test_a_key_that_cannot_be_is_refused_shortly(api: httpx.AsyncClient, key: str) -> None:
    """And the answer does not repeat all the letters."""
    read, written = await api.get(f"{FLAGS}/{key}"), await api.put(f"{FLAGS}/{key}", json=NEW)
    assert (read.status_code, written.status_code) == (404, 422)
    assert len(read.content) + len(written.content) < 3000


async def test_a_body_that_is_too_large_or_too_deep_is_refused(api: httpx.AsyncClient) -> None:
    """413 and 400, as for a whole document."""
    kind = {"Content-Type": "application/json"}
    large = await api.put(f"{FLAGS}/new", content=b" " * (10 * 1024 * 1024), headers=kind)
    deep = await api.put(f"{FLAGS}/new", content=b"[" * 100_000, headers=kind)
    assert (large.status_code, deep.status_code) == (413, 400)


# -- weights --------------------------------------------------------------------------------------------


async def test_weights_are_changed_in_their_order(api: httpx.AsyncClient, book: BookControl) -> None:
    """The reason may stand in the body; the answer shows the flag."""
    body = {"weights": {"stable": 90, "canary": 10}, "reason": "looks well"}
    answer = await api.post(f"{SHOP_AT}/weights", json=body)
    assert answer.json()["flag"]["targeting"] == {"fractional": [["canary", 10], ["stable", 90]]}
    assert book.flags["shop"]["targeting"] == {"fractional": [["canary", 10], ["stable", 90]]}
    (entry,) = await book.entries()
    assert (entry.deed.action, entry.deed.target, entry.deed.reason) == ("flag.weights", "shop", "looks well")
    await api.post(f"{SHOP_AT}/weights", json={"weights": {"stable": 80, "canary": 20}})
    assert (await book.entries())[-1].deed.reason == "weights of shop: stable 80, canary 20"


TWO = {"fractional": [["canary", 5], ["stable", 95]]}


@pytest.mark.parametrize(
    ("targeting", "weights", "says"),
    [
        (None, {"canary": 1}, "must have one fractional, and has none of its own"),
        ({"if": [{"$ref": "staff"}, TWO, TWO]}, {"canary": 1}, "must have one fractional, and has 2"),
        ({"fractional": [["canary", {"var": "n"}], ["stable", 1]]}, {"canary": 1, "stable": 1}, "computes"),
        ({"fractional": [[{"var": "n"}, 1], ["stable", 1]]}, {"stable": 1}, "is no variant with a weight"),
        ({"fractional": [["canary", 1], ["stable", 1], ["canary", 1]]}, {"canary": 1, "stable": 1}, "twice"),
        (TWO, {"canary": 5}, "weights.stable: is missing"),
        (TWO, {"canary": 5, "stable": 95, "dark": 1}, "mistake"),
        (TWO, {"canary": 0, "stable": 0}, "add up to 0"),
        (TWO, {"canary": -1, "stable": 1}, "weights.canary: must be a whole number"),
        (TWO, {"canary": 1.5, "stable": 1}, "weights.canary: must be a whole number"),
        (TWO, {"canary": True, "stable": 1}, "weights.canary: must be a whole number"),
        (TWO, {}, "must name variants"),
        (TWO, [], "must name variants"),
    ],
)
async def test_weights_that_cannot_be_are_refused(targeting: Any, weights: Any, says: str) -> None:
    """With what is in the way."""
    shop = {**SHOP, "targeting": targeting}
    book = BookControl(document={**DOCUMENT, "flags": {**DOCUMENT["flags"], "shop": shop}})
    async with serving(book) as api:
        answer = await api.post(f"{SHOP_AT}/weights", json={"weights": weights})
        assert (answer.status_code, says in answer.json()["detail"], book.book.version) == (422, True, 1)


@pytest.mark.parametrize("body", [[], {"weight": {}}, {"weights": {"a": 1}, "reason": 5}])
async def test_a_body_without_weights_is_refused(api: httpx.AsyncClient, body: Any) -> None:
    """By its shape."""
    assert (await api.post(f"{SHOP_AT}/weights", json=body)).status_code == 422


@pytest.mark.parametrize(
    ("entries", "weights", "order"),
    [
        ([["a", 5], ["s", 95]], {"a": 5, "b": 5, "s": 90}, ["a", "b", "s"]),
        ([["s", 95], ["a", 5]], {"a": 5, "b": 5, "s": 90}, ["s", "b", "a"]),
        ([["s", 100]], {"b": 5, "s": 95}, ["s", "b"]),
        ([["a", 100]], {"b": 5, "a": 95}, ["a", "b"]),
    ],
)
def test_a_new_variant_is_put_beside_the_stable_one(entries: Any, weights: Any, order: list[str]) -> None:
    """So that the units of the others stay."""
    flag = {"variants": {"a": 1, "b": 2, "s": 3}, "defaultVariant": "s", "targeting": {"fractional": entries}}
    changed = weigh_flag("f", weights).apply({"flags": {"f": flag}})
    written = changed["flags"]["f"]["targeting"]["fractional"]
    assert [name for name, _ in written] == order
    assert dict(written) == weights


@settings(max_examples=50, deadline=None)
@given(
    before=st.lists(st.integers(0, 30), min_size=2, max_size=4),
    grown=st.integers(0, 3),
    by=st.integers(1, 20),
    is_last=st.booleans(),
)
def test_who_grows_at_the_cost_of_the_stable_variant_keeps_its_units(
    before: list[int], grown: int, by: int, is_last: bool
) -> None:
    """Whatever the others have, and whichever end the stable one stands at."""
    names = [f"t{at}" for at in range(len(before))]
    treatments = dict(zip(names, before, strict=True))
    stable = {"s": 200 - sum(before)}
    ordered = treatments | stable if is_last else stable | treatments
    entries = [list(entry) for entry in ordered.items()]
    one = names[grown % len(names)]
    weights = ordered | {one: treatments[one] + by, "s": 200 - sum(before) - by}
    flag = {
        "variants": {name: name for name in (*names, "s")},
        "defaultVariant": "s",
        "targeting": {"fractional": entries},
    }
    after = weigh_flag("f", weights).apply({"flags": {"f": flag}})["flags"]
    was, will = Evaluator(flags={"f": flag}), Evaluator(flags=after)
    units = [{"targetingKey": f"u{n}"} for n in range(500)]
    had = {n for n, unit in enumerate(units) if was.evaluate("f", unit).variant == one}
    has = {n for n, unit in enumerate(units) if will.evaluate("f", unit).variant == one}
    assert had <= has


# -- history --------------------------------------------------------------------------------------------


async def test_the_history_of_a_flag_has_its_own_versions_only(api: httpx.AsyncClient) -> None:
    """Newest first, with what changed, who and why; in pages; to its beginning and past its end."""
    await api.put(f"{FLAGS}/new", json=NEW)
    await api.patch(SHOP_AT, json={"state": "DISABLED"})
    await api.post(f"{FLAGS}/new/kill", json={"reason": "wrong"})
    await api.delete(f"{FLAGS}/new?reason=over")
    told = (await api.get(f"{FLAGS}/new/history")).json()
    assert [(one["version"], one["reason"], one["changes"]) for one in told["versions"]] == [
        (5, "over", [{"path": "", "before": {"key": "new", "killed": True, **NEW}}]),
        (4, "wrong", [{"path": "/killed", "before": False, "after": True}]),
        (2, "put flag new", [{"path": "", "after": {"key": "new", "killed": False, **NEW}}]),
    ]
    assert (told["next"], told["versions"][0]["author"]) == (None, "admin API (127.0.0.1)")
    page = (await api.get(f"{FLAGS}/new/history?limit=1")).json()
    rest = (await api.get(f"{FLAGS}/new/history", params={"before": page["next"]})).json()
    assert [*page["versions"], *rest["versions"]] == told["versions"]
    assert (await api.get(f"{FLAGS}/never/history")).status_code == 404
    assert (await api.get(f"{FLAGS}/new/history?before=0")).status_code == 400


async def test_a_flag_is_put_back_alone(api: httpx.AsyncClient, book: BookControl) -> None:
    """As it was in a version; what else changed since stays, and so does its kill switch."""
    await api.patch(SHOP_AT, json={"state": "DISABLED"})
    await api.patch(f"{FLAGS}/banner", json={"state": "DISABLED"})
    await api.post(f"{SHOP_AT}/kill")
    answer = await api.post(f"{SHOP_AT}/restore", json={"version": 1})
    assert (answer.status_code, answer.json()["flag"]["killed"]) == (200, True)
    assert (book.flags["shop"], book.flags["banner"]["state"]) == (SHOP, "DISABLED")
    assert (await book.entries())[-1].deed.reason == "restore flag shop of version 1"


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        ("shop", {"version": 9}, 404),
        ("new", {"version": 1}, 422),
        ("shop", {"version": 0}, 422),
        ("shop", {"version": True}, 422),
        ("shop", {"version": "1"}, 422),
        ("shop", {}, 422),
        ("shop", {"version": 1, "more": 1}, 422),
    ],
)
async def test_a_version_that_is_not_there_restores_nothing(
    api: httpx.AsyncClient, book: BookControl, key: str, body: Any, status: int
) -> None:
    """Nor one that does not have the flag."""
    assert (await api.post(f"{FLAGS}/{key}/restore", json=body)).status_code == status
    assert book.book.version == 1


async def test_what_is_restored_must_fit_what_is_there_now(api: httpx.AsyncClient) -> None:
    """A segment that is gone since is told with its place."""
    await api.put(f"{FLAGS}/banner", json={**BANNER, "targeting": None}, headers=ANY)
    assert (await api.delete("/api/v1/segments/staff")).status_code == 200
    answer = await api.post(f"{FLAGS}/banner/restore", json={"version": 1})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (
        422,
        "flags.banner.targeting.if[0].$ref",
    )


async def test_a_reason_may_stand_in_a_field_of_every_write(
    api: httpx.AsyncClient, book: BookControl
) -> None:
    """Of a kill, of the whole document, of a restore."""
    why = {"X-Reason": "because"}
    await api.post(f"{SHOP_AT}/kill", headers=why)
    await api.put("/api/v1/rules", json=DOCUMENT, headers={**why, **ANY})
    await api.post("/api/v1/rules/1/restore", headers=why)
    assert [entry.deed.reason for entry in await book.entries()] == [
        "because",
        "because",
        "restore version 1: because",
    ]
    assert (await api.patch(SHOP_AT, json={}, headers={"X-Reason": "x" * 501})).status_code == 422


@pytest.mark.parametrize("end", ["%0A", "%0D", "%0A%0A", "%0Ax"])
async def test_a_key_is_taken_whole(api: httpx.AsyncClient, book: BookControl, end: str) -> None:
    """A line feed at its end does not lead to the flag without it, whatever is asked of it."""
    before = (await api.get(FLAGS)).json()
    asked = [
        await api.get(SHOP_AT + end),
        await api.put(SHOP_AT + end, json=NEW, headers=ANY),
        await api.request("DELETE", SHOP_AT + end, headers=ANY),
        await api.post(f"{SHOP_AT}{end}/kill"),
        await api.post(f"{SHOP_AT}/kill{end}"),
        await api.get(f"{SHOP_AT}/history{end}"),
        await api.get(FLAGS + end),
    ]

    assert {answer.status_code for answer in asked} <= {400, 404, 405, 412, 422}
    assert {answer.headers["content-type"] for answer in asked} == {"application/problem+json"}
    assert (await api.get(FLAGS)).json() == before
