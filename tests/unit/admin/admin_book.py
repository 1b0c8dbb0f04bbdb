"""A control plane in memory over a real rulebook: documents are checked, stored and told to the audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from admin_fakes import FakeControl

from understudy.access import Entry
from understudy.admin import Change, create_admin
from understudy.app.rulebook import Rulebook
from understudy.config import Rules, parse_rules
from understudy.store import MemoryStore, StoredRules

SERVICES = ("v1", "v2")
SHOP: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"canary": {"serve": "v2"}, "stable": {"serve": "v1"}},
    "defaultVariant": "stable",
    "targeting": {"fractional": [["canary", 5], ["stable", 95]]},
    "metadata": {"owner": "ann", "tags": "web, checkout"},
}
BANNER: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"if": [{"$ref": "staff"}, "on"]},
}
DOCUMENT: dict[str, Any] = {
    "flags": {
        "shop": SHOP,
        "banner": BANNER,
        "late": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"if": [{"===": [{"flag": "banner"}, "on"]}, "on"]},
        },
        "old": {
            "state": "DISABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "metadata": {"archived": True, "description": "the Christmas banner"},
        },
    },
    "$evaluators": {"staff": {"in": ["@example.com", {"var": "email"}]}},
    "routes": [
        {"path": "/shop", "flag": "shop", "unit": "cookie:uid", "name": "shop-front"},
        {"path": "/", "serve": "v1"},
    ],
}


@dataclass
class BookControl(FakeControl):
    """As ``FakeControl``, with rules that are what ``understudy serve`` makes of them."""

    store: MemoryStore = field(default_factory=MemoryStore)
    document: Any = field(default_factory=lambda: DOCUMENT)
    rival: Any = None
    """A document that somebody else stores just before the next change does."""

    def __post_init__(self) -> None:
        seed = parse_rules(self.document, services=SERVICES)
        self.book = Rulebook(self.store, seed=seed, services=SERVICES)

    async def begin(self) -> None:
        """Open the store and put the rules in force."""
        await self.store.open()
        await self.book.load(1.0)
        self._put_in_force()

    def _put_in_force(self) -> None:
        self.succession.put(version=self.book.version, rules=self.book.parsed, at=self.book.stored_at)

    def _changed(self, stored: StoredRules) -> Change:
        self._put_in_force()
        return Change(rules=stored, workers=2, applied=2)

    async def rules(self) -> StoredRules:
        await self._answer()
        return self.book.current()

    async def newest(self) -> StoredRules:
        await self.book.load(2.0)
        self._put_in_force()
        return self.book.current()

    async def history(self, *, limit: int) -> list[StoredRules]:
        return await self.store.history(limit=limit)

    async def past(self, version: int) -> StoredRules | None:
        await self._answer()
        return await self.store.past(version)

    async def rules_at(self, at: float) -> StoredRules | None:
        await self._answer()
        return await self.store.rules_at(at)

    async def check_rules(self, document: Any) -> Rules:
        return await self.book.check(document)

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
        if self.rival is not None:
            rival, self.rival = self.rival, None
            await self.book.put(rival, expected=None, author="bob", reason="quicker", at=2.0)
        stored = await self.book.put(
            document,
            expected=expected,
            author=author,
            reason=reason,
            at=2.0,
            origin=origin,
            action=action,
            target=target,
        )
        return self._changed(stored)

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        return self._changed(await self.book.kill(flag, author=author, reason=reason, at=2.0, origin=origin))

    async def revive(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        return self._changed(
            await self.book.revive(flag, author=author, reason=reason, at=2.0, origin=origin)
        )

    async def entries(self) -> list[Entry]:
        """The audit but for the seed."""
        return (await self.store.audit())[1:]

    @property
    def flags(self) -> Any:
        """The flags in force."""
        return self.book.current().document["flags"]


@asynccontextmanager
async def serving(control: BookControl) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin server in front of *control*, once its rules are in force."""
    await control.begin()
    transport = httpx.ASGITransport(
        create_admin(control), raise_app_exceptions=False, client=("127.0.0.1", 50123)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        yield client
