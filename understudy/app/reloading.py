"""Reload the configuration file in every process, or leave everything as it is and say why."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

import orjson

from understudy.admin import Reload
from understudy.app.board import RELOADS
from understudy.app.reports import Word, report
from understudy.app.rulebook import Rulebook
from understudy.app.runtime import Runtime
from understudy.app.workers import Workers
from understudy.config import Settings, load, reloaded
from understudy.errors import ConfigError, Problem, UnderstudyError

log = logging.getLogger("understudy.control")

SETTLE_SECONDS: Final = 2.0
"""How long an answer waits for the workers to say that they follow."""

MOST_WAITING: Final = 16
"""Reloads that wait for the one under way; who asks beyond that asks too often."""

SEED_ONLY: Final = (
    "flags, routes and compare rules of the file are only the seed of an empty store; those in force stay"
)


class Reloader:
    """One reload at a time. ``settings`` are in force; *apply* puts new ones in force in this process."""

    def __init__(
        self, runtime: Runtime, *, book: Rulebook, workers: Workers, apply: Callable[[Settings], None]
    ) -> None:
        self.settings = runtime.settings
        self._runtime = runtime
        self._book = book
        self._workers = workers
        self._apply = apply
        self._number = 0
        self._asked: asyncio.Queue[asyncio.Future[Reload] | None] = asyncio.Queue(maxsize=MOST_WAITING)
        workers.set_settings(self._number, self.settings.document)

    async def run(self) -> None:
        """Reload whenever somebody asks, for ever."""
        while True:
            answer = await self._asked.get()
            try:
                done = await self._reload()
            except UnderstudyError as error:
                self._runtime.board.count(RELOADS, "refused")
                log.error("reload refused, nothing was changed: %s", error)
                if answer is not None and not answer.done():
                    answer.set_exception(error)
            except Exception as fault:
                # A fault in one reload must not cost the control process.
                self._runtime.board.count(RELOADS, "refused")
                log.exception("a reload failed")
                if answer is not None and not answer.done():
                    answer.set_exception(fault)
            else:
                self._runtime.board.count(RELOADS, "applied")
                self._tell(done)
                if answer is not None and not answer.done():
                    answer.set_result(done)
            finally:
                report(self._runtime.telling, Word.RELOADED)

    def ask(self) -> None:
        """Reload soon; what comes of it is in the log. A reload that is due anyway is enough."""
        if not self._asked.full():
            self._asked.put_nowait(None)

    async def reload(self) -> Reload:
        """Reload, and say what changed. Raises: ConfigError, and then nothing has changed."""
        answer: asyncio.Future[Reload] = asyncio.get_running_loop().create_future()
        try:
            self._asked.put_nowait(answer)
        except asyncio.QueueFull:
            raise refusal("", "too many reloads are waiting", "try again when they are over") from None
        return await answer

    async def _reload(self) -> Reload:
        path = self._runtime.config_path
        if path is None:
            raise refusal("", "this process was not started from a file, so there is none to read again")
        # In a thread: a file of megabytes takes longer than a probe may wait.
        new = await asyncio.to_thread(load, path, os.environ)
        outcome = reloaded(self.settings, new)
        names = outcome.settings.services.keys()
        refit = self._book.refit(seed=new.rules, services=names)  # raises before anything has changed
        self._leave_for_later(outcome.settings)
        self.settings = outcome.settings
        refit()
        self._number += 1
        self._workers.set_settings(self._number, outcome.settings.document)
        self._apply(outcome.settings)  # may hand out rules that name a new service, so it comes second
        workers, applied = await self._workers.settled(self._number, seconds=SETTLE_SECONDS)
        return Reload(
            changed=outcome.changed,
            waiting=outcome.waiting,
            notes=(SEED_ONLY,) if outcome.is_seed_changed else (),
            workers=workers,
            applied=applied,
        )

    def _leave_for_later(self, settings: Settings) -> None:
        """For processes that are started from now on; before all else, as this one may die at any moment."""
        path = self._runtime.settings_path
        try:
            text = orjson.dumps({**settings.document, **settings.rules.document})
            beside = path.with_suffix(".new")
            beside.write_bytes(text)
            beside.replace(path)
        except (OSError, TypeError) as error:
            raise refusal("", f"the settings cannot be left for later processes: {error}") from None
        report(self._runtime.telling, Word.SETTINGS)

    def _tell(self, done: Reload) -> None:
        log.info(
            "reloaded: changed %s; %d of %d workers follow",
            ", ".join(done.changed) or "nothing",
            done.applied,
            done.workers,
        )
        if done.waiting:
            log.warning("%s changed in the file and waits for a restart", ", ".join(done.waiting))
        for note in done.notes:
            log.warning("%s", note)


def refusal(path: str, message: str, hint: str = "") -> ConfigError:
    """A reload that is refused for one reason."""
    return ConfigError((Problem(path=path, message=message, hint=hint),))
