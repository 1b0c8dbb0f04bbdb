"""A control plane in memory, with switches for everything that can go wrong."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from understudy.access import Caller, Role
from understudy.admin import Change, Readiness, Reload, Succession
from understudy.config import Rules
from understudy.errors import ConfigError, FlagNotFound, Problem, StoreError, VersionConflict
from understudy.store import Sample, StoredRules

DOCUMENT: dict[str, Any] = {
    "flags": {"shop": {"state": "ENABLED"}},
    "routes": [],
    "compare": [],
    "killed": [],
}
REPORT: dict[str, Any] = {
    "verdict": "clean",
    "exchanges": 3,
    "with_control": 1,
    "mirror": {"eligible": 3, "sent": 3, "skipped": {}, "dropped": {}, "answered": 3, "failed": {}},
    "endpoints": [],
}

ANN = Caller(name="ann", role=Role.VIEWER, origin="127.0.0.1")


async def stays(_caller: Caller) -> None:
    """A credential that ends never."""
    await asyncio.Event().wait()


def stored(version: int, document: Any, author: str = "seed", reason: str = "") -> StoredRules:
    """One version of the rules document."""
    return StoredRules(
        version=version, document=document, author=author, reason=reason, at=1_767_000_000.0, sha256="ab" * 32
    )


@dataclass
class FakeControl:
    """Follows the ControlPlane protocol; ``failure`` is raised by every call, ``hangs`` never answers."""

    versions: list[StoredRules] = field(default_factory=lambda: [stored(7, DOCUMENT)])
    is_ready: bool = True
    evidence: dict[str, Any] = field(default_factory=lambda: dict(REPORT))
    killed: list[str] = field(default_factory=list)
    is_cleared: bool = False
    samples: dict[str, Sample] = field(default_factory=dict)
    forgotten: list[str | None] = field(default_factory=list)
    failure: Exception | None = None
    hangs: bool = False
    follow: int = 2
    changes: int = 0
    succession: Succession = field(default_factory=Succession)

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure

    async def rules(self) -> StoredRules:
        await self._answer()
        return self.versions[-1]

    async def newest(self) -> StoredRules:
        return await self.rules()

    async def history(self, *, limit: int) -> list[StoredRules]:
        await self._answer()
        return self.versions[::-1][:limit]

    async def past(self, version: int) -> StoredRules | None:
        await self._answer()
        return next((stored for stored in self.versions if stored.version == version), None)

    async def rules_at(self, at: float) -> StoredRules | None:
        await self._answer()
        return next((stored for stored in self.versions[::-1] if stored.at <= at), None)

    async def check_rules(self, document: Any) -> Rules:
        await self._answer()
        return Rules(flags=document["flags"], document=document)

    def services(self) -> list[dict[str, Any]]:
        health = {"healthy": None, "origins": 1}
        origins = ["http://127.0.0.1:9001"]
        return [{"name": "v1", "origins": origins, "balance": "round_robin", "health": health}]

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
        await self._answer()
        current = self.versions[-1].version
        if not isinstance(document, dict) or "flags" not in document:
            raise ConfigError(
                (
                    Problem(path="", message="must hold flags"),
                    Problem(path="routes[0].flag", message="unknown flag 'shpo'", hint="did you mean shop?"),
                )
            )
        if expected is not None and expected != current:
            raise VersionConflict(expected=expected, actual=current)
        self.versions.append(stored(current + 1, document, author, reason))
        return Change(rules=self.versions[-1], workers=2, applied=2)

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        await self._answer()
        if flag not in self.versions[-1].document["flags"]:
            raise FlagNotFound(flag, tuple(self.versions[-1].document["flags"]))
        self.killed.append(flag)
        self.versions.append(stored(self.versions[-1].version + 1, DOCUMENT, author, reason))
        return Change(rules=self.versions[-1], workers=2, applied=1)

    async def revive(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        change = await self.kill(flag, author=author, reason=reason)
        self.killed = [key for key in self.killed if key != flag]
        return change

    async def reload(self) -> Reload:
        await self._answer()
        return Reload(
            changed=("services",), waiting=("listen",), notes=("a note",), workers=2, applied=self.follow
        )

    async def restart_workers(self) -> int:
        await self._answer()
        return 2

    async def report(self) -> dict[str, Any]:
        await self._answer()
        return self.evidence

    async def sample(self, name: str) -> Sample | None:
        await self._answer()
        return self.samples.get(name)

    async def forget_samples(self, *, unit: str | None, author: str = "", origin: str = "") -> int:
        await self._answer()
        self.forgotten.append(unit)
        return 3

    def revision(self) -> int:
        return self.changes

    async def clear_evidence(self, *, author: str = "", origin: str = "") -> None:
        await self._answer()
        self.is_cleared = True

    def metrics(self) -> bytes:
        return b"# TYPE understudy_rules_version gauge\nunderstudy_rules_version 7\n"

    def readiness(self) -> Readiness:
        checks = {"workers": {"ok": self.is_ready, "detail": "2 of 2 serve"}}
        return Readiness(ready=self.is_ready, checks=checks)


class LockedStore(StoreError):
    """A store that cannot answer now."""

    def __init__(self) -> None:
        super().__init__("understudy.db: the file is locked by another process; stop it, or try again")
