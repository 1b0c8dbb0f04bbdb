"""A store in Redis alone, for any number of hosts: as lasting as that Redis is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.config import DEFAULT_ENVIRONMENT, RedisPlace
from understudy.store.condition import Condition
from understudy.store.environment import Environment, read_services, services_text
from understudy.store.evidence import Key, Mark
from understudy.store.exposures import MOST_UNITS, Exposures, FlagUsage
from understudy.store.redis_access import RedisAccess
from understudy.store.redis_evidence import RedisEvidence
from understudy.store.redis_exposures import RedisExposures
from understudy.store.redis_link import RedisLink
from understudy.store.redis_rules import RedisRules
from understudy.store.rules import StoredRules
from understudy.store.sample import Bounds, Sample


class RedisStore(RedisAccess):
    """``redis://…``: keeps the last 1,000 versions of the rules."""

    def __init__(
        self,
        place: RedisPlace,
        *,
        bounds: Bounds | None = None,
        deadline_seconds: float = 5.0,
        clock: Callable[[], float] | None = None,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        """Nothing is touched before `open`. *deadline_seconds* bounds every command."""
        self._link = RedisLink(place, deadline_seconds=deadline_seconds)
        self._make_evidence = partial(RedisEvidence, self._link, bounds=bounds or Bounds(), clock=clock)
        self._all: dict[str, RedisStore] = {}
        self._is_owner = True
        self._begin(environment)

    def _begin(self, environment: str) -> None:
        self.environment = environment
        self._all[environment] = self
        self._rules = RedisRules(self._link, environment)
        self._evidence = self._make_evidence(environment)
        self._exposures = RedisExposures(self._link, environment)

    async def open(self) -> None:
        """See Store.open."""
        await self._link.open()

    async def close(self) -> None:
        """See Store.close."""
        if self._is_owner:
            await self._link.close()

    def of(self, environment: str) -> "RedisStore":
        """See Store.of."""
        if environment not in self._all:
            other = copy(self)
            other._is_owner = False
            other._begin(environment)
        return self._all[environment]

    async def environments(self) -> list[Environment]:
        """See Store.environments."""
        async with self._link.asking() as client:
            noted = await client.hgetall(self._link.key("environments"))
        known = {name.decode(): text.decode() for name, text in noted.items()}
        found = []
        for name in sorted({*known, DEFAULT_ENVIRONMENT}):
            rules = await self.of(name).rules()
            services = read_services(known.get(name, ""))
            if rules is not None:
                told = Environment(name=name, version=rules.version, at=rules.at, services=services)
                found.append(told)
            elif services is not None:
                found.append(Environment(name=name, services=services))
        return found

    async def note_services(self, services: Collection[str]) -> None:
        """See Store.note_services."""
        async with self._link.asking() as client:
            await client.hset(self._link.key("environments"), self.environment, services_text(services))

    def condition(self) -> Condition:
        """See Store.condition."""
        return Condition()

    async def rules(self) -> StoredRules | None:
        """See Store.rules."""
        return await self._rules.newest()

    async def version(self) -> int:
        """See Store.version."""
        return await self._rules.version()

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer. Every change rings a bell; the version is asked for every 3 s all the same."""
        return await self._rules.newer(than, seconds=seconds)

    async def put_rules(
        self,
        document: Mapping[str, Any],
        *,
        expected: int | None,
        author: str,
        reason: str,
        at: float,
        deed: Deed | None = None,
        after: int = 0,
    ) -> StoredRules:
        """See Store.put_rules."""
        return await self._rules.put(
            document, expected=expected, author=author, reason=reason, at=at, deed=deed, after=after
        )

    async def history(self, *, limit: int = 50, is_brief: bool = False) -> list[StoredRules]:
        """See Store.history; only the last 1,000 versions are kept."""
        return await self._rules.history(limit=limit, is_brief=is_brief)

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        return await self._rules.past(version)

    async def rules_at(self, at: float) -> StoredRules | None:
        """See Store.rules_at."""
        return await self._rules.at(at)

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        return await self._evidence.add(source=source, sequence=sequence, counts=counts, samples=samples)

    async def evidence(self) -> Ledger:
        """See Store.evidence."""
        return await self._evidence.counts()

    async def evidence_mark(self) -> Mark:
        """See Store.evidence_mark."""
        return await self._evidence.mark()

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        return await self._evidence.samples()

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        return await self._evidence.sample(name)

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        return await self._evidence.forget(unit=unit, deed=deed)

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        return await self._exposures.add(exposures, batch=batch)

    async def usage(self, *, flag: str | None = None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        return await self._exposures.usage(flag=flag)

    async def forget_exposures(self, *, unit: str, deed: Deed | None = None) -> int:
        """See ExposureStore.forget_exposures."""
        return await self._exposures.forget(unit=unit, deed=deed)

    async def expire_exposures(self, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures."""
        await self._exposures.expire(before=before, most=most)

    async def secret(self, name: str) -> bytes:
        """See Store.secret."""
        return await self._evidence.secret(name)

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        await self._evidence.clear(deed=deed)
