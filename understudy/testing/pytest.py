"""A pytest fixture that puts a flag on one variant for everybody, in applications tested in process.

pytest_plugins = ["understudy.testing.pytest"]  # in conftest.py

def test_the_new_page(force_variant: ForceVariant, client: TestClient) -> None:
    force_variant("front_page", "new")
    assert "new" in client.get("/").text
"""

import asyncio
import concurrent.futures
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest

from understudy.config import Rules
from understudy.middleware import Understudy
from understudy.middleware.in_force import InForce
from understudy.middleware.kills import kills_now
from understudy.middleware.stage import Stage
from understudy.middleware.understudy import _here as living

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
def force_variant(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForceVariant]:
    """Put a flag on one variant for everybody until the test ends (`ForceVariant`)."""
    forcing = Forcing()
    with monkeypatch.context() as patched:
        forcing.watch(patched)
        yield forcing.force
    forcing.end()
    if forcing.slips:
        pytest.fail("\n".join(forcing.slips))


class Forcing:
    """The variants that are forced, and the rules that they were forced upon."""

    def __init__(self) -> None:
        self._variants: dict[str, str] = {}
        self._given: dict[int, tuple[Rules, Rules]] = {}
        """By the identity of altered rules: these, and what they were made of."""
        self._unmet: dict[str, str] = {}

    def force(self, flag: str, variant: str) -> None:
        """See `ForceVariant`."""
        self._variants[flag] = variant
        self._unmet[flag] = variant
        self._turn_all()

    def watch(self, patched: pytest.MonkeyPatch) -> None:
        """Alter all rules that come into force while *patched*."""
        make, ready = Understudy.__init__, Stage._ready_made

        def made(understudy: Understudy, *args: Any, **named: Any) -> None:
            make(understudy, *args, **named)
            self._alter(understudy)

        def ready_made(stage: Stage, rules: Rules, version: int) -> InForce:
            return ready(stage, self._altered(rules), version)

        patched.setattr(Understudy, "__init__", made)
        patched.setattr(Stage, "_ready_made", ready_made)

    def end(self) -> None:
        """Put in force again what the rules say."""
        self._variants.clear()
        self._turn_all()

    def _altered(self, rules: Rules) -> Rules:
        """*rules* as they are forced now, whether they were before or not."""
        origin = self._origin(rules)
        flags = dict(origin.flags)
        met = [flag for flag in self._variants if self._variants[flag] in _variants(origin, flag)]
        for flag in met:
            flags[flag] = _always(flags[flag], self._variants[flag])
            self._unmet.pop(flag, None)
        if not met:
            return origin
        killed = tuple(flag for flag in origin.killed if flag not in met)
        altered = replace(origin, flags=flags, killed=killed)
        self._given[id(altered)] = (altered, origin)
        return altered

    def _origin(self, rules: Rules) -> Rules:
        """What *rules* were before they were altered here."""
        return self._given.get(id(rules), (rules, rules))[1]

    def _alter(self, understudy: Understudy) -> None:
        """Put in force what *understudy* decides by as long as it has no event loop."""
        given = understudy.in_force
        altered = self._altered(given.rules)
        if altered is not given.rules:
            understudy.in_force = InForce(altered, given.version, kills_now(understudy.settings))

    def _turn_all(self) -> None:
        """Put in force, in every application that is there, its rules as they are forced now."""
        for understudy in list(living):
            self._alter(understudy)
            for stage in understudy.stages:
                if stage.is_ready and not stage.loop.is_closed():
                    in_force = stage.in_force
                    _in_loop(stage, self._altered(in_force.rules), in_force.version)

    @property
    def slips(self) -> list[str]:
        """What was forced upon no application, and what was probably meant."""
        known = [understudy.in_force.rules for understudy in list(living)]
        flags = {flag for rules in known for flag in rules.flags}
        slips = []
        for flag, variant in self._unmet.items():
            if flag not in flags:
                slips.append(f"force_variant: no application has a flag {flag!r}: {_listed(flags)}")
                continue
            names = {name for rules in known for name in _variants(rules, flag)}
            slips.append(f"force_variant: flag {flag!r} has no variant {variant!r}: {_listed(names)}")
        return slips


def _in_loop(stage: Stage, rules: Rules, version: int) -> None:
    """Put *rules* in force in *stage*, in its own event loop. Raises TimeoutError."""
    if not stage.loop.is_running() or stage.loop is _running_loop():
        stage._turn(stage._ready_made(rules, version))
        return
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def turn() -> None:
        try:
            stage._turn(stage._ready_made(rules, version))
        except Exception as error:
            done.set_exception(error)
            raise
        done.set_result(None)

    stage.loop.call_soon_threadsafe(turn)
    done.result(TURN_SECONDS)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
