"""`understudy replay`: options into a replay, a bar while it runs, the report and exit code at its end."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from understudy.cli import reported
from understudy.cli.explained import read_field
from understudy.cli.frame import CommandError, ExitCode
from understudy.cli.replay_bar import ReplayBar
from understudy.cli.report_options import ReportFormat
from understudy.comparators import CompareRule
from understudy.config import OriginTls, RedactSettings, Service, load, parse_rules, read_file
from understudy.config.address import read_origin
from understudy.config.origin_tls import check_tls, located
from understudy.config.place import Place, Refused
from understudy.config.quantity import read_duration
from understudy.messages import Headers
from understudy.replay import (
    Due,
    Playback,
    Recording,
    Replay,
    Selection,
    Wording,
    as_recorded,
    at_once,
    at_rate,
    read_recording,
)

CONTROL_SHARE: Final = 0.1
"""As `shadow.control` of a deployment; a control of its own costs the primary nothing, and is asked all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The options as they were typed; no *methods* are all."""

    file: Path
    primary: str
    candidate: str
    control: str
    control_share: float | None
    rate: float | None
    as_recorded: bool
    speed: float | None
    concurrency: int
    repeat: int
    methods: str
    hosts: tuple[str, ...]
    header: tuple[str, ...]
    credentials: bool
    config: Path | None
    rules: Path | None
    ca: Path | None
    insecure: bool
    timeout: str
    give_up: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """Of a configuration, of a rules document, or the defaults."""

    compare: tuple[CompareRule, ...] = ()
    templates: tuple[str, ...] = ()
    redact: RedactSettings = field(default_factory=RedactSettings)


def run(arguments: Arguments, *, form: ReportFormat | None, files: Sequence[Path], fail_on: str) -> ExitCode:
    """Replay as *arguments* say and write the report; how the command shall end. An interrupted one never
    ends like a verdict. Raises: CommandError, ConfigError, RecordingError."""
    outputs, conditions = reported.read_outputs(files, form), reported.read_fail_on(fail_on)
    playback, report = _play(read_replay(arguments))
    code = reported.finish(report, outputs=outputs, fail_on=conditions)
    return ExitCode.INTERRUPTED if playback.is_interrupted else code


def _play(replay: Replay) -> tuple[Playback, dict[str, Any]]:
    total = len(replay.recording.requests) * replay.repeat
    with ReplayBar(total) as bar:
        playback = Playback(replay, tell=bar.show)
        return playback, uvloop.run(_until_signalled(playback))


async def _until_signalled(playback: Playback) -> dict[str, Any]:
    """The report; SIGINT and SIGTERM end the playing, not the telling."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(RuntimeError, ValueError):  # only the main thread has signals
            loop.add_signal_handler(number, playback.interrupt)
    return await playback.run()


def read_replay(arguments: Arguments) -> Replay:
    """What *arguments* ask for. Raises: CommandError, ConfigError, RecordingError."""
    due_of = _pace(arguments)
    primary, candidate, control = _services(arguments)
    wording = Wording(own=_own(arguments.header), sends_credentials=arguments.credentials)
    timeout = _duration("--timeout", arguments.timeout)
    give_up = _duration("--give-up", arguments.give_up)
    rules = _rules(arguments)
    share = arguments.control_share
    if share is None:
        share = CONTROL_SHARE if control is None else 1.0
    recording = _recording(arguments)  # last: a large one takes a while
    return Replay(
        recording=recording,
        primary=primary,
        candidate=candidate,
        control=control,
        control_share=share,
        wording=wording,
        compare=rules.compare,
        templates=rules.templates,
        redact=rules.redact,
        due=due_of(recording),
        repeat=arguments.repeat,
        concurrency=arguments.concurrency,
        timeout_seconds=timeout,
        give_up_seconds=give_up,
        seed=arguments.seed,
    )


# -- each option


def _services(arguments: Arguments) -> tuple[Service, Service, Service | None]:
    tls = _tls(arguments)
    primary = _service("--primary", arguments.primary, tls)
    candidate = _service("--candidate", arguments.candidate, tls)
    control = _service("--control", arguments.control, tls) if arguments.control else None
    if tls is not None and not any(
        side is not None and side.has_tls for side in (primary, candidate, control)
    ):
        raise _usage("--ca and --insecure are of no use: no service is https://")
    if primary.url == candidate.url:
        raise _usage(f"--candidate is the primary itself: {arguments.candidate}", "name two versions")
    return primary, candidate, control


def _service(option: str, url: str, tls: OriginTls | None) -> Service:
    try:
        return Service(url=read_origin(url), tls=tls)
    except Refused as refused:
        raise _usage(f"{option}: {refused.message}", refused.hint) from None


def _tls(arguments: Arguments) -> OriginTls | None:
    if arguments.insecure and arguments.ca is not None:
        raise _usage("--ca is of no use with --insecure")
    if arguments.insecure:
        return OriginTls(verify=False)
    if arguments.ca is None:
        return None
    tls = located(OriginTls(ca=str(arguments.ca)), Path.cwd())
    place = Place("--ca")
    check_tls(tls, place)
    if place.problems:
        raise _usage(f"--ca: {place.problems[0].message}", place.problems[0].hint)
    return tls


def _recording(arguments: Arguments) -> Recording:
    methods = frozenset(word.strip().upper() for word in arguments.methods.split(",") if word.strip())
    hosts = frozenset(host.strip().lower() for host in arguments.hosts)
    recording = read_recording(arguments.file, Selection(methods=methods or None, hosts=hosts))
    if not recording.requests:
        hint = "there are " + ", ".join(list(recording.hosts)[:12]) if recording.hosts and hosts else ""
        if recording.skipped.get("method"):
            hint = "--methods GET,POST or --all-methods asks more than GET, HEAD and OPTIONS"
        why = f": {recording.why_skipped}" if recording.why_skipped else ""
        where = f"; it breaks off: {recording.broken}" if recording.broken else ""
        raise CommandError(
            f"{arguments.file}: none of its {recording.entries:,} entries can be replayed{why}{where}", hint
        )
    return recording


def _pace(arguments: Arguments) -> Callable[[Recording], Due]:
    """How the recording says when its requests are due."""
    if arguments.rate is not None and (arguments.as_recorded or arguments.speed is not None):
        raise _usage("--rate and --as-recorded are two paces", "name one")
    if arguments.rate is not None:
        due: Due = at_rate(arguments.rate)
        return lambda _recording: due
    if arguments.as_recorded or arguments.speed is not None:
        return lambda recording: as_recorded(
            [request.at for request in recording.requests], speed=arguments.speed or 1.0
        )
    return lambda _recording: at_once


def _rules(arguments: Arguments) -> _Rules:
    """What counts as a difference, and what is hidden: with both files, compare rules are those of the rules
    document, and the configuration says the rest. Raises: CommandError, ConfigError."""
    found = _Rules()
    if arguments.config is not None:
        settings = load(arguments.config, os.environ)
        found = _Rules(
            compare=settings.rules.compare, templates=settings.endpoints.templates, redact=settings.redact
        )
    if arguments.rules is not None:
        document = read_file(arguments.rules)
        if not isinstance(document, dict) or "compare" not in document:
            raise CommandError(f"{arguments.rules}: has no compare rules", "a mapping with the key compare")
        compare = parse_rules({"compare": document["compare"]}, services=()).compare
        found = replace(found, compare=compare)
    return found


def _own(fields: Sequence[str]) -> Headers:
    return tuple(read_field(text) for text in fields)


def _duration(option: str, text: str) -> float:
    try:
        return read_duration(text)
    except Refused as refused:
        raise _usage(f"{option}: {refused.message}", refused.hint) from None


def _usage(message: str, hint: str = "") -> CommandError:
    return CommandError(message, hint, code=ExitCode.USAGE)
