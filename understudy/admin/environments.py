"""The environments of one store, as one control process reaches them: its own, and the others beside it."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from understudy.access import Deed
from understudy.admin.control import Change, ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.rules_plane import RulesPlane
from understudy.config import Refused, Rules, parse_rules, read_environment
from understudy.errors import StoreError
from understudy.store import Environment, Store, StoredRules

log = logging.getLogger("understudy.control")

_AGAIN_SECONDS: Final = 5.0


class Environments:
    """Rules of every environment of *store*; those of *control*'s own go through it."""

    def __init__(
        self, store: Store, control: ControlPlane, *, services: Callable[[], Collection[str]]
    ) -> None:
        """*services* are those that this process knows."""
        self._store = store
        self._control = control
        self._services = services
        self.is_changed = asyncio.Event()
        """To be set when the services are others than before."""

    @property
    def own(self) -> str:
        """The environment of this process."""
        return self._store.environment

    async def known(self) -> list[Environment]:
        """Every environment that the store knows, by name. Raises: StoreError."""
        return await self._store.environments()

    def rules_of(self, name: str) -> RulesPlane:
        """The rules of environment *name*. Raises: Refusal 404 when nothing can be called that."""
        if name == self.own:
            return self._control
        try:
            return _Elsewhere(self, self._store.of(read_environment(name)))
        except Refused as refused:
            raise Refusal(404, f"environment {refused.message}", known=[self.own]) from None

    async def parsed(self, document: object, name: str) -> Rules:
        """*document*, checked against the services that environment *name* knows. Raises: ConfigError.

        Its own processes tell the store which those are; as long as none has, this process's count.
        """
        services: Collection[str] | None = None
        if name != self.own:
            services = next((found.services for found in await self.known() if found.name == name), None)
        services = self._services() if services is None else services
        # In a thread: what is checked as a whole may be megabytes.
        return await asyncio.to_thread(parse_rules, document, services=tuple(services))

    async def keep_noted(self) -> None:
        """Tell the store which services are known here, whenever they change, for ever."""
        while True:
            self.is_changed.clear()
            try:
                await self._store.note_services(tuple(self._services()))
            except StoreError as error:
                log.debug("other environments cannot be told of the services here: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await self.is_changed.wait()


class _Elsewhere:
    """The rules of an environment whose own control processes follow the store."""

    def __init__(self, environments: Environments, store: Store) -> None:
        self._environments = environments
        self._store = store
        self.succession = None

    async def check_rules(self, document: Any) -> Rules:
        """Checked against the services that the environment knows."""
        return await self._environments.parsed(document, self._store.environment)

    async def rules(self) -> StoredRules:
        """Raises: Refusal 404 while there are none."""
        await self._store.open()
        found = await self._store.rules()
        if found is None:
            known = [environment.name for environment in await self._environments.known()]
            detail = (
                f"there is no environment {self._store.environment!r} yet: `understudy serve` makes it when"
                " the setting environment names it, or PUT its rules with If-None-Match: *"
            )
            raise Refusal(404, detail, known=known)
        return found

    async def newest(self) -> StoredRules:
        """Raises: Refusal 404 while there are none."""
        return await self.rules()

    async def history(self, *, limit: int) -> list[StoredRules]:
        """Raises: Refusal 404 while there are none."""
        await self.rules()
        return await self._store.history(limit=limit, is_brief=True)

    async def past(self, version: int) -> StoredRules | None:
        """Raises: Refusal 404 while there are none."""
        await self.rules()
        return await self._store.past(version)

    async def rules_at(self, at: float) -> StoredRules | None:
        """See RulesPlane.rules_at."""
        return await self._store.rules_at(at)

    async def put_rules(
        self, document: Any, *, expected: int | None, author: str, reason: str, origin: str = ""
    ) -> Change:
        """Its workers are not known here; they hear of it from the store, as of any change."""
        await self._store.open()
        if expected != 0:
            await self.rules()
        rules = await self.check_rules(document)
        at = time.time()
        stored = await self._store.put_rules(
            rules.document,
            expected=expected,
            author=author,
            reason=reason,
            at=at,
            deed=Deed(at=at, who=author, origin=origin, action="rules.put", reason=reason),
        )
        return Change(rules=stored, workers=0, applied=0)
