"""Rules in SQL, which is the truth, with Redis as the fast copy and the bell, and a file for the worst day.

A change is committed in SQL, then written to Redis with its version, then announced. Who hears of it takes
that as a hint: what counts is a version above the one he has, with a checksum that holds, from the same SQL.
Nothing older and nothing unexpectedly empty is ever taken, wherever it comes from.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.errors import StoreError
from understudy.store.condition import Condition
from understudy.store.environment import Environment
from understudy.store.evidence import Key, Mark
from understudy.store.last_good import LastGood
from understudy.store.layered_access import LayeredAccess
from understudy.store.layered_exposures import LayeredExposures
from understudy.store.redis_copy import Damaged, RedisCopy, Ring
from understudy.store.rules import StoredRules
from understudy.store.sample import Sample
from understudy.store.sql import SqlStore

log = logging.getLogger("understudy.control")

POLL_SECONDS: Final = 3.0
"""How often SQL and the copy are compared although the bell is silent: it rings once, and may be missed. With
a second lost on a Redis that does not answer, a kill is still in force everywhere within 5 s."""

AWAY_SECONDS: Final = 1.0
"""How often SQL is asked while there is no bell at all."""

START_SECONDS: Final = 0.5
"""How long a start waits for either server when there are other rules to start from: traffic waits meanwhile,
and a whole start shall take less than 2 s. Both are asked again at once by whoever follows the rules."""


class LayeredStore(LayeredAccess, LayeredExposures):
    """``{redis: …, sql: …}``. Evidence, samples and history are in SQL alone."""

    def __init__(self, sql: SqlStore, copy: RedisCopy, last_good: LastGood | None) -> None:
        """Nothing is touched before `open`. *copy* should give up soon: a change waits for it.

        All three are of one environment. Without *last_good* there are no last good rules on this host.
        """
        self._others: dict[str, LayeredStore] = {sql.environment: self}
        self._sql = sql
        self._copy = copy
        self._last_good = last_good
        self._is_sql_open = False
        self._origin = ""
        self._known: StoredRules | None = None
        self._is_open = False
        self._alarms: dict[str, str] = {}
        self._healed = self._returns = 0
        self._copied = 0
        self._is_damaged = False
        self._missed_at = -AWAY_SECONDS

    @property
    def environment(self) -> str:
        """See Store.environment."""
        return self._sql.environment

    def of(self, environment: str) -> "LayeredStore":
        """See Store.of. Its last good rules are for its own hosts to keep, not for this one."""
        if environment not in self._others:
            other = LayeredStore(self._sql.of(environment), self._copy.of(environment), None)
            self._others[environment] = other
            other._others = self._others
        return self._others[environment]

    async def environments(self) -> list[Environment]:
        """See Store.environments."""
        return await (await self.truth()).environments()

    async def note_services(self, services: Collection[str]) -> None:
        """See Store.note_services."""
        await (await self.truth()).note_services(services)

    def condition(self) -> Condition:
        """See Store.condition."""
        return Condition(alarms=dict(self._alarms), healed=self._healed, returns=self._returns)

    async def open(self) -> None:
        """See Store.open. Without SQL it is open, too, when the copy or the file has rules."""
        if self._is_open:
            return
        found = await asyncio.to_thread(self._last_good.read) if self._last_good is not None else None
        if found is not None and self._known is None:
            self._known, self._origin = found
        _, trouble = await asyncio.gather(self._read_copy_soon(), self._soon(self._reach_sql()))
        if trouble and self._known is None:
            await self._reach_sql()
        elif trouble:
            self._alarm("sql_away", trouble)
            self._missed_at = time.monotonic()
        self._is_open = True

    async def close(self) -> None:
        """See Store.close."""
        self._is_open = self._is_sql_open = False
        try:
            await self._sql.close()
        finally:
            await self._copy.close()

    async def rules(self) -> StoredRules | None:
        """See Store.rules: SQL's, else the copy's, else the last ones known; never older ones than those."""
        self._check_open()
        if self._known is not None and time.monotonic() - self._missed_at < AWAY_SECONDS:
            return self._newest()  # asked a moment ago, by `open`
        trouble = await self._soon(self._look_at_sql(is_whole=True))
        if trouble:
            self._alarm("sql_away", trouble)
            await self._read_copy()
            if self._known is None:
                raise StoreError(trouble)
        return self._newest()

    async def version(self) -> int:
        """See Store.version."""
        known = await self.rules()
        return 0 if known is None else known.version

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer. Heals the copy meanwhile; never raises because a part is away.

        None before the time is over when SQL is back: it may not be what it was.
        """
        self._check_open()
        until = time.monotonic() + seconds
        while True:
            try:
                async with self._copy.listening() as ring:
                    return await self._heard(ring, than, until)
            except StoreError as error:
                self._alarm("redis_away", str(error))
            await self._look()
            left = until - time.monotonic()
            if self._is_above(than) or left <= 0:
                return self._newest() if self._is_above(than) else None
            await asyncio.sleep(min(left, AWAY_SECONDS))

    async def _heard(self, ring: Ring, than: int, until: float) -> StoredRules | None:
        returns = self._returns
        while True:
            await self._look()
            if self._is_above(than):
                return self._newest()
            left = until - time.monotonic()
            if left <= 0 or returns != self._returns:
                return None
            await ring(min(left, AWAY_SECONDS if "redis_away" in self._alarms else POLL_SECONDS))

    def _newest(self) -> StoredRules | None:
        """What is known, for a caller who may change his copy of the document."""
        return self._known and replace(self._known, document=deepcopy(self._known.document))

    def _is_above(self, than: int) -> bool:
        return self._known is not None and self._known.version > than

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
        """See Store.put_rules. Stored when SQL has it; a copy that is away hears of it later."""
        await self._truth()
        after = max(after, 0 if self._known is None else self._known.version)
        stored = await self._sql.put_rules(
            document, expected=expected, author=author, reason=reason, at=at, deed=deed, after=after
        )
        await self._take(stored)
        await self._write_copy()
        return replace(stored, document=deepcopy(stored.document))

    async def history(self, *, limit: int = 50, is_brief: bool = False) -> list[StoredRules]:
        """See Store.history."""
        return await (await self.truth()).history(limit=limit, is_brief=is_brief)

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        return await (await self.truth()).past(version)

    async def rules_at(self, at: float) -> StoredRules | None:
        """See Store.rules_at."""
        return await (await self.truth()).rules_at(at)

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        truth = await self.truth()
        return await truth.add_evidence(source=source, sequence=sequence, counts=counts, samples=samples)

    async def evidence(self) -> Ledger:
        """See Store.evidence."""
        return await (await self.truth()).evidence()

    async def evidence_mark(self) -> Mark:
        """See Store.evidence_mark."""
        return await (await self.truth()).evidence_mark()

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        return await (await self.truth()).samples()

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        return await (await self.truth()).sample(name)

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        return await (await self.truth()).forget_samples(unit=unit, deed=deed)

    async def secret(self, name: str) -> bytes:
        """See Store.secret."""
        return await (await self.truth()).secret(name)

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        await (await self.truth()).clear_evidence(deed=deed)

    # -- the layers ----------------------------------------------------------------------------------

    async def truth(self) -> SqlStore:
        """SQL, once it can be asked. Raises StoreError."""
        await self._truth()
        return self._sql

    async def _truth(self) -> None:
        """Be sure that SQL can be asked. Raises StoreError."""
        self._check_open()
        await self._reach_sql()

    async def _reach_sql(self) -> None:
        """Open SQL if it was away until now, and learn which SQL it is. Raises StoreError."""
        if self._is_sql_open:
            return
        await self._sql.open()
        origin = (await self._sql.secret("origin")).hex()[:16]
        if self._known is not None and origin != self._origin:
            log.warning("the last good rules are those of another store than %s; left aside", self._sql.name)
            self._known = None
        self._origin = origin
        self._is_sql_open = True

    async def _soon(self, asking: Coroutine[Any, Any, None]) -> str:
        """Await *asking*, not for long when there are rules to go on with; what went wrong, or nothing."""
        try:
            async with asyncio.timeout(None if self._known is None else START_SECONDS):
                await asking
        except TimeoutError:
            return f"store {self._sql.name}: did not answer within {START_SECONDS:g} s"
        except StoreError as error:
            return str(error)
        return ""

    async def _look(self) -> None:
        """Compare the copy and SQL, and bring the copy up to date."""
        known = self._known
        is_there = await self._read_copy()
        if self._known is not known:
            return  # news first; what is behind is seen to at the next look
        try:
            await self._look_at_sql()
        except StoreError as error:
            self._alarm("sql_away", str(error))
        else:
            if is_there:
                await self._write_copy()

    async def _look_at_sql(self, *, is_whole: bool = False) -> None:
        """See whether SQL has a newer version; with *is_whole*, also whether it has the same document."""
        await self._reach_sql()
        version = await self._sql.version()
        known = 0 if self._known is None else self._known.version
        is_wanted = version > known or (is_whole and version == known > 0)
        await self._judge_sql(version, await self._sql.rules() if is_wanted else None)

    async def _judge_sql(self, version: int, found: StoredRules | None) -> None:
        """Take what SQL has, unless that is older than what is known: then somebody put it back."""
        if self._calm("sql_away"):
            self._returns += 1
        known = 0 if self._known is None else self._known.version
        if version < known:
            self._alarm(
                "sql_behind",
                f"store {self._sql.name}: has rules version {version}, but version {known} is in force: was"
                " it put back from a copy? The next change is stored above both",
            )
            return
        self._calm("sql_behind")
        if found is not None:
            await self._take(found, is_truth=True)

    async def _read_copy(self) -> bool:
        """Take what the copy has, if it is newer and of our SQL. False when it cannot be reached."""
        try:
            await self._copy.open()
            found = await self._copy.read()
        except StoreError as error:
            self._alarm("redis_away", str(error))
            return False
        self._calm("redis_away")
        self._is_damaged = isinstance(found, Damaged)
        if found is None or isinstance(found, Damaged):
            return True  # what is known takes its place
        rules, origin = found
        if self._origin and origin != self._origin:
            self._alarm_foreign()
        else:
            self._calm("redis_foreign")
            self._origin = origin
            self._copied = max(self._copied, rules.version)
            await self._take(rules)
        return True

    async def _read_copy_soon(self) -> None:
        """As `_read_copy`, not for long when there are rules to go on with."""
        try:
            async with asyncio.timeout(None if self._known is None else START_SECONDS):
                await self._read_copy()
        except TimeoutError:
            text = f"store {self._copy.name}: did not answer within {START_SECONDS:g} s"
            self._alarm("redis_away", text)

    async def _write_copy(self) -> None:
        """Make what is known the copy, unless it is."""
        if self._known is None:
            return
        try:
            await self._copy.open()
            outcome = await self._copy.write(self._known, self._origin, is_damaged=self._is_damaged)
        except StoreError as error:
            self._alarm("redis_away", str(error))
            return
        self._calm("redis_away")
        if outcome == "foreign":
            self._alarm_foreign()
            return
        if outcome == "written" and self._copied >= self._known.version:
            self._healed += 1
            log.warning("%s had lost rules version %d; it has them again", self._copy.name, self._copied)
        self._copied = max(self._copied, self._known.version)

    async def _take(self, rules: StoredRules, *, is_truth: bool = False) -> None:
        """Know *rules* from now on, also after a restart, if they are newer than what is known.

        Or, as the truth, another document of that version: who follows the rules makes one of the two.
        """
        known = self._known
        is_twin = known is not None and rules.version == known.version and rules.sha256 != known.sha256
        if known is not None and rules.version <= known.version and not (is_truth and is_twin):
            return
        self._known = rules
        if self._last_good is None:
            return
        try:
            await asyncio.to_thread(self._last_good.write, rules, self._origin)
        except OSError as error:
            self._alarm("file", f"{self._last_good.path}: the last good rules cannot be kept: {error}")
        else:
            self._calm("file")

    def _alarm_foreign(self) -> None:
        self._alarm(
            "redis_foreign",
            f"store {self._copy.name}: holds the rules of another store, and is left alone; give each its own"
            " ?prefix=, or delete them there if that store is gone for good",
        )

    def _alarm(self, reason: str, text: str) -> None:
        if reason not in self._alarms:
            log.error("%s", text)
        self._alarms[reason] = text

    def _calm(self, reason: str) -> bool:
        """No alarm for *reason* any more; whether there was one."""
        if self._alarms.pop(reason, None) is None:
            return False
        log.info("store: %s is over", reason)
        return True

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(f"store {self._sql.name}: is not open")
