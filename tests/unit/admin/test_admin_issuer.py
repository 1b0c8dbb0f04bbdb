"""Tokens of an issuer at the admin server: keys are fetched, change, and may be away."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from admin_fakes import FakeControl
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from understudy.access import Role
from understudy.access.trust import Trust
from understudy.admin import Issuer, Keyring, create_admin
from understudy.admin import issuer as issuer_module
from understudy.admin.issuer import AGAIN_SECONDS, KEPT_SECONDS
from understudy.store import MemoryAccess

NOW = 1_700_000_000.0
TRUST = Trust(
    issuer="https://login.example",
    audience="understudy",
    algorithms=("ES256",),
    role_claim="roles",
    roles={"sre": Role.OPERATOR},
)


class Login:
    """An issuer on loopback that publishes the keys it has; ``answer`` stands in for them."""

    def __init__(self) -> None:
        self.keys = {"1": ec.generate_private_key(ec.SECP256R1())}
        self.answer: bytes | None = None
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        keys = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name}
            for name, key in self.keys.items()
        ]
        body = json.dumps({"keys": keys}).encode()
        whole = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        writer.write(self.answer if self.answer is not None else whole)
        await writer.drain()
        writer.close()

    def token(self, name: str = "1", **claims: Any) -> str:
        """One that this issuer signs."""
        told = {"iss": TRUST.issuer, "aud": "understudy", "sub": "ann", "exp": NOW + 600, "roles": "sre"}
        return jwt.encode(told | claims, self.keys[name], algorithm="ES256", headers={"kid": name})


class World:
    """An admin server that trusts a login, and the two clocks."""

    def __init__(self, login: Login, url: str) -> None:
        self.login = login
        self.now, self.ticks = NOW, 100.0
        self.issuer = Issuer(TRUST, url, clock=lambda: self.ticks)
        self.keyring = Keyring(MemoryAccess(), tokens=(), issuer=self.issuer, clock=lambda: self.now)
        self.app = create_admin(FakeControl(), keyring=self.keyring)

    async def ask(
        self, token: str = "", *, method: str = "GET", path: str = "/api/v1/rules"
    ) -> httpx.Response:
        """The answer to who shows *token*."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=("127.0.0.1", 1)), base_url="http://127.0.0.1:9090"
        ) as client:
            return await client.request(method, path, headers=headers)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """With the keys fetched once; nobody waits long for another fetch where none is running."""
    monkeypatch.setattr(issuer_module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(issuer_module, "FETCH_SECONDS", 60.0)
    login = Login()
    server = await asyncio.start_server(login.serve, "127.0.0.1", 0)
    made = World(login, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json")
    await made.issuer.refresh()
    yield made
    server.close()
    await server.wait_closed()


async def test_a_token_of_the_issuer_lets_in_with_its_role(world: World) -> None:
    """And nobody else is let in, although there is no API token."""
    token = world.login.token()
    assert (await world.ask()).status_code == 401
    assert (await world.ask(token)).status_code == 200
    assert (await world.ask(token, method="POST", path="/api/v1/flags/shop/kill")).status_code == 200
    assert (await world.ask(token, path="/api/v1/tokens")).status_code == 403
    you = (await world.ask(token, path="/api/v1/access")).json()
    assert you["open"] is False
    assert (you["you"]["name"], you["you"]["role"]) == ("ann (https://login.example)", "operator")


async def test_a_token_of_the_issuer_holds_roles_by_environment(world: World) -> None:
    """Where the claim gives none, nothing may be done."""
    world.issuer.trust = replace(TRUST, roles={"sre": {"dev": Role.EDITOR}})
    token = world.login.token()
    assert (await world.ask(token)).status_code == 403
    world.keyring.environment = "dev"
    assert (await world.ask(token)).status_code == 200
    assert (await world.ask(token, path="/api/v1/environments/prod/rules")).status_code == 403


async def test_forged_tokens_wait_and_a_right_one_does_not(world: World) -> None:
    """What cannot be guessed needs no protection from guesses, so nobody is kept out for another's."""
    forged = Login().token()
    statuses = [(await world.ask(forged)).status_code for _ in range(8)]
    assert statuses == [401] * 6 + [429] * 2
    assert (await world.ask(world.login.token())).status_code == 200


async def test_a_new_key_is_fetched_when_it_is_met(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the request waits; but a name that nobody knows causes one fetch in ten seconds at most."""
    monkeypatch.setattr(issuer_module, "WAIT_SECONDS", 60.0)
    running = asyncio.get_running_loop().create_task(world.issuer.run())
    try:
        world.login.keys["2"] = ec.generate_private_key(ec.SECP256R1())
        world.ticks += AGAIN_SECONDS
        assert (await world.ask(world.login.token("2"))).status_code == 200
        asked = world.login.asked
        stranger = Login()
        stranger.keys["3"] = stranger.keys["1"]
        for _ in range(5):
            assert (await world.ask(stranger.token("3"))).status_code == 401
        assert world.login.asked == asked
    finally:
        running.cancel()


async def test_a_key_that_is_published_no_more_is_believed_no_more(world: World) -> None:
    """From the next fetch on."""
    token = world.login.token()
    world.login.keys = {"2": ec.generate_private_key(ec.SECP256R1())}
    await world.issuer.refresh()
    assert (await world.ask(token)).status_code == 401


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b" " * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
    ],
)
async def test_while_the_issuer_is_away_its_keys_are_kept_for_a_day(world: World, answer: bytes) -> None:
    """Whatever it answers; then nobody is believed."""
    world.login.answer = answer
    await world.issuer.refresh()
    assert (await world.ask(world.login.token())).status_code == 200
    world.ticks += KEPT_SECONDS
    assert (await world.ask(world.login.token())).status_code == 401


async def test_a_session_of_a_token_ends_with_the_token(world: World) -> None:
    """Not after the twelve hours of others."""
    name, caller = world.keyring.log_in(peer="127.0.0.1", text=world.login.token(exp=NOW + 60))
    assert caller.role is Role.OPERATOR
    assert world.keyring.caller(peer="127.0.0.1", authorizations=[], session=name) == caller
    world.now += 61
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app, client=("127.0.0.1", 1)), base_url="http://127.0.0.1:9090"
    ) as client:
        cookie = {"Cookie": f"understudy_session={name}"}
        assert (await client.get("/api/v1/rules", headers=cookie)).status_code == 401
