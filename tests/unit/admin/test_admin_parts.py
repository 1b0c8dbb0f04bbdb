"""Segments, routes, services and many changes at once, over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from admin_book import DOCUMENT, SHOP, BookControl, serving

from understudy.access import flaws

SEGMENTS, ROUTES, SERVICES, BULK = (f"/api/v1/{part}" for part in ("segments", "routes", "services", "bulk"))
ANY = {"If-Match": "*"}
STAFF = DOCUMENT["$evaluators"]["staff"]
FRONT, REST = DOCUMENT["routes"]
OFF: dict[str, Any] = {"state": "DISABLED"}


@pytest.fixture
def book() -> BookControl:
    """Rules at version 1."""
    return BookControl()


@pytest.fixture
async def api(book: BookControl) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with serving(book) as client:
        yield client


# -- segments -------------------------------------------------------------------------------------------


async def test_a_segment_is_made_read_changed_and_taken_out(
    api: httpx.AsyncClient, book: BookControl
) -> None:
    """Each change is a version; a slash in a name is sent as %2F or as it is."""
    rule = {"in": [{"var": "country"}, ["de", "at"]]}
    made = await api.put(f"{SEGMENTS}/eu%2Fgerman", json=rule)
    assert (made.status_code, made.json()["segment"]) == (201, rule)
    read = await api.get(f"{SEGMENTS}/eu/german")
    assert (read.json(), read.headers["etag"]) == (rule, '"2"')
    assert (await api.get(f"{SEGMENTS}/eu/german", headers={"If-None-Match": '"2"'})).status_code == 304
    listed = (await api.get(SEGMENTS, params={"q": "EU"})).json()
    assert listed == {"version": 2, "segments": [{"name": "eu/german", "rule": rule}], "next": None}
    assert (await api.put(f"{SEGMENTS}/eu/german", json=rule)).status_code == 428
    assert (await api.patch(f"{SEGMENTS}/eu/german", json={"in": ["de", {"var": "c"}]})).status_code == 200
    assert (await api.delete(f"{SEGMENTS}/eu/german", headers={"If-Match": '"3"'})).status_code == 200
    assert book.book.current().document["$evaluators"] == {"staff": STAFF}
    assert [entry.deed.action for entry in await book.entries()] == [
        "segment.put",
        "segment.patch",
        "segment.delete",
    ]


async def test_a_segment_that_is_named_stays(api: httpx.AsyncClient) -> None:
    """With the places that name it."""
    answer = await api.delete(f"{SEGMENTS}/staff")
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (
        409,
        "flags.banner.targeting.if[0].$ref",
    )


@pytest.mark.parametrize(
    ("method", "name", "rule", "status"),
    [
        ("PUT", "new", {"$ref": "new"}, 422),
        ("PUT", "new", {"nothing": []}, 422),
        ("PUT", "new", [], 422),
        ("PATCH", "staff", [], 422),
        ("PATCH", "none", {}, 404),
        ("DELETE", "none", None, 404),
        ("GET", "none", None, 404),
        ("PUT", "", {}, 404),
    ],
)
async def test_a_segment_that_cannot_be_is_refused(
    api: httpx.AsyncClient, book: BookControl, method: str, name: str, rule: Any, status: int
) -> None:
    """A circle, an unknown operation, no object, no such segment, no name."""
    assert (await api.request(method, f"{SEGMENTS}/{name}", json=rule)).status_code == status
    assert book.book.version == 1


# -- routes ---------------------------------------------------------------------------------------------


async def test_routes_are_read_whole_and_replaced_whole(api: httpx.AsyncClient, book: BookControl) -> None:
    """For their order has a meaning."""
    assert (await api.get(ROUTES)).json() == {"version": 1, "routes": [FRONT, REST]}
    assert (await api.put(ROUTES, json=[REST])).status_code == 428
    assert (await api.put(ROUTES, json=[REST], headers={"If-Match": '"1"'})).status_code == 200
    assert book.book.current().document["routes"] == [REST]
    refused = await api.put(ROUTES, json=[{"path": "/", "serve": "v9"}], headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "routes[0].serve")
    assert (await api.put(ROUTES, json={}, headers=ANY)).status_code == 422


async def test_one_route_is_reached_by_name_or_position(api: httpx.AsyncClient, book: BookControl) -> None:
    """A position is another route's once one goes, so a write there needs the version that was seen."""
    assert (await api.get(f"{ROUTES}/shop-front")).json() == FRONT
    assert (await api.get(f"{ROUTES}/1")).json() == REST
    assert (await api.get(f"{ROUTES}/1", headers={"If-None-Match": '"1"'})).status_code == 304
    assert (await api.patch(f"{ROUTES}/1", json={"host": "a.example"})).status_code == 428
    assert (await api.patch(f"{ROUTES}/shop-front", json={"path": "/shops"})).status_code == 200
    assert (await api.patch(f"{ROUTES}/1", json={"host": "a.example"}, headers=ANY)).status_code == 200
    added = {"path": "/new", "serve": "v2", "name": "new"}
    assert (await api.post(ROUTES, json={"route": added, "before": "shop-front"})).status_code == 200
    assert (await api.post(ROUTES, json={"route": {"path": "/last", "serve": "v1"}})).status_code == 200
    assert (await api.put(f"{ROUTES}/new", json={**added, "path": "/newer"}, headers=ANY)).status_code == 200
    assert (await api.delete(f"{ROUTES}/0", headers={"If-Match": '"6"'})).status_code == 200
    assert book.book.current().document["routes"] == [
        {**FRONT, "path": "/shops"},
        {**REST, "host": "a.example"},
        {"path": "/last", "serve": "v1"},
    ]


@pytest.mark.parametrize(
    ("method", "place", "body", "status"),
    [
        ("GET", "/2", None, 404),
        ("GET", "/none", None, 404),
        ("GET", "/", None, 404),
        ("DELETE", "/none", None, 404),
        ("PATCH", "/shop-front", [], 422),
        ("POST", "", {}, 422),
        ("POST", "", {"route": FRONT}, 422),
        ("POST", "", {"route": REST, "before": []}, 422),
        ("POST", "", {"route": REST, "before": "none"}, 404),
        ("POST", "", {"route": REST, "after": 1}, 422),
    ],
)
async def test_a_route_that_cannot_be_is_refused(
    api: httpx.AsyncClient, book: BookControl, method: str, place: str, body: Any, status: int
) -> None:
    """Nothing is changed."""
    assert (await api.request(method, f"{ROUTES}{place}", json=body)).status_code == status
    assert book.book.version == 1


# -- services -------------------------------------------------------------------------------------------


async def test_services_are_read(api: httpx.AsyncClient) -> None:
    """All, or one."""
    (service,) = (await api.get(SERVICES)).json()["services"]
    assert service["origins"] == ["http://127.0.0.1:9001"]
    assert (await api.get(f"{SERVICES}/v1")).json() == service
    unknown = await api.get(f"{SERVICES}/v9")
    assert (unknown.status_code, unknown.json()["known"]) == (404, ["v1"])


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("path", [SERVICES, f"{SERVICES}/v1"])
async def test_addresses_are_changed_in_the_settings_file_alone(
    api: httpx.AsyncClient, method: str, path: str
) -> None:
    """405 says why, and what to do."""
    answer = await api.request(method, path, json={"url": "http://169.254.169.254"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert "settings file alone" in answer.json()["detail"]
    assert "/api/v1/reload" in answer.json()["detail"]


# -- many at once ---------------------------------------------------------------------------------------


def put(path: str, body: Any) -> dict[str, Any]:
    """One operation."""
    return {"method": "PUT", "path": path, "body": body}


async def test_many_changes_are_one_version_and_one_entry(api: httpx.AsyncClient, book: BookControl) -> None:
    """In their order; what one takes out another may stop to name; the entry names them all."""
    operations = [
        put("/flags/new", {**SHOP, "targeting": None}),
        {"method": "PATCH", "path": "/flags/new", "body": OFF},
        {"method": "POST", "path": "/flags/shop/weights", "body": {"weights": {"canary": 7, "stable": 93}}},
        {"method": "DELETE", "path": "/segments/staff"},
        {"method": "DELETE", "path": "/flags/banner"},
        {"method": "DELETE", "path": "/flags/late"},
        {"method": "POST", "path": "/flags/old/kill"},
        put("/segments/eu%2Fgerman", {"==": [{"var": "country"}, "de"]}),
        {"method": "POST", "path": "/routes", "body": {"route": {"path": "/n", "flag": "new"}, "before": 0}},
        {"method": "DELETE", "path": "/routes/shop-front"},
    ]
    answer = await api.post(
        BULK, json={"operations": operations, "reason": "spring"}, headers={"If-Match": '"1"'}
    )
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    document = book.book.current().document
    assert set(document["flags"]) == {"shop", "old", "new"}
    assert document["flags"]["new"]["state"] == "DISABLED"
    assert (document["killed"], list(document["$evaluators"])) == (["old"], ["eu/german"])
    assert document["routes"] == [{"path": "/n", "flag": "new"}, REST]
    (entry,) = await book.entries()
    assert (entry.deed.action, entry.deed.reason) == ("bulk", "spring")
    assert entry.deed.target == (
        "flag.put new, flag.patch new, flag.weights shop, segment.delete staff, flag.delete banner,"
        " flag.delete late, flag.kill old, segment.put eu/german, route.add /n, route.delete shop-front"
    )
    assert list(flaws(await book.store.audit(), [await book.store.audit_head()])) == []


@pytest.mark.parametrize(
    ("operation", "status", "place"),
    [
        ({"method": "PATCH", "path": "/flags/none", "body": {}}, 404, "operations[1]"),
        ({"method": "DELETE", "path": "/flags/shop"}, 409, "routes[0].flag"),
        (put("/flags/x", {"variants": {}}), 422, "flags.x.variants"),
        (put("/flags/x", 5), 422, "operations[1]"),
        ({"method": "PUT", "path": "/flags/x"}, 422, "operations[1].body"),
        (put("/services/v1", {}), 422, "operations[1]"),
        (put("/flags/", {}), 422, "operations[1]"),
        (put("/flags/a/b", {}), 422, "operations[1]"),
        (put("/flags/%ff", {}), 422, "operations[1].path"),
        ({"method": "GET", "path": "/flags/shop", "body": None}, 422, "operations[1]"),
        ({"method": "POST", "path": "/flags/shop/restore", "body": {}}, 422, "operations[1]"),
        ({"method": 1, "path": "/flags/shop"}, 422, "operations[1]"),
        ({"method": "PUT"}, 422, "operations[1]"),
        ({"method": "PUT", "path": "/flags/x", "body": {}, "more": 1}, 422, "operations[1]"),
        (5, 422, "operations[1]"),
    ],
)
async def test_one_operation_that_cannot_be_undoes_all(
    api: httpx.AsyncClient, book: BookControl, operation: Any, status: int, place: str
) -> None:
    """And the answer says which one it is."""
    first = {"method": "PATCH", "path": "/flags/shop", "body": OFF}
    answer = await api.post(BULK, json={"operations": [first, operation]}, headers=ANY)
    assert answer.status_code == status
    assert place in answer.text
    assert (book.book.version, await book.entries()) == (1, [])


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"operations": []},
        {"operations": [put("/flags/x", SHOP)] * 1001},
        {"operations": 1, "more": 1},
    ],
)
async def test_a_bulk_of_nothing_or_too_much_is_refused(api: httpx.AsyncClient, body: Any) -> None:
    """1 to 1,000 operations."""
    assert (await api.post(BULK, json=body)).status_code == 422


async def test_a_bulk_that_replaces_needs_to_know_what(api: httpx.AsyncClient) -> None:
    """As a PUT alone does."""
    bulk = {"operations": [put("/flags/shop", SHOP)]}
    assert (await api.post(BULK, json=bulk)).status_code == 428
    assert (await api.post(BULK, json=bulk, headers=ANY)).status_code == 200


async def test_a_thousand_flags_are_made_and_taken_out(api: httpx.AsyncClient, book: BookControl) -> None:
    """At once, within the usual deadline."""
    made = [put(f"/flags/f{n}", {"variants": {"a": n}}) for n in range(1000)]
    assert (await api.post(BULK, json={"operations": made})).status_code == 201
    gone = [{"method": "DELETE", "path": f"/flags/f{n}"} for n in range(1000)]
    assert (await api.post(BULK, json={"operations": gone})).status_code == 200
    assert book.flags == DOCUMENT["flags"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/flags/shop", SHOP),
        ("/api/v1/flags/new", SHOP),
        (f"{SEGMENTS}/staff", STAFF),
        (f"{SEGMENTS}/new", STAFF),
        (ROUTES, [FRONT]),
        (f"{ROUTES}/0", REST),
        (BULK, {"operations": [{"method": "DELETE", "path": "/routes/0"}]}),
    ],
)
async def test_a_head_with_a_body_changes_nothing(
    api: httpx.AsyncClient, book: BookControl, path: str, body: Any
) -> None:
    """It has a GET's right, a viewer's, whatever it carries."""
    answer = await api.request("HEAD", path, json=body, headers=ANY)
    known = await api.get(path)

    assert answer.status_code == known.status_code
    assert book.book.version == 1
