"""What requests notice when the store fails under load: nothing, and what is decided stays decided.

`python benchmarks/store_faults.py` puts two hosts with two workers each under load from 10,000 fixed units,
and for each fault, one after the other, harms Redis or PostgreSQL for a minute: killed, stopped, flushed, put
back from an old dump, failed over. Every request has to be answered, and its service has to be the one that
the rules name for that unit (worked out apart from the proxy). Once the harm is over, all has to be well
within 5 s; while only Redis is harmed, a change is in force within 5 s, too. At last a host is started with
both stores away. Ends with status 1 when anything is missed. `--json FILE`, `--markdown FILE`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from hosts import ROOT, Host, World, hosts, wait_until
from redis import Redis
from redis.exceptions import RedisError

from understudy.decide import Evaluator

sys.path.insert(0, str(ROOT / "tests" / "conformance"))
from store_servers import Server, postgres_server, redis_sentinel, redis_server

UNITS: Final = 10_000
LEAD_SECONDS: Final = 1.0
CONVERGED_SECONDS: Final = 5.0
START_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 0.25
SHOP: Final[Mapping[str, Any]] = {
    "variants": {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}},
    "defaultVariant": "stable",
    "targeting": {"fractional": [["canary", 37], ["stable", 63]]},
}


def probe(default: str) -> dict[str, Any]:
    """The flag that is changed, to see a change arrive."""
    return {**SHOP, "defaultVariant": default, "targeting": {}}


def document(default: str) -> dict[str, Any]:
    return {
        "flags": {"shop": SHOP, "probe": probe(default)},
        "routes": [
            {"path": "/probe", "flag": "probe"},
            {"path": "/", "flag": "shop", "unit": "cookie:uid"},
        ],
    }


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one fault came to. Times in seconds; ``during`` is None where a change had to be refused."""

    fault: str
    seconds: float
    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    units: int = 0
    moved: int = 0
    during: float | None = None
    after: float = 0.0
    calm: float = 0.0

    @property
    def is_well(self) -> bool:
        times = (self.during or 0.0, self.after, self.calm)
        return not self.failed and not self.moved and max(times) <= CONVERGED_SECONDS

    def row(self) -> str:
        during = "refused" if self.during is None else f"{self.during:.2f} s"
        cells = [
            self.fault,
            f"{self.seconds:.0f} s",
            f"{self.answered:,}",
            f"{sum(self.failed.values())}",
            f"{self.units:,}",
            f"{self.moved}",
            during,
            f"{self.calm:.2f} s",
            f"{self.after:.2f} s",
            f"{self.slowest * 1000:.0f} ms",
        ]
        return f"| {' | '.join(cells)} |"


@dataclass(slots=True, kw_only=True)
class Stage:
    """Two hosts under load, and the servers that their store is made of."""

    world: World
    hosts: Sequence[Host]
    sql: Server
    redis: Server
    expected: Mapping[str, str]
    replica: Server | None = None
    probed: str = "stable"

    def client(self, server: Server | None = None) -> Any:
        """A client for Redis that waits for nobody."""
        return Redis(host="127.0.0.1", port=(server or self.redis).port, socket_timeout=3)

    def change(self) -> float:
        """Turn the probe at one host, as soon as it takes that; when the other followed, since now."""
        one, other = self.hosts
        started = time.monotonic()
        wanted = "canary" if self.probed == "stable" else "stable"
        body = document(wanted)
        wait_until(
            lambda: one.ask("PUT", "/api/v1/rules", body, **{"If-Match": "*"})[0] == 200,
            "a change",
            seconds=15,
        )
        wrong, self.probed = self.probed, wanted
        for host in (one, other):
            is_over = partial(self._is_over, host, wrong, wanted, started)
            wait_until(is_over, "its effect", seconds=15)
        return max(self.world.last(started, "", "/probe", wrong) - started, 0.0)

    def _is_over(self, host: Host, wrong: str, wanted: str, since: float) -> bool:
        """Whether *host* serves *wanted* alone."""
        last = self.world.last(since, host.name, "/probe", wrong)
        return (
            self.world.last(last, host.name, "/probe", wanted) > last
            and time.monotonic() - last > QUIET_SECONDS
        )

    def is_calm(self) -> bool:
        return all(host.is_ready() and not host.alarms() for host in self.hosts)

    def is_refused(self) -> bool:
        """Whether a change is refused, as it has to be without the truth."""
        host = self.hosts[0]
        status, _, body = host.ask("PUT", "/api/v1/rules", document("canary"), **{"If-Match": "*"})
        if status == 200:
            raise SystemExit("a change was taken without the truth")
        return status == 503 and "store" in json.loads(body)["detail"]

    def is_copied(self) -> bool:
        """Whether Redis has the rules in force."""
        newest = self.client().hget("{understudy}:rules", "newest")
        return newest is not None and int(newest) == self.hosts[0].version()


Harm = Callable[[Stage, float], float | None]
"""Harms for so many seconds, mends, and gives how long a change made meanwhile took; None if refused."""


def held(stage: Stage, seconds: float, *, has_truth: bool) -> float | None:
    """Let the harm last for *seconds*, with a change tried in the midst of it."""
    until = time.monotonic() + seconds
    time.sleep(seconds / 3)
    took: float | None = None
    if has_truth:
        took = stage.change()
    else:
        wait_until(stage.is_refused, "a refusal")
    time.sleep(max(0.0, until - time.monotonic()))
    return took


def redis_killed(stage: Stage, seconds: float) -> float | None:
    """It comes back empty."""
    stage.redis.end()
    took = held(stage, seconds, has_truth=True)
    stage.redis.start()
    return took


def redis_stopped(stage: Stage, seconds: float) -> float | None:
    """Its connections stay, and nobody answers."""
    stage.redis.freeze()
    took = held(stage, seconds, has_truth=True)
    stage.redis.thaw()
    return took


def redis_flushed(stage: Stage, seconds: float) -> float | None:
    """Again and again; the last time with a change just before it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until - 2:
        stage.client().flushall()
        time.sleep(1.0)
    took = stage.change()
    stage.client().flushall()
    return took


def redis_outdated(stage: Stage, seconds: float) -> float | None:
    """A dump is kept, changes follow, and it is started again from the dump."""
    stage.client().save()
    stage.change()
    stage.redis.end()
    took = held(stage, seconds, has_truth=True)
    stage.redis.start()
    return took


def redis_failed_over(stage: Stage, seconds: float) -> float | None:
    """The primary is killed, Sentinel promotes the replica; the old primary comes back, empty."""
    assert stage.replica is not None
    stage.redis.end()
    took = held(stage, seconds, has_truth=True)
    replica = stage.client(stage.replica)
    wait_until(lambda: replica.role()[0] == b"master", "a promoted replica")
    stage.redis.start()
    return took


def sql_killed(stage: Stage, seconds: float) -> float | None:
    """Without a word; it recovers when it starts again."""
    stage.sql.end()
    took = held(stage, seconds, has_truth=False)
    stage.sql.start()
    return took


def sql_stopped(stage: Stage, seconds: float) -> float | None:
    """Its connections stay, and nobody answers."""
    stage.sql.freeze()
    took = held(stage, seconds, has_truth=False)
    stage.sql.thaw()
    return took


def both_stopped(stage: Stage, seconds: float) -> float | None:
    """Neither answers."""
    stage.sql.freeze()
    stage.redis.freeze()
    took = held(stage, seconds, has_truth=False)
    stage.sql.thaw()
    stage.redis.thaw()
    return took


FAULTS: Final[Mapping[str, tuple[str, Harm]]] = {
    "redis-killed": ("Redis killed", redis_killed),
    "redis-stopped": ("Redis stopped (SIGSTOP)", redis_stopped),
    "redis-flushed": ("Redis flushed each second", redis_flushed),
    "redis-outdated": ("Redis put back from an old dump", redis_outdated),
    "redis-failed-over": ("Redis failed over by Sentinel", redis_failed_over),
    "sql-killed": ("PostgreSQL killed", sql_killed),
    "sql-stopped": ("PostgreSQL stopped (SIGSTOP)", sql_stopped),
    "both-stopped": ("both stopped (SIGSTOP)", both_stopped),
}


@contextmanager
def stage_for(name: str, folder: Path, *, rate: float, workers: int) -> Iterator[Stage]:
    """Servers, hosts and load for the fault *name*."""
    with ExitStack() as stack:
        sql = stack.enter_context(postgres_server())
        redis = stack.enter_context(redis_server())
        place, replica = f"redis://127.0.0.1:{redis.port}", None
        if name == "redis-failed-over":
            replica = stack.enter_context(redis_server("--replicaof", "127.0.0.1", f"{redis.port}"))
            place = f"redis+sentinel://127.0.0.1:{stack.enter_context(sentinel(redis)).port}/main"
        world = stack.enter_context(World())
        ports = {service: world.service() for service in ("v1", "v2")}
        settings = {
            "workers": workers,
            "store": {"sql": f"postgresql://understudy@127.0.0.1:{sql.port}/postgres", "redis": place},
            "services": {service: {"url": f"http://127.0.0.1:{port}"} for service, port in ports.items()},
            **document("stable"),
        }
        two = stack.enter_context(hosts(settings, folder=folder, count=2))
        for host in two:
            # The units of a host are asked for in turn, so each comes again and again.
            every: dict[str, Any] = {"connections": 16, "rate": rate / 2, "paths": ["/"], "units": UNITS}
            stack.enter_context(world.visitors(host.name, host.port, **every))
            turns: dict[str, Any] = {"connections": 16, "rate": 64, "paths": ["/probe"], "units": 1}
            stack.enter_context(world.visitors(host.name, host.port, **turns))
        stage = Stage(world=world, hosts=two, sql=sql, redis=redis, expected=expected(), replica=replica)
        wait_until(lambda: world.answered > 100 and stage.is_copied(), "load and a copy")
        yield stage


@contextmanager
def sentinel(redis: Server) -> Iterator[Server]:
    """One that notices within a second, and knows the replica."""
    with redis_sentinel(redis, "main") as watcher:
        client: Any = Redis(host="127.0.0.1", port=watcher.port, decode_responses=True)
        for key, value in (("down-after-milliseconds", "1000"), ("failover-timeout", "5000")):
            client.execute_command("SENTINEL", "SET", "main", key, value)
        wait_until(lambda: client.sentinel_slaves("main"), "a replica that Sentinel knows", seconds=30)
        yield watcher


def expected() -> dict[str, str]:
    """The variant of each unit, worked out by the rules alone."""
    evaluator = Evaluator(flags={"shop": SHOP})
    units = [f"unit-{number}" for number in range(UNITS)]
    return {unit: evaluator.evaluate("shop", {"targetingKey": unit}).variant for unit in units}


def played(name: str, *, seconds: float, rate: float, workers: int) -> Outcome:
    """One fault from beginning to end."""
    title, harm = FAULTS[name]
    with (
        tempfile.TemporaryDirectory(prefix="understudy-faults-") as folder,
        stage_for(name, Path(folder), rate=rate, workers=workers) as stage,
    ):
        world = stage.world
        time.sleep(LEAD_SECONDS)
        outcome = Outcome(fault=title, seconds=seconds)
        outcome.during = harm(stage, seconds)
        mended = time.monotonic()
        wait_until(lambda: stage.is_calm() and _is_copied(stage), "calm", seconds=15)
        outcome.calm = time.monotonic() - mended
        outcome.after = stage.change()
        time.sleep(LEAD_SECONDS)
        seen = [arrival for arrival in list(world.arrivals) if arrival.path == "/"]
        outcome.answered, outcome.failed = world.answered, dict(world.failed)
        outcome.slowest = world.slowest_seconds
        outcome.units = len({arrival.unit for arrival in seen})
        outcome.moved = sum(stage.expected[arrival.unit] != arrival.variant for arrival in seen)
        return outcome


def _is_copied(stage: Stage) -> bool:
    if stage.replica is not None:
        return True  # whoever is primary now: the alarms tell
    try:
        return stage.is_copied()
    except RedisError:
        return False


def started_alone(*, away: bool) -> float:
    """How long a host takes from its start to a right answer, both stores stopped or (*away*) dead."""
    with (
        tempfile.TemporaryDirectory(prefix="understudy-faults-") as folder,
        stage_for("", Path(folder), rate=40, workers=2) as stage,
    ):
        stage.change()
        stage.hosts[1].stop()
        host = Host(name="late", folder=stage.hosts[1].folder, settings=stage.hosts[1].settings)
        for server in (stage.sql, stage.redis):
            server.end() if away else server.freeze()
        try:
            started = time.monotonic()
            host.start()
            load = stage.world.visitors("late", host.port, connections=1, rate=50, paths=["/probe"], units=1)
            failed = stage.world.failed.copy()
            with load:
                wait_until(
                    lambda: stage.world.last(started, "late", "/probe", "canary") > started, "an answer"
                )
            first = min(a.at for a in stage.world.arrivals if a.host == "late") - started
            wrong = [a for a in stage.world.arrivals if a.host == "late" and a.variant != stage.probed]
            if wrong:
                raise SystemExit(f"{len(wrong)} requests were served by rules of before")
            stage.world.failed = failed  # it was asked before it listened
            return first
        finally:
            host.stop()
            for server in (stage.sql, stage.redis):
                if not away:
                    server.thaw()


def page(outcomes: Sequence[Outcome], starts: Mapping[str, float], *, command: str, rate: float) -> str:
    """What was measured, in Markdown."""
    return (
        "# The store fails under load\n\n"
        f"<!-- Written by `{command}`. -->\n\n"
        f"Two hosts with two workers each and one store of PostgreSQL and Redis; {rate:g} requests a second"
        f" from {UNITS:,} units, on a machine of {os.cpu_count()} cores that runs everything. *Moved* are"
        " requests that reached another variant than the rules name for their unit. *During* is how long"
        " a change made amid the harm took to be felt on both hosts (refused: PostgreSQL, the truth, is"
        " away). *Calm* is when each host was ready, without alarms, and Redis had the rules, counted from"
        " the end of the harm; *after*, how long a change then took.\n\n"
        "| harm | for | answered | failed | units | moved | during | calm | after | slowest |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
        f"{''.join(f'{outcome.row()}{chr(10)}' for outcome in outcomes)}\n"
        + "".join(f"- {title}: {took:.2f} s.\n" for title, took in starts.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", nargs="*", help=f"of {', '.join(FAULTS)}, start; all when none")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each harm lasts")
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second, both hosts together")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    asked = given.fault or [*FAULTS, "start"]
    if unknown := [name for name in asked if name not in (*FAULTS, "start")]:
        parser.error(f"no such fault: {', '.join(unknown)}")
    outcomes = []
    for name in asked:
        if name != "start":
            outcomes.append(played(name, seconds=given.seconds, rate=given.rate, workers=given.workers))
            print(outcomes[-1].row(), flush=True)
    starts: dict[str, float] = {}
    if "start" in asked:
        title = "start of a host to its first answer, by the last good rules, both stores"
        starts = {f"{title} {word}": started_alone(away=word == "dead") for word in ("dead", "stopped")}
    command = "benchmarks/store_faults.py --markdown benchmarks/STORE_FAULTS.md"
    written = page(outcomes, starts, command=command, rate=given.rate)
    print(written)
    if given.markdown:
        given.markdown.write_text(written)
    if given.json:
        given.json.write_text(json.dumps({"outcomes": list(map(asdict, outcomes)), "starts": starts}))
    missed = [outcome.fault for outcome in outcomes if not outcome.is_well]
    missed += [title for title, took in starts.items() if took > START_SECONDS]
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
