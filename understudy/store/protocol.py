"""What every back end promises."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.store.access import AccessStore
from understudy.store.condition import Condition
from understudy.store.environment import Environment
from understudy.store.evidence import Key, Mark
from understudy.store.exposures import ExposureStore
from understudy.store.rules import StoredRules
from understudy.store.sample import Sample


class Store(AccessStore, ExposureStore, Protocol):
    """Rules with their history, evidence by integer addition, a few samples, exposures, tokens and the audit.

    Every operation has a deadline, is one transaction, and may be cancelled: it is done whole or not
    at all. Every operation may raise StoreError; after it the next call may succeed. One open store
    serves any number of tasks of one event loop.

    A store is that of one environment: rules, their history, evidence, sources and samples of another never
    show in it, and nothing done here changes them. Tokens, the audit and secrets are of all.
    """

    @property
    def environment(self) -> str:
        """The name of the environment whose store this is."""

    def of(self, environment: str) -> "Store":
        """The store of another *environment* over the same connection: open it before use, as any.

        It is closed with this one, and not before: its own `close` leaves the connection open. Asked
        twice for one name, it is the same.
        """

    async def environments(self) -> list[Environment]:
        """Every environment that has rules, or whose services were noted; by name."""

    async def note_services(self, services: Collection[str]) -> None:
        """Remember which *services* the processes of this environment know, so that others can be checked
        against them before they get rules from elsewhere.
        """

    async def open(self) -> None:
        """Connect and bring the tables to this version. May be called again after a failure.

        Raises StoreError that names the store and the mend.
        """

    async def close(self) -> None:
        """Let go of everything once the running operation has ended. May be called twice."""

    def condition(self) -> Condition:
        """What is wrong although the store answers; no waiting."""

    async def rules(self) -> StoredRules | None:
        """The newest version; None while there is none. Raises StoreError when it is damaged."""

    async def version(self) -> int:
        """The newest version's number; 0 while there is none."""

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """The newest version once it is above *than*, whoever stored it; None after *seconds* without."""

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
        """Store *document* as the next version if the newest is *expected*; return what is stored.

        Versions up to *after* were given, even if they are not here (any more): a store that was emptied or
        put back from a copy goes on above them. *expected* 0 means there must be none yet, None takes
        whatever is there. *at* is Unix time in seconds. The audit gets an entry in the same transaction:
        *deed* with both versions and the environment filled in, else one made from the rest. Raises
        VersionConflict when somebody else was first, StoreError when *document* is no JSON object.
        """

    async def history(self, *, limit: int = 50, is_brief: bool = False) -> list[StoredRules]:
        """The newest *limit* versions, newest first. Every version is kept.

        *is_brief* leaves their documents empty: two hundred of 10,000 flags each would take gigabytes.
        """

    async def past(self, version: int) -> StoredRules | None:
        """The version *version*; None when there is none, or it is not kept any more."""

    async def rules_at(self, at: float) -> StoredRules | None:
        """The version that was the newest at Unix time *at*; None when there was none, or it is not kept.

        By the clocks of those who stored them: of two that disagree, the higher version counts.
        """

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """Add one batch of *source*; False, and nothing added, if it has been added before.

        A source numbers its batches upward; a batch whose *sequence* is not above the last one added
        has been added before. Raises ValueError for a batch that can never be added (a negative count,
        a body that is no JSON), so that nobody sends it again.
        """

    async def evidence(self) -> Ledger:
        """All counts; the caller's own, to add to. Counts that are added meanwhile may be missing."""

    async def evidence_mark(self) -> Mark:
        """Where the evidence stands: cheap, to be asked every few seconds.

        Asked before `evidence`, it is that of counts which are all in there.
        """

    async def samples(self) -> list[Sample]:
        """The samples kept, by key, lowest priority first; without their ``whole``."""

    async def sample(self, name: str) -> Sample | None:
        """The sample called *name*, with its ``whole``; None when it is not kept (any more)."""

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """Forget the samples of *unit* (its digest, not empty), or all of them; how many there were.

        Counts stay: they name nobody. The audit gets an entry for *deed* in the same transaction.
        """

    async def secret(self, name: str) -> bytes:
        """32 random bytes called *name*: made when they are first asked for, and the same ever after.

        For digests that must be found again after a restart; as well kept as what they are digests in.
        """

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """Forget counts and samples. What sources have sent stays known, so no batch comes back.

        The audit gets an entry for *deed* in the same transaction.
        """
