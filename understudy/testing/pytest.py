"""A pytest fixture that puts a flag on one variant for everybody, in applications tested in process.

pytest_plugins = ["understudy.testing.pytest"]  # in conftest.py

def test_the_new_page(force_variant: ForceVariant, client: TestClient) -> None:
    force_variant("front_page", "new")
    assert "new" in client.get("/").text
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest

from understudy.config import Rules
from understudy.middleware.alterations import altering
from understudy.middleware.understudy import living

TURN_SECONDS = 30.0
"""How long an application's event loop may take to put other rules in force."""


class ForceVariant(Protocol):
    """What the fixture `force_variant` is."""

    def __call__(self, flag: str, variant: str) -> None:
        """From now on until the test ends *flag* has *variant* for every unit, whatever its rules say.

        It holds in every `Understudy` of this process, also in those made later, and while other rules
        come into force. The variant does what the rules say of it: when it serves a service, that is asked.

        Applications that do not know the flag or the variant go on as before; when none does until the
        test ends, it fails.
        """


@pytest.fixture
def force_variant() -> Iterator[ForceVariant]:
    """Put a flag on one variant for everybody until the test ends (`ForceVariant`)."""
    forcing = Forcing()
    with altering(forcing.altered):
        yield forcing.force
    lay_out()
    if forcing.slips:
        pytest.fail("\n".join(forcing.slips))


def lay_out() -> None:
    """Put in force, in every application that is there, its rules as they are forced now."""
    for understudy in living():
        understudy.lay_out()


class Forcing:
    """The variants that are forced, and which of them no application has."""

    def __init__(self) -> None:
        self._variants: dict[str, str] = {}
        self._unmet: dict[str, str] = {}

    def force(self, flag: str, variant: str) -> None:
        """See `ForceVariant`."""
        self._variants[flag] = self._unmet[flag] = variant
        lay_out()

    def altered(self, rules: Rules) -> Rules:
        """*rules* as they are forced now."""
        flags = dict(rules.flags)
        met = [flag for flag in self._variants if self._variants[flag] in _variants(rules, flag)]
        for flag in met:
            flags[flag] = _always(flags[flag], self._variants[flag])
            self._unmet.pop(flag, None)
        if not met:
            return rules
        return replace(rules, flags=flags, killed=tuple(flag for flag in rules.killed if flag not in met))

    @property
    def slips(self) -> list[str]:
        """What was forced upon no application, and what was probably meant."""
        known = [understudy.in_force.rules for understudy in living()]
        flags = {flag for rules in known for flag in rules.flags}
        slips = []
        for flag, variant in self._unmet.items():
            if flag not in flags:
                slips.append(f"force_variant: no application has a flag {flag!r}: {_listed(flags)}")
                continue
            names = {name for rules in known for name in _variants(rules, flag)}
            slips.append(f"force_variant: flag {flag!r} has no variant {variant!r}: {_listed(names)}")
        return slips


def _always(flag: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """*flag* with *variant* for everybody, killed or not."""
    rest = {key: said for key, said in flag.items() if key != "targeting"}
    metadata = {**flag.get("metadata", {}), "safeVariant": variant}
    return {**rest, "state": "ENABLED", "defaultVariant": variant, "metadata": metadata}


def _variants(rules: Rules, flag: str) -> Mapping[str, Any]:
    variants: Mapping[str, Any] = rules.flags.get(flag, {}).get("variants", {})
    return variants


def _listed(names: Iterable[str]) -> str:
    return f"there is {', '.join(sorted(names)) or 'none'}"
