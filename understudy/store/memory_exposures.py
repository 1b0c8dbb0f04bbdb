"""Exposures in memory."""

from understudy.store.exposures import (
    BATCH_SECONDS,
    HOUR_SECONDS,
    MOST_UNITS,
    Exposures,
    FlagUsage,
    Hour,
    usage_rows,
)
from understudy.store.rules import printable


class MemoryExposures:
    """What `ExposureStore` names, of one environment, but for the audit."""

    def __init__(self) -> None:
        self._hours: dict[Hour, tuple[int, float]] = {}
        self._units: dict[tuple[str, str, str], float] = {}
        self._batches: dict[str, float] = {}

    def add(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        if batch in self._batches:
            return False
        self._batches[batch] = exposures.at
        for (flag, variant, hour), n in exposures.counts.items():
            key = (printable(flag), printable(variant), hour)
            known, last_at = self._hours.get(key, (0, 0.0))
            self._hours[key] = (known + n, max(last_at, exposures.at))
        for met in exposures.units:
            self._units.setdefault((printable(met.flag), printable(met.variant), met.unit), met.at)
        return True

    def usage(self, *, flag: str | None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        counts: dict[tuple[str, str], tuple[int, float]] = {}
        for (name, variant, _), (n, at) in self._hours.items():
            known, last_at = counts.get((name, variant), (0, 0.0))
            counts[name, variant] = (known + n, max(last_at, at))
        units: dict[tuple[str, str], set[str]] = {}
        totals: dict[str, set[str]] = {}
        for name, variant, unit in self._units:
            units.setdefault((name, variant), set()).add(unit)
            totals.setdefault(name, set()).add(unit)
        rows = usage_rows(
            counts,
            {key: len(found) for key, found in units.items()},
            {key: len(found) for key, found in totals.items()},
        )
        return [row for row in rows if flag is None or row.flag == printable(flag)]

    def forget(self, *, unit: str) -> int:
        """See ExposureStore.forget_exposures."""
        gone = [key for key in self._units if key[2] == unit]
        for key in gone:
            del self._units[key]
        return len(gone)

    def expire(self, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures."""
        self._hours = {key: row for key, row in self._hours.items() if (key[2] + 1) * HOUR_SECONDS > before}
        young = sorted((at, key) for key, at in self._units.items() if at >= before)
        self._units = {key: at for at, key in young[max(len(young) - most, 0) :]}
        newest = max(self._batches.values(), default=0.0)
        self._batches = {name: at for name, at in self._batches.items() if at > newest - BATCH_SECONDS}
