"""The fixture `force_variant`: everybody has one variant until the test ends."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import understudy
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.alterations import altering
from understudy.middleware.request import AsgiRequest
from understudy.testing.pytest import ForceVariant, Forcing, force_variant, lay_out

__all__ = ["force_variant"]

CONFIG: dict[str, Any] = {
    "store": "memory://",
    "services": {},
    "flags": {
        "page": {
            "state": "ENABLED",
            "variants": {"classic": {}, "new": {}},
            "defaultVariant": "classic",
            "targeting": {"fractional": [["new", 1], ["classic", 1]]},
        },
        "banner": {"state": "DISABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"},
        "killed": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"},
    },
    "routes": [{"path": "/", "flag": "page", "unit": "header:x-user"}],
    "killed": ["killed"],
}

USERS = range(20)


async def home(request: Request) -> Response:
    """What the application is told."""
    decision = request.state.understudy
    return JSONResponse(
        [
            decision.variant,
            decision.variant_of("page"),
            decision.is_enabled("banner"),
            decision.is_enabled("killed"),
        ]
    )


def application() -> UnderstudyMiddleware:
    """It tells what it is told."""
    return UnderstudyMiddleware(Starlette(routes=[Route("/", home)]), config=CONFIG)


@pytest.fixture
def app() -> UnderstudyMiddleware:
    """The application of one test."""
    return application()


def told(client: TestClient) -> set[tuple[Any, ...]]:
    """What all users' requests were told."""
    return {tuple(client.get("/", headers={"X-User": f"user-{user}"}).json()) for user in USERS}


BOTH = {("classic", "classic", False, False), ("new", "new", False, False)}


@pytest.fixture
def restored(app: UnderstudyMiddleware) -> Iterator[TestClient]:
    """A client of an application that runs on after the variant is no longer forced."""
    with TestClient(app) as client:
        yield client
        assert told(client) == BOTH
        assert app.understudy.in_force.rules.killed == ("killed",)


def test_everybody_has_the_variant_and_then_again_their_own(
    restored: TestClient, force_variant: ForceVariant
) -> None:
    """In a running application; one variant after another; other flags are as they were."""
    assert told(restored) == BOTH
    force_variant("page", "new")
    assert told(restored) == {("new", "new", False, False)}
    force_variant("page", "classic")
    assert told(restored) == {("classic", "classic", False, False)}


def test_what_is_off_or_killed_is_forced_too(restored: TestClient, force_variant: ForceVariant) -> None:
    """A test of a page needs it on, whatever an operator did."""
    force_variant("page", "new")
    force_variant("banner", "on")
    force_variant("killed", "on")
    assert told(restored) == {("new", "new", True, True)}


def test_it_holds_for_an_application_that_is_made_later(force_variant: ForceVariant) -> None:
    """And for each event loop that it is asked in: a test client without `with` has a new one every time."""
    force_variant("page", "new")
    app = application()
    assert app.understudy.in_force.rules.flags["page"]["defaultVariant"] == "new"
    assert told(TestClient(app)) == {("new", "new", False, False)}


async def test_it_holds_in_the_loop_of_the_test(
    app: UnderstudyMiddleware, force_variant: ForceVariant
) -> None:
    """A coroutine forces, and asks, in the loop that the application runs in."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        assert (await client.get("/", headers={"X-User": "user-1"})).status_code == 200
        for variant in ("new", "classic"):
            force_variant("page", variant)
            assert (await client.get("/", headers={"X-User": "user-1"})).json()[0] == variant
    await app.understudy.stop()


async def test_it_holds_while_other_rules_come_into_force(
    app: UnderstudyMiddleware, force_variant: ForceVariant
) -> None:
    """The store's news change everything else."""
    force_variant("page", "new")
    await app.understudy.start()
    stage = app.understudy.stage
    assert stage is not None
    document = {key: CONFIG[key] for key in ("flags", "routes")}
    version = await stage.put_rules(document, author="ann", reason="the kill is over")
    assert app.understudy.in_force.version == version
    assert app.understudy.in_force.rules.killed == ()
    assert app.understudy.in_force.rules.flags["page"]["defaultVariant"] == "new"
    await app.understudy.stop()


async def test_a_kill_file_kills_what_is_not_forced(tmp_path: Path) -> None:
    """Rules that are laid out anew meanwhile are forced again, and restored at the end."""
    forcing = Forcing()
    kill_file = tmp_path / "kill"
    safe = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    flags = {name: {**safe, "metadata": {"safeVariant": "off"}} for name in ("forced", "free")}
    understudy = Understudy(
        {"services": {}, "store": "memory://", "flags": flags, "kill_file": str(kill_file)}
    )
    await understudy.start()
    given = understudy.in_force.rules
    with altering(forcing.altered):
        forcing.force("forced", "on")
        kill_file.write_text("free\nforced\n")
        async with asyncio.timeout(60):
            while _is_on(understudy, "free"):
                await asyncio.sleep(0.01)
        assert _is_on(understudy, "forced")
        kill_file.unlink()
        async with asyncio.timeout(60):
            while not _is_on(understudy, "free"):
                await asyncio.sleep(0.01)
    lay_out()
    assert understudy.in_force.rules is given
    await understudy.stop()


def _is_on(understudy: Understudy, flag: str) -> bool:
    """What nobody in particular is told."""
    return understudy.decide(AsgiRequest({"method": "GET", "path": "/", "headers": []})).is_enabled(flag)


@pytest.mark.parametrize(
    ("flag", "variant", "slip"),
    [
        ("pag", "new", r"force_variant: no application has a flag 'pag': there is .*banner, .*page"),
        ("page", "old", r"force_variant: flag 'page' has no variant 'old': there is .*classic, new"),
    ],
)
def test_what_no_application_knows_fails_the_test(
    app: UnderstudyMiddleware, flag: str, variant: str, slip: str
) -> None:
    """A slip would make a test that shows nothing; until then nothing else is forced."""
    by_hand = force_variant.__wrapped__()  # type: ignore[attr-defined]
    next(by_hand)(flag, variant)
    assert told(TestClient(app)) == BOTH
    with pytest.raises(pytest.fail.Exception, match=slip):
        next(by_hand)


SUITE = """
from understudy.middleware import Understudy
from understudy.middleware.request import AsgiRequest
from understudy.testing.pytest import ForceVariant

FLAGS = {"page": {"variants": {"classic": {}, "new": {}}, "defaultVariant": "classic"}}
understudy = Understudy({"services": {}, "flags": FLAGS, "routes": [{"path": "/", "flag": "page"}]})
REQUEST = AsgiRequest({"method": "GET", "path": "/", "headers": []})


def test_forced(force_variant: ForceVariant) -> None:
    force_variant("page", "new")
    assert understudy.decide(REQUEST).variant == "new"


def test_after() -> None:
    assert understudy.decide(REQUEST).variant == "classic"


def test_slip(force_variant: ForceVariant) -> None:
    force_variant("page", "newer")
"""


OTHERS = ["-p", "no:schemathesis", "-p", "no:asyncio", "-p", "no:xdist", "-p", "no:timeout"]
"""Plug-ins that would warn, or cost time."""


def test_it_is_there_for_who_names_the_plug_in(tmp_path: Path) -> None:
    """In a suite of its own, in which warnings are errors; a slip is told at the end of the test."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["understudy.testing.pytest"]\n')
    (tmp_path / "test_pages.py").write_text(SUITE)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", *OTHERS, "--rootdir", ".", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(understudy.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert "3 passed, 1 error" in ended.stdout, ended.stdout
    assert "flag 'page' has no variant 'newer': there is classic, new" in ended.stdout


def test_an_understudy_that_is_off_has_no_flags(force_variant: ForceVariant) -> None:
    """A mistaken configuration that fails open forces nothing."""
    off = Understudy({"services": {"a": {}}}, fail_open=True)
    assert off.failure
    force_variant("page", "new")
    app = application()
    assert asyncio.run(_variant(app)) == "new"


async def _variant(app: UnderstudyMiddleware) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        variant: str = (await client.get("/")).json()[0]
    await app.understudy.stop()
    return variant
