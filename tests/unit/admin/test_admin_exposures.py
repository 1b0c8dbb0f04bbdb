"""Exposures over HTTP: who may tell, what is kept, what usage says, and who is forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl

from understudy.access import Caller, Role
from understudy.admin import Keyring, Met, create_admin
from understudy.config import parse_rules
from understudy.store import FlagUsage, MemoryAccess, VariantUsage

HERE = Caller(name="setup", role=Role.ADMIN, origin="127.0.0.1")
PATH = "/api/v1/exposures"
ON = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


@dataclass
class Plane:
    """Keeps what it is told in memory."""

    share: float = 0.5
    retention_seconds: float = 30 * 86_400.0
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    batches: dict[str, list[Met]] = field(default_factory=dict)
    forgotten: list[tuple[str, str]] = field(default_factory=list)

    def see(self, flag: str, variant: str, unit: str) -> None:
        self.seen.append((flag, variant, unit))

    async def add(self, met: Sequence[Met], *, batch: str) -> bool:
        if batch in self.batches:
            return False
        self.batches[batch] = list(met)
        return True

    async def usage(self, *, flag: str | None) -> list[FlagUsage]:
        rows = [VariantUsage(variant="on", evaluations=9, units=3, last_at=5.5)]
        return [
            FlagUsage(flag=name, units=3, variants=rows) for name in ("look", "gone") if flag in (None, name)
        ]

    async def forget(self, *, unit: str, author: str = "", origin: str = "") -> int:
        self.forgotten.append((unit, author))
        return 2


@dataclass
class World:
    """An admin server with tokens of two roles, one of them for the flag set web."""

    plane: Plane = field(default_factory=Plane)
    control: FakeControl = field(default_factory=FakeControl)

    def __post_init__(self) -> None:
        self.keyring = Keyring(MemoryAccess(), tokens=())
        self.app = create_admin(
            self.control, keyring=self.keyring, exposures=self.plane, origins=["https://app.example.com"]
        )
        flags = {"look": {**ON, "metadata": {"flagSetId": "web"}}, "inner": ON}
        rules = parse_rules({"flags": flags, "routes": [], "compare": []}, services=())
        self.control.succession.put(version=7, rules=rules, at=1.0)

    async def begin(self) -> None:
        """Make the tokens."""
        _, self.admin = await self.keyring.create(name="root", role=Role.ADMIN, expires_at=0.0, by=HERE)
        _, self.page = await self.keyring.create(
            name="page", role=Role.EVALUATOR, flag_set="web", expires_at=0.0, by=HERE
        )

    async def ask(self, method: str, path: str, *, token: str = "", **more: Any) -> httpx.Response:
        """The answer to one who shows *token*, the admin's if it is empty."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("127.0.0.1", 50123))
        headers = {"Authorization": f"Bearer {token or self.admin}", **more.pop("headers", {})}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
            return await client.request(method, path, headers=headers, **more)


@pytest.fixture
async def world() -> World:
    """With tokens."""
    made = World()
    await made.begin()
    return made


def batch(*rows: Any, name: str = "one") -> dict[str, Any]:
    """The body of a POST."""
    return {"exposures": list(rows), "batch": name}


async def test_a_batch_is_kept_once(world: World) -> None:
    """What is no variant of the rules is not; a second sending says so; another caller's name is another."""
    rows = [
        {"flag": "look", "variant": "on", "unit": "ann", "at": 7.5},
        {"flag": "look", "variant": "no", "unit": "ann"},
        {"flag": "inner", "variant": "off"},
    ]
    first = await world.ask("POST", PATH, json=batch(*rows))
    again = await world.ask("POST", PATH, json=batch(*rows))
    page = await world.ask("POST", PATH, json=batch(*rows), token=world.page)

    assert first.json() == {"accepted": 2, "unknown": 1, "repeated": False}
    assert again.json() == {"accepted": 0, "unknown": 1, "repeated": True}
    assert page.json() == {"accepted": 1, "unknown": 2, "repeated": False}
    look = Met(flag="look", variant="on", unit="ann", at=7.5)
    assert list(world.plane.batches.values()) == [[look, Met(flag="inner", variant="off")], [look]]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "exposures"),
        ({"exposures": {}}, "exposures"),
        ({"exposures": []}, "batch"),
        (batch(name=""), "batch"),
        (batch(name="x" * 129), "batch"),
        ({**batch(), "units": []}, "units"),
        (batch(*[{"flag": "look", "variant": "on"}] * 1001), "exposures"),
        (batch("look"), "exposures[0]"),
        (batch({"flag": "look"}), "exposures[0].variant"),
        (batch({"flag": 1, "variant": "on"}), "exposures[0].flag"),
        (batch({"flag": "look", "variant": "on", "unit": 7}), "exposures[0].unit"),
        (batch({"flag": "look", "variant": "on", "unit": "u" * 513}), "exposures[0].unit"),
        (batch({"flag": "look", "variant": "on", "at": "now"}), "exposures[0].at"),
        (batch({"flag": "look", "variant": "on", "at": -1}), "exposures[0].at"),
        (batch({"flag": "look", "variant": "on", "at": True}), "exposures[0].at"),
        (batch({"flag": "look", "variant": "on", "evaluations": -1}), "exposures[0].evaluations"),
        (batch({"flag": "look", "variant": "on", "evaluations": True}), "exposures[0].evaluations"),
        (batch({"flag": "look", "variant": "on", "evaluations": 10**9 + 1}), "exposures[0].evaluations"),
        (
            batch({"flag": "look", "variant": "on"}, {"flag": "look", "variant": "on", "user": 1}),
            "exposures[1].user",
        ),
    ],
)
async def test_a_wrong_batch_is_refused_whole(world: World, body: Any, path: str) -> None:
    """422 that names the place; nothing is kept."""
    answer = await world.ask("POST", PATH, json=body)
    assert answer.status_code == 422
    assert path in [error["path"] for error in answer.json()["errors"]]
    assert world.plane.batches == {}


async def test_many_evaluations_are_an_operators_to_tell(world: World) -> None:
    """A page's token counts one at a time, or a unit alone: it cannot make a flag look used by millions."""
    many = {"flag": "look", "variant": "on", "evaluations": 1200}
    unit = {"flag": "look", "variant": "on", "unit": "ann", "evaluations": 0}
    refused = await world.ask("POST", PATH, json=batch(many), token=world.page)
    assert (refused.status_code, world.plane.batches) == (403, {})
    assert (await world.ask("POST", PATH, json=batch(unit), token=world.page)).status_code == 200
    assert (await world.ask("POST", PATH, json=batch(many, unit))).json()["accepted"] == 2

    told = [
        Met(flag="look", variant="on", evaluations=1200),
        Met(flag="look", variant="on", unit="ann", evaluations=0),
    ]
    assert list(world.plane.batches.values()) == [told[1:], told]


async def test_usage_tells_its_share(world: World) -> None:
    """Units are scaled by the share, and those kept stand beside; a flag that nobody met stands there too."""
    told = (await world.ask("GET", "/api/v1/usage")).json()
    assert (told["sample"], told["retention_seconds"]) == (0.5, 30 * 86_400.0)
    assert [(row["flag"], row["evaluations"], row["units"], row["units_kept"]) for row in told["flags"]] == [
        ("gone", 9, 6, 3),
        ("inner", 0, 0, 0),
        ("look", 9, 6, 3),
    ]
    assert told["flags"][1]["last_seen"] is None
    assert told["flags"][2]["variants"] == [
        {"variant": "on", "evaluations": 9, "units": 6, "units_kept": 3, "last_seen": 5.5}
    ]
    world.plane.share = 0.0
    one = (await world.ask("GET", "/api/v1/usage?flag=inner")).json()
    assert [(row["flag"], row["units"]) for row in one["flags"]] == [("inner", None)]
    assert (await world.ask("GET", "/api/v1/usage?flag=shpo")).status_code == 404


async def test_a_unit_is_forgotten_by_an_operator(world: World) -> None:
    """Whose must be said; the page that may tell may not."""
    deleted = await world.ask("DELETE", f"{PATH}?unit=ann")
    assert deleted.json() == {"deleted": 2}
    assert [unit for unit, _ in world.plane.forgotten] == ["ann"]
    assert (await world.ask("DELETE", PATH)).status_code == 400
    assert (await world.ask("DELETE", f"{PATH}?unit=ann", token=world.page)).status_code == 403
    assert (await world.ask("GET", "/api/v1/usage", token=world.page)).status_code == 403


async def test_what_is_asked_for_by_itself_is_met(world: World) -> None:
    """By OFREP and by curl; to ask for all is to meet none, and neither is an error met."""
    context = {"context": {"targetingKey": "ann"}}
    await world.ask("POST", "/ofrep/v1/evaluate/flags/look", json=context)
    await world.ask("POST", "/ofrep/v1/evaluate/flags", json=context)
    await world.ask("POST", "/ofrep/v1/evaluate/flags/none", json=context)
    await world.ask("GET", "/api/v1/decide/inner/bob")
    assert world.plane.seen == [("look", "on", "ann"), ("inner", "on", "bob")]


async def test_a_token_for_a_flag_set_sees_no_other_flag(world: World) -> None:
    """One, all, by curl, and when it names another set; the rest is as if it were not there."""
    flags = (await world.ask("POST", "/ofrep/v1/evaluate/flags", json={}, token=world.page)).json()["flags"]
    assert [flag["key"] for flag in flags] == ["look"]
    for method, path in (("POST", "/ofrep/v1/evaluate/flags/inner"), ("GET", "/api/v1/decide/inner/ann")):
        answer = await world.ask(method, path, token=world.page)
        assert answer.status_code == 404
    other = await world.ask(
        "POST",
        "/ofrep/v1/evaluate/flags",
        json={},
        token=world.page,
        headers={"Flagd-Selector": "flagSetId=api"},
    )
    assert other.status_code == 403


async def test_a_page_of_a_named_origin_may_tell_and_not_forget(world: World) -> None:
    """CORS: the preflight passes for POST; a DELETE is as cross-site as ever."""
    page = {"Origin": "https://app.example.com"}
    asked = await world.ask(
        "OPTIONS", PATH, headers={**page, "Access-Control-Request-Method": "POST"}, token=world.page
    )
    told = await world.ask(
        "POST", PATH, json=batch({"flag": "look", "variant": "on"}), headers=page, token=world.page
    )
    assert (asked.status_code, told.status_code) == (204, 200)
    assert told.headers["access-control-allow-origin"] == page["Origin"]
    assert (await world.ask("DELETE", f"{PATH}?unit=ann", headers=page)).status_code == 403


async def test_a_token_is_made_for_a_flag_set(world: World) -> None:
    """Only for an evaluator; a name that no selector can say is refused."""
    wanted = {"name": "page", "role": "evaluator", "flag_set": "web"}
    made = await world.ask("POST", "/api/v1/tokens", json=wanted)
    assert (made.status_code, made.json()["flag_set"]) == (201, "web")
    for change in ({"role": "viewer"}, {"flag_set": "a,b"}, {"flag_set": 7}, {"roles": {"dev": "editor"}}):
        refused = await world.ask("POST", "/api/v1/tokens", json=wanted | change)
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "flag_set")
