"""A reload is for every process, or for none; whoever asks is told which."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from understudy.app.board import RELOADS, Board
from understudy.app.reloading import MOST_WAITING, SEED_ONLY, Reloader
from understudy.app.rulebook import Rulebook
from understudy.app.runtime import Runtime
from understudy.app.workers import Workers
from understudy.config import Settings, load, parse_settings
from understudy.errors import ConfigError
from understudy.store import MemoryStore

FILE = """
services: {old: {url: http://127.0.0.1:1}, new: {url: http://127.0.0.1:2}}
routes: [{path: /, serve: old}]
"""


class Followers:
    """Workers that follow at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Mapping[str, Any]]] = []

    def set_settings(self, number: int, document: Mapping[str, Any]) -> None:
        self.sent.append((number, document))

    async def settled(self, number: int, *, seconds: float) -> tuple[int, int]:
        return 2, 2


@dataclass
class FakeRuntime:
    """What a reload needs of a runtime."""

    settings: Settings
    config_path: Path | None
    settings_path: Path
    telling: int
    board: Board = field(default_factory=Board)


@dataclass
class Scene:
    """A control process that has started from ``FILE``."""

    file: Path
    runtime: FakeRuntime
    reloader: Reloader
    followers: Followers
    applied: list[Settings]
    hearing: int

    def counts(self) -> dict[str, int]:
        return {result: n for (result,), n in self.runtime.board.rows(RELOADS)}

    def said(self) -> list[str]:
        return [line.split()[0] for line in os.read(self.hearing, 4096).decode().splitlines()]


@asynccontextmanager
async def started(tmp_path: Path, *, has_file: bool = True) -> AsyncIterator[Scene]:
    file = tmp_path / "understudy.yaml"
    file.write_text(FILE)
    settings = load(file, {})
    store = MemoryStore()
    await store.open()
    book = Rulebook(store, seed=settings.rules, services=settings.services.keys())
    await book.load(1.0)
    hearing, telling = os.pipe()
    runtime = FakeRuntime(
        settings=settings,
        config_path=file if has_file else None,
        settings_path=tmp_path / "settings",
        telling=telling,
    )
    followers, applied = Followers(), list[Settings]()
    reloader = Reloader(
        cast(Runtime, runtime), book=book, workers=cast(Workers, followers), apply=applied.append
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(reloader.run())
        yield Scene(file, runtime, reloader, followers, applied, hearing)
        running.cancel()
    os.close(hearing)
    os.close(telling)


async def test_a_changed_file_is_in_force_everywhere(tmp_path: Path) -> None:
    """Here, in the workers, and for processes that are started later."""
    async with started(tmp_path) as scene:
        scene.file.write_text(FILE + "limits: {head_timeout: 1s}\nworkers: 3\n")
        done = await scene.reloader.reload()
        assert (done.changed, done.waiting, done.notes) == (("limits",), ("workers",), ())
        assert (done.workers, done.applied) == (2, 2)
        (settings,) = scene.applied
        assert (settings.limits.head_timeout, settings.workers) == (1.0, 1)
        assert scene.reloader.settings is settings
        (first, _), (second, document) = scene.followers.sent
        assert (first, second, document["limits"]) == (0, 1, {"head_timeout": "1s"})
        left = orjson.loads(scene.runtime.settings_path.read_bytes())
        assert parse_settings(left, base=tmp_path, environ={}) == load(scene.file, {})
        assert scene.said() == ["settings", "reloaded"]
        assert scene.counts() == {"applied": 1, "refused": 0}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("services: {", ""),
        ("servces: {}", "servces"),
        (FILE.replace("old:", "older:").replace("serve: old", "serve: older"), "services"),
    ],
)
async def test_a_wrong_file_changes_nothing(text: str, path: str, tmp_path: Path) -> None:
    """Neither when it cannot be read, nor when rules in force name a service that it drops."""
    async with started(tmp_path) as scene:
        before = scene.reloader.settings
        scene.file.write_text(text)
        with pytest.raises(ConfigError) as refused:
            await scene.reloader.reload()
        assert refused.value.problems[0].path == path
        assert scene.reloader.settings is before
        assert (scene.applied, len(scene.followers.sent)) == ([], 1)
        assert not scene.runtime.settings_path.exists()
        assert scene.said() == ["reloaded"]
        assert scene.counts() == {"applied": 0, "refused": 1}


async def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """As at the start."""
    async with started(tmp_path) as scene:
        scene.file.unlink()
        with pytest.raises(ConfigError, match=r"understudy\.yaml"):
            await scene.reloader.reload()


async def test_rules_in_the_file_are_told_to_be_a_seed(tmp_path: Path) -> None:
    """They are not put in force, and whoever changed them must know."""
    async with started(tmp_path) as scene:
        scene.file.write_text(FILE.replace("serve: old", "serve: new"))
        assert (await scene.reloader.reload()).notes == (SEED_ONLY,)


async def test_variables_of_the_environment_still_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the start; the workers are sent what came of it."""
    monkeypatch.setenv("UNDERSTUDY_SHADOW__IN_FLIGHT", "3")
    async with started(tmp_path) as scene:
        done = await scene.reloader.reload()
        assert done.changed == ("shadow",)
        assert scene.followers.sent[-1][1]["shadow"] == {"in_flight": 3}


async def test_a_signal_reloads_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for the answer, so it is in the log."""
    async with started(tmp_path) as scene:
        scene.file.write_text("servces: {}")
        scene.reloader.ask()
        with pytest.raises(ConfigError):
            await scene.reloader.reload()
        assert scene.counts() == {"applied": 0, "refused": 2}
    assert "reload refused, nothing was changed: servces: unknown key" in caplog.text


async def test_too_many_at_once_are_refused(tmp_path: Path) -> None:
    """The queue has an end."""
    async with started(tmp_path) as scene:
        for _ in range(MOST_WAITING + 5):
            scene.reloader.ask()
        with pytest.raises(ConfigError, match="too many reloads are waiting"):
            await scene.reloader.reload()


async def test_without_a_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    """Settings may come from elsewhere."""
    async with started(tmp_path, has_file=False) as scene:
        with pytest.raises(ConfigError, match="was not started from a file"):
            await scene.reloader.reload()


async def test_a_fault_of_ours_refuses_and_reloading_goes_on(tmp_path: Path) -> None:
    """One reload is isolated from the next."""
    async with started(tmp_path) as scene:
        scene.runtime.settings_path = tmp_path / "gone" / "settings"
        with pytest.raises(ConfigError, match="cannot be left for later processes"):
            await scene.reloader.reload()
        scene.runtime.settings_path = tmp_path / "settings"
        scene.followers.settled = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            await scene.reloader.reload()
        del scene.followers.settled
        assert (await scene.reloader.reload()).changed == ()
        assert scene.counts() == {"applied": 1, "refused": 2}
