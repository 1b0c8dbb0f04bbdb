"""Who may do what: the whole table, forged tokens, sessions, and what the audit is told."""

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from admin_fakes import FakeControl
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from understudy.access import Caller, Role, Token, flaws
from understudy.admin import Keyring, create_admin, gate
from understudy.admin.gate import Gate
from understudy.admin.keyring import MOST_SESSIONS, SESSION_SECONDS
from understudy.admin.rights import ANYONE, RIGHTS, needed
from understudy.admin.socket_gate import SocketGate
from understudy.config import parse_rules
from understudy.errors import StoreError
from understudy.store import MemoryAccess

HERE = Caller(name="setup", role=Role.ADMIN, origin="127.0.0.1")
ROWS = [(path, method) for path, row in RIGHTS.items() for method in row]
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
TOKENS = "/api/v1/tokens"
SESSION = "/api/v1/session"
KILL = "/api/v1/flags/shop/kill"


@dataclass
class World:
    """An admin server with one token of each role, and a clock that stands."""

    store: MemoryAccess = field(default_factory=MemoryAccess)
    control: FakeControl = field(default_factory=FakeControl)
    texts: dict[str, str] = field(default_factory=dict)
    now: float = 1_000.0

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.store, tokens=(), clock=lambda: self.now)
        self.app = create_admin(self.control, keyring=self.keyring)

    async def make_tokens(self) -> None:
        """One of each role, the admin's first."""
        for role in reversed(Role):
            _, text = await self.keyring.create(name=f"{role} x", role=role, expires_at=0.0, by=HERE)
            self.texts[role] = text

    def client(self, *, peer: str = "127.0.0.1", token: str = "", **headers: str) -> httpx.AsyncClient:
        """A client at *peer* that shows *token*."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 50123))
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:9090", headers=headers | shown
        )

    def selector(self, role: Role) -> str:
        """Of the token of *role*."""
        return self.texts[role].split("_")[1]


@pytest.fixture
async def world() -> World:
    """With tokens."""
    made = World()
    await made.make_tokens()
    return made


def routes(app: Starlette) -> list[Route]:
    """All of HTTP; nothing else but sockets may be mounted, which would have no gate."""
    found = [route for route in app.routes if isinstance(route, Route)]
    assert len(found) + len(sockets(app)) == len(app.routes)
    return found


def sockets(app: Starlette) -> list[WebSocketRoute]:
    """All WebSockets."""
    return [route for route in app.routes if isinstance(route, WebSocketRoute)]


def hollow(app: Starlette) -> None:
    """Put an endpoint that says 204 behind every gate, so that a walk changes nothing and streams nothing."""
    for route in routes(app):
        assert isinstance(route.app, Gate)
        route.app._app = Response(status_code=204)


def test_no_route_is_without_a_row_and_no_row_without_a_route(world: World) -> None:
    """Every method of every path; a new endpoint fails here until somebody has thought of its right."""
    served = {(route.path, method) for route in routes(world.app) for method in (route.methods or ())}

    assert {pair for pair in served if pair[1] != "HEAD"} == set(ROWS)
    assert all(isinstance(route.app, Gate) for route in routes(world.app))
    assert {(route.path, "GET") for route in sockets(world.app)} == {("/api/v1/stream", "GET")}
    assert all(isinstance(route.app, SocketGate) for route in sockets(world.app))


def test_what_has_no_row_nobody_may() -> None:
    """Neither an unknown path nor an unknown method of a known one."""
    assert needed("/api/v1/new", "GET") is None
    assert needed("/api/v1/rules", "POST") is None
    assert needed("/api/v1/rules", "HEAD") == needed("/api/v1/rules", "GET")


@pytest.mark.parametrize("shown", ["", "ust_000000000000_" + "A" * 43, *Role])
async def test_the_whole_table(world: World, shown: str) -> None:
    """Nobody, somebody with a wrong token, and each role, at every path with every method."""
    hollow(world.app)
    token = world.texts.get(shown, shown)
    expected, answers = {}, {}
    for path, method in ROWS:
        right = RIGHTS[path][method]
        is_role = shown in list(Role)
        may = right == ANYONE or (is_role and Role(shown).may(Role(right)))
        expected[path, method] = 204 if may else 403 if is_role else 401
        world.now += 3600  # no back-off between two rows
        async with world.client(token=token) as client:
            url = path.replace("{key:path}", "shop").replace("{", "").replace("}", "")
            answers[path, method] = (await client.request(method, url)).status_code

    assert answers == expected


def test_the_table_says_what_the_roles_promise() -> None:
    """Reading is a viewer's, the kill switch an operator's, rules an editor's, tokens an admin's."""
    assert RIGHTS["/api/v1/report"] == {"GET": Role.VIEWER, "DELETE": Role.OPERATOR}
    assert RIGHTS["/api/v1/flags/{key:path}/kill"] == {"POST": Role.OPERATOR}
    assert RIGHTS["/api/v1/rules"] == {"GET": Role.VIEWER, "PUT": Role.EDITOR}
    assert {right for path in (TOKENS, "/api/v1/audit") for right in RIGHTS[path].values()} == {Role.ADMIN}
    public = {path for path, row in RIGHTS.items() if ANYONE in row.values()}
    assert public == {"/healthz", "/readyz", "/static/{name}", "/api/v1/access", SESSION}


def test_an_evaluator_may_only_evaluate() -> None:
    """A page that carries its token gives nothing else away."""
    may = {path for path, row in RIGHTS.items() for right in row.values() if right is Role.EVALUATOR}
    assert may == {
        "/ofrep/v1/evaluate/flags",
        "/ofrep/v1/evaluate/flags/",
        "/ofrep/v1/evaluate/flags/{key:path}",
        "/ofrep/v1/sse",
        "/api/v1/stream",
        "/api/v1/decide/{flag}/{unit:path}",
        "/api/v1/exposures",
    }


async def test_an_evaluator_is_told_no_rules_and_asks_so_many_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`decide` without the why, no list of flags, and 429 for one address alone."""
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: 5.0))
    document = {"flags": {"shop": FLAG}, "routes": [], "compare": []}
    rules = parse_rules(document, services=())
    world.control.succession.put(version=7, rules=rules, at=1.0)
    token = world.texts[Role.EVALUATOR]
    async with world.client(token=token) as client:
        told = (await client.get("/api/v1/decide/shop/ann")).json()
        unknown = await client.get("/api/v1/decide/shpo/ann")
        codes = {(await client.get("/api/v1/decide/shop/ann")).status_code for _ in range(210)}
        late = await client.get("/api/v1/decide/shop/ann")
    async with world.client(token=token, peer="127.0.0.2") as client:
        other = await client.get("/api/v1/decide/shop/ann")

    assert told["variant"] == "on"
    assert told.keys() & {"rule", "bucket", "key", "hash"} == set()
    assert (unknown.status_code, unknown.json()["known"]) == (404, [])
    assert codes == {200, 429}
    assert (late.status_code, late.headers["retry-after"]) == (429, "1")
    assert other.status_code == 200


async def test_a_route_that_has_no_row_lets_nobody_through(world: World) -> None:
    """Not even an admin."""
    (route,) = [route for route in routes(world.app) if route.path == "/metrics"]
    assert isinstance(route.app, Gate)
    route.app._path = "/forgotten"
    async with world.client(token=world.texts[Role.ADMIN]) as client:
        assert (await client.get("/metrics")).status_code == 403


def forged(text: str) -> list[dict[str, str]]:
    """Every kind of credential that is not *text*, which is right."""
    prefix, selector, secret = text.split("_", 2)
    other = ("B" if secret[0] == "A" else "A") + secret[1:]
    return [
        {"Authorization": value}
        for value in (
            "",
            "Bearer",
            "Bearer ",
            text,
            f"Basic {text}",
            f"Token {text}",
            f"Bearer {prefix}_{selector}_{other}",
            f"Bearer {prefix}_{'0' * 12}_{secret}",
            f"Bearer {prefix}_{selector}",
            f"Bearer {prefix}_{selector}_",
            f"Bearer {text}A",
            f"Bearer {text[:-1]}",
            f"Bearer {text.upper()}",
            f"Bearer {text} {text}",
            f"Bearer {text},{text}",
            f'Bearer "{text}"',
            "Bearer " + "a" * 20_000,
            "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.",
            "Bearer null",
        )
    ] + [{"Cookie": f"understudy_session={text}"}, {"Cookie": "understudy_session="}, {"X-Api-Key": text}]


async def test_forged_tokens_of_every_kind_are_refused(world: World) -> None:
    """Each with 401 and what to show; none changes anything, none is repeated in the answer."""
    for fields in forged(world.texts[Role.ADMIN]):
        world.now += 3600
        async with world.client() as client:
            answer = await client.post(KILL, headers=fields)
        assert (answer.status_code, fields) == (401, fields)
        assert answer.headers["www-authenticate"] == 'Bearer realm="understudy"'
        assert world.texts[Role.ADMIN] not in answer.text
    assert world.control.killed == []


async def test_two_credentials_are_none(world: World) -> None:
    """Which of them was meant cannot be told."""
    text = world.texts[Role.ADMIN]
    async with world.client() as client:
        fields = [("Authorization", f"Bearer {text}"), ("Authorization", f"Bearer {text}")]
        assert (await client.get("/api/v1/rules", headers=fields)).status_code == 400


async def test_a_token_in_the_url_is_no_credential(world: World) -> None:
    """It would stand in every log on the way."""
    async with world.client() as client:
        url = f"/api/v1/rules?token={world.texts[Role.ADMIN]}&access_token={world.texts[Role.ADMIN]}"
        assert (await client.get(url)).status_code == 401


async def test_a_revoked_and_an_expired_token_are_refused(world: World) -> None:
    """At once, and at the second."""
    by = Caller(name="ann", role=Role.ADMIN)
    _, text = await world.keyring.create(name="short", role=Role.VIEWER, expires_at=world.now + 60, by=by)
    async with world.client(token=text) as client:
        assert (await client.get("/api/v1/rules")).status_code == 200
        world.now += 60
        answer = await client.get("/api/v1/rules")
        assert (answer.status_code, "is expired" in answer.json()["detail"]) == (401, True)
    async with (
        world.client(token=world.texts[Role.ADMIN]) as admin,
        world.client(token=world.texts[Role.VIEWER]) as viewer,
    ):
        assert (await viewer.get("/api/v1/rules")).status_code == 200
        assert (await admin.delete(f"{TOKENS}/{world.selector(Role.VIEWER)}")).status_code == 200
        assert (await viewer.get("/api/v1/rules")).status_code == 401


async def test_who_guesses_has_to_wait_and_nobody_else_does(world: World) -> None:
    """429 with Retry-After after five failures; the right token is heard from the same address, too."""
    text = world.texts[Role.EDITOR]
    wrong = text[:-2] + ("AA" if text[-2:] != "AA" else "BB")
    async with world.client(token=wrong) as client:
        statuses = [(await client.get("/api/v1/rules")).status_code for _ in range(7)]
        answer = await client.get("/api/v1/rules")
    assert statuses == [401] * 6 + [429]
    assert int(answer.headers["retry-after"]) >= 1
    for token, peer in ((text, "127.0.0.1"), (text, "10.0.0.9"), (world.texts[Role.VIEWER], "127.0.0.1")):
        async with world.client(token=token, peer=peer) as other:
            assert (await other.get("/api/v1/rules")).status_code == 200
    world.now += 61
    async with world.client(token=wrong) as client:
        assert (await client.get("/api/v1/rules")).status_code == 401


async def test_a_guesser_does_not_get_around_by_another_address_of_its_own(world: World) -> None:
    """The 2^64 addresses of one network of IPv6 are one; the next network is another."""
    wrong = world.texts[Role.EDITOR][:-2] + "AA"
    statuses = []
    for number in range(8):
        async with world.client(token=wrong, peer=f"2001:db8:0:1::{number}") as client:
            statuses.append((await client.get("/api/v1/rules")).status_code)
    assert statuses == [401] * 6 + [429] * 2
    async with world.client(token=wrong, peer="2001:db8:0:2::1") as client:
        assert (await client.get("/api/v1/rules")).status_code == 401


async def test_a_flood_of_changes_is_slowed_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred at once, then the rate; reading goes on."""
    monkeypatch.setattr("understudy.admin.gate.time.monotonic", lambda: 5.0)
    hollow(world.app)
    async with world.client(token=world.texts[Role.OPERATOR]) as client:
        statuses = [(await client.post(KILL)).status_code for _ in range(302)]
        assert statuses == [204] * 300 + [429] * 2
        assert (await client.get("/api/v1/rules")).status_code == 204


async def test_evaluating_is_no_change_and_has_its_own_field(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OFREP asks by POST, as often as it likes; a viewer's token may come as X-API-Key, and then alone."""
    monkeypatch.setattr("understudy.admin.gate.time.monotonic", lambda: 5.0)
    hollow(world.app)
    token = world.texts[Role.VIEWER]
    async with world.client(**{"X-API-Key": token}) as client:
        statuses = [(await client.post("/ofrep/v1/evaluate/flags")).status_code for _ in range(302)]
    async with world.client(token=token, **{"X-API-Key": token}) as client:
        both = await client.post("/ofrep/v1/evaluate/flags")
    async with world.client() as client:
        none = await client.post("/ofrep/v1/evaluate/flags")

    assert statuses == [204] * 302
    assert both.status_code == 400
    assert none.status_code == 401


# -- until the first token exists -----------------------------------------------------------------------


async def test_without_a_token_this_machine_may_everything_and_others_nothing() -> None:
    """And the API says so."""
    world = World()
    async with world.client() as here, world.client(peer="10.0.0.9") as away:
        told = (await here.get("/api/v1/access")).json()
        assert (told["open"], told["you"]["role"]) == (True, "admin")
        assert "every user of this machine may change everything" in told["detail"]
        assert (await here.post(KILL)).status_code == 200
        assert (await away.post(KILL)).status_code == 401
        assert (await away.get("/api/v1/access")).json()["you"] is None


@pytest.mark.parametrize("field", ["Via", "Forwarded", "X-Forwarded-For", "x-real-ip"])
async def test_a_proxy_before_the_open_api_does_not_open_it_to_the_world(field: str) -> None:
    """Behind one on this machine everybody comes from loopback. With a token it is no matter."""
    world = World()
    async with world.client(**{field: "1.1 proxy"}) as through:
        refused = await through.post(KILL)
        assert (refused.status_code, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert "came through a proxy" in refused.json()["detail"]
        assert (await through.get("/api/v1/access")).json()["you"] is None
        assert (await through.get("/healthz")).status_code == 200
    await world.make_tokens()
    async with world.client(token=world.texts[Role.ADMIN], **{field: "1.1 proxy"}) as through:
        assert (await through.post(KILL)).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ({"name": "ci", "role": "viewer"}, "the first token must be an admin's"),
        ({"name": "ann", "role": "admin", "expires_in_days": 1}, "the first token must be an admin's"),
        ({"name": "", "role": "admin"}, "name: must be one line"),
        ({"name": "a\nb", "role": "admin"}, "name: must be one line"),
        ({"name": "x" * 101, "role": "admin"}, "name: must be at most 100"),
        ({"name": "ann", "role": "root"}, "role: must be a role"),
        ({"name": "ann", "role": ["admin"]}, "role: must be a role"),
        ({"name": "ann", "role": "admin", "expires_in_days": -1}, "expires_in_days: must be"),
        ({"name": "ann", "role": "admin", "expires_in_days": True}, "expires_in_days: must be"),
        ({"name": "ann", "role": "admin", "rights": 1}, "rights: unknown key"),
        ([], "unknown key"),
    ],
)
async def test_a_token_that_cannot_be_is_refused(wanted: Any, place: str) -> None:
    """With every mistake; nothing is made, so the API stays open."""
    world = World()
    async with world.client() as client:
        answer = await client.post(TOKENS, json=wanted)
        assert (answer.status_code, place in answer.json()["detail"]) == (422, True)
        assert (await client.get("/api/v1/access")).json()["open"] is True


async def test_the_first_token_closes_the_api_and_is_shown_once() -> None:
    """From then on nobody gets in without one, from this machine neither."""
    world = World()
    async with world.client() as client:
        made = await client.post(TOKENS, json={"name": "ann", "role": "admin"})
        text = made.json()["token"]
        assert made.status_code == 201
        assert (await client.get("/api/v1/rules")).status_code == 401
        assert (await client.get("/api/v1/access")).json() == {
            "open": False,
            "detail": "an API token is needed",
            "you": None,
        }
    async with world.client(token=text) as ann:
        listed = await ann.get(TOKENS)
        assert text not in listed.text
        assert text.split("_", 2)[2] not in listed.text + repr(await world.store.tokens())
        (told,) = listed.json()["tokens"]
        assert (told["name"], told["role"], told["used_at"], told["created_by"]) == (
            "ann",
            "admin",
            world.now,
            "admin API (127.0.0.1)",
        )


async def test_the_last_lasting_admin_cannot_be_revoked(world: World) -> None:
    """Nobody could give tokens any more; with another one it can, and it cannot twice."""
    async with world.client(token=world.texts[Role.ADMIN]) as admin:
        last = f"{TOKENS}/{world.selector(Role.ADMIN)}"
        assert (await admin.delete(last)).status_code == 409
        short = {"name": "bob", "role": "admin", "expires_in_days": 1}
        assert (await admin.post(TOKENS, json=short)).status_code == 201
        assert (await admin.delete(last)).status_code == 409
        made = (await admin.post(TOKENS, json={"name": "bob", "role": "admin"})).json()
        assert (await admin.delete(last)).status_code == 200
    async with world.client(token=made["token"]) as bob:
        assert (await bob.delete(last)).status_code == 404
        assert (await bob.delete(f"{TOKENS}/nothing")).status_code == 404


async def test_before_the_store_is_read_nobody_gets_in() -> None:
    """Whether there are tokens is not known yet. Probes answer."""
    world = World()
    world.keyring = Keyring(world.store)
    world.app = create_admin(world.control, keyring=world.keyring)
    async with world.client() as client:
        assert (await client.get("/api/v1/rules")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/v1/access")).json()["open"] is False
        await world.keyring.refresh()
        assert (await client.get("/api/v1/rules")).status_code == 200


async def test_a_store_that_is_away_lets_those_in_who_are_known(world: World) -> None:
    """Last uses wait until it is back."""

    class Away(MemoryAccess):
        async def note_used(self, used: Any) -> None:
            raise StoreError("away")

        async def tokens(self) -> list[Token]:
            raise StoreError("away")

    there = world.keyring.store
    world.keyring.store = Away()
    async with world.client(token=world.texts[Role.VIEWER]) as client:
        assert (await client.get("/api/v1/rules")).status_code == 200
        with pytest.raises(StoreError):
            await world.keyring.refresh()
        assert (await client.get("/api/v1/rules")).status_code == 200
    world.keyring.store = there
    await world.keyring.refresh()
    assert [token.used_at for token in world.keyring.tokens() if token.role is Role.VIEWER] == [world.now]


async def test_a_store_that_was_emptied_opens_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """FLUSHALL is no way in: nobody is let in until a token is made in the store."""
    world.keyring.store = MemoryAccess()
    await world.keyring.refresh()
    assert "has no API tokens any more" in caplog.text
    async with world.client() as nobody, world.client(token=world.texts[Role.ADMIN]) as ann:
        assert (await nobody.post(KILL)).status_code == 401
        assert (await nobody.get("/api/v1/access")).json()["open"] is False
        assert (await ann.post(KILL)).status_code == 401


async def test_what_is_revoked_does_not_come_back_with_an_old_copy(world: World) -> None:
    """A dump from before the revocation gives nobody anything."""
    old = [replace(token) for token in await world.store.tokens()]
    await world.keyring.revoke(world.selector(Role.EDITOR), by=HERE)
    world.store._tokens = {token.selector: token for token in old}
    await world.keyring.refresh()
    async with world.client(token=world.texts[Role.EDITOR]) as bob:
        assert (await bob.get("/api/v1/rules")).status_code == 401


async def test_an_answer_that_comes_late_does_not_undo_a_later_one(world: World) -> None:
    """Two reads of the tokens overlap; the first one, of before the change, is answered last."""
    late, there = Late(), world.keyring.store
    world.keyring.store = late
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.keyring.refresh())
        await late.asked.wait()
        world.keyring.store = there
        _, text = await world.keyring.create(name="new", role=Role.VIEWER, expires_at=0.0, by=HERE)
        late.answer.set()
    async with world.client(token=text) as new:
        assert (await new.get("/api/v1/rules")).status_code == 200


class Late(MemoryAccess):
    """Has no tokens, and says so when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def tokens(self) -> list[Token]:
        self.asked.set()
        await self.answer.wait()
        return await super().tokens()


async def test_revocations_are_seen_though_last_uses_cannot_be_noted(world: World) -> None:
    """The store may be read-only for this host; others still revoke."""

    class ReadOnly(MemoryAccess):
        async def note_used(self, used: Any) -> None:
            raise StoreError("read-only")

    world.keyring.store = ReadOnly()
    world.keyring.store._tokens = {
        selector: replace(token, revoked_at=1.0) for selector, token in world.store._tokens.items()
    }
    with pytest.raises(StoreError):
        await world.keyring.refresh()
    async with world.client(token=world.texts[Role.EDITOR]) as bob:
        assert (await bob.get("/api/v1/rules")).status_code == 401


# -- sessions -------------------------------------------------------------------------------------------


async def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(world: World) -> None:
    """It lasts 12 hours, carries no token, and ends with a log-out."""
    async with world.client() as client:
        answer = await client.post(SESSION, json={"token": world.texts[Role.OPERATOR]})
        cookie = answer.headers["set-cookie"].lower()
        assert (answer.status_code, answer.json()["role"]) == (200, "operator")
        assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/", "max-age=43200"))
        assert world.texts[Role.OPERATOR] not in answer.headers["set-cookie"]
        assert (await client.post(KILL)).status_code == 200
        assert (await client.put("/api/v1/rules", json={}, headers={"If-Match": "*"})).status_code == 403
        kept = {"Cookie": f"understudy_session={client.cookies['understudy_session']}"}
        assert (await client.delete(SESSION)).status_code == 204
    async with world.client(**kept) as thief:
        assert (await thief.get("/api/v1/rules")).status_code == 401


async def test_a_session_ends_with_its_time_and_with_its_token(world: World) -> None:
    """Whichever comes first."""
    for end in ("time", "token"):
        async with world.client() as client:
            await client.post(SESSION, json={"token": world.texts[Role.VIEWER]})
            assert (await client.get("/api/v1/rules")).status_code == 200
            if end == "time":
                world.now += SESSION_SECONDS
            else:
                await world.keyring.revoke(world.selector(Role.VIEWER), by=HERE)
            assert (await client.get("/api/v1/rules")).status_code == 401


async def test_a_page_of_another_site_can_do_nothing_with_a_session(world: World) -> None:
    """A browser that sends the cookie anyway is told apart by its Origin."""
    async with world.client() as client:
        await client.post(SESSION, json={"token": world.texts[Role.ADMIN]})
        answer = await client.post(KILL, headers={"Origin": "https://evil.example"})
        assert (answer.status_code, world.control.killed) == (403, [])
        form = {"token": world.texts[Role.VIEWER]}
        logged_in_as_other = await client.post(SESSION, data=form, headers={"Origin": "https://evil.example"})
        assert logged_in_as_other.status_code == 403


async def test_a_browser_gets_a_form_and_then_the_page(world: World) -> None:
    """Without a script; a wrong token gets the form again, with the reason."""
    async with world.client(Accept="text/html,*/*") as client:
        page = await client.get("/")
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert 'action="/api/v1/session"' in page.text
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "same-origin"
        wrong = await client.post(SESSION, data={"token": "<script>"})
        assert (wrong.status_code, "no API token of this server" in wrong.text) == (401, True)
        assert "<script>" not in wrong.text
        right = await client.post(SESSION, data={"token": world.texts[Role.VIEWER]})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("body", [{}, {"token": 1}, {"token": "x", "more": 1}, [], "x"])
async def test_a_log_in_without_a_token_is_refused(world: World, body: Any) -> None:
    """By its shape."""
    async with world.client() as client:
        assert (await client.post(SESSION, json=body)).status_code == 422


async def test_a_log_in_while_there_is_no_token_is_refused() -> None:
    """A cookie would suggest that it protects something."""
    async with World().client() as client:
        assert (await client.post(SESSION, json={"token": "x"})).status_code == 409


async def test_sessions_are_bounded(world: World) -> None:
    """The oldest one ends."""
    first, _ = world.keyring.log_in(peer="127.0.0.1", text=world.texts[Role.VIEWER])
    for _ in range(MOST_SESSIONS):
        world.keyring.log_in(peer="127.0.0.1", text=world.texts[Role.VIEWER])
    async with world.client(Cookie=f"understudy_session={first}") as client:
        assert (await client.get("/api/v1/rules")).status_code == 401


# -- what is told ---------------------------------------------------------------------------------------


async def test_the_history_names_the_token(world: World) -> None:
    """Its name and its selector."""
    async with world.client(token=world.texts[Role.EDITOR]) as client:
        await client.put("/api/v1/rules", json={"flags": {}}, headers={"If-Match": "*"})
        (newest, *_) = (await client.get("/api/v1/rules/history")).json()["versions"]
    assert newest["author"] == f"editor x ({world.selector(Role.EDITOR)})"


async def test_tokens_and_processes_are_in_the_audit(world: World) -> None:
    """Who, from where, what and to whom; the chain holds; pages follow each other."""
    async with world.client(token=world.texts[Role.ADMIN], peer="10.0.0.7") as admin:
        await admin.post("/api/v1/reload")
        await admin.post("/api/v1/restart")
        selector = world.selector(Role.VIEWER)
        await admin.delete(f"{TOKENS}/{selector}?reason=lost")
        first = (await admin.get("/api/v1/audit?limit=7")).json()
        rest = (await admin.get("/api/v1/audit?after=7")).json()["entries"]
    told = [*first["entries"], *rest]
    assert [entry["action"] for entry in told] == ["token.create"] * len(Role) + [
        "reload",
        "restart",
        "token.revoke",
    ]
    assert [entry["number"] for entry in rest] == [8]
    last = told[-1]
    assert (last["who"], last["origin"], last["reason"], last["target"]) == (
        f"admin x ({world.selector(Role.ADMIN)})",
        "10.0.0.7",
        "lost",
        f"viewer x ({selector}), viewer",
    )
    assert first["head"] == {"number": 8, "hash": last["hash"]}
    assert list(flaws(await world.store.audit(), [await world.store.audit_head()])) == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=99999999999999999"])
async def test_a_page_that_cannot_be_is_refused(world: World, query: str) -> None:
    """With the bounds."""
    async with world.client(token=world.texts[Role.ADMIN]) as admin:
        assert (await admin.get(f"/api/v1/audit?{query}")).status_code == 400


async def test_a_reload_is_not_kept_up_by_an_audit_that_fails(world: World) -> None:
    """It may be the reload that mends the store."""

    class Broken(MemoryAccess):
        async def record(self, deed: Any) -> Any:
            raise StoreError("the disk is full")

    world.keyring.store = Broken()
    async with world.client(token=world.texts[Role.OPERATOR]) as client:
        assert (await client.post("/api/v1/reload")).status_code == 200


async def test_the_page_says_that_it_is_open_to_all() -> None:
    """And no more once a token exists."""
    world = World()
    async with world.client(Accept="text/html") as client:
        assert "every user of this machine may change everything" in (await client.get("/")).text
    await world.make_tokens()
    async with world.client(token=world.texts[Role.VIEWER]) as client:
        assert "every user of this machine" not in (await client.get("/")).text
