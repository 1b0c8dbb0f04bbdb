"""What the admin server asks of the process it runs in: rules, evidence, metrics, readiness."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.admin.in_force import Succession
from understudy.config import Rules
from understudy.store import Sample, StoredRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stored change, and how far it has come: ``applied`` of ``workers`` have acknowledged it."""

    rules: StoredRules
    workers: int
    applied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """A reload that was made: which top-level keys ``changed``, which are ``waiting`` for a restart, and how
    many of the workers follow."""

    changed: tuple[str, ...]
    waiting: tuple[str, ...]
    notes: tuple[str, ...]
    workers: int
    applied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether traffic should be sent here, and each check by name: ``{"ok": bool, "detail": str}``."""

    ready: bool
    checks: Mapping[str, Mapping[str, Any]]


class ControlPlane(Protocol):
    """The one seam between the admin server and the rest. Every method may raise StoreError."""

    @property
    def succession(self) -> Succession:
        """The rules in force, from memory: there with the store away too."""

    async def rules(self) -> StoredRules:
        """The rules document in force."""

    async def newest(self) -> StoredRules:
        """The newest rules document of the store, in force from now on; what `rules` has while it is away."""

    async def history(self, *, limit: int) -> list[StoredRules]:
        """Versions of the rules document, newest first, *limit* at most; perhaps without the documents."""

    async def past(self, version: int) -> StoredRules | None:
        """The rules document as it was in *version*; None when that is not kept."""

    async def rules_at(self, at: float) -> StoredRules | None:
        """The rules document that was the newest at Unix time *at*; None when that is not kept."""

    async def check_rules(self, document: Any) -> Rules:
        """The rules that *document* says, as ``put_rules`` would store them; nothing is stored.

        Raises: ConfigError, StoreError.
        """

    async def put_rules(
        self,
        document: Any,
        *,
        expected: int | None,
        author: str,
        reason: str,
        origin: str = "",
        action: str = "rules.put",
        target: str = "",
    ) -> Change:
        """Check *document*, store it as the next version, and hand it to the workers.

        *expected* is the version it replaces; None replaces whatever is there. *origin* is the address that
        the author speaks from, here and below: it goes into the audit. *action* and *target* say there what
        was done to which part of the document.

        Raises: ConfigError (nothing was changed), VersionConflict, StoreError.
        """

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        """Put *flag* on its safe variant, before any other rule. Killing twice is killing once.

        Raises: FlagNotFound, StoreError.
        """

    async def revive(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        """Undo ``kill``. Raises: FlagNotFound, StoreError."""

    async def reload(self) -> Reload:
        """Read the configuration file again, and put it in force everywhere.

        Raises: ConfigError, and then everything is as it was.
        """

    async def restart_workers(self) -> int:
        """Begin to replace the workers one after the other; their number. Does not wait for the end."""

    def services(self) -> list[dict[str, Any]]:
        """The services that rules may name: ``name``, ``origins``, ``balance``, and ``health``, as far as the
        workers have told of it: how many origins are up for the worker that sees the fewest, null until then.
        """

    async def report(self) -> dict[str, Any]:
        """The report as JSON (DESIGN §8)."""

    async def sample(self, name: str) -> Sample | None:
        """The sample called *name*, with its ``whole``; None when there is none (any more)."""

    async def forget_samples(self, *, unit: str | None, author: str = "", origin: str = "") -> int:
        """Forget the samples of *unit* (its text), or all when that is None; how many there were."""

    def revision(self) -> int:
        """A number that is another one whenever the report may be: evidence, samples or rules changed.

        Cheap, and never the same as in a process before this one.
        """

    async def clear_evidence(self, *, author: str = "", origin: str = "") -> None:
        """Forget all evidence, so that the report starts anew."""

    def metrics(self) -> bytes:
        """Metrics of all workers, in the Prometheus text format 0.0.4."""

    def readiness(self) -> Readiness:
        """Whether traffic should be sent here."""
