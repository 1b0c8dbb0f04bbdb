"""Put a replay together: services, rules and pace in; the report out."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.comparators import CompareRule
from understudy.config import Ejection, RedactSettings, Service
from understudy.replay.entry import Recorded
from understudy.replay.ledger import Ledger, LedgerRules
from understudy.replay.pace import Due, at_once
from understudy.replay.player import Clock, Order, Player, WallClock
from understudy.replay.recording import Recording
from understudy.replay.side import Side, Wording
from understudy.replay.told import Course, told
from understudy.shadow import Redaction
from understudy.shadow.exchange import SAFE
from understudy.upstream import Outgoing, UpstreamMaker

PRIMARY: Final = "primary"
CANDIDATE: Final = "candidate"
CONTROL: Final = "control"

VERDICT_SECONDS: Final = 1.0
"""How often the verdict so far is worked out."""

JUDGING_SHARE: Final = 0.02
"""Of the time at most, however much evidence there is: it stands between requests and answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What is played against whom. *control* None: the primary is asked again, and then only what is safe.

    A control of its own is asked everything that is not safe, whatever *control_share* says, so that its
    state follows that of the others. *timeout_seconds* is the longest wait for one answer.
    """

    recording: Recording
    primary: Service
    candidate: Service
    control: Service | None = None
    control_share: float = 0.1
    wording: Wording = field(default_factory=Wording)
    compare: tuple[CompareRule, ...] = ()
    templates: tuple[str, ...] = ()
    redact: RedactSettings = field(default_factory=RedactSettings)
    due: Due = at_once
    repeat: int = 1
    concurrency: int = 8
    timeout_seconds: float = 15.0
    give_up_seconds: float = 60.0
    cap_bytes: int = 1024 * 1024
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a replay stands."""

    total: int
    played: int
    differing: int
    failing: int
    verdict: str


class Playback:
    """Plays *replay*; `interrupt` may be called meanwhile. *tell* gets the progress some times a second."""

    def __init__(
        self,
        replay: Replay,
        *,
        tell: Callable[[Progress], None] = lambda _progress: None,
        clock: Clock | None = None,
    ) -> None:
        self._replay = replay
        self._tell = tell
        self._clock = clock or WallClock()
        self._player: Player | None = None
        self._verdict = "undecided"
        self._judge_at = 0.0
        self._order = Order(
            requests=replay.recording.requests,
            due=replay.due,
            asks_control=self._asks_control,
            repeat=replay.repeat,
            concurrency=replay.concurrency,
            give_up_seconds=replay.give_up_seconds,
        )
        self._ledger = Ledger(
            LedgerRules(compare=replay.compare, templates=replay.templates),
            _redaction(replay.redact),
            shadow=CANDIDATE,
            control=CONTROL if replay.control else PRIMARY,
            seed=replay.seed,
            asked=lambda request: replay.wording.asked(request, primary=PRIMARY),
            origins={PRIMARY: replay.primary.url, CANDIDATE: replay.candidate.url},
        )
        for reason, number in replay.recording.skipped.items():
            self._ledger.skip(reason, number)

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody ended it early."""
        return self._player is not None and self._player.ended == "interrupted"

    def interrupt(self) -> None:
        """End early, with the report so far; the second time at once."""
        if self._player is not None:
            self._player.interrupt()

    async def run(self) -> dict[str, Any]:
        """Play, and return the report. Raises nothing for what the services do."""
        began_at = self._clock.now()
        async with asyncio.TaskGroup() as tasks:
            player = self._player = self._make_player(tasks)
            try:
                await player.play()
            finally:
                player.close()
        self._report_progress()
        return self._told(player, self._clock.now() - began_at)

    def _make_player(self, tasks: asyncio.TaskGroup) -> Player:
        replay, loop = self._replay, asyncio.get_running_loop()
        make = UpstreamMaker(
            loop=loop,
            spawn=tasks.create_task,
            clock=self._clock.now,
            outgoing=Outgoing(loop),
            chance=random.random,
        )

        def side(name: str, service: Service) -> Side:
            # A failing side is counted, not ejected; and there is room for what is kept beside what is new.
            patient = replace(service, eject=Ejection(failures=0))
            pool = make(name, patient, "primary", 2 * replay.concurrency, lambda _event: None)
            return Side(
                name,
                pool,
                wording=replay.wording,
                cap_bytes=replay.cap_bytes,
                timeout_seconds=replay.timeout_seconds,
                clock=self._clock.now,
            )

        return Player(
            self._order,
            self._ledger,
            primary=side(PRIMARY, replay.primary),
            shadow=side(CANDIDATE, replay.candidate),
            control=side(CONTROL if replay.control else PRIMARY, replay.control or replay.primary),
            clock=self._clock,
            beat=self._report_progress,
        )

    def _asks_control(self, number: int) -> bool:
        replay = self._replay
        request = replay.recording.requests[number % len(replay.recording.requests)]
        if not _is_safe(request):
            return replay.control is not None
        return random.Random(f"{replay.seed}:{number}").random() < replay.control_share

    def _report_progress(self) -> None:
        if self._clock.now() >= self._judge_at:
            began_at = time.perf_counter()
            self._verdict = str(self._ledger.report(control_share=self._replay.control_share)["verdict"])
            took = time.perf_counter() - began_at
            self._judge_at = self._clock.now() + max(VERDICT_SECONDS, took / JUDGING_SHARE)
        self._tell(
            Progress(
                total=self._order.total,
                played=self._ledger.played,
                differing=self._ledger.differing,
                failing=self._ledger.failing,
                verdict=self._verdict,
            )
        )

    def _told(self, player: Player, seconds: float) -> dict[str, Any]:
        requests: Sequence[Recorded] = self._replay.recording.requests
        course = Course(
            total=self._order.total,
            played=self._ledger.played,
            round=len(requests),
            primary_failures=dict(self._ledger.primary_failures),
            withheld=sum(bool(request.credentials) for request in requests),
            sends_credentials=self._replay.wording.sends_credentials,
            ended=player.ended,
            silent=player.silent,
            late_seconds=player.late_seconds,
            seconds=seconds,
        )
        return told(
            self._ledger.report(control_share=self._replay.control_share), self._replay.recording, course
        )


def _is_safe(request: Recorded) -> bool:
    return request.method in SAFE and (not request.override or request.override in SAFE)


def _redaction(redact: RedactSettings) -> Redaction:
    return Redaction(
        key=secrets.token_bytes(32), headers=redact.headers, paths=redact.paths, detectors=redact.detectors
    )
