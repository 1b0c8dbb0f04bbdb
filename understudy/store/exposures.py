"""What every back end promises of exposures: who met which variant, by count and by unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from understudy.access import Deed

HOUR_SECONDS: Final = 3600
MOST_UNITS: Final = 1_000_000
"""Units by flag and variant that are kept in one environment, the newest: some 100 MiB in SQLite."""
BATCH_SECONDS: Final = 86_400.0
"""How long a batch is known, so that it is not added twice: a client gives up before."""
_MOST_NAME_CHARACTERS: Final = 256
"""A key of an index in PostgreSQL has 2,704 bytes at most."""

Hour = tuple[str, str, int]
"""Flag, variant, and hours since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """*unit*, a digest, met *variant* of *flag* at Unix time *at*."""

    flag: str
    variant: str
    unit: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposures:
    """What is added at once. ``counts``: evaluations. ``units``: who met what, new or not."""

    counts: Mapping[Hour, int]
    units: Sequence[Exposure] = ()
    at: float
    """The latest of them, Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantUsage:
    """How often a variant was met in the time that is kept, by how many of the units kept, and when last."""

    variant: str
    evaluations: int
    units: int
    last_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagUsage:
    """``units`` are all different: one that met two variants counts once here, and once at each of them."""

    flag: str
    units: int
    variants: Sequence[VariantUsage]


class ExposureStore(Protocol):
    """Exposures of the environment that the store is bound to."""

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        """Add them, unless *batch* was added within a day: then False, and nothing is added.

        Of a unit the first time that it met a variant is kept; later ones are nothing new.
        """

    async def usage(self, *, flag: str | None = None) -> list[FlagUsage]:
        """What was met, of *flag* or of all, in the order of their names."""

    async def forget_exposures(self, *, unit: str, deed: Deed | None = None) -> int:
        """Forget what *unit*, a digest, met; of how many variants. The counts stay: they name nobody.

        The audit gets an entry for *deed* in the same transaction.
        """

    async def expire_exposures(self, *, before: float, most: int = MOST_UNITS) -> None:
        """Forget the hours and the units before *before*, and all but the *most* newest units."""


def is_keepable(flag: str, variant: str) -> bool:
    """Whether a store can keep what is met under these names."""
    return len(flag) <= _MOST_NAME_CHARACTERS and len(variant) <= _MOST_NAME_CHARACTERS


def usage_rows(
    counts: Mapping[tuple[str, str], tuple[int, float]],
    units: Mapping[tuple[str, str], int],
    totals: Mapping[str, int],
) -> list[FlagUsage]:
    """Usage from evaluations with the time of the last, and units, by flag and variant; units by flag."""
    flags: dict[str, list[VariantUsage]] = {}
    for flag, variant in sorted({*counts, *units}):
        evaluations, last_at = counts.get((flag, variant), (0, 0.0))
        row = VariantUsage(
            variant=variant, evaluations=evaluations, units=units.get((flag, variant), 0), last_at=last_at
        )
        flags.setdefault(flag, []).append(row)
    return [FlagUsage(flag=flag, units=totals.get(flag, 0), variants=rows) for flag, rows in flags.items()]
