"""Environments over HTTP: isolation, promotion, and who may do what in which of them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl
from test_admin_access import hollow

from understudy.access import Caller, Role, flaws
from understudy.admin import Environments, Keyring, create_admin
from understudy.admin.rights import ANYONE, RIGHTS, SHARED, TARGET, needed
from understudy.errors import StoreError
from understudy.store import MemoryStore

HERE = Caller(name="setup", role=Role.ADMIN, origin="127.0.0.1")
ENVIRONMENTS = "/api/v1/environments"
PROD = f"{ENVIRONMENTS}/prod/rules"
NAMES = ("dev", "prod")


def document(**flags: Any) -> dict[str, Any]:
    return {"flags": flags, "routes": [], "compare": [], "killed": []}


def flag(serve: str = "v1", **more: Any) -> dict[str, Any]:
    """A flag with one variant that names a service, which is what a route makes of it."""
    variants = {"on": {"serve": serve}}
    return {"state": "ENABLED", "variants": variants, "defaultVariant": "on"} | more


def routed(serve: str = "v1") -> dict[str, Any]:
    return document(shop=flag(serve)) | {"routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}]}


@dataclass
class World:
    """The admin server of ``dev``, whose store holds other environments too."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(environment="dev"))
    control: FakeControl = field(default_factory=FakeControl)
    services: tuple[str, ...] = ("v1",)

    async def open(self) -> "World":
        await self.store.open()
        self.keyring = Keyring(self.store, tokens=(), environment="dev")
        self.environments = Environments(self.store, self.control, services=lambda: self.services)
        self.app = create_admin(self.control, keyring=self.keyring, environments=self.environments)
        return self

    async def put(self, name: str, rules: dict[str, Any]) -> int:
        store = self.store.of(name)
        await store.open()
        return (await store.put_rules(rules, expected=None, author="a", reason="", at=5.0)).version

    async def ask(self, method: str, path: str, token: str = "", /, **request: Any) -> httpx.Response:
        fields = request.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
            return await client.request(method, path, headers=fields, **request)

    async def token(self, role: Role | None, **roles: Role) -> str:
        _, text = await self.keyring.create(name="x", role=role, roles=roles, expires_at=0.0, by=HERE)
        return text


@pytest.fixture
async def world() -> World:
    return await World().open()


async def test_environments_are_listed(world: World) -> None:
    """The process's own, and those beside it, with what they hold."""
    await world.put("prod", document())
    await world.put("prod", document())
    await world.store.note_services(["v1"])
    told = (await world.ask("GET", ENVIRONMENTS)).json()

    assert told["own"] == "dev"
    assert told["environments"] == [
        {"name": "dev", "own": True, "version": 0, "at": None, "services": ["v1"]},
        {"name": "prod", "own": False, "version": 2, "at": 5.0, "services": None},
    ]


async def test_the_rules_of_another_are_read_and_replaced(world: World) -> None:
    """By its own version; the audit names it, and nothing changes in the one of the process."""
    await world.put("prod", document())
    got = await world.ask("GET", PROD)
    assert (got.json(), got.headers["etag"]) == (document(), '"1"')
    query: dict[str, Any] = {"params": {"reason": "why"}, "json": routed()}
    put = await world.ask("PUT", PROD, headers={"If-Match": '"1"'}, **query)
    assert (put.status_code, put.json()["version"], put.headers["etag"]) == (200, 2, '"2"')
    late = await world.ask("PUT", PROD, headers={"If-Match": '"1"'}, **query)
    assert (late.status_code, late.json()["actual"]) == (412, 2)

    assert len(world.control.versions) == 1
    entries = await world.store.audit()
    deed = entries[-1].deed
    assert (deed.environment, deed.action, deed.reason, deed.after) == ("prod", "rules.put", "why", 2)
    assert list(flaws(entries, [await world.store.audit_head()])) == []


async def test_history_versions_and_restore_are_of_their_environment(world: World) -> None:
    """As under /api/v1/rules; the process's own has both paths."""
    for serve in ("v1", "v2"):
        await world.put("prod", routed(serve))
    world.services = ("v1", "v2")
    history = (await world.ask("GET", f"{PROD}/history")).json()["versions"]
    assert [told["version"] for told in history] == [2, 1]
    assert (await world.ask("GET", f"{PROD}/1")).json() == routed("v1")
    (change,) = (await world.ask("GET", f"{PROD}/1/diff/2")).json()["changes"]
    assert change == {"path": "/flags/shop/variants/on/serve", "before": "v1", "after": "v2"}
    assert (await world.ask("POST", f"{PROD}/1/restore")).json()["version"] == 3
    assert (await world.ask("GET", PROD)).json() == routed("v1")

    own = await world.ask("GET", f"{ENVIRONMENTS}/dev/rules/history")
    assert own.json() == (await world.ask("GET", "/api/v1/rules/history")).json()


@pytest.mark.parametrize("name", ["stage", "PROD", "a%2Fb", "x" * 33, "%00"])
async def test_an_environment_that_is_not_there_is_told(world: World, name: str) -> None:
    """A slip of the pen makes none: a PUT must say that it means to."""
    await world.put("prod", document())
    path = f"{ENVIRONMENTS}/{name}/rules"
    assert (await world.ask("GET", path)).status_code == 404
    for fields in ({"If-Match": "*"}, {"If-Match": '"1"'}):
        assert (await world.ask("PUT", path, headers=fields, json=document())).status_code == 404

    assert [held.name for held in await world.store.environments()] == ["prod"]


async def test_an_environment_is_made_by_its_first_rules(world: World) -> None:
    """Once: the second time it is there."""
    path, first = f"{ENVIRONMENTS}/qa/rules", {"If-None-Match": "*"}
    assert (await world.ask("PUT", path, headers=first, json=routed())).json()["version"] == 1
    assert (await world.ask("PUT", path, headers=first, json=routed())).status_code == 412


async def test_rules_are_checked_against_the_services_of_their_environment(world: World) -> None:
    """Which its own processes have told the store; before that this process's count."""
    await world.put("prod", document())
    put: dict[str, Any] = {"headers": {"If-Match": "*"}, "json": routed("v9")}
    (error,) = (await world.ask("PUT", PROD, **put)).json()["errors"]
    assert error["path"] == "flags.shop.variants.on.serve"
    await world.store.of("prod").note_services(["v9"])

    assert (await world.ask("PUT", PROD, **put)).status_code == 200
    refused = await world.ask("PUT", PROD, headers={"If-Match": "*"}, json=routed("v1"))
    assert (refused.status_code, (await world.ask("GET", PROD)).json()) == (422, routed("v9"))


# -- promotion -------------------------------------------------------------------------------------------

PROMOTION = f"{ENVIRONMENTS}/staging/flags/team.shop/promotion"
QUERY: dict[str, Any] = {"to": "prod"}


@pytest.fixture
async def staged(world: World) -> World:
    """With a flag in ``staging`` that ``prod`` has not got yet."""
    await world.put(
        "staging", document(other=flag()) | {"flags": {"team.shop": flag(metadata={"owner": "o"})}}
    )
    await world.put("prod", document(other=flag()))
    return world


async def test_a_promotion_is_shown_before_it_is_made(staged: World) -> None:
    """What would change, on what it rests, what is wrong; nothing is stored, and nobody is told."""
    shown = await staged.ask("GET", PROMOTION, params=QUERY)
    told = shown.json()

    assert shown.headers["etag"] == '"1"'
    assert (told["flag"], told["from"]) == ("team.shop", {"environment": "staging", "version": 1})
    assert told["to"] == {"environment": "prod", "version": 1}
    (change,) = told["changes"]
    arrives = flag(metadata={"owner": "o"}) | {"state": "DISABLED"}
    assert change == {"path": "/flags/team.shop", "after": arrives}
    assert (told["errors"], told["flags"], told["stays"][0]["part"]) == ([], ["team.shop"], "state")
    assert await staged.store.of("prod").version() == 1


async def test_a_promotion_makes_a_version_of_the_target(staged: World) -> None:
    """The audit names where it comes from; the source stays as it is; once more it changes nothing."""
    query = {**QUERY, "with": "state,killed", "reason": "tried for a week"}
    made = await staged.ask("POST", PROMOTION, params=query, headers={"If-Match": '"1"'})
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (200, 2, '"2"')

    rules = await staged.store.of("prod").rules()
    assert rules is not None
    assert rules.document["flags"]["team.shop"] == flag(metadata={"owner": "o"})
    deed = (await staged.store.audit())[-1].deed
    assert (deed.environment, deed.before, deed.after) == ("prod", 1, 2)
    assert deed.reason == "promote team.shop from staging version 1: tried for a week"
    assert await staged.store.of("staging").version() == 1
    again = await staged.ask("POST", PROMOTION, params=query, headers={"If-Match": '"2"'})
    assert (again.json()["version"], again.json()["changes"]) == (2, [])


async def test_a_promotion_into_the_process_itself_goes_through_its_control(staged: World) -> None:
    """So its workers follow at once."""
    made = await staged.ask("POST", PROMOTION, params={"to": "dev"}, headers={"If-Match": "*"})

    assert (made.json()["workers"], made.json()["applied"]) == (2, 2)
    assert "team.shop" in staged.control.versions[-1].document["flags"]


async def test_a_promotion_rests_on_the_version_that_was_looked_at(staged: World) -> None:
    """Without one it is refused; of two editors one is told."""
    assert (await staged.ask("POST", PROMOTION, params=QUERY)).status_code == 428
    await staged.put("prod", document(other=flag("v2")))
    late = await staged.ask("POST", PROMOTION, params=QUERY, headers={"If-Match": '"1"'})

    assert (late.status_code, late.json()["actual"]) == (412, 2)
    assert await staged.store.of("prod").version() == 2


async def test_what_does_not_fit_the_target_is_told_with_its_place(world: World) -> None:
    """Shown as errors, made it is refused: a service, or a prerequisite, that is not there."""
    asking = flag("v9", targeting={"if": [{"==": [{"flag": "base"}, "on"]}, "on"]})
    routes = {"routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}]}
    await world.put("staging", document(shop=asking, base=flag()))
    await world.put("prod", document(shop=flag()) | routes)
    path = f"{ENVIRONMENTS}/staging/flags/shop/promotion"
    shown = (await world.ask("GET", path, params=QUERY)).json()
    places = {error["path"] for error in shown["errors"]}
    assert "flags.shop.variants.on.serve" in places
    assert any(place.startswith("flags.shop.targeting") for place in places)
    made = await world.ask("POST", path, params=QUERY, headers={"If-Match": "*"})
    assert (made.status_code, {error["path"] for error in made.json()["errors"]}) == (422, places)

    shown = (await world.ask("GET", path, params={**QUERY, "with": "prerequisites"})).json()
    assert ([error["path"] for error in shown["errors"]], shown["flags"]) == (
        ["flags.shop.variants.on.serve"],
        ["shop", "base"],
    )


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 400),
        ({"to": ""}, 400),
        ({"to": ["prod", "prod"]}, 400),
        ({"to": "staging"}, 400),
        ({"to": "nowhere"}, 404),
        ({"to": "../prod"}, 404),
        ({"to": "prod", "with": "everything"}, 400),
    ],
)
async def test_a_promotion_that_says_nothing_sensible_is_refused(
    staged: World, params: dict[str, Any], status: int
) -> None:
    """With what to say instead."""
    answer = await staged.ask("GET", PROMOTION, params=params)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_flag_that_is_not_there_is_not_promoted(staged: World) -> None:
    """Those that are there are named."""
    answer = await staged.ask("GET", f"{ENVIRONMENTS}/staging/flags/shpo/promotion", params=QUERY)

    assert (answer.status_code, answer.json()["known"]) == (404, ["team.shop"])


# -- roles -----------------------------------------------------------------------------------------------

ROWS = [(path, method) for path, row in RIGHTS.items() for method in row]


@pytest.mark.parametrize("role", [*Role])
@pytest.mark.parametrize("own", NAMES)
async def test_the_whole_table_in_two_environments(world: World, role: Role, own: str) -> None:
    """A role in ``dev`` alone: what it may at a process of ``dev``, and at each path that names ``dev``, it
    may; at one of ``prod``, and at each path that names ``prod``, nothing that is not anyone's.
    """
    await world.token(Role.ADMIN)
    token = await world.token(None, dev=role)
    world.keyring.environment = own
    hollow(world.app)
    expected, answers = {}, {}
    for path, method in ROWS:
        for asked in NAMES if "{environment}" in path else (own,):
            right = needed(path, method)
            assert right is not None
            may = right == ANYONE or (asked == "dev" and path not in SHARED and role.may(Role(right)))
            expected[path, method, asked] = 204 if may else 403
            url = path.replace("{environment}", asked).replace("{key:path}", "shop")
            url = url.replace("{", "").replace("}", "")
            answers[path, method, asked] = (await world.ask(method, url, token)).status_code

    assert answers == expected


@pytest.mark.parametrize(
    ("roles", "get", "post"),
    [
        ({"dev": Role.VIEWER, "prod": Role.EDITOR}, 204, 204),
        ({"dev": Role.VIEWER, "prod": Role.OPERATOR}, 204, 403),
        ({"dev": Role.VIEWER, "prod": Role.VIEWER}, 204, 403),
        ({"dev": Role.ADMIN}, 403, 403),
        ({"prod": Role.ADMIN}, 403, 403),
    ],
)
async def test_a_promotion_needs_rights_at_both_ends(
    world: World, roles: dict[str, Role], get: int, post: int
) -> None:
    """Looking at both, and editing the target; a second target in the query is asked for, too."""
    await world.token(Role.ADMIN)
    token = await world.token(None, **roles)
    hollow(world.app)
    path = f"{ENVIRONMENTS}/dev/flags/shop/promotion"

    assert {row for row, _ in TARGET} == {path.replace("dev", "{environment}").replace("shop", "{key:path}")}
    assert (await world.ask("GET", path, token, params=QUERY)).status_code == get
    assert (await world.ask("POST", path, token, params=QUERY)).status_code == post
    hidden = await world.ask("POST", f"{path}?to=prod&to=qa", token)
    assert hidden.status_code == 403


async def test_only_what_may_be_viewed_is_listed(world: World) -> None:
    """The names of others tell something, too."""
    await world.token(Role.ADMIN)
    for name in ("dev", "prod", "qa"):
        await world.put(name, document())
    token = await world.token(None, dev=Role.VIEWER, qa=Role.EDITOR)
    told = (await world.ask("GET", ENVIRONMENTS, token)).json()

    assert [environment["name"] for environment in told["environments"]] == ["dev", "qa"]


async def test_a_role_for_all_is_lowered_where_another_is_named(world: World) -> None:
    """And who holds less somewhere gives no tokens: one could be for there."""
    await world.token(Role.ADMIN)
    await world.put("prod", document())
    token = await world.token(Role.ADMIN, prod=Role.VIEWER)
    put: dict[str, Any] = {"headers": {"If-Match": "*"}, "json": document()}

    assert (await world.ask("PUT", PROD, token, **put)).status_code == 403
    assert (await world.ask("GET", PROD, token)).status_code == 200
    refused = await world.ask("GET", "/api/v1/tokens", token)
    assert (refused.status_code, "in every environment" in refused.json()["detail"]) == (403, True)


async def test_a_session_holds_the_roles_of_its_token(world: World) -> None:
    """In each environment as the token itself."""
    await world.token(Role.ADMIN)
    await world.put("prod", document())
    token = await world.token(None, dev=Role.EDITOR)
    opened = await world.ask("POST", "/api/v1/session", json={"token": token})
    assert (opened.json()["role"], opened.json()["roles"]) == ("editor", {"dev": "editor"})
    cookie = {"Cookie": opened.headers["set-cookie"].partition(";")[0]}

    assert (await world.ask("GET", "/api/v1/rules", headers=cookie)).status_code == 200
    assert (await world.ask("GET", PROD, headers=cookie)).status_code == 403


async def test_tokens_by_environment_are_made_over_http(world: World) -> None:
    """And listed with their roles; every mistake is told at once, with its place."""
    admin = await world.token(Role.ADMIN)
    made = await world.ask(
        "POST", "/api/v1/tokens", admin, json={"name": "ci", "roles": {"dev": "editor", "prod": "viewer"}}
    )
    assert (made.status_code, made.json()["role"]) == (201, None)
    assert made.json()["roles"] == {"dev": "editor", "prod": "viewer"}
    deed = (await world.store.audit())[-1].deed
    assert "dev: editor, prod: viewer" in deed.target
    wrong = {"name": "ci", "roles": {"Dev": "editor", "prod": "king"}}
    refused = await world.ask("POST", "/api/v1/tokens", admin, json=wrong)
    assert [error["path"] for error in refused.json()["errors"]] == ["roles.Dev", "roles.prod"]
    nothing = await world.ask("POST", "/api/v1/tokens", admin, json={"name": "ci", "roles": {}})
    assert [error["path"] for error in nothing.json()["errors"]] == ["role"]


async def test_the_first_and_the_last_admin_are_of_every_environment(world: World) -> None:
    """Else nobody could give tokens any more."""
    wanted = {"name": "a", "role": "admin", "roles": {"prod": "viewer"}}
    assert (await world.ask("POST", "/api/v1/tokens", json=wanted)).status_code == 422
    admin = await world.token(Role.ADMIN)
    await world.token(Role.ADMIN, prod=Role.VIEWER)
    selector = admin.split("_")[1]

    assert (await world.ask("DELETE", f"/api/v1/tokens/{selector}", admin)).status_code == 409


async def test_services_are_noted_whenever_they_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away is told a moment later."""
    asked: list[tuple[str, ...]] = []

    class Away(MemoryStore):
        async def note_services(self, services: Collection[str]) -> None:
            asked.append(tuple(services))
            if len(asked) == 1:
                raise StoreError("away")
            await super().note_services(services)

    monkeypatch.setattr("understudy.admin.environments._AGAIN_SECONDS", 0.0)
    world.store = Away(environment="dev")
    await world.open()
    async with asyncio.TaskGroup() as tasks:
        noting = tasks.create_task(world.environments.keep_noted())
        while not await world.store.environments():
            await asyncio.sleep(0)
        world.services = ("v1", "v2")
        world.environments.is_changed.set()
        while (await world.store.environments())[0].services != ("v1", "v2"):
            await asyncio.sleep(0)
        noting.cancel()

    assert asked == [("v1",), ("v1",), ("v1", "v2")]
