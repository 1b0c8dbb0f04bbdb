"""What was met, on its way from workers and from the decider to the store."""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from understudy.access import Deed
from understudy.app.intake import UNIT_KEY
from understudy.config import ExposureSettings
from understudy.errors import StoreError
from understudy.exposures import Told, is_sampled
from understudy.recent import Recent
from understudy.shadow.units import unit_digest
from understudy.store import Exposure, Exposures, FlagUsage, Store, is_keepable

if TYPE_CHECKING:
    from understudy.admin import Met  # an application with the middleware has no admin server

log = logging.getLogger("understudy.control")

FLUSH_SECONDS: Final = 2.0
"""How late usage may be. A batch is a transaction."""
EXPIRE_SECONDS: Final = 600.0
AT_ONCE: Final = 2000
"""Units in one batch: 20 ms for SQLite, far below the store's deadline."""
MOST_WAITING: Final = 50_000
"""Units that wait for a store that is away, some 15 MiB; more are dropped and counted."""
MOST_KNOWN: Final = 200_000
KNOWN_SECONDS: Final = 86_400.0
_EARLY_SECONDS: Final = 300.0
"""How much ahead the clock of a client may be."""


class Exposed:
    """Who met which variant, since it was last written.

    Units are hashed before they go to the store: *named* makes of the store's key and a unit what is stored.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], ExposureSettings],
        clock: Callable[[], float] = time.time,
        named: Callable[[bytes, str], str] = unit_digest,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        """What usage does not tell of, by reason."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._named = named
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._units: list[tuple[str, str, str, float]] = []
        self._known = Recent(most=MOST_KNOWN)
        self._known_since = clock()
        self._key = b""
        self._under_way: tuple[str, Exposures] | None = None
        self._expired_at = 0.0

    @property
    def share(self) -> float:
        """Of units that are kept."""
        return self._settings().sample

    @property
    def retention_seconds(self) -> float:
        """How long exposures are kept."""
        return self._settings().retention

    # -- what is met -----------------------------------------------------------------------------------

    def heard(self, told: Told) -> None:
        """Take what a worker tells."""
        hour = int(told.at) // 3600
        for (flag, variant), n in told.counts.items():
            self._count(flag, variant, hour, n)
        for flag, variant, unit in told.units:
            self._keep(flag, variant, unit, told.at)

    def see(self, flag: str, variant: str, unit: str) -> None:
        """*unit* was told that *flag* has *variant* for it. Never waits, never raises."""
        now = self._clock()
        self._count(flag, variant, int(now) // 3600, 1)
        self._keep(flag, variant, unit, now)

    def _count(self, flag: str, variant: str, hour: int, n: int) -> None:
        if is_keepable(flag, variant):
            self._counts[flag, variant, hour] += n
        else:
            self.dropped["name_too_long"] += n

    def _keep(self, flag: str, variant: str, unit: str, at: float) -> None:
        share = self.share
        if not unit or share <= 0 or not is_keepable(flag, variant) or not is_sampled(unit, share):
            return
        if len(self._units) >= MOST_WAITING:
            self.dropped["full"] += 1
        elif not self._known.is_known(hash((flag, variant, unit))):
            self._units.append((flag, variant, unit, at))

    async def add(self, met: "Sequence[Met]", *, batch: str) -> bool:
        """Store what a client tells, at once; False when *batch* was stored before. Raises: StoreError."""
        now, key, share = self._clock(), await self._unit_key(), self.share
        counts: Counter[tuple[str, str, int]] = Counter()
        units: list[Exposure] = []
        for one in met:
            if not is_keepable(one.flag, one.variant):
                self.dropped["name_too_long"] += 1
                continue
            at = min(max(one.at or now, now - self.retention_seconds), now + _EARLY_SECONDS)
            counts[one.flag, one.variant, int(at) // 3600] += one.evaluations
            if one.unit and share > 0 and is_sampled(one.unit, share):
                digest = self._named(key, one.unit)
                units.append(Exposure(flag=one.flag, variant=one.variant, unit=digest, at=at))
        return await self._store.add_exposures(Exposures(counts=counts, units=units, at=now), batch=batch)

    # -- the store -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what was met, and let go of what is too old, for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
                await self._expire()
            except StoreError as error:
                log.debug("exposures wait: %s", error)  # whoever needs the store tells of it

    async def flush(self) -> None:
        """Write all that waits. Raises: StoreError, and then nothing is lost that there is room for.

        What no store can take is dropped and counted.
        """
        while self._under_way is not None or self._counts or self._units:
            under_way = await self._batch()
            name, exposures = under_way
            # Under one name until it is there, so that an attempt that failed late is not counted twice.
            try:
                await self._store.add_exposures(exposures, batch=name)
            except (ValueError, TypeError) as error:
                log.error("exposures are dropped, because no store can take them: %s", error)
                self.dropped["refused"] += sum(exposures.counts.values())
            if self._under_way is under_way:
                self._under_way = None

    def give_up(self, why: str) -> None:
        """Let go of all that waits, at the end: counted and told, with *why*."""
        counts = self._counts.copy()
        if self._under_way is not None:
            counts.update(self._under_way[1].counts)
        self._counts, self._units, self._under_way = Counter(), [], None
        if n := sum(counts.values()):
            self.dropped["unstored"] += n
            log.warning("usage does not tell of the last %d evaluations, which were not stored: %s", n, why)

    async def _batch(self) -> tuple[str, Exposures]:
        """What is under way, else the next; who writes meanwhile sends the same one, which counts once."""
        key = await self._unit_key() if self._units else b""
        if self._under_way is None:
            self._under_way = self._next(key)
        return self._under_way

    def _next(self, key: bytes) -> tuple[str, Exposures]:
        counts, self._counts = self._counts, Counter()
        rows, self._units = self._units[:AT_ONCE], self._units[AT_ONCE:]
        units = [
            Exposure(flag=flag, variant=variant, unit=self._named(key, unit), at=at)
            for flag, variant, unit, at in rows
        ]
        name = f"control {secrets.token_hex(16)}"
        return name, Exposures(counts=counts, units=units, at=self._clock())

    async def _expire(self) -> None:
        now = self._clock()
        if now - self._known_since > KNOWN_SECONDS:
            self._known.forget()  # what the store has let go of may be new again
            self._known_since = now
        if now - self._expired_at < EXPIRE_SECONDS:
            return
        await self._store.expire_exposures(before=now - self.retention_seconds)
        self._expired_at = now

    async def usage(self, *, flag: str | None) -> list[FlagUsage]:
        """What was met, some seconds ago at the latest. Raises: StoreError."""
        return await self._store.usage(flag=flag)

    async def forget(self, *, unit: str, author: str = "", origin: str = "") -> int:
        """Forget what *unit* (its text) met; of how many variants. Raises: StoreError."""
        # The audit does not name the unit: it is kept for good, and shall not remember who was forgotten.
        deed = Deed(
            at=self._clock(), who=author, origin=origin, action="exposures.forget", target="of one unit"
        )
        await self.flush()
        return await self._store.forget_exposures(unit=unit_digest(await self._unit_key(), unit), deed=deed)

    async def _unit_key(self) -> bytes:
        if not self._key:
            self._key = await self._store.secret(UNIT_KEY)
        return self._key
