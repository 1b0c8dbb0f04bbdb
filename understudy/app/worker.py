"""A worker: owns the request path and nothing else."""

import asyncio
import gc
import logging
import os
import random
import resource
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvloop

from understudy.app.at_hand import rules_at_hand
from understudy.app.certificates import WATCH_SECONDS, Certificates
from understudy.app.heap import TRIM_SECONDS, give_back
from understudy.app.kill_watch import KillWatch
from understudy.app.line_file import LineFile
from understudy.app.reports import Word, report
from understudy.app.resources import Gauge, client_connections, file_limit, memory_limit
from understudy.app.runtime import Runtime
from understudy.app.worker_link import WorkerLink
from understudy.config import KillFile, Settings, parse_settings, reloaded
from understudy.engine import Engine, mirror_limits
from understudy.link import Outbox
from understudy.metrics import WorkerMetrics
from understudy.proxy import SWEEP_SECONDS, AccessLog, Clock, Doors, Proxy, Tape
from understudy.proxy.overload import CALM
from understudy.shadow import Mirror, Redaction
from understudy.tracing import RequestIds
from understudy.upstream import Outgoing, UpstreamMaker

log = logging.getLogger("understudy.worker")

FLUSH_SECONDS: Final = 0.1
"""How often evidence and counts go to the control process."""

TRIM_BEATS: Final = round(TRIM_SECONDS / FLUSH_SECONDS)
SHORT_TRIM_BEATS: Final = 10
"""While memory is short, what was freed is worth a millisecond each second."""

RULES_SECONDS: Final = 4.0
"""How long a new worker waits for the control process before it looks for rules by itself."""

LAST_WORDS_SECONDS: Final = 2.0


def run(runtime: Runtime, index: int) -> int:
    """Run worker *index* until SIGTERM; the exit status."""
    # The request path makes no reference cycles; the default threshold would scan for them all day.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    return uvloop.run(Worker(runtime, index).main())


class Worker:
    """The objects of one worker, and their order of birth and death."""

    def __init__(self, runtime: Runtime, index: int) -> None:
        self._runtime = runtime
        self._settings: Settings = runtime.settings
        self._index = index
        self._clock = Clock(time.monotonic())
        self._metrics = WorkerMetrics()
        self._outbox = Outbox()
        self._gauge = Gauge()
        self._log_file: LineFile | None = None
        self._doors: Doors | None = None
        self._certificates = self._make_certificates()
        self._stop = asyncio.Event()
        self._is_succeeded = False

    def _make_certificates(self) -> Certificates | None:
        runtime = self._runtime
        if runtime.tls is None or runtime.settings.tls is None:
            return None
        return Certificates(runtime.tls, runtime.settings.tls, self._metrics.certificates)

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGUSR1, self._leave)
        loop.add_reader(self._runtime.lifeline, self._orphaned)
        async with asyncio.TaskGroup() as tasks:
            proxy = self._build(loop, tasks)
            self._watch_kills(proxy.engine)
            link = WorkerLink(
                path=self._runtime.link_path,
                name=f"{self._index}",
                source=f"{self._index}-{os.getpid()}-{secrets.token_hex(4)}",
                engine=proxy.engine,
                services=self._settings.services.keys(),
                outbox=self._outbox,
                metrics=self._metrics,
                reload=lambda document: self._reload(proxy, link, document),
                record=lambda wanted: self._record(proxy, wanted),
            )
            background = [
                tasks.create_task(link.run()),
                tasks.create_task(self._sweep(proxy)),
                tasks.create_task(self._flush(proxy, link)),
                tasks.create_task(proxy.doors.run()),
                tasks.create_task(self._watch_certificates()),
            ]
            await self._first_rules(tasks, link, proxy)
            if not self._stop.is_set():
                for bound in self._runtime.worker_sockets[self._index]:
                    tls = self._runtime.tls if bound.listener.is_tls else None
                    await proxy.serve([bound.socket], tls=tls)
                report(self._runtime.telling, Word.READY)
                await self._stop.wait()
            await self._end(proxy, link)
            for task in background:
                task.cancel()
        return 0

    def _build(self, loop: asyncio.AbstractEventLoop, tasks: asyncio.TaskGroup) -> Proxy:
        settings = self._settings

        outgoing = Outgoing(loop)

        make_pool = UpstreamMaker(
            loop=loop,
            spawn=tasks.create_task,
            clock=lambda: self._clock.now,
            outgoing=outgoing,
            chance=random.random,
            before_opening=self._before_opening,
        )
        mirror = Mirror(
            recorder=self._outbox,
            metrics=self._metrics,
            now=time.perf_counter,
            wall=time.time,
            chance=random.random,
            limits=mirror_limits(settings.shadow),
            fullness=self._outbox.fullness,
        )
        self._outbox.drain = mirror.drain
        engine = Engine(settings, mirror=mirror, metrics=self._metrics, make_pool=make_pool)
        proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=mirror,
            metrics=self._metrics,
            limits=settings.limits,
            clock=self._clock,
            outgoing=outgoing,
            via_id=self._runtime.via_id,
            trusted_proxies=settings.trusted_proxies,
            forwarded=settings.forwarded,
            request_ids=request_ids(settings),
            access_log=self._access_log(loop),
            memory_bytes=memory_limit(settings),
            client_connections=client_connections(settings, file_limit()),
            files=file_limit(),
        )
        self._doors = proxy.doors
        return proxy

    def _access_log(self, loop: asyncio.AbstractEventLoop) -> AccessLog | None:
        settings = self._settings.access_log
        if not settings.path:
            return None
        self._log_file = LineFile(settings.path)
        return AccessLog(
            self._log_file,
            call_soon=loop.call_soon,
            redaction=self._redaction(self._settings),
            worker=f"{self._index}",
            sample=settings.sample,
            query=settings.query,
            wall=time.time,
            chance=random.random,
        )

    def _watch_kills(self, engine: Engine) -> None:
        """By this process alone: it works with the control process dead or stopped."""
        file = KillFile(self._runtime.kill_paths, memory=self._runtime.killed_path)

        def changed() -> None:
            kills = file.kills
            log.warning("killed on this host: %s", ", ".join(kills.text().split()) or "nothing any more")
            self._contain("kill_file", lambda: engine.kill(kills))

        KillWatch(file, changed).begin()

    def _redaction(self, settings: Settings) -> Redaction:
        redact = settings.redact
        return Redaction(
            key=self._runtime.redaction_key,
            headers=redact.headers,
            paths=redact.paths,
            detectors=redact.detectors,
        )

    async def _first_rules(self, tasks: asyncio.TaskGroup, link: WorkerLink, proxy: Proxy) -> None:
        """Serve nobody by rules that the store may have overruled, unless there is no choice."""
        either = [tasks.create_task(link.has_rules.wait()), tasks.create_task(self._stop.wait())]
        await asyncio.wait(either, timeout=RULES_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()
        if not link.has_rules.is_set() and not self._stop.is_set():
            rules, whence = rules_at_hand(self._settings, self._runtime.base)
            log.error("no rules from the control process after %g s: starting from %s", RULES_SECONDS, whence)
            # As version 0: whatever the control process comes with is newer.
            proxy.engine.swap(rules, 0)

    def _reload(self, proxy: Proxy, link: WorkerLink, document: Mapping[str, object]) -> None:
        """Put reloaded settings in force. Raises `UnderstudyError`; then nothing has changed."""
        new = parse_settings(document, base=self._runtime.base, environ={})
        settings = replace(reloaded(self._settings, new).settings, rules=self._settings.rules)
        if settings != self._settings:
            proxy.engine.reload(settings)
            proxy.reload(
                settings.limits,
                settings.trusted_proxies,
                forwarded=settings.forwarded,
                request_ids=request_ids(settings),
                memory_bytes=memory_limit(settings),
                client_connections=client_connections(settings, file_limit()),
            )
            if proxy.access_log is not None:
                proxy.access_log.hide(self._redaction(settings))
            link.services = proxy.engine.services
            self._settings = settings
        if self._certificates is not None:
            self._certificates.refresh(settings.tls)

    async def _watch_certificates(self) -> None:
        while self._certificates is not None:
            await asyncio.sleep(WATCH_SECONDS)
            self._contain("certificates", self._certificates.refresh)

    async def _sweep(self, proxy: Proxy) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._contain("sweep", lambda: proxy.sweep(time.monotonic()))
            self._contain("sweep", lambda: proxy.mirror.sweep(time.perf_counter()))
            self._contain("sweep", lambda: self._guard(proxy))

    def _before_opening(self) -> None:
        """Connections to services are opened by the dozen: see in time that descriptors run out."""
        if self._doors is not None:
            self._doors.is_short(self._gauge.next_file())

    def _guard(self, proxy: Proxy) -> None:
        resident_bytes = self._gauge.resident_bytes()
        if proxy.gave_up_copies(resident_bytes):
            give_back()
            resident_bytes = self._gauge.resident_bytes()
        proxy.guard(resident_bytes=resident_bytes, next_file=self._gauge.next_file())

    async def _flush(self, proxy: Proxy, link: WorkerLink) -> None:
        beat = 0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            beat += 1
            if beat % 5 == 0:
                self._contain("metrics", lambda: self._tell(proxy, link))
            if beat % TRIM_BEATS == 0 or (proxy.overload.stage > CALM and beat % SHORT_TRIM_BEATS == 0):
                self._contain("heap", give_back)
            self._contain("evidence", link.send_evidence)
            self._contain("exposures", proxy.engine.sightings.gather)
            if beat % 10 == 0:
                self._contain("exposures", lambda: self._send_exposures(proxy, link))
            if proxy.tape is not None:
                self._contain("recording", lambda: self._send_reels(proxy, link))
            if self._log_file is not None:
                self._log_file.flush()

    def _record(self, proxy: Proxy, wanted: Mapping[str, object] | None) -> None:
        """Take what *wanted* says into a recording from now on; None: nothing."""
        proxy.tape = None
        if wanted is not None:
            proxy.tape = Tape(wanted, now=time.monotonic, wall=time.time, chance=random.random)

    def _send_reels(self, proxy: Proxy, link: WorkerLink) -> None:
        while proxy.tape is not None and link.is_clear and (reel := proxy.tape.reel()) is not None:
            link.send_reel(reel)

    def _send_exposures(self, proxy: Proxy, link: WorkerLink) -> None:
        """Tell who met what, while somebody takes it."""
        sightings = proxy.engine.sightings
        if link.is_clear and (told := sightings.take(time.time())) is not None:
            link.send_exposures(told)
        self._metrics.exposures_dropped["full"] = sightings.dropped

    def _tell(self, proxy: Proxy, link: WorkerLink) -> None:
        proxy.engine.collect_errors()
        self._metrics.process = process_figures(self._gauge)
        self._metrics.access_log = self._log_file.counts if self._log_file is not None else {}
        link.send_metrics()

    def _contain(self, what: str, work: Callable[[], object]) -> None:
        """Do periodic *work*; a fault in it must not end the worker and all its connections."""
        try:
            work()
        except Exception:
            self._metrics.errors[f"internal_{what}"] += 1
            log.exception("the periodic work on %s failed", what)

    async def _end(self, proxy: Proxy, link: WorkerLink) -> None:
        seconds = self._settings.limits.drain_timeout
        cut = await proxy.drain(seconds, wait=asyncio.sleep, is_succeeded=self._is_succeeded)
        if cut:
            log.warning("%d requests were cut off after the drain time", cut)
        proxy.mirror.cancel_all()
        for pool in proxy.engine.pools:
            pool.close()
        left = LAST_WORDS_SECONDS
        while left > 0 and link.is_connected and not link.send_evidence():
            await asyncio.sleep(0.02)
            left -= 0.02
        if self._log_file is not None:
            await asyncio.to_thread(self._log_file.close, LAST_WORDS_SECONDS)
        self._contain("recording", lambda: self._send_reels(proxy, link))
        self._contain("exposures", lambda: self._send_exposures(proxy, link))
        self._tell(proxy, link)
        await link.close()

    def _leave(self) -> None:
        """A successor accepts on the same sockets already."""
        self._is_succeeded = True
        self._stop.set()

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._runtime.lifeline)
        log.error("the supervisor is gone: draining")
        self._stop.set()


def request_ids(settings: Settings) -> RequestIds | None:
    """What gives requests their ids; None when that is off."""
    name = settings.request_id
    return RequestIds(name.encode("ascii"), random.getrandbits) if name else None


def process_figures(gauge: Gauge) -> dict[str, float]:
    """This process's CPU seconds, resident bytes and open files, from /proc."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    try:
        # Linux 6.2 and later tell the number as the size; counting 10,000 takes 18 ms, which clients feel.
        files = Path("/proc/self/fd").stat().st_size or sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        files = file_limit()  # none is left to look with
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "resident_bytes": float(gauge.resident_bytes()),
        "open_fds": float(files),
    }
