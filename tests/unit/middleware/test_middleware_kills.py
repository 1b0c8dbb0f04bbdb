"""The kill file in an application: no store, no control process and no restart is needed to kill a flag."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from middleware_world import configured, rules

from understudy.middleware import Understudy
from understudy.middleware.request import AsgiRequest

HEAD = AsgiRequest({"method": "GET", "path": "/", "headers": [(b"host", b"shop"), (b"cookie", b"uid=ann")]})


def config(folder: Path, **more: Any) -> dict[str, Any]:
    """Everybody meets the canary, unless the flag is killed."""
    told = rules({"stable": {}, "canary": {}}, serves="canary", unit="cookie:uid")
    told["flags"]["shop"]["metadata"] = {"safeVariant": "stable"}
    return configured({}, **told, kill_file=str(folder / "kill"), **more)


def found(understudy: Understudy) -> tuple[str | None, str]:
    decision = understudy.decide(HEAD)
    return decision.variant, decision.reason


async def until(understudy: Understudy, variant: str) -> None:
    async with asyncio.timeout(60):
        while found(understudy)[0] != variant:
            await asyncio.sleep(0.01)


def test_what_is_killed_at_the_start_is_never_met(tmp_path: Path) -> None:
    """Before there is an event loop."""
    (tmp_path / "kill").write_text("shop\n")
    assert found(Understudy(config(tmp_path))) == ("stable", "KILLED")


@pytest.mark.parametrize("line", ["shop", "*"])
async def test_a_line_kills_and_its_absence_revives(tmp_path: Path, line: str) -> None:
    """While the application runs; rules that come meanwhile are killed, too."""
    understudy = Understudy(config(tmp_path))
    await understudy.start()
    assert found(understudy)[0] == "canary"
    (tmp_path / "kill").write_text(f"{line}\n")
    await until(understudy, "stable")
    assert understudy.stage is not None
    told = rules({"stable": {}, "canary": {}, "dark": {}}, serves="canary", unit="cookie:uid")
    told["flags"]["shop"]["metadata"] = {"safeVariant": "stable"}
    version = await understudy.stage.put_rules(told, author="ann", reason="")
    assert (understudy.in_force.version, found(understudy)) == (version, ("stable", "KILLED"))
    flag = understudy.decide(HEAD).evaluate("shop")
    assert flag.variant == "stable"
    (tmp_path / "kill").unlink()
    await until(understudy, "canary")
    await understudy.stop()


async def test_it_kills_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured rules decide then."""
    monkeypatch.setattr("understudy.middleware.stage.RULES_SECONDS", 0.3)
    understudy = Understudy(config(tmp_path) | {"store": "redis://127.0.0.1:1"})
    (tmp_path / "kill").write_text("shop\n")
    starting = asyncio.get_running_loop().create_task(understudy.start())
    await until(understudy, "stable")
    starting.cancel()
    await understudy.stop()


async def test_nobody_looks_after_the_end(tmp_path: Path) -> None:
    """No thread is left behind in the application."""
    before = set(threading.enumerate())
    understudy = Understudy(config(tmp_path))
    await understudy.start()
    watching = [each for each in threading.enumerate() if each not in before and each.name == "kill file"]
    assert len(watching) == 1
    await understudy.stop()
    await asyncio.to_thread(watching[0].join, 60)
    assert not watching[0].is_alive()
