"""What the kill file of this host does, as the control process tells it: probes, metrics, audit."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from shlex import quote
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from understudy.access import Deed, Entry
from understudy.config import KillFile, Kills, Rules
from understudy.config.kill_file import told
from understudy.errors import StoreError

RETRY_SECONDS: Final = 1.0
MOST_DEEDS: Final = 100
"""Kept for a store that is away; the newest are the ones that say how things stand."""


class Killed:
    """The flags that *file* kills here. Each change of them gets an entry by *record*, once that works."""

    def __init__(self, file: KillFile, *, record: Callable[[Deed], Awaitable[Entry]]) -> None:
        self.file = file
        self._record = record
        self._noted = Kills()
        self._deeds: deque[Deed] = deque(maxlen=MOST_DEEDS)
        self._is_due = asyncio.Event()

    def note(self, at: float) -> None:
        """The file says something else since *at*: remember that for the audit."""
        kills = self.file.kills
        if kills == self._noted:
            return
        action = "host.revive" if not kills else "host.kill"
        target = ", ".join(kills.text().split("\n")).strip(", ")
        self._deeds.append(
            Deed(
                at=at,
                who=f"kill file on {socket.gethostname()}",
                origin=" ".join(map(str, self.file.saying)),
                action=action,
                target=target[:1000],
                reason=f"process {os.getpid()} read it",
            )
        )
        self._noted = kills
        self._is_due.set()

    async def run(self, *, ready: asyncio.Event) -> None:
        """Write what is noted into the audit, as soon as the store is *ready* and takes it."""
        await ready.wait()
        while True:
            await self._is_due.wait()
            while self._deeds:
                deed = self._deeds[0]
                try:
                    await self._record(deed)
                except StoreError:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if self._deeds and self._deeds[0] is deed:
                    self._deeds.popleft()
            self._is_due.clear()

    def said(self, rules: Rules) -> str:
        """What is killed of *rules*, and what is wrong with the file, in words; empty for neither."""
        trouble = [self.file.trouble] if self.file.trouble else []
        return "; ".join([*told(self.file.kills, rules, self.file.saying), *trouble])


def without_store(flag: str) -> str:
    """What still kills *flag* when no store takes it, in words."""
    return f"on each host `understudy kill --local {quote(flag)}` kills it without a store, in a second"


def kill_families(file: KillFile, rules: Rules) -> Iterator[Metric]:
    """What is killed in *rules*, by whom; and whether *file* can be read."""
    killed = GaugeMetricFamily(
        "understudy_killed",
        "1 for each flag that is killed: everywhere by the rules, on this host by its kill file.",
        labels=["flag", "by"],
    )
    for flag in rules.killed:
        killed.add_metric([flag, "rules"], 1.0)
    for flag in sorted(file.kills.among(rules)):
        killed.add_metric([flag, "kill_file"], 1.0)
    yield killed
    trouble = GaugeMetricFamily(
        "understudy_kill_file_trouble", "1 while the kill file cannot be read or understood."
    )
    trouble.add_metric([], 1.0 if file.trouble else 0.0)
    yield trouble
    troubles = CounterMetricFamily(
        "understudy_kill_file_troubles", "How often the kill file could not be read or understood any more."
    )
    troubles.add_metric([], file.troubles)
    yield troubles
