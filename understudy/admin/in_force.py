"""The rules in force and the turns that led there: what answers flags, and what listeners are told."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from understudy.config import Rules

MOST_TURNS: Final = 256
"""How many are remembered for a listener that was away. One that missed more is told the newest only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A rules document that is in force, its version, and when it was stored (seconds since 1970)."""

    version: int
    rules: Rules
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """At ``at`` (seconds since 1970), rules ``version`` came into force. ``serial`` counts turns from 1."""

    serial: int
    version: int
    at: float


class Succession:
    """Which rules are in force, one after the other. Lives on one event loop."""

    def __init__(self) -> None:
        self.current: InForce | None = None
        """None until the store was read for the first time."""
        self.history = ""
        """Within which versions count up, by a name; empty where a store that hosts share keeps them."""
        self._turns: deque[Turn] = deque(maxlen=MOST_TURNS)
        self._turned = asyncio.Event()

    @property
    def serial(self) -> int:
        """The number of the last turn; 0 before the first."""
        return self._turns[-1].serial if self._turns else 0

    def put(self, *, version: int, rules: Rules, at: float) -> None:
        """*rules* are in force from now on. Putting the same again is no turn."""
        now = self.current
        if now is not None and now.version == version and now.rules.document == rules.document:
            return
        self.current = InForce(version=version, rules=rules, at=at)
        self._turns.append(Turn(serial=self.serial + 1, version=version, at=at))
        self._turned.set()
        self._turned = asyncio.Event()

    def after(self, serial: int) -> list[Turn]:
        """The turns after *serial*, oldest first, as far as they are remembered."""
        return [turn for turn in self._turns if turn.serial > serial]

    def since(self, version: int) -> list[Turn]:
        """The turns that one who knows *version* has missed: each if remembered, else the newest alone."""
        turns = list(self._turns)
        for place, turn in enumerate(turns):
            # The first of it: other rules may have stood in for the same version.
            if turn.version == version:
                return turns[place + 1 :]
        return turns[-1:]

    async def turn(self, serial: int) -> None:
        """Wait until there is a turn after *serial*."""
        while self.serial <= serial:
            await self._turned.wait()
