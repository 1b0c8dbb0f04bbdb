"""A file of flags, of whichever product it is."""

from collections.abc import Mapping

from understudy.errors import ConfigError, Problem
from understudy.transfer.flagd import read_flagd
from understudy.transfer.growthbook import UNIT as GROWTHBOOK_UNIT
from understudy.transfer.growthbook import read_growthbook
from understudy.transfer.imported import FORMATS, Imported
from understudy.transfer.unleash import UNIT as UNLEASH_UNIT
from understudy.transfer.unleash import read_unleash


def kind_of(document: Mapping[str, object]) -> str:
    """Which of ``FORMATS`` *document* is in. Raises: ConfigError when that cannot be told."""
    features = document.get("features")
    if "flags" in document:
        return "flagd"
    if "encryptedFeatures" in document or isinstance(features, Mapping):
        return "growthbook"
    if isinstance(features, list):
        first = next((entry for entry in features if isinstance(entry, Mapping)), {})
        return "growthbook" if "environments" in first and "id" in first else "unleash"
    hint = f"--from says which it is: {', '.join(FORMATS)}"
    raise ConfigError((Problem(path="", message="has neither flags nor features", hint=hint),))


def read_flags(
    document: Mapping[str, object], *, kind: str = "", environment: str = "", unit: str = ""
) -> Imported:
    """The flags in *document*, of *kind* (empty: as it looks), as they are in *environment*.

    *unit* names the attribute that becomes our `targetingKey`; empty is the product's usual one.
    Raises: ConfigError.
    """
    kind = kind or kind_of(document)
    if kind == "flagd" and (environment or unit):
        what = "--from-environment" if environment else "--unit"
        hint = "leave it out: flagd's format has one environment, and the unit is the targetingKey"
        raise ConfigError((Problem(path="", message=f"{what} is for other products' files", hint=hint),))
    if kind == "unleash":
        return read_unleash(document, environment=environment, unit=unit or UNLEASH_UNIT)
    if kind == "growthbook":
        return read_growthbook(document, environment=environment, unit=unit or GROWTHBOOK_UNIT)
    return read_flagd(document)
