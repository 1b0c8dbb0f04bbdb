"""The last good rules of an application's host: kept behind a change, there at a start without the store."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from middleware_world import configured, rules

from understudy.errors import UnderstudyError
from understudy.middleware import Understudy, stage
from understudy.middleware.last_rules import Heard, HostRules, host_rules
from understudy.middleware.request import AsgiRequest
from understudy.store.location import last_good
from understudy.store.rules import json_text, stored_rules

AWAY = "redis://127.0.0.1:1"
"""Nobody listens there: it is refused at once."""

HEAD = AsgiRequest({"method": "GET", "path": "/", "headers": [(b"host", b"shop"), (b"cookie", b"uid=ann")]})


def document(serves: str, **more: Any) -> dict[str, Any]:
    told = rules(
        {name: {"serve": "app"} for name in ("stable", "canary", "seed")}, serves=serves, unit="cookie:uid"
    )
    told["flags"]["shop"]["metadata"] = {"safeVariant": "stable"}
    return {**told, **more}


def config(folder: Path, store: str = AWAY, **more: Any) -> Path:
    """A configuration whose seed serves ``seed``."""
    file = folder / "understudy.yaml"
    file.write_text(json.dumps({**configured({}, **document("seed")), "store": store, **more}))
    return file


def keep(folder: Path, kept: dict[str, Any], *, store: str = AWAY, environment: str = "default") -> Path:
    """Leave *kept* as version 7, as a process before would have."""
    file = last_good(store, folder, environment)
    assert file is not None
    stored = stored_rules(version=7, text=json_text(kept), author="ann", reason="", at=1.0)
    file.write(stored, file.origin)
    return file.path


def met(understudy: Understudy) -> tuple[str | None, int]:
    """What a user meets, by which version."""
    return understudy.decide(HEAD).variant, understudy.in_force.version


async def begun(file: Path, **named: Any) -> tuple[str | None, int]:
    """What a user meets when a start is over."""
    understudy = Understudy(file, **named)
    await understudy.start()
    try:
        return met(understudy)
    finally:
        await understudy.stop()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a store that never answers."""
    monkeypatch.setattr(stage, "RULES_SECONDS", 0.3)


async def test_they_decide_while_the_store_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kill switches included, and it is told."""
    keep(tmp_path, document("canary"))
    assert await begun(config(tmp_path)) == ("canary", 7)
    keep(tmp_path, document("canary", killed=["shop"]))
    assert await begun(config(tmp_path)) == ("stable", 7)
    assert "the last good rules of this host are in force, version 7 by ann" in caplog.text


async def test_the_kill_file_is_laid_over_them(tmp_path: Path) -> None:
    """It needs nobody, and wins over everything."""
    keep(tmp_path, document("canary"))
    (tmp_path / "understudy.kill").write_text("shop\n")
    assert await begun(config(tmp_path)) == ("stable", 7)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("how", ["none", "damaged", "of another store", "of another environment"])
async def test_the_configuration_decides_without_any_that_are_good(tmp_path: Path, how: str) -> None:
    """As before there was such a file, once the store was waited for."""
    match how:
        case "damaged":
            file = keep(tmp_path, document("canary"))
            file.write_text(file.read_text()[:-1])
        case "of another store":
            keep(tmp_path, document("canary"), store=f"{AWAY}?prefix=other")
        case "of another environment":
            keep(tmp_path, document("canary"), environment="prod")
    assert await begun(config(tmp_path)) == ("seed", 0)


async def test_each_environment_has_its_own(tmp_path: Path) -> None:
    """In one folder, beside those of the others."""
    keep(tmp_path, document("canary"))
    keep(tmp_path, document("stable"), environment="prod")
    assert await begun(config(tmp_path, environment="prod")) == ("stable", 7)


async def test_the_store_is_that_of_the_environment(tmp_path: Path) -> None:
    """Rules of prod are nothing to dev, whichever front door asks."""
    store = f"sqlite:///{tmp_path}/u.db"
    understudy = Understudy(config(tmp_path, store, environment="prod"))
    await understudy.start()
    assert understudy.stage is not None
    await understudy.stage.put_rules(document("canary"), author="ann", reason="")
    await understudy.stop()
    assert await begun(config(tmp_path, store, environment="dev")) == ("seed", 1)
    assert await begun(config(tmp_path, store, environment="prod")) == ("canary", 2)


async def test_what_was_killed_stays_killed_when_they_do_not_fit(tmp_path: Path) -> None:
    """A service is gone from the configuration: its rules stand in, with every kill switch."""
    gone = document("canary", killed=["shop"])
    gone["flags"]["shop"]["variants"]["canary"] = {"serve": "gone"}
    keep(tmp_path, gone)
    assert await begun(config(tmp_path)) == ("stable", 7)


async def test_a_folder_that_takes_nothing_is_told_and_harmless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rules come into force as ever; another event loop of the process has them without a file."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "u.db-rules.json").mkdir()
    understudy = Understudy(config(tmp_path, f"sqlite:///{store}/u.db"))
    await understudy.start()
    assert understudy.stage is not None
    version = await understudy.stage.put_rules(document("canary"), author="ann", reason="")
    async with asyncio.timeout(60):
        while "the last good rules cannot be kept" not in caplog.text:
            await asyncio.sleep(0.01)
    assert met(understudy) == ("canary", version)
    await understudy.stop()
    shutil.rmtree(store)
    await understudy.start()
    assert met(understudy) == ("canary", version)
    await understudy.stop()


async def test_a_store_that_forgets_leaves_nothing_behind(tmp_path: Path) -> None:
    """``memory://`` begins anew each time, and writes nothing."""
    file = config(tmp_path, "memory://")
    assert await begun(file) == ("seed", 1)
    assert list(tmp_path.iterdir()) == [file]


class Book:
    """A rulebook that no store loads."""

    def __init__(self) -> None:
        self.is_loaded = False
        self.begun: list[tuple[int, bool]] = []

    def begin_with(self, stored: Any, *, yields: bool) -> None:
        self.begun.append((stored.version, yields))


async def run(last: HostRules, book: Any, turn: Any = lambda: None) -> None:
    """Let *last* begin, and not go on."""
    task = asyncio.get_running_loop().create_task(last.run(book, turn))
    async with asyncio.timeout(60):
        while not book.begun:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])


async def test_of_what_was_heard_and_what_is_kept_the_newer_counts(tmp_path: Path) -> None:
    """Another process may have heard more, or nobody could write what this one has heard."""
    settings = Understudy(config(tmp_path)).settings
    keep(tmp_path, document("canary"))
    for version, expected in ((6, 7), (8, 8)):
        heard, book = Heard(), Book()
        heard.rules = stored_rules(version=version, text="{}", author="", reason="", at=1.0)
        last = host_rules(settings, tmp_path, heard)
        last.tried()
        await run(last, book)
        assert book.begun == [(expected, False)]


async def test_those_of_control_processes_are_apart(tmp_path: Path) -> None:
    """In another file, of that control process alone; whatever it says then is taken."""
    settings = Understudy(config(tmp_path)).settings
    keep(tmp_path, document("canary"))
    heard, book = Heard(), Book()
    first = host_rules(settings, tmp_path, heard, "http://127.0.0.1:1")
    writing = asyncio.get_running_loop().create_task(first.run(book, lambda: None))  # type: ignore[arg-type]
    first.keep(stored_rules(version=3, text="{}", author="", reason="", at=1.0))
    async with asyncio.timeout(60):
        while not (tmp_path / "understudy-admin-rules.json").exists():
            await asyncio.sleep(0.005)
    writing.cancel()
    await asyncio.wait([writing])
    again = host_rules(settings, tmp_path, Heard(), "http://127.0.0.1:1")
    again.tried()
    await run(again, book)
    assert book.begun == [(3, True)]
    other = host_rules(settings, tmp_path, Heard(), "http://127.0.0.1:2")
    assert await other._newest() is None


async def test_rules_that_do_not_compile_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then the configuration decides, and nothing ends."""

    def turn() -> None:
        raise UnderstudyError("no")

    keep(tmp_path, document("canary"))
    last = host_rules(Understudy(config(tmp_path)).settings, tmp_path, Heard())
    last.tried()
    await run(last, Book(), turn)
    assert "the last good rules, version 7, do not compile: no" in caplog.text
