"""Exposures of a store in layers: in SQL alone."""

from typing import Protocol

from understudy.access import Deed
from understudy.store.exposures import MOST_UNITS, Exposures, ExposureStore, FlagUsage


class Truth(Protocol):
    """What a store in layers asks of itself."""

    async def truth(self) -> ExposureStore:
        """The layer that is right, once it can be asked. Raises StoreError."""


class LayeredExposures:
    """The part of a store in layers that `ExposureStore` names."""

    async def add_exposures(self: Truth, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        return await (await self.truth()).add_exposures(exposures, batch=batch)

    async def usage(self: Truth, *, flag: str | None = None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        return await (await self.truth()).usage(flag=flag)

    async def forget_exposures(self: Truth, *, unit: str, deed: Deed | None = None) -> int:
        """See ExposureStore.forget_exposures."""
        return await (await self.truth()).forget_exposures(unit=unit, deed=deed)

    async def expire_exposures(self: Truth, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures."""
        await (await self.truth()).expire_exposures(before=before, most=most)
