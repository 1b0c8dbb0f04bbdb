"""The last good rules of a host: written behind everybody's back, read at the next start."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from understudy.app import last_rules as module
from understudy.app.last_rules import LastRules, last_rules
from understudy.config import parse_settings
from understudy.store import StoredRules
from understudy.store.last_good import LastGood
from understudy.store.rules import json_text, stored_rules

STORES = ("sqlite:///u.db", "postgresql://u:old@127.0.0.1:1/d", "redis://:old@127.0.0.1:1")


def version(number: int) -> StoredRules:
    return stored_rules(version=number, text=json_text({"n": number}), author="ann", reason="", at=1.0)


def of(store: object, base: Path) -> LastRules:
    services = {"v1": {"url": "http://127.0.0.1:9"}}
    settings = parse_settings({"store": store, "services": services}, base=base, environ={})
    return last_rules(settings, base)


@asynccontextmanager
async def running(rules: LastRules) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rules.run())
        yield
        task.cancel()


async def until_kept(store: object, base: Path, number: int) -> None:
    """Wait until the next start would find version *number*."""
    async with asyncio.timeout(60):
        while (found := await of(store, base).read()) is None or found.version != number:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("store", STORES)
async def test_every_store_has_such_a_file(store: str, tmp_path: Path) -> None:
    """The newest of several; the password of the store is no part of which store it is."""
    rules = of(store, tmp_path)
    async with running(rules):
        for number in (1, 2, 3):
            rules.keep(version(number))
        await until_kept(store, tmp_path, 3)
    assert await of(store.replace("old", "new"), tmp_path).read() == version(3)


@pytest.mark.parametrize(
    ("store", "other"),
    [(STORES[1], "postgresql://u@127.0.0.1:1/other"), (STORES[2], f"{STORES[2]}?prefix=other")],
)
async def test_the_rules_of_another_store_are_left_aside(
    store: str, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever names another store means its rules; the log says so."""
    rules = of(store, tmp_path)
    async with running(rules):
        rules.keep(version(1))
        await until_kept(store, tmp_path, 1)
    assert await of(other, tmp_path).read() is None
    assert "are those of another store" in caplog.text


@pytest.mark.parametrize("store", ["memory://", {"sql": "sqlite:///u.db", "redis": "redis://127.0.0.1:1"}])
async def test_some_stores_keep_no_such_file(store: object, tmp_path: Path) -> None:
    """Memory forgets on purpose; two layers keep theirs themselves."""
    rules = of(store, tmp_path)
    rules.keep(version(1))
    assert await rules.read() is None
    assert list(tmp_path.iterdir()) == []


class Counted(LastGood):
    """Notes what it is asked to write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[int] = []

    def write(self, rules: StoredRules, origin: str, *, read_at: float | None = None) -> None:
        self.asked.append(rules.version)
        super().write(rules, origin, read_at=read_at)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the mend; once the folder is there, the rules are in it."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    folder = tmp_path / "gone"
    file = Counted(folder / "rules.json")
    rules = LastRules(file)
    async with running(rules):
        rules.keep(version(1))
        await until(lambda: len(file.asked) > 2)
        assert "No such file" in rules.trouble
        folder.mkdir()
        await until(lambda: not rules.trouble)
    assert (folder / "rules.json").is_file()
    assert caplog.text.count("the last good rules cannot be kept: No such file or directory") == 1
    assert "Let Understudy write to that folder" in caplog.text


async def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    """A start changes nothing on a disk that has these rules."""
    file = Counted(tmp_path / "rules.json")
    file.write(version(1), "")
    rules = LastRules(file)
    assert await rules.read() == version(1)
    async with running(rules):
        rules.keep(version(1))
        await asyncio.sleep(0)  # whoever is due runs now
        await asyncio.sleep(0)
        rules.keep(version(2))
        await until(lambda: 2 in file.asked)
    assert file.asked == [1, 2]
