"""Who met which variant inside an application, as a control process tells it: usage, stale flags, purges."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from serve_world import always, control_of, wait_until
from servers import Serving, UnderstudyServe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

sys.path.append(str(Path(__file__).parents[1] / "unit" / "middleware"))
from middleware_world import served
from wsgi_world import Environ, Start
from wsgi_world import ask as ask_wsgi
from wsgi_world import served as served_wsgi

from understudy.exposures import is_sampled
from understudy.messages import RequestHead
from understudy.middleware import Understudy, UnderstudyMiddleware, UnderstudyWSGIMiddleware

USERS = [f"user-{number}" for number in range(60)]

RULES = """
store: sqlite:///understudy.db
exposures: {{sample: 1.0}}
services:
  app: {{url: 'http://127.0.0.1:9'}}
  v2: {{url: 'http://127.0.0.1:{v2}'}}
flags:
  shop:
    state: ENABLED
    variants: {{stable: {{serve: app}}, canary: {{serve: v2}}, dark: {{serve: app, mirror: [v2]}}}}
    defaultVariant: stable
    targeting: {{fractional: [[canary, 20], [dark, 50], [stable, 30]]}}
  colour: {{state: ENABLED, variants: {{blue: '#00f', red: '#f00'}}, defaultVariant: blue}}
  forgotten: {{state: ENABLED, variants: {{on: true, off: false}}, defaultVariant: 'on'}}
routes: [{{path: /, flag: shop, unit: 'header:x-user'}}]
shadow: {{control: 0}}
"""


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications that are configured in place leave the last good rules in the present folder."""
    monkeypatch.chdir(tmp_path)


async def hello(request: Request) -> PlainTextResponse:
    """Asks for another flag at /colour."""
    if request.url.path == "/colour":
        return PlainTextResponse(request.state.understudy.value("colour"))
    return PlainTextResponse("hi")


APP = Starlette(routes=[Route("/{rest:path}", hello)])


def hello_wsgi(environ: Environ, start: Start) -> list[bytes]:
    """The same, by threads."""
    if environ["PATH_INFO"] == "/colour":
        environ["understudy"].value("colour")
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hi"]


async def ask(url: str, times: int) -> None:
    """Let everybody ask so many times."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for _ in range(times):
            for user in USERS:
                assert (await client.get("/a", headers={"X-User": user})).status_code == 200


def usage(serving: Serving, flag: str = "shop") -> dict[str, tuple[int, int]]:
    """Evaluations and units by variant, as the admin API tells them."""
    (told,) = serving.admin(f"/api/v1/usage?flag={flag}").json()["flags"]
    return {row["variant"]: (row["evaluations"], row["units_kept"]) for row in told["variants"]}


def expected(understudy: Understudy, times: int) -> dict[str, tuple[int, int]]:
    """What everybody meets who asks so many times."""
    decide = understudy.in_force.compiled.decide
    heads = [RequestHead(path="/a", host="h", headers=((b"x-user", user.encode()),)) for user in USERS]
    met = Counter(found.variant for head in heads if (found := decide(head)) is not None)
    return {variant: (n * times, n) for variant, n in met.items()}


async def until_told(serving: Serving, wanted: dict[str, tuple[int, int]]) -> None:
    """Wait until usage tells just that of the flag ``shop``; more would be an error, too."""
    await asyncio.to_thread(wait_until, lambda: usage(serving) == wanted, f"usage {wanted}")


def followed(serving: Serving, port: int, *, sample: float = 1.0) -> Understudy:
    """An application's, which follows the control process of *serving*."""
    config = {
        "services": {"v2": {"url": f"http://127.0.0.1:{port}"}},
        "shadow": {"control": 0},
        "exposures": {"sample": sample},
    }
    return Understudy(config, admin=f"http://127.0.0.1:{serving.admin_port}")


def stale(serving: Serving) -> list[str]:
    """The flags that nobody has asked for, as the command tells them."""
    with closing(sqlite3.connect(serving.folder / "understudy.db")) as database, database:
        database.execute("UPDATE rules SET at = at - 40 * 86400")
    admin = f"http://127.0.0.1:{serving.admin_port}"
    command = [sys.executable, "-m", "understudy", "flags", "stale", "--days", "30", "--format", "json"]
    done = subprocess.run([*command, "--admin", admin], capture_output=True, timeout=60, check=True)
    flags = json.loads(done.stdout)["flags"]
    return [one["flag"] for one in flags if "unused" in {why["kind"] for why in one["reasons"]}]


async def test_a_control_process_tells_what_an_application_met(understudy_serve: UnderstudyServe) -> None:
    """Usage is exact, a flag that is used only there is used, a unit is forgotten; the others are kept."""
    with always().listening() as v2:
        serving = await asyncio.to_thread(understudy_serve, RULES.format(v2=v2.port))
        understudy = followed(serving, v2.port)
        async with served(UnderstudyMiddleware(APP, understudy=understudy)) as url:
            await ask(url, 3)
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                assert (await client.get("/colour")).text == "#00f"
            wanted = expected(understudy, 3)
            wanted["stable"] = (wanted["stable"][0] + 1, wanted["stable"][1])  # who asked for the colour
            assert len(wanted) == 3
            await until_told(serving, wanted)
            assert await asyncio.to_thread(usage, serving, "colour") == {"blue": (1, 0)}

            forget = f"/api/v1/exposures?unit={USERS[0]}"
            deleted = await asyncio.to_thread(lambda: serving.admin(forget, method="DELETE").json())
            assert deleted == {"deleted": 1}
            left = await asyncio.to_thread(usage, serving)
            assert sum(units for _, units in left.values()) == len(USERS) - 1
            assert {key: n for key, (n, _) in left.items()} == {key: n for key, (n, _) in wanted.items()}
        assert await asyncio.to_thread(serving.stop) == 0

        again = await asyncio.to_thread(
            lambda: understudy_serve(RULES.format(v2=v2.port), folder=serving.folder)
        )
        assert await asyncio.to_thread(stale, again) == ["forgotten"]


async def test_a_killed_control_process_costs_no_exposure(understudy_serve: UnderstudyServe) -> None:
    """What it had not taken, it is told again; what it had taken without a word, counts once."""
    with always().listening() as v2:
        serving = await asyncio.to_thread(understudy_serve, RULES.format(v2=v2.port))
        understudy = followed(serving, v2.port)
        async with served(UnderstudyMiddleware(APP, understudy=understudy)) as url:
            await ask(url, 2)
            for _ in range(2):
                victim = control_of(serving.server.process.pid, serving.admin_port)
                os.kill(victim, signal.SIGKILL)
                await ask(url, 2)
                await asyncio.to_thread(wait_until, serving.is_ready, "the control process again")
            await until_told(serving, expected(understudy, 6))


async def test_the_control_process_has_its_own_share(understudy_serve: UnderstudyServe) -> None:
    """Units are kept of those whom both shares take, so what it tells of its share is true."""
    with always().listening() as v2:
        text = RULES.format(v2=v2.port).replace("sample: 1.0", "sample: 0.2")
        serving = await asyncio.to_thread(understudy_serve, text)
        understudy = followed(serving, v2.port)
        async with served(UnderstudyMiddleware(APP, understudy=understudy)) as url:
            await ask(url, 1)
            wanted = {variant: n for variant, (n, _) in expected(understudy, 1).items()}

            def told() -> bool:
                return {variant: n for variant, (n, _) in usage(serving).items()} == wanted

            await asyncio.to_thread(wait_until, told, f"usage {wanted}")
        kept = sum(units for _, units in usage(serving).values())
    assert kept == sum(is_sampled(user, 0.2) for user in USERS)


async def test_a_wsgi_application_is_told_of_too(understudy_serve: UnderstudyServe) -> None:
    """By its threads, to a control process; and asked flags."""
    with always().listening() as v2:
        serving = await asyncio.to_thread(understudy_serve, RULES.format(v2=v2.port))
        understudy = followed(serving, v2.port)

        def serve() -> None:
            with served_wsgi(UnderstudyWSGIMiddleware(hello_wsgi, understudy=understudy)) as port:
                for user in USERS:
                    assert ask_wsgi(port, "/colour", X_User=user)[0] == 200

        await asyncio.to_thread(serve)
        met = expected(understudy, 1)
        await until_told(serving, met)
        asked = sum(n for variant, (n, _) in met.items() if variant != "canary")
        assert await asyncio.to_thread(usage, serving, "colour") == {"blue": (asked, asked)}


async def test_one_store_adds_up_what_both_met(understudy_serve: UnderstudyServe) -> None:
    """A proxy and an application that write into one SQLite file: evaluations add up, a unit is one."""
    with always().listening() as v2:
        text = RULES.format(v2=v2.port).replace("http://127.0.0.1:9'", f"http://127.0.0.1:{v2.port}'")
        serving = await asyncio.to_thread(understudy_serve, text)
        config: dict[str, Any] = {
            "store": f"sqlite:///{serving.folder}/understudy.db",
            "services": {"v2": {"url": f"http://127.0.0.1:{v2.port}"}},
            "shadow": {"control": 0},
            "exposures": {"sample": 1.0},
        }
        understudy = Understudy(config)
        async with served(UnderstudyMiddleware(APP, understudy=understudy)) as url:
            await ask(url, 2)
            await ask(f"http://127.0.0.1:{serving.proxy_port}", 1)
            await until_told(serving, expected(understudy, 3))
