"""The rules document in force, as the control process keeps it: load, change, kill, revive."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from understudy.access import Deed
from understudy.config import Rules, parse_rules
from understudy.errors import ConfigError, FlagNotFound, Problem, StoreError, VersionConflict
from understudy.store import Store, StoredRules

log = logging.getLogger("understudy.control")

TRIES = 5
"""How often a kill or revive is tried when somebody else changes the rules at the same moment."""


class Rulebook:
    """Every change is checked, then stored by compare-and-set, then in force; never half of it."""

    def __init__(self, store: Store, *, seed: Rules, services: Collection[str]) -> None:
        self._store = store
        self._seed = seed
        self._services = services
        self._stored: StoredRules | None = None
        self._is_unsure = False
        self._returns = self._histories = 0
        self._yields = False
        self.parsed = seed
        self.trouble = ""
        """Why the stored version is not what is in force; empty when it is."""
        self.behind = ""
        """Why the store is older than what is in force; empty when it is not."""

    @property
    def is_loaded(self) -> bool:
        return self._stored is not None

    @property
    def version(self) -> int:
        return self._stored.version if self._stored is not None else 0

    @property
    def stored_at(self) -> float:
        return self._stored.at if self._stored is not None else 0.0

    def current(self) -> StoredRules:
        """The rules in force. Raises `StoreError` before the store was read."""
        if self._stored is None:
            raise StoreError("rules: the store has not been read yet; see /readyz for the reason")
        return self._stored

    async def load(self, at: float) -> StoredRules:
        """Read the newest version; seed an empty store. Raises `StoreError`.

        A version that does not fit this configuration any more (a service is gone) is kept and can be
        read, replaced, killed and revived; meanwhile the configuration's own rules stand in for it,
        with every kill switch of the stored version. ``trouble`` says so.
        """
        stored = await self._store.rules()
        if self._yields and stored is not None:
            self._stored, self._yields = None, False
        if self._stored is not None and (stored is None or stored.version < self.version):
            self._tell_behind(stored.version if stored is not None else 0)
            return self._stored
        if stored is None:
            stored = await self._seed_store(at)
        self._take(stored)
        if not self.trouble and stored.document != self._seed.document:
            log.info(
                "rules version %d by %s is in force, from the store; flags, routes and compare rules of the"
                " configuration file are only the seed of an empty store",
                stored.version,
                stored.author,
            )
        return stored

    def begin_with(self, stored: StoredRules, *, yields: bool = False) -> None:
        """Put *stored*, the last good rules of this host, in force until the store can be read.

        With *yields* what the store has then is taken, be it older: it is a control process, which sees to
        it by itself that nothing is lost.
        """
        self._take(stored)
        self._yields = yields
        log.error(
            "the store does not answer: the last good rules of this host are in force, version %d by %s",
            stored.version,
            stored.author,
        )

    async def follow(self, *, seconds: float) -> bool:
        """Wait, at most *seconds*, for rules that another control process stored, and put them in force.

        Whether there were any. Raises `StoreError`.
        """
        if self._is_unsure:
            await self._settle_twins()
        if self._store.condition().histories != self._histories:
            return await self._begin_anew()
        try:
            newer = await self._store.newer(self.version, seconds=seconds)
        except StoreError:
            self._is_unsure = True
            raise
        returns = self._store.condition().returns
        self._is_unsure, self._returns = returns != self._returns, returns
        if self._store.condition().histories != self._histories:
            return await self._begin_anew()
        if newer is None or newer.version <= self.version:
            version = await self._store.version()
            if version < self.version:
                self._tell_behind(version)
            return False
        self._take(newer)
        log.info("rules version %d by %s is in force, from the store", newer.version, newer.author)
        return True

    async def _begin_anew(self) -> bool:
        """Put in force what the store has, be it older: its versions begin anew. Raises `StoreError`.

        Whether that is anything else.
        """
        histories, before = self._store.condition().histories, self.current()
        self._yields = True
        stored = await self.load(self.stored_at)
        self._histories = histories
        if (stored.version, stored.sha256) == (before.version, before.sha256):
            return False
        log.warning(
            "versions of the rules begin anew: after version %d now version %d is in force",
            before.version,
            stored.version,
        )
        return True

    async def _settle_twins(self) -> None:
        """See whether the store, which was away, has another document under the version in force.

        A replica that took over may lack the last change: whoever changed the rules next made a second one of
        that number, and no host, worker or SDK would take it for news. The store's becomes a version above
        both, made by whichever host is first, with the kill switches of both: to lose one is no revival.
        """
        ours, stored = self.current(), await self._store.rules()
        self._is_unsure = False
        if stored is None or stored.version != ours.version or stored.sha256 == ours.sha256:
            return
        if self._store.condition().histories != self._histories:
            return
        log.error(
            "rules version %d is there twice: by %s (%s, sha256 %s) it is in force here, by %s (sha256 %s) it"
            " is in the store, which lost a change. The store's is stored again above both, kills kept",
            ours.version,
            ours.author,
            ours.reason,
            ours.sha256,
            stored.author,
            stored.sha256,
        )
        reason = f"version {ours.version} was there twice; this is the one that the store kept"
        killed = sorted(_killed_of(stored) | _killed_of(ours) & set(_flags_of(stored)[0]))
        with contextlib.suppress(VersionConflict):  # another host was first
            await self._store.put_rules(
                {**stored.document, "killed": killed},
                expected=ours.version,
                author="control process",
                reason=reason,
                at=stored.at,
            )

    async def _is_newest(self) -> bool:
        """Whether nobody has changed the rules since; also when the store does not say."""
        try:
            return await self._store.version() <= self.version
        except StoreError:
            return True

    def _tell_behind(self, version: int) -> None:
        if not self.behind:
            log.error(
                "the store has rules version %d, but version %d is in force: was it emptied, or put back"
                " from a copy? The next change is stored above both",
                version,
                self.version,
            )
        self.behind = f"has rules version {version}, but version {self.version} is in force"

    def refit(self, *, seed: Rules, services: Collection[str]) -> Callable[[], None]:
        """Check that the rules in force fit other *services*; what is returned puts these in force.

        A stored version that did not fit before is tried again, and the new *seed* stands in if it still
        does not. Raises `ConfigError` when the rules in force, a stand-in too, name a service that is gone.
        """
        try:
            parse_rules(self.parsed.document, services=services)
        except ConfigError as error:
            raise self._needed(error) from None

        def put_in_force() -> None:
            self._seed, self._services = seed, services
            if self._stored is not None:
                self._take(self._stored)

        return put_in_force

    def _needed(self, error: ConfigError) -> ConfigError:
        which = (
            "the rules in force" if self.trouble or not self.is_loaded else f"rules version {self.version}"
        )
        return ConfigError(
            tuple(
                Problem(
                    path="services",
                    message=f"{which} need what is gone: {problem.path}: {problem.message}",
                    hint="change the rules first, then reload",
                )
                for problem in error.problems
            )
        )

    def _take(self, stored: StoredRules, *, read: Rules | None = None) -> None:
        """Put *stored* in force, unless a newer version is. *read* is what it says, when that is known."""
        if stored.version < self.version:
            return
        self._stored = stored
        self.trouble = self.behind = ""
        try:
            self.parsed = read or parse_rules(stored.document, services=self._services, before=self.parsed)
        except ConfigError as error:
            self.trouble = f"rules version {stored.version} does not fit this configuration: {error}"
            self.parsed = self._stand_in(stored)
            log.error(
                "%s; the rules of the configuration file stand in for it, kill switches kept", self.trouble
            )

    def _stand_in(self, stored: StoredRules) -> Rules:
        killed = {flag for flag in _killed_of(stored) if flag in self._seed.flags}
        document = {**self._seed.document, "killed": sorted(killed | set(self._seed.killed))}
        return parse_rules(document, services=self._services)

    async def _seed_store(self, at: float) -> StoredRules:
        try:
            return await self._store.put_rules(
                self._seed.document,
                expected=0,
                author="configuration",
                reason="seed of an empty store",
                at=at,
            )
        except VersionConflict:
            stored = await self._store.rules()
            if stored is None:
                raise
            return stored

    async def put(
        self,
        document: Any,
        *,
        expected: int | None,
        author: str,
        reason: str,
        at: float,
        origin: str = "",
        action: str = "rules.put",
        target: str = "",
        after: int = 0,
    ) -> StoredRules:
        """Check and store *document*, above version *after*.

        Raises `ConfigError`, `VersionConflict`, `StoreError`.
        """
        services = self._services
        rules = await self.check(document)
        stored = await self._store.put_rules(
            rules.document,
            expected=expected,
            author=author,
            reason=reason,
            at=at,
            deed=Deed(at=at, who=author, origin=origin, action=action, target=target, reason=reason),
            after=max(after, self.version),
        )
        # Unless a reload came in between: then it is looked at anew.
        self._take(stored, read=rules if services is self._services else None)
        return stored

    async def check(self, document: Any) -> Rules:
        """What *document* says, as `put` would store it. Raises `ConfigError`, `StoreError`."""
        self.current()
        # In a thread: megabytes of rules would hold up probes and evidence.
        return await asyncio.to_thread(parse_rules, document, services=self._services, before=self.parsed)

    async def kill(self, flag: str, *, author: str, reason: str, at: float, origin: str = "") -> StoredRules:
        """Put *flag* on its safe variant. Raises `FlagNotFound`, `StoreError`."""
        reason = reason or f"kill {flag}"
        deed = Deed(at=at, who=author, origin=origin, action="flag.kill", target=flag, reason=reason)
        return await self._toggle(flag, killed=True, deed=deed)

    async def revive(
        self, flag: str, *, author: str, reason: str, at: float, origin: str = ""
    ) -> StoredRules:
        """Undo `kill`. Raises `FlagNotFound`, `StoreError`."""
        reason = reason or f"revive {flag}"
        deed = Deed(at=at, who=author, origin=origin, action="flag.revive", target=flag, reason=reason)
        return await self._toggle(flag, killed=False, deed=deed)

    async def _toggle(self, flag: str, *, killed: bool, deed: Deed) -> StoredRules:
        for _ in range(TRIES):
            current = self.current()
            flags, now_killed = _flags_of(current)
            if flag not in flags:
                raise FlagNotFound(flag, tuple(flags))
            if (flag in now_killed) is killed:
                if await self._is_newest():
                    return current
                await self.load(deed.at)
                continue
            wanted = now_killed | {flag} if killed else now_killed - {flag}
            document = {**current.document, "killed": sorted(wanted)}
            try:
                # Not checked again: the kill switch must work on rules that do not fit, too.
                stored = await self._store.put_rules(
                    document,
                    expected=current.version,
                    author=deed.who,
                    reason=deed.reason,
                    at=deed.at,
                    deed=deed,
                    after=current.version,
                )
            except VersionConflict:
                await self.load(deed.at)
                continue
            self._take(stored)
            return stored
        raise StoreError(
            f"flag {flag}: the rules kept changing under the {'kill' if killed else 'revive'}; try again"
        )


def _flags_of(stored: StoredRules) -> tuple[list[str], set[str]]:
    """The flags and the killed flags that a stored document names."""
    flags = stored.document.get("flags")
    return list(flags) if isinstance(flags, Mapping) else [], _killed_of(stored)


def _killed_of(stored: StoredRules) -> set[str]:
    """The flags that a stored document, which may be any JSON, names as killed."""
    killed = stored.document.get("killed")
    return {flag for flag in killed if isinstance(flag, str)} if isinstance(killed, list) else set()
