"""A dry run shows what would be stored and who would move, and stores nothing."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from admin_book import BANNER, DOCUMENT, SHOP, BookControl, serving

from understudy.admin import Succession
from understudy.admin.movement import MOST_FLAGS, UNITS
from understudy.config import Rules
from understudy.decide import Evaluator
from understudy.errors import ConfigError, Problem

SHOP_AT = "/api/v1/flags/shop"
DRY = {"dry_run": "true"}
FEWER = {**SHOP, "targeting": {"fractional": [["canary", 50], ["stable", 50]]}}


@pytest.fixture
def book() -> BookControl:
    """Rules at version 1."""
    return BookControl()


@pytest.fixture
async def api(book: BookControl) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with serving(book) as client:
        yield client


async def test_weights_tell_who_moves(api: httpx.AsyncClient) -> None:
    """Shares as asked for, nobody out of the variant that grows, and the very units that move."""
    answer = await api.post(f"{SHOP_AT}/weights", params=DRY, json={"weights": {"canary": 50, "stable": 50}})
    told = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert (told["dry_run"], told["version"], told["omitted"]) == (True, 1, [])
    assert [change["path"] for change in told["changes"]] == ["/flags/shop/targeting/fractional"]
    (moves,) = told["moves"]
    shares = {(row["from"], row["to"]): row["share"] for row in moves["matrix"]}
    assert set(shares) == {("stable", "canary"), ("stable", "stable"), ("canary", "canary")}
    assert shares["stable", "canary"] == pytest.approx(0.45, abs=0.02)
    assert moves["share"] == shares["stable", "canary"]
    assert (moves["units"], sum(row["units"] for row in moves["matrix"])) == (10_000, 10_000)
    assert moves["routes"] == [{"position": 0, "path": "/shop", "unit": "cookie:uid", "name": "shop-front"}]
    before, after = Evaluator(flags={"shop": SHOP}), Evaluator(flags={"shop": FEWER})
    for row in moves["matrix"]:
        assert 1 <= len(row["examples"]) <= 3
        for unit in row["examples"]:
            context = {"targetingKey": unit}
            assert before.evaluate("shop", context).variant == row["from"]
            assert after.evaluate("shop", context).variant == row["to"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/v1/flags/new", BANNER),
        ("PUT", SHOP_AT, FEWER),
        ("PATCH", SHOP_AT, {"state": "DISABLED"}),
        ("DELETE", "/api/v1/flags/old", None),
        ("POST", f"{SHOP_AT}/kill", None),
        ("POST", f"{SHOP_AT}/revive", None),
        ("POST", f"{SHOP_AT}/weights", {"weights": {"canary": 1, "stable": 1}}),
        ("POST", f"{SHOP_AT}/restore", {"version": 1}),
        ("PUT", "/api/v1/segments/new", {"==": [1, 1]}),
        ("PATCH", "/api/v1/segments/staff", {"in": ["x", {"var": "email"}]}),
        ("PUT", "/api/v1/routes", []),
        ("POST", "/api/v1/routes", {"route": {"path": "/new", "serve": "v2"}}),
        ("PATCH", "/api/v1/routes/0", {"path": "/shops"}),
        ("DELETE", "/api/v1/routes/1", None),
        ("POST", "/api/v1/bulk", {"operations": [{"method": "DELETE", "path": "/flags/old"}]}),
        ("PUT", "/api/v1/rules", {"flags": {}}),
        ("POST", "/api/v1/rules/1/restore", None),
    ],
)
async def test_every_write_has_a_dry_run_that_stores_nothing(
    api: httpx.AsyncClient, book: BookControl, method: str, path: str, body: Any
) -> None:
    """No version, no entry of the audit; no precondition is needed, but one that is given is heeded."""
    answer = await api.request(method, path, params=DRY, json=body)
    assert (answer.status_code, answer.json()["dry_run"]) == (200, True), answer.text
    assert (book.book.version, await book.entries(), book.flags) == (1, [], DOCUMENT["flags"])
    if not path.endswith(("kill", "revive", "rules/1/restore")):
        stale = await api.request(method, path, params=DRY, json=body, headers={"If-Match": '"9"'})
        assert stale.status_code == 412
    assert (await api.request(method, path, params={"dry_run": "yes"}, json=body)).status_code == 400


async def test_a_change_that_would_be_refused_is_refused(api: httpx.AsyncClient) -> None:
    """With the same answer."""
    bad = {"variants": {"a": 1}, "defaultVariant": "b"}
    dry = await api.put("/api/v1/flags/new", params=DRY, json=bad)
    wet = await api.put("/api/v1/flags/new", json=bad)
    assert (dry.status_code, dry.json()) == (wet.status_code, wet.json())


async def test_a_kill_moves_all_to_the_safe_variant(api: httpx.AsyncClient) -> None:
    """Of a flag that routes."""
    (moves,) = (await api.post(f"{SHOP_AT}/kill", params=DRY)).json()["moves"]
    assert {row["to"] for row in moves["matrix"]} == {"stable"}
    assert moves["share"] == pytest.approx(0.05, abs=0.01)


async def test_whoever_asks_the_changed_flag_moves_with_it(api: httpx.AsyncClient) -> None:
    """A segment moves its flags, these the flags that ask them; flags without a variant have null."""
    told = (
        await api.put(
            "/api/v1/segments/staff",
            params={**DRY, "unit": ["ann", "bob"], "context": '{"email": "bob@other.com"}'},
            json={"in": ["@other.com", {"var": "email"}]},
        )
    ).json()
    assert [moves["flag"] for moves in told["moves"]] == ["banner", "late"]
    for moves in told["moves"]:
        assert moves["matrix"] == [
            {"from": "off", "to": "on", "units": 2, "share": 1.0, "examples": ["ann", "bob"]}
        ]
        assert moves["routes"] == []
    (gone,) = (await api.delete("/api/v1/flags/late", params=DRY)).json()["moves"]
    assert [(row["from"], row["to"]) for row in gone["matrix"]] == [("off", None)]


async def test_a_flag_that_is_off_routes_by_its_default_and_answers_nobody(api: httpx.AsyncClient) -> None:
    """As requests and SDKs get it."""
    (shop,) = (await api.patch(SHOP_AT, params=DRY, json={"state": "DISABLED"})).json()["moves"]
    assert {row["to"] for row in shop["matrix"]} == {"stable"}
    banner = (await api.patch("/api/v1/flags/banner", params=DRY, json={"state": "DISABLED"})).json()[
        "moves"
    ][0]
    assert [(row["from"], row["to"]) for row in banner["matrix"]] == [("off", None)]


@pytest.mark.parametrize(
    "query",
    [{"context": "{"}, {"context": "[]"}, {"context": "x"}, {"unit": [str(n) for n in range(1001)]}],
)
async def test_units_that_cannot_be_are_refused(api: httpx.AsyncClient, query: dict[str, Any]) -> None:
    """With the reason."""
    assert (await api.delete("/api/v1/flags/old", params={**DRY, **query})).status_code == 400


async def test_of_many_flags_the_first_are_drawn_for() -> None:
    """The others are named."""
    flags = {f"f{n:02}": BANNER for n in range(MOST_FLAGS + 2)}
    document = {"flags": flags, "$evaluators": DOCUMENT["$evaluators"]}
    async with serving(BookControl(document=document)) as api:
        told = (
            await api.patch("/api/v1/segments/staff", params=DRY, json={"in": ["x", {"var": "e"}]})
        ).json()
        assert [moves["flag"] for moves in told["moves"]] == list(flags)[:MOST_FLAGS]
        assert told["omitted"] == list(flags)[MOST_FLAGS:]


async def test_one_flag_among_thousands_is_drawn_for_alone() -> None:
    """10,000 units before and after, among 2,000 flags (0.3 s on the machine it was written on)."""
    flags = {f"f{n}": SHOP for n in range(2000)}
    async with serving(BookControl(document={"flags": flags})) as api:
        began = time.process_time()
        answer = await api.patch("/api/v1/flags/f7", params=DRY, json={"state": "DISABLED"})
        assert time.process_time() - began < 10, "for all two thousand it were minutes"
        assert answer.json()["moves"][0]["units"] == len(UNITS) == 10_000


async def test_a_mend_of_rules_that_fit_no_more_is_shown(
    api: httpx.AsyncClient, book: BookControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored names a service that is gone: nobody can be drawn, but what would change is told."""
    check = book.check_rules

    async def without_v2(document: Any) -> Rules:
        if document["flags"]["shop"]["targeting"] != FEWER["targeting"]:
            raise ConfigError((Problem(path="flags.shop", message="unknown service"),))
        return await check(document)

    monkeypatch.setattr(book, "check_rules", without_v2)
    monkeypatch.setattr(book, "succession", Succession())
    answer = await api.put(SHOP_AT, params=DRY, json=FEWER)
    told = answer.json()
    assert (answer.status_code, told["moves"]) == (200, [])
    assert told["omitted"] == sorted(DOCUMENT["flags"])
    assert [change["path"] for change in told["changes"]] == ["/flags/shop/targeting/fractional"]
