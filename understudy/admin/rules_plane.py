"""What endpoints that read and change a rules document ask of whoever keeps it."""

from typing import Any, Protocol

from understudy.admin.control import Change
from understudy.admin.in_force import Succession
from understudy.config import Rules
from understudy.store import StoredRules


class RulesPlane(Protocol):
    """The part of `ControlPlane` that every environment has, see there."""

    @property
    def succession(self) -> Succession | None:
        """The rules in force here; None when they are in force elsewhere."""

    async def rules(self) -> StoredRules:
        """The rules document in force."""

    async def newest(self) -> StoredRules:
        """The newest rules document of the store, in force from now on; what `rules` has while it is away."""

    async def check_rules(self, document: Any) -> Rules:
        """The rules that *document* says; nothing is stored. Raises: ConfigError, StoreError."""

    async def history(self, *, limit: int) -> list[StoredRules]:
        """Versions of the rules document, newest first, *limit* at most; perhaps without the documents."""

    async def past(self, version: int) -> StoredRules | None:
        """The rules document as it was in *version*; None when that is not kept."""

    async def rules_at(self, at: float) -> StoredRules | None:
        """The rules document that was the newest at Unix time *at*; None when that is not kept."""

    async def put_rules(
        self, document: Any, *, expected: int | None, author: str, reason: str, origin: str = ""
    ) -> Change:
        """Check *document* and store it as the next version.

        Raises: ConfigError, VersionConflict, StoreError.
        """
